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
