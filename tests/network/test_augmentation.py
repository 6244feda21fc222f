import dataclasses

import numpy as np
import pytest

from competition.config import Config
from competition.network import augmentation
from competition.network.augmentation import Augmenter

STILL = Config(rotation=0, scale=0, shift=0, shear=0)


def only(**ranges):
    return dataclasses.replace(STILL, **ranges)


def test_nothing_asked_nothing_changed(few):
    np.testing.assert_array_equal(Augmenter(STILL, 1)(few.images, np.arange(50), 0), few.images[:50])


@pytest.mark.parametrize("change", [{"rotation": 12}, {"scale": 0.2}, {"shift": 3}, {"shear": 10}, {"elastic": 30}])
def test_each_range_does_something_new_in_each_epoch(few, change):
    augment = Augmenter(only(**change), 1)
    first, second = (augment(few.images, np.arange(50), epoch) for epoch in (0, 1))
    assert first.dtype == np.uint8 and first.shape == (50, 28, 28, 1)
    assert (first != few.images[:50]).any() and (first != second).any()
    assert 0.5 < first.mean() / few.images[:50].mean() < 1.5  # still ink on paper


def test_a_shift_moves_the_ink_by_at_most_so_many_pixels():
    dot = np.zeros((3200, 28, 28, 1), np.uint8)
    dot[:, 14, 14] = 255
    moved = Augmenter(only(shift=3), 5)(dot, np.arange(3200), 0)[..., 0]
    rows, columns = np.indices((28, 28))
    weight = moved.sum(axis=(1, 2))
    centres = np.stack([(moved * axis).sum(axis=(1, 2)) / weight - 14 for axis in (rows, columns)])
    assert np.abs(centres).max() <= 3.01 and centres.std(axis=1).min() > 1


def test_stateless_the_row_and_epoch_alone_decide(few):
    augment = Augmenter(Config(), 7)
    whole = augment(few.images, np.arange(600), 3)
    for some in ([599, 4, 100, 4], [5], list(range(0, 600, 7)), list(range(40))):
        np.testing.assert_array_equal(Augmenter(Config(), 7)(few.images, np.array(some), 3), whole[some])
    some = np.array([599, 4, 100, 4])
    assert (Augmenter(Config(), 8)(few.images, some, 3) != whole[some]).any()


def test_images_of_one_epoch_are_treated_differently(few):
    same = np.repeat(few.images[:1], 3200, axis=0)
    augmented = Augmenter(Config(), 1)(same, np.arange(3200), 0)
    assert len({image.tobytes() for image in augmented}) == 100  # one way for 32 rows on average


def test_views_shift_by_that_part_of_the_range_all_four_ways_twice():
    dot = np.zeros((1, 28, 28, 1), np.uint8)
    dot[:, 14, 14] = 255
    views = augmentation.tta_views(only(shift=4, tta=0.5))
    found = [tuple(np.argwhere(view(dot)[0, :, :, 0] == 255)[0] - 14) for view in views]
    assert sorted(found) == sorted([(y, x) for y in (-2, 2) for x in (-2, 2)] * 2)


def test_any_two_movements_of_the_views_go_together_as_often_as_against_each_other():
    transforms = [view.args[0].transforms[0] for view in augmentation.tta_views(Config(rotation=10, shear=4))]
    signs = np.array([
        [*(t.translate_percent[axis][0] for axis in "xy"), *(t.scale[axis][0] - 1 for axis in "xy"), t.rotate[0],
         t.shear["x"][0]] for t in transforms
    ])  # fmt: skip
    np.testing.assert_allclose(np.abs(signs), [[1 / 28, 1 / 28, 0.05, 0.05, 5, 2]] * 8)
    np.testing.assert_array_equal(np.sign(signs).T @ np.sign(signs), 8 * np.eye(6))


def test_without_views_there_are_none_and_two_images_are_seen_as_three_are(few):
    assert augmentation.tta_views(only(tta=0)) == []
    view = augmentation.tta_views(Config())[0]
    np.testing.assert_array_equal(view(few.images[:2]), view(few.images[:3])[:2])
