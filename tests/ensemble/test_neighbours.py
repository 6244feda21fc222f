import numpy as np
import pytest

from competition.data.dataset import Dataset
from competition.data.digits import Digits
from competition.ensemble.neighbours import RARE, Neighbours


@pytest.fixture(scope="module")
def known(sample):
    parts = [Digits(sample.images[rows], sample.labels[rows], "other", "") for rows in (slice(500), slice(500, 900))]
    return Neighbours(Dataset(*parts, None)), parts[1].images


def test_the_nearest_have_the_least_distance_of_blurred_pixels(known):
    neighbours, others = known
    blurred = [np.float64(images).reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)) / 255
               for images in (neighbours.train.images, others)]  # fmt: skip
    for image, blur in zip(others[:10], blurred[1], strict=False):
        distances, rows = neighbours.nearest(image, 5)
        wanted = ((blurred[0] - blur) ** 2).sum(axis=(1, 2))
        np.testing.assert_allclose(distances, np.sort(wanted)[:5], rtol=1e-5)
        np.testing.assert_allclose(wanted[rows], distances, rtol=1e-5)
        np.testing.assert_allclose(neighbours.distances(image[None]), distances[:1], rtol=1e-4)


def test_no_more_are_found_than_there_are(known):
    assert len(known[0].nearest(known[1][0], 600)[1]) == 500


def test_as_few_of_the_test_digits_are_beyond_the_limit_as_are_called_rare(known):
    neighbours, others = known
    assert np.sum(neighbours.distances(others) > neighbours.limit) == round(RARE * len(others))
