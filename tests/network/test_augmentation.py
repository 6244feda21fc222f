"""Augmentation: stateless, as albumentations does it, and with any of its transforms."""

import dataclasses
import subprocess
import sys
from collections import Counter

import albumentations as A
import numpy as np
import pytest

from competition.config import Config, transforms_of
from competition.errors import CompetitionError
from competition.network import augmentation
from competition.network.augmentation import Augmenter, sampling_maps, warp
from competition.runs.folders import ROOT

STILL = Config(rotation=0, scale=0, shift=0, shear=0)


def only(**ranges):
    return dataclasses.replace(STILL, **ranges)


def test_without_any_range_images_stay_as_they_are(few):
    np.testing.assert_array_equal(Augmenter(STILL, 1)(few.images, np.arange(50), 0), few.images[:50])


@pytest.mark.parametrize(
    "change",
    [{"rotation": 12}, {"scale": 0.2}, {"shift": 3}, {"shear": 10}, {"augment": "Perspective(scale=0.03, p=1)"}],
)
def test_each_range_does_something_new_in_each_epoch(few, change):
    augment = Augmenter(only(**change), 1)
    first, second = (augment(few.images, np.arange(50), epoch) for epoch in (0, 1))
    assert first.dtype == np.uint8 and first.shape == (50, 28, 28, 1)
    assert (first != few.images[:50]).any() and (first != second).any()
    assert 0.5 < first.mean() / few.images[:50].mean() < 1.5  # about as much ink


def test_a_shift_moves_the_ink_by_at_most_so_many_pixels():
    dot = np.zeros((3200, 28, 28, 1), np.uint8)
    dot[:, 14, 14] = 255
    shifted = Augmenter(only(shift=3), 5)(dot, np.arange(3200), 0)[..., 0]
    rows, columns = np.indices((28, 28))
    weight = shifted.sum(axis=(1, 2))
    centers = np.stack([(shifted * axis).sum(axis=(1, 2)) / weight - 14 for axis in (rows, columns)])
    assert np.abs(centers).max() <= 3.01 and centers.std(axis=1).min() > 1


def test_a_warp_is_what_albumentations_makes_of_the_same_parameters(few):
    rng = np.random.default_rng(3)
    for _ in range(20):
        rotation, *others = rng.uniform(-1, 1, 5) * (20, 0.2, 0.2, 15, 15)
        scale, shear, shift = 1 + np.array(others[:2]), np.array(others[2:]), rng.integers(-3, 4, 2)
        affine = A.Affine(
            rotate=(rotation, rotation),
            scale={axis: (s, s) for axis, s in zip("xy", scale, strict=True)},
            translate_px={axis: (int(s), int(s)) for axis, s in zip("xy", shift, strict=True)},
            shear={axis: (-s, -s) for axis, s in zip("xy", shear, strict=True)},  # it shears the other way
            p=1,
        )
        (sampling_map,) = sampling_maps(np.array([rotation]), scale[None], shift[None], shear[None])
        warped = warp(few.images[:1], sampling_map)[0]
        assert np.abs(warped.astype(int) - affine(image=few.images[0])["image"]).max() <= 1  # of 255, by rounding


@pytest.mark.parametrize("ranges", [
    {},
    {"augment": "ElasticTransform(alpha=30, sigma=5, p=0.5); Morphological(scale=(2, 2), p=0.5)"},
    {"augment": "GaussNoise(std_range=(0.2, 0.3), p=1); CoarseDropout(fill='random', p=1)"},  # each image its own noise
    {"augment": "Perspective(p=0.5)", "rotation": 0, "scale": 0, "shift": 0, "shear": 0},
])  # fmt: skip
def test_stateless_the_row_and_epoch_alone_decide(few, ranges):
    config = Config(**ranges)
    whole = Augmenter(config, 7)(few.images, np.arange(600), 3)
    for some in ([599, 4, 100, 4], [5], list(range(0, 600, 7)), list(range(40))):
        np.testing.assert_array_equal(Augmenter(config, 7)(few.images, np.array(some), 3), whole[some])
    some = np.array([599, 4, 100, 4])
    assert (Augmenter(config, 8)(few.images, some, 3) != whole[some]).any()


