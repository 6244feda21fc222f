"""The preparation of one photo, step by step: python -m tests.data.preparation_figure .github/images/preparation.png"""

import sys
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from competition.data.mnist_format import _only, mnist_form, strokes_of
from competition.data.paper import ink_of, sheet_of
from tests.report.sixty import PIECES, smooth

INK, PAPER, TABLE = (46, 48, 92), (238, 234, 226), (74, 54, 42)  # RGB


def photo() -> np.ndarray:
    """A 5 drawn with a pen on ruled paper, which lies on a table, partly in shadow: uint8 array (400, 400, 3)."""
    sheet = np.full((400, 400, 3), PAPER, np.uint8)
    for y in range(30, 400, 42):
        cv2.line(sheet, (0, y), (400, y), (168, 184, 206), 1, cv2.LINE_AA)
    for stroke in PIECES[5]:
        line = smooth(np.array([point.split(",") for point in stroke.split()], float))
        place = np.round(line * [1.7, 2.2] + [115, 90]).astype(np.int32)
        cv2.polylines(sheet, [place], False, INK, 8, cv2.LINE_AA)
    turned = cv2.getRotationMatrix2D((200, 200), -3, 0.86)
    picture = cv2.warpAffine(sheet, turned, (400, 400), flags=cv2.INTER_AREA, borderValue=TABLE).astype(np.float32)
    down, right = np.mgrid[0:400, 0:400] / 400
    shadow = cv2.GaussianBlur(np.float32(right + 0.2 * down > 0.8), (0, 0), 5)
    light = (1.02 - 0.15 * right - 0.1 * down) * (1 - 0.3 * shadow)
    grain = np.random.default_rng(0).normal(0, 4, (400, 400, 1))
    return np.clip(picture * light[..., None] + grain, 0, 255).astype(np.uint8)


def draw_preparation(picture: np.ndarray) -> Figure:
    """The steps of `prepare`, side by side.

    Args:
        picture: uint8 array (height, width, 3), RGB.
    """
    sheet = sheet_of(picture.astype(np.float32))
    ink = ink_of(sheet)
    tone, labels, pieces = strokes_of(ink)
    digit = _only(tone, labels, pieces)
    steps = {
        "The photo": picture,
        "The sheet": np.clip(sheet, 0, 255).astype(np.uint8),
        "Contrast to the paper": np.clip(ink, 0, 0.8 * ink.max()),
        "The digit’s pieces": digit,
        "As MNIST: 28×28": mnist_form(digit)[..., 0],
    }
    figure = Figure(figsize=(10, 2.2), layout="constrained")
    for axes, (title, shown) in zip(figure.subplots(1, len(steps)), steps.items(), strict=True):
        axes.imshow(shown, cmap="gray", interpolation="nearest")
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
    return figure


if __name__ == "__main__":
    draw_preparation(photo()).savefig(Path(sys.argv[1]), dpi=100)
