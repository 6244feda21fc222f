"""Augmented images by albumentations, fast and stateless.

Stateless: what happens to row i in epoch e depends on (seed, e, i) alone, so batch order, worker count and
resuming change nothing. Fast: albumentations takes 65 µs an image when called for each, and 31 when its batch
call applies one set of parameters to many (`make bench`). So an epoch draws one set for every `SHARING` rows
and each row draws its set, anew in each epoch. Never a flip: no digit survives it.
"""

import os
from collections.abc import Callable
from functools import partial
from itertools import product

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask PyPI for news at every import

import albumentations as A
import cv2
import numpy as np

from competition.config import Config

SHARING = 32  # rows that share their parameters in an epoch, on average; other ones in the next
cv2.setNumThreads(0)  # members run side by side: OpenCV's own threads would only get in their way


class Augmenter:
    """Draws the augmented images of any epoch.

    Args:
        config: the ranges.
        seed: the member's.
    """

    def __init__(self, config: Config, seed: int):
        self.seed = seed
        self.off = not any((config.rotation, config.scale, config.shift, config.shear, config.elastic))
        shift, shear = config.shift / 28, (-config.shear, config.shear)
        transforms = [
            A.Affine(
                rotate=(-config.rotation, config.rotation),
                scale={"x": (1 - config.scale, 1 + config.scale), "y": (1 - config.scale, 1 + config.scale)},
                translate_percent={"x": (-shift, shift), "y": (-shift, shift)},
                shear={"x": shear, "y": shear},
                p=1,
            )
        ]
        if config.elastic:
            transforms.append(A.ElasticTransform(alpha=config.elastic, sigma=5, p=1))
        self.transform = A.Compose(transforms)

    def __call__(self, images, rows, epoch: int) -> np.ndarray:
        """The rows' images as they look in an epoch.

        Args:
            images: uint8 array (n, 28, 28, 1), all images.
            rows: int array (m,), which of them, in any order.
            epoch: 0, 1, …

        Returns:
            uint8 array (m, 28, 28, 1).
        """
        if self.off:
            return images[rows]
        draw = np.random.default_rng([self.seed, epoch])
        groups = max(1, len(images) // SHARING)
        seeds = draw.integers(2**31, size=groups)
        group = draw.integers(groups, size=len(images))[rows]
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(groups + 1))
        result = np.empty((len(rows), *images.shape[1:]), np.uint8)
        for seed, start, end in zip(seeds, starts, starts[1:], strict=False):
            if end > start:
                sharing = order[start:end]
                self.transform.set_random_seed(int(seed))
                result[sharing] = _moved(self.transform, images[rows[sharing]])
        return result


def tta_views(config: Config) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Eight ways to look at images before a prediction averages what is seen; none where the recipe wants none.

    A network that learned from moved pictures, all of them a little blurred by that, reads a picture better in several
    such ways than as it is. Each view shifts, turns, scales and shears by the same part of the training ranges, one way
    or the other. Which way is an orthogonal array (a 2^(6-3) fractional factorial design, Box and Hunter 1961): any
    two of the six movements go together as often as against each other.

    Returns:
        Functions of uint8 arrays (n, 28, 28, 1) that return as many images.
    """
    if not (config.tta and any((config.rotation, config.scale, config.shift, config.shear))):
        return []
    shift, turn = config.tta * config.shift / 28, config.tta * config.rotation
    scale, shear = config.tta * config.scale, config.tta * config.shear

    def affine(a, b, c):
        return A.Compose([
            A.Affine(
                rotate=(turn * c,) * 2,
                scale={"x": (1 + scale * a * b,) * 2, "y": (1 + scale * a * c,) * 2},
                translate_percent={"x": (shift * a,) * 2, "y": (shift * b,) * 2},
                shear={"x": (shear * b * c,) * 2, "y": (0, 0)},
                p=1,
            )
        ])  # fmt: skip

    return [partial(_moved, affine(*signs)) for signs in product((-1, 1), repeat=3)]


def _moved(transform: A.Compose, images) -> np.ndarray:
    """The images, all by the same movement."""
    # Of exactly two images OpenCV makes one picture of two channels, which it rounds otherwise.
    padded = np.concatenate([images, images[:1]]) if len(images) == 2 else images
    return transform(images=padded)["images"][: len(images)]
