import dataclasses
from collections import Counter

import albumentations as A
import numpy as np
import pytest

from competition.config import Config
from competition.network import augmentation
from competition.network.augmentation import Augmenter, sampling_maps, warp

STILL = Config(rotation=0, scale=0, shift=0, shear=0)


def only(**ranges):
    return dataclasses.replace(STILL, **ranges)


def test_nothing_asked_nothing_changed(few):
    np.testing.assert_array_equal(Augmenter(STILL, 1)(few.images, np.arange(50), 0), few.images[:50])


@pytest.mark.parametrize(
    "change", [{"rotation": 12}, {"scale": 0.2}, {"shift": 3}, {"shear": 10}, {"grid": 2}, {"elastic": 30}]
)
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


def test_a_movement_is_what_albumentations_makes_of_the_same_numbers(few):
    draw = np.random.default_rng(3)
    for _ in range(20):
        rotation, *others = draw.uniform(-1, 1, 5) * (20, 0.2, 0.2, 15, 15)
        scale, shear, shift = 1 + np.array(others[:2]), np.array(others[2:]), draw.integers(-3, 4, 2)
        theirs = A.Affine(
            rotate=(rotation, rotation),
            scale={axis: (s, s) for axis, s in zip("xy", scale, strict=True)},
            translate_px={axis: (int(s), int(s)) for axis, s in zip("xy", shift, strict=True)},
            shear={axis: (-s, -s) for axis, s in zip("xy", shear, strict=True)},  # it shears the other way
            p=1,
        )
        (sampled,) = sampling_maps(np.array([rotation]), scale[None], shift[None], shear[None])
        ours = warp(few.images[:1], sampled)[0]
        assert np.abs(ours.astype(int) - theirs(image=few.images[0])["image"]).max() <= 1  # of 255, by rounding


def test_the_coarse_grid_moves_what_lies_at_its_corners_and_leaves_the_margin():
    corners = np.zeros((1, 5, 5, 2))
    corners[0, 2, 1] = 3, -1
    still = np.zeros(1), np.ones((1, 2)), np.zeros((1, 2)), np.zeros((1, 2))
    moved = sampling_maps(*still, corners)[0] - sampling_maps(*still)[0]
    place = np.linspace(0, 4, 28)
    columns, rows = np.interp(place, (0, 1, 2), (0, 1, 0)), np.interp(place, (1, 2, 3), (0, 1, 0))
    np.testing.assert_allclose(moved, np.multiply.outer(np.outer(rows, columns), (3, -1)), atol=1e-5)
    assert not moved[[0, -1]].any() and not moved[:, [0, -1]].any()


def test_that_share_of_the_images_stays_as_it_is(few):
    rows = np.tile(np.arange(100), 40)
    moved = Augmenter(Config(unmoved=0.25), 1)(few.images[rows], np.arange(4000), 0)
    same = (moved == few.images[rows]).all(axis=(1, 2, 3))
    assert 0.2 < same.mean() < 0.3


@pytest.mark.parametrize("ranges", [{}, {"grid": 1.0, "unmoved": 0.3}, {"elastic": 30.0}])
def test_stateless_the_row_and_epoch_alone_decide(few, ranges):
    config = Config(**ranges)
    whole = Augmenter(config, 7)(few.images, np.arange(600), 3)
    for some in ([599, 4, 100, 4], [5], list(range(0, 600, 7)), list(range(40))):
        np.testing.assert_array_equal(Augmenter(config, 7)(few.images, np.array(some), 3), whole[some])
    some = np.array([599, 4, 100, 4])
    assert (Augmenter(config, 8)(few.images, some, 3) != whole[some]).any()


def test_eight_images_of_an_epoch_are_treated_alike(few):
    same = np.repeat(few.images[:1], 3200, axis=0)
    augmented = Augmenter(Config(), 1)(same, np.arange(3200), 0)
    kinds = Counter(image.tobytes() for image in augmented)
    assert len(kinds) == 400 and set(kinds.values()) == {8}


def test_views_shift_by_that_part_of_the_range_all_four_ways_twice():
    dot = np.zeros((1, 28, 28, 1), np.uint8)
    dot[:, 14, 14] = 255
    views = augmentation.tta_transforms(only(shift=4, tta=0.5))
    found = [tuple(np.argwhere(view(dot)[0, :, :, 0] == 255)[0] - 14) for view in views]
    assert sorted(found) == sorted([(y, x) for y in (-2, 2) for x in (-2, 2)] * 2)


def test_any_two_movements_of_the_views_go_together_as_often_as_against_each_other(monkeypatch):
    asked = {}
    monkeypatch.setattr(augmentation, "sampling_maps", lambda **movements: asked.update(movements) or [])
    augmentation.tta_transforms(Config(rotation=10, shear=4))
    assert not asked["shear"][:, 1].any()  # a shear of both axes is a turn
    signs = np.column_stack([asked["shift"], asked["scale"] - 1, asked["rotation"], asked["shear"][:, 0]])
    np.testing.assert_allclose(np.abs(signs), [[1, 1, 0.05, 0.05, 5, 2]] * 8)
    np.testing.assert_array_equal(np.sign(signs).T @ np.sign(signs), 8 * np.eye(6))


def test_without_views_there_are_none_and_any_number_of_images_is_seen_alike(few):
    assert augmentation.tta_transforms(only(tta=0)) == []
    view = augmentation.tta_transforms(Config())[0]
    whole = view(few.images[:40])
    for count in (0, 1, 2, 3, 5, 8, 33):
        np.testing.assert_array_equal(view(few.images[:count]), whole[:count])
