"""Pictures of digits as a user would bring them: fonts and strokes, large and small, either polarity."""

from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def typed(text, font="DejaVuSans", size=60, paper=255, ink=0) -> Image.Image:
    """A character in the lower right part of a picture."""
    image = Image.new("L", (2 * size, 2 * size), paper)
    drawing = ImageDraw.Draw(image)
    drawing.text((size * 0.9, size * 0.6), text, font=ImageFont.truetype(FONTS / f"{font}.ttf", size), fill=ink)
    return image


def stroked(points, thickness=6, size=(90, 70), noise=0) -> np.ndarray:
    """A line through points, dark on light, with some noise of the camera."""
    image = np.full(size, 235, np.uint8)
    cv2.polylines(image, [np.array(points, np.int32)], False, 30, thickness, cv2.LINE_AA)
    grain = np.random.default_rng(0).normal(0, noise, size)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


SEVEN = [(15, 15), (55, 15), (30, 75)]
ONE = [(35, 10), (33, 80)]
FOUR = [(20, 12), (14, 45), (52, 45), (50, 14), (49, 80)]


def photo(points, size=320, shadow=True, lines=True, pen=9, contrast=0.65, noise=4) -> np.ndarray:
    """A digit on ruled paper under a lamp, with the hard edge of a shadow: RGB, uint8 (size, size, 3).

    Args:
        points: of the stroke, as the digits below, in a box of 90 by 70.
        contrast: of the ink, 0 is none; that of the ruled lines is a third of it.
    """
    down, right = np.mgrid[0:size, 0:size] / size
    light = 210 - 60 * right - 20 * down
    if shadow:
        light = np.where(right + 0.3 * down > 0.75, 0.6 * light, light)
    ink = np.zeros((size, size), np.float32)
    place = (np.array(points) * size / 130 + size / 6).astype(np.int32)
    cv2.polylines(ink, [place], False, 1, pen, cv2.LINE_AA)
    if lines:
        ink[20 :: size // 7] = np.maximum(ink[20 :: size // 7], 0.33)
    grain = np.random.default_rng(0).normal(0, noise, (size, size))
    grey = light * (1 - contrast * ink) + grain
    return np.clip(grey[..., None] * [1, 0.97, 0.9], 0, 255).astype(np.uint8)
