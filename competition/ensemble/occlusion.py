"""Which ink decides a prediction: occlusion maps (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901).

A patch of 4×4 pixels is made blank, at 13 × 13 places in steps of 2, and the network predicts each of the 169 images.
"""

from dataclasses import dataclass

import numpy as np

PATCH, STEP, SIDE = 4, 2, 13  # pixels of a patch, pixels between two places, places along a side


@dataclass(frozen=True)
class Occlusion:
    """What a network predicts of one image with a patch made blank.

    Attributes:
        label: the digit predicted of the image as it is.
        probability: of that digit.
        drops: float32 array (13, 13), by how much that probability falls where the patch at that place is blank;
            below 0 where it rises, 0 where the patch holds no ink.
        labels: int64 array (13, 13), the digit predicted then.
    """

    label: int
    probability: float
    drops: np.ndarray
    labels: np.ndarray

    @property
    def blocks(self) -> np.ndarray:
        """The map to lay over the image: float32 array (14, 14), for each 2×2 pixels the mean of its patches' drops."""
        total, patches = np.zeros((2, SIDE + 1, SIDE + 1), np.float32)
        for down in (0, 1):
            for right in (0, 1):
                total[down : down + SIDE, right : right + SIDE] += self.drops
                patches[down : down + SIDE, right : right + SIDE] += 1
        return total / patches


def occluded(image) -> np.ndarray:
    """Copies of a uint8 image (28, 28, 1), each with one blank patch: uint8 array (169, 28, 28, 1), row by row."""
    copies = np.repeat(np.asarray(image)[None], SIDE * SIDE, axis=0)
    for place, copy in enumerate(copies):
        top, left = STEP * (place // SIDE), STEP * (place % SIDE)
        copy[top : top + PATCH, left : left + PATCH] = 0
    return copies


def occlusions(images, predict) -> list[Occlusion]:
    """Occlusion maps of some images, for all of which `predict` is called once.

    Args:
        images: uint8 array (n, 28, 28, 1), 0 is paper.
        predict: a function from such an array (m, 28, 28, 1) to probabilities (m, 10).
    """
    images = np.asarray(images)
    probs = np.asarray(predict(np.concatenate([images, *map(occluded, images)])))
    whole, parts = probs[: len(images)], probs[len(images) :].reshape(len(images), SIDE, SIDE, 10)
    maps = []
    for image, image_probs, part_probs in zip(images, whole, parts, strict=True):
        label = int(image_probs.argmax())
        blank = (occluded(image) == image).all(axis=(1, 2, 3)).reshape(SIDE, SIDE)  # no ink: no change, but rounding
        drops = np.where(blank, 0, image_probs[label] - part_probs[..., label]).astype(np.float32)
        labels = np.where(blank, label, part_probs.argmax(axis=-1))
        maps.append(Occlusion(label, float(image_probs[label]), drops, labels))
    return maps
