"""The fifteen corruptions: each changes the images, the more the stronger, and the same seed the same way."""

import numpy as np
import pytest

from competition.network.corruptions import KINDS, STRENGTHS, corrupt


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_grows_with_its_strength(kind, sample):
    images = sample.images[:40]
    made = [corrupt(images, kind, strength) for strength in STRENGTHS]
    assert all(images.shape == each.shape and each.dtype == np.uint8 for each in made)
    changes = [np.abs(each - images.astype(int)).mean() for each in made]
    assert 0 < changes[0] < changes[1] < changes[2]
    np.testing.assert_array_equal(corrupt(images, kind, 1), made[0])


def test_there_are_fifteen():
    assert len(KINDS) == 15
