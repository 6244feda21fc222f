import numpy as np

from competition.ensemble.occlusion import occluded, occlusions


def by_ink(images):
    """A network that predicts a 1 as sure as there is ink in the upper left 2×2 pixels, else a 0."""
    ink = images[:, :2, :2, 0].mean(axis=(1, 2)) / 255
    return np.stack([1 - ink, ink, *[np.zeros(len(images))] * 8], axis=1)


def test_each_copy_has_one_blank_patch():
    copies = occluded(np.full((28, 28, 1), 9, np.uint8))
    assert copies.shape == (169, 28, 28, 1) and ((copies == 0).sum(axis=(1, 2, 3)) == 16).all()
    assert (copies[0, :4, :4] == 0).all() and (copies[1, :4, 2:6] == 0).all() and (copies[13, 2:6, :4] == 0).all()
    assert (copies[-1, 24:, 24:] == 0).all()
    assert (copies == 0).any(axis=0).all()  # every pixel is covered


def test_a_map_is_what_the_predicted_digit_loses_where_the_ink_is_gone():
    image = np.zeros((28, 28, 1), np.uint8)
    image[:6, :6] = 255
    first, second = occlusions(np.stack([image, np.zeros_like(image)]), by_ink)
    assert (
        (first.label, first.probability) == (1, 1) and first.drops[0, 0] == 1 and first.labels[0, 0] == 0
    )  # that patch alone covers what decides
    assert first.drops.sum() == 1 and (first.labels != 1).sum() == 1
    # The first 2×2 block is in one patch; its neighbours are in two or four, of which one is that patch.
    assert first.blocks[:2, :2].tolist() == [[1, 0.5], [0.5, 0.25]] and first.blocks.sum() == 2.25
    assert first.blocks.shape == (14, 14) and not first.blocks[2:].any()
    assert not second.drops.any() and (second.labels == 0).all()


def test_a_patch_without_ink_changes_nothing_whatever_the_rounding():
    rng = np.random.default_rng(0)
    (only,) = occlusions(np.zeros((1, 28, 28, 1), np.uint8), lambda images: rng.dirichlet(np.ones(10), len(images)))
    assert not only.drops.any() and len(np.unique(only.labels)) == 1


def test_all_images_are_predicted_in_one_call():
    calls = []
    occlusions(np.zeros((3, 28, 28, 1), np.uint8), lambda images: calls.append(len(images)) or by_ink(images))
    assert calls == [3 * 170]
