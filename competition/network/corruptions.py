"""The fifteen corruptions of MNIST-C at three strengths each, made anew for any digits.

Kinds and order are those of Mu and Gilmer (*MNIST-C: a robustness benchmark for computer vision*, 2019), who have one
strength; what albumentations has is taken from there.
"""

import os
from collections.abc import Callable

import cv2
import numpy as np

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or its import asks the network for a newer version
import albumentations

STRENGTHS = (1, 2, 3)


def corrupt(images, kind: str, strength: int, seed: int = 0) -> np.ndarray:
    """Corrupt digits, each at random in its own way.

    Args:
        images: uint8 array (n, 28, 28, 1).
        kind: in KINDS.
        strength: in STRENGTHS.

    Returns:
        uint8 array (n, 28, 28, 1).
    """
    make, values = KINDS[kind]
    made = make(values[strength - 1])
    if isinstance(made, albumentations.BasicTransform):
        made = albumentations.Compose([made], seed=seed)
        return np.stack([made(image=image)["image"] for image in images])
    draw = np.random.default_rng(seed)
    return np.stack([made(image[..., 0], draw) for image in images])[..., None]


def _affine(**ranges) -> albumentations.BasicTransform:
    return albumentations.Affine(p=1, **ranges)


def _stripe(width: int) -> Callable:
    """A vertical stripe, somewhere in the digit's box, is inverted."""

    def stripe(image, draw):
        striped = image.copy()
        left = int(draw.integers(4, 25 - width))
        striped[:, left : left + width] = 255 - striped[:, left : left + width]
        return striped

    return stripe


def _fog(share: float) -> Callable:
    """A smooth field of light is mixed in."""
    return lambda image, draw: np.clip(image + 255 * share * _smooth(draw, 4), 0, 255).astype(np.uint8)


def _spatter(share: float) -> Callable:
    """Drops of ink fall on that share of the image."""

    def spatter(image, draw):
        field = _smooth(draw, 10)
        return np.where(field > np.quantile(field, 1 - share), 255, image).astype(np.uint8)

    return spatter


def _lines(dotted: bool) -> Callable:
    """So many lines are drawn from side to side: straight and dotted, or in zigzag."""

    def of(count: int):
        def lines(image, draw):
            drawn = image.copy()
            for _ in range(count):
                x = np.arange(0, 29, 1 if dotted else 4)
                left, right = draw.integers(2, 26, 2)
                y = np.linspace(left, right, len(x)).round().astype(int)
                if dotted:
                    drawn[y[:-1:3], x[:-1:3]] = 255
                else:
                    y[1::2] += 3
                    cv2.polylines(drawn, [np.stack([x, y], axis=1).astype(np.int32)], False, 255)
            return drawn

        return lines

    return of


def _edges(share: float) -> Callable:
    """The image is mixed with its Canny edges."""

    def edges(image, draw):
        return cv2.addWeighted(image, 1 - share, cv2.Canny(np.ascontiguousarray(image), 100, 200), share, 0)

    return edges


def _smooth(draw, size: int) -> np.ndarray:
    """A random field (28, 28), 0…1, with hills of a `size`-th of its side."""
    return np.clip(cv2.resize(draw.random((size, size)), (28, 28), interpolation=cv2.INTER_CUBIC), 0, 1)


KINDS: dict[str, tuple[Callable, tuple]] = {
    "shot noise": (lambda scale: albumentations.ShotNoise(scale_range=(scale, scale), p=1), (0.1, 0.3, 0.8)),
    "impulse noise": (lambda share: albumentations.SaltAndPepper(amount=(share, share), p=1), (0.03, 0.1, 0.3)),
    "glass blur": (
        lambda far: albumentations.GlassBlur(sigma=0.3 + 0.2 * far, max_delta=far, iterations=1, p=1),
        (1, 2, 3),
    ),
    "motion blur": (lambda length: albumentations.MotionBlur(blur_limit=(length, length), p=1), (3, 7, 11)),
    "shear": (lambda degrees: _affine(shear=(-degrees, degrees)), (15, 30, 45)),
    "scale": (lambda factor: _affine(scale=(factor, factor)), (0.9, 0.75, 0.6)),
    "rotate": (lambda degrees: _affine(rotate=(-degrees, degrees)), (15, 30, 60)),
    "brightness": (lambda more: albumentations.RandomBrightnessContrast((more, more), 0, p=1), (0.1, 0.3, 0.5)),
    "translate": (lambda pixels: _affine(translate_px=(-pixels, pixels)), (1, 3, 6)),
    "stripe": (_stripe, (1, 3, 6)),
    "fog": (_fog, (0.2, 0.5, 0.9)),
    "spatter": (_spatter, (0.03, 0.1, 0.2)),
    "dotted line": (_lines(dotted=True), (1, 2, 4)),
    "zigzag": (_lines(dotted=False), (1, 2, 4)),
    "canny edges": (_edges, (0.3, 0.6, 1.0)),
}
