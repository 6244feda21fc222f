"""The training digits that are nearest to a new one, and how near is usual."""

import functools

import cv2
import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min

from competition.data.dataset import Dataset

RARE = 0.01  # of the competition's own digits are called unlike training, or unsure


class Neighbours:
    """The training digits of a run, among which those near to others are looked for.

    Attributes:
        train: the digits.

    Distances are squared, of images whose pixels are averaged 2×2: a stroke moved by a pixel stays near.
    """

    def __init__(self, dataset: Dataset):
        self.train, self._test, self._known = dataset.train, dataset.test, _coarse(dataset.train.images)

    @functools.cached_property
    def limit(self) -> float:
        """The distance to the nearest training digit that all but RARE of the test digits keep."""
        return float(np.quantile(self.distances(self._test.images[:2000]), 1 - RARE))

    def distances(self, images) -> np.ndarray:
        """Of each image, uint8 array (n, 28, 28, 1), to the nearest training digit: float32 array (n,)."""
        return pairwise_distances_argmin_min(_coarse(images), self._known, metric="sqeuclidean")[1]

    def farthest(self, images, count: int) -> np.ndarray:
        """Those of some images that are farthest from every training digit, the farthest first."""
        return images[np.argsort(-self.distances(images), kind="stable")[:count]]

    def nearest(self, image, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and rows of the digits nearest to one image, uint8 array (28, 28, 1), the nearest first.

        For one image OpenCV takes 3 ms, on one thread, where scikit-learn takes 11 and wants all threads.
        """
        count = min(count, len(self.train))
        found = cv2.batchDistance(_coarse(image[None]), self._known, cv2.CV_32F, normType=cv2.NORM_L2SQR, K=count)
        return found[0][0], found[1][0]


def _coarse(images) -> np.ndarray:
    """Means of 2×2 pixels, 0…1, as float32 (n, 196)."""
    return np.asarray(images).reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4), dtype=np.float32).reshape(-1, 196) / 255
