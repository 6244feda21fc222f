"""A picture → the ink on its paper: frames and tables around the sheet, shadows and the paper's colour go."""

import cv2
import numpy as np

BROADEST = 1 / 3  # of the picture's longer side: no stroke is as broad


def sheet_of(colour: np.ndarray) -> np.ndarray:
    """The sheet of paper that a frame, or a table of the other tone, surrounds; else the picture as it is.

    A sheet is the largest area of its tone, nearly fills the smallest rectangle around it, and something of the
    frame's tone is drawn on it.
    """
    grey = cv2.medianBlur(colour.mean(axis=2).astype(np.uint8), max(3, max(colour.shape) // 60 | 1))
    light = grey > otsu(grey)
    if min(grey.shape) < 60 or len(np.unique(light)) < 2 or grey[light].mean() - grey[~light].mean() < 50:
        return colour
    frame = _border(light).mean()
    if 0.3 < frame < 0.7:
        return colour
    _, labels, stats, _ = cv2.connectedComponentsWithStats((light != (frame > 0.5)).astype(np.uint8), connectivity=4)
    area = (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    outline = max(cv2.findContours(area, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0], key=cv2.contourArea)
    whole, rectangle = cv2.contourArea(outline), np.prod(cv2.minAreaRect(outline)[1])
    sheet = cv2.drawContours(np.zeros_like(area), [outline], -1, 1, cv2.FILLED)
    drawn = int((sheet > area).sum())
    if whole < 0.3 * area.size or whole < 0.85 * rectangle or not 0.003 * whole < drawn < 0.35 * whole:
        return colour
    margin = max(2, max(area.shape) // 60)  # the edge of the paper is blurred
    sheet = cv2.erode(sheet, disc(2 * margin), borderValue=0)
    paper = np.median(colour[(area & sheet) > 0], axis=0)
    left, top, width, height = cv2.boundingRect(sheet)
    inside = np.where(sheet[..., None] > 0, colour, paper).astype(np.float32)
    return inside[top : top + height, left : left + width]


def ink_of(colour: np.ndarray, broadest: float = BROADEST) -> np.ndarray:
    """Contrast to the paper along the colour in which the ink differs from it most: float32 (height, width), ±255.

    Args:
        colour: float32 array (height, width, 3), 0…255.
        broadest: as `paper_of` takes it.
    """
    paper, sign = paper_of(colour, broadest)
    difference = colour - paper
    if sign:
        difference *= 200 / np.maximum(paper, 40)  # in shadow ink and paper are darker in proportion
    distance = np.linalg.norm(difference, axis=2)
    if sign:
        distance[sign * difference.sum(axis=2) < 0] = 0
    inked = difference[distance > max(otsu(distance), 4)]
    if len(inked) == 0:
        return np.zeros(distance.shape, np.float32)
    axis = np.linalg.svd(inked[:: 1 + len(inked) // 2000], full_matrices=False)[2][0]
    ink = difference @ (axis / np.abs(axis).sum())
    ink *= np.sign(sign * axis.sum() if sign else (ink * np.abs(ink)).sum())
    return ink - np.median(ink[ink <= otsu(ink)]) if sign else ink  # of the paper alone: ink may cover half of it


def sharpness(colour: np.ndarray, mask: np.ndarray) -> float:
    """How much the picture's grey changes along the outline of ink, within three pixels: much for a pen's strokes.

    Args:
        colour: float32 array (height, width, 3), 0…255.
        mask: uint8 array (height, width), 1 where the ink is.
    """
    grey = cv2.GaussianBlur(colour.mean(axis=2), (0, 0), 1)
    outline = mask - cv2.erode(mask, np.ones((3, 3)), borderValue=0)
    return float(cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3)))[outline > 0].mean())


def by_a_pen(ink: np.ndarray, mask: np.ndarray) -> bool:
    """Whether ink may be strokes: where it is broad, it is everywhere about as broad, and of one tone.

    A hand, a shoe or a cat is not.

    Args:
        ink: as `ink_of` gives it.
        mask: uint8 array (height, width), 1 where the ink is.
    """
    size = max(cv2.boundingRect(mask)[2:])
    if size < 100:
        return True  # too few pixels to tell
    inside = cv2.distanceTransform(np.pad(cv2.medianBlur(mask, 7), 1), cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    broadest = inside.max()
    if broadest < 0.075 * size:
        return True
    middle = inside[(inside > 0) & (inside >= cv2.dilate(inside, np.ones((3, 3))))]
    core = ink[inside > broadest / 2]
    return bool(broadest < 3 * np.median(middle) and core.std() < 0.25 * core.mean())


def paper_of(colour: np.ndarray, broadest: float = BROADEST) -> tuple[np.ndarray, int]:
    """What the picture would show without ink, float32 (height, width, 3), and 0 where that is one colour.

    One colour, the border's, unless the paper's colour varies or what differs from it is too broad for a stroke: a
    shadow. Then it is a closing by a square that no stroke fills, which keeps the edges of shadows, and ink is darker,
    which is returned as -1; around light ink, 1, it is an opening.

    Args:
        colour: float32 array (height, width, 3), 0…255.
        broadest: side of the square as a part of the picture's longer side; a shadow that it does not fit into is ink.
    """
    height, width = colour.shape[:2]
    border = np.median(_border(colour, max(1, min(height, width) // 40)), axis=0)
    even = np.broadcast_to(border, colour.shape).astype(np.float32)
    if min(height, width) < 40:
        return even, 0
    shrink = min(1, 200 / max(height, width))
    small = cv2.resize(colour, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    side, margin = max(small.shape), max(small.shape) // 5
    distance = np.abs(small - border).max(axis=2)
    inked = distance > otsu(distance)
    # A look for narrow strokes alone is one for shadows: there the paper is never of one colour
    if broadest == BROADEST and inked.any() and not inked.all():
        broad = cv2.erode(inked.astype(np.uint8), np.ones((side // 3,) * 2), borderValue=0).any()
        if not broad and np.percentile(distance[~inked], 75) < max(8, 0.08 * distance[inked].mean()):
            return even, 0
    small = small.astype(np.uint8)
    grey = cv2.resize(small, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).mean(axis=2).astype(np.uint8)
    hats = [
        cv2.morphologyEx(grey, hat, np.ones((max(3, side // 32),) * 2)).astype(float)
        for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)
    ]
    strongest = 0.4 * max(np.percentile(hat, 99.5) for hat in hats)  # the rest is grain
    light, dark = (np.square(hat[hat > strongest]).sum() for hat in hats)
    # A slope goes on beyond the edge where it is mirrored in both directions: mirrored in one it would be a valley.
    padded = np.pad(
        cv2.medianBlur(small, 3).astype(np.int16),
        ((margin, margin), (margin, margin), (0, 0)),
        "reflect",
        reflect_type="odd",
    )
    sign = 1 if light > 2 * dark else -1  # photos are mostly dark on light
    opening, spread = (cv2.MORPH_OPEN, cv2.MORPH_DILATE) if sign > 0 else (cv2.MORPH_CLOSE, cv2.MORPH_ERODE)
    paper = cv2.morphologyEx(np.clip(padded, 0, 255).astype(np.uint8), opening, np.ones((int(broadest * side),) * 2))
    # Beside a blurred edge of a shadow the paper is taken to be as dark as in it: too light it would be seen as ink.
    paper = cv2.GaussianBlur(cv2.morphologyEx(paper, spread, disc(5)), (0, 0), 1)[margin:-margin, margin:-margin]
    return cv2.resize(paper, (width, height)).astype(np.float32), sign


def _border(picture, width: int = 1) -> np.ndarray:
    """The pixels along the four edges, (n, …)."""
    edges = picture[:width], picture[-width:], picture[:, :width], picture[:, -width:]
    return np.concatenate([edge.reshape(-1, *picture.shape[2:]) for edge in edges])


def otsu(grey) -> float:
    """The threshold between the two tones of a picture, 0…255 (Otsu 1979)."""
    return cv2.threshold(np.clip(grey, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)[0]


def disc(diameter: int) -> np.ndarray:
    """A round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(1, diameter),) * 2)