@pytest.mark.parametrize("augment", ["", "Perspective(p=0.5)"])
def test_eight_images_of_an_epoch_share_their_parameters(few, augment):
    same = np.repeat(few.images[:1], 3200, axis=0)
    augmented = Augmenter(Config(augment=augment), 1)(same, np.arange(3200), 0)
    counts = Counter(image.tobytes() for image in augmented)
    assert len(counts) == 400 and set(counts.values()) == {8}


def test_the_transforms_of_augment_follow_the_warp_each_with_its_own_probability(few):
    """Dilation raises the total of a digit's ink; a fifth of 400 groups is dilated, the others are as without it."""
    plain, dilated = (
        Augmenter(Config(augment=augment), 1)(few.images, np.arange(600), 0).astype(int)
        for augment in ("", "Morphological(operation='dilation', scale=(2, 2), p=0.2)")
    )
    changed = (plain != dilated).any(axis=(1, 2, 3))
    assert 0.05 < changed.mean() < 0.4
    assert (dilated >= plain).all() and (dilated.sum(axis=(1, 2, 3)) > 1.05 * plain.sum(axis=(1, 2, 3)))[changed].all()


@pytest.mark.parametrize(
    ("augment", "received"),
    [
        ("Perspektive(p=0.5)", "Perspektive is no transform of albumentations"),
        ("Compose(transforms=[])", "Compose is no transform"),
        ("Perspective(scal=0.05)", "'scal' are not valid"),
        ("Perspective(p=3)", "less than or equal to 1"),
        ("Perspective(0.05)", "not of the form Name"),
        ("x = Perspective()", "not of the form Name"),
        ("Perspective", "not of the form Name"),
        ("Perspective(", "never closed"),
        ("Perspective(scale=open('/etc/passwd'))", "malformed"),
        ("Lambda(image='x')", "not callable"),
        ("ToFloat(max_value=255, p=0.001)", r"ToFloat returns float32 \(28, 28, 1\)"),
        ("Blur(); RandomCrop(height=20, width=20)", r"RandomCrop returns uint8 \(20, 20, 1\)"),
        ("RandomRain()", "3-channel"),
        ("OverlayElements()", "overlay_metadata"),
    ],
)
def test_what_is_no_transform_of_digits_is_refused_in_a_line(augment, received):
    with pytest.raises(CompetitionError, match=rf"augment names .* Received: .*{received}.* Next: --augment") as caught:
        Config(augment=augment)
    assert "\n" not in str(caught.value)


def test_the_names_may_be_those_of_an_import_as_a():
    assert transforms_of("A.Blur(p=1); Perspective()")[0].p == 1


def test_albumentations_is_loaded_only_where_it_is_used():
    code = "import sys, competition.network.augmentation as a; a.Augmenter(a.Config(), 0); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "cv2" in done.stdout.split() and "albumentations" not in done.stdout.split()


def test_tta_shifts_by_its_fraction_of_the_range_in_all_four_directions_twice():
    dot = np.zeros((1, 28, 28, 1), np.uint8)
    dot[:, 14, 14] = 255
    transforms = augmentation.tta_transforms(only(shift=4, tta=0.5))
    shifts = [tuple(np.argwhere(transform(dot)[0, :, :, 0] == 255)[0] - 14) for transform in transforms]
    assert sorted(shifts) == sorted([(y, x) for y in (-2, 2) for x in (-2, 2)] * 2)


def test_any_two_parameters_of_tta_have_equal_signs_as_often_as_opposite_ones(monkeypatch):
    used = {}
    monkeypatch.setattr(augmentation, "sampling_maps", lambda **parameters: used.update(parameters) or [])
    augmentation.tta_transforms(Config(rotation=10, shear=4))
    assert not used["shear"][:, 1].any()  # a shear of both axes is a rotation
    signs = np.column_stack([used["shift"], used["scale"] - 1, used["rotation"], used["shear"][:, 0]])
    np.testing.assert_allclose(np.abs(signs), [[1, 1, 0.05, 0.05, 5, 2]] * 8)
    np.testing.assert_array_equal(np.sign(signs).T @ np.sign(signs), 8 * np.eye(6))


def test_without_tta_there_are_no_transforms():
    assert augmentation.tta_transforms(only(tta=0)) == []


def test_a_transform_of_an_image_does_not_depend_on_the_other_images(few):
    transform = augmentation.tta_transforms(Config())[0]
    whole = transform(few.images[:40])
    for count in (0, 1, 2, 3, 5, 8, 33):
        np.testing.assert_array_equal(transform(few.images[:count]), whole[:count])
