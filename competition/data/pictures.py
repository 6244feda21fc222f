"""Pictures of single digits, of any size and either polarity → 28×28 the way MNIST was made."""

from pathlib import Path

import cv2
import numpy as np

from competition.errors import CompetitionError

BOX = 20  # pixels; MNIST's digits fit a box of this size, their centre of mass in the middle of 28×28
FAINT = 0.2  # of the darkest ink; what is fainter is paper: shadows, noise, JPEG's ripples


def read_picture(path: Path) -> np.ndarray:
    """Read a PNG or JPEG file of one digit.

    Returns:
        uint8 array (28, 28, 1), 0 is paper and 255 is ink.

    Raises:
        CompetitionError: no such file, no picture, or nothing drawn on it.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _refusal(path, "a picture must be a readable file", error.strerror) from None
    return digit_of(raw, path)


def digit_of(raw: bytes, name: str | Path) -> np.ndarray:
    """What `read_picture` makes of a file's content; the name is for its complaints."""
    try:
        pixels = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED) if raw else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise _refusal(name, "a picture must be a PNG or JPEG file", "something else, or a damaged one")
    ink = _ink(_grey(pixels))
    if ink is None:
        raise _refusal(name, "a picture must show a digit", "a blank one")
    return _centred(ink)


def _grey(pixels) -> np.ndarray:
    """Float grey values 0…255; where a picture is transparent, its paper has the contrast to what is drawn."""
    pixels = pixels.astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
    if pixels.ndim == 2:
        return pixels
    grey = pixels[..., 0] if pixels.shape[2] < 3 else pixels[..., :3] @ np.float32([0.114, 0.587, 0.299])  # BGR
    if pixels.shape[2] in (2, 4):
        solid = pixels[..., -1] / 255
        drawn = grey[solid > 0.5].mean() if (solid > 0.5).any() else 0
        grey = grey * solid + (255 if drawn < 128 else 0) * (1 - solid)
    return grey


def _ink(grey) -> np.ndarray | None:
    """Ink 0…1, or None on a blank picture. Paper is whatever the border mostly is, so polarity needs no guess."""
    paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    ink = np.abs(grey - paper)
    if ink.max() < 25:  # of 255: less contrast than any pencil
        return None
    return np.clip((ink / ink.max() - FAINT) / (1 - FAINT), 0, 1)


def _centred(ink) -> np.ndarray:
    """Scale the ink's bounding box to BOX and put its centre of mass into the middle."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    # INTER_AREA averages when it shrinks, which gives the grey edges that MNIST's own digits have.
    ink = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    ink = np.clip(ink / max(ink.max(), 1e-6), 0, 1)
    mass = ink.sum()
    down = round(14 - 0.5 - float((ink.sum(axis=1) * np.arange(height)).sum() / mass))
    right = round(14 - 0.5 - float((ink.sum(axis=0) * np.arange(width)).sum() / mass))
    down, right = int(np.clip(down, 0, 28 - height)), int(np.clip(right, 0, 28 - width))
    image = np.zeros((28, 28, 1), np.uint8)
    image[down : down + height, right : right + width, 0] = np.round(255 * ink)
    return image


def _refusal(name: str | Path, rule: str, received: str) -> CompetitionError:
    return CompetitionError(
        f"{name}: {rule}. Received: {received}. Next: give another picture, dark on light or light on dark."
    )
