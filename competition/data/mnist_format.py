"""A picture of one digit or several → 28×28 each, the way MNIST was made."""

from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage

from competition.data.paper import by_a_pen, disc, ink_of, otsu, sharpness, sheet_of

BOX = 20  # pixels; MNIST's digits fit a box of this size, their centre of mass in the middle of 28×28, (14, 14)
FAINT = 0.2  # of the ink's tone: what is fainter is paper
FAINTEST = 6  # of 255: less contrast than any pencil has
GREY = 0.65  # mean tone of the ink; what is paler, as 1 % of MNIST's digits are, is taken to the power LIFT
LIFT = 0.6
NARROW = 1 / 14  # of the picture's longer side; strokes up to this width are looked for without broader shadows, too,
SHARPER = 1.2  # and taken where their outline is sharper by this factor: a shadow's is soft. In photos without: 1.1
MUCH_SHARPER = 1.8  # the same where no pen drew what was found first: parts of an object are sharper than all of it
THIN = 1.6  # pixels in the box; thinner strokes vanish when a picture shrinks, and are widened before


class Picture(NamedTuple):
    """What a picture shows.

    Attributes:
        digits: uint8 array (n, 28, 28, 1), 0 is paper and 255 is ink; n > 1 where they stand clearly apart.
        several: whether it shows several digits, in one image where they don't stand apart.
        drawn: whether it looks like strokes of a pen, and not like a photographed object.
    """

    digits: np.ndarray
    several: bool = False
    drawn: bool = True


class Piece(NamedTuple):
    """A connected stretch of ink: its label, where it lies, and how much ink it is."""

    label: int
    rows: slice
    columns: slice
    mass: float

    @property
    def height(self) -> int:
        """In pixels."""
        return self.rows.stop - self.rows.start

    @property
    def size(self) -> int:
        """The longer side in pixels."""
        return max(self.height, self.columns.stop - self.columns.start)


def prepare(colour: np.ndarray, apart: bool = True) -> Picture | None:
    """Find the digits of a picture.

    Args:
        colour: float32 array (height, width, 3), 0…255, dark on light or light on dark; best of some 400 pixels a side.
        apart: whether several digits that stand apart become an image each.

    Returns:
        None for a picture without ink.
    """
    sheet = sheet_of(colour)
    ink = ink_of(sheet)
    strokes = strokes_of(ink)
    if strokes is None:
        return None
    mask = _mask(*strokes[1:])
    drawn = by_a_pen(ink, mask)
    narrow = ink_of(sheet, NARROW)
    if others := strokes_of(narrow):
        narrow_mask = _mask(*others[1:])
        if sharpness(sheet, narrow_mask) > (SHARPER if drawn else MUCH_SHARPER) * sharpness(sheet, mask):
            strokes, drawn = others, by_a_pen(narrow, narrow_mask)
    tone, labels, pieces = strokes
    groups = digits_of(pieces)
    several = len(groups) > 1 or _many(pieces)
    if not apart:
        groups = [pieces]
    digits = np.stack([mnist_form(_only(tone, labels, group)) for group in groups])
    return Picture(digits, several, drawn)


def strokes_of(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Piece]] | None:
    """What of the ink is drawn: no specks, ruled lines, frames, nor what comes in over the edge beside a digit.

    Returns:
        Ink 0…1, float32 (height, width); labels of its connected components, int32 (height, width); and which of them
        are pieces of digits. None where nothing is drawn.
    """
    side = max(ink.shape)
    smooth = cv2.GaussianBlur(ink, (0, 0), side / 400) if side >= 100 else ink
    if smooth.max() <= 0:
        return None
    apart = max(1, side // 100)
    noise = np.median(np.abs(smooth[apart:] - smooth[:-apart]))
    strong = smooth > otsu(255 / smooth.max() * smooth) * smooth.max() / 255
    smooth = np.clip(smooth, 0, None)
    full = np.percentile(ink[strong], 75)
    if full < max(FAINTEST, 8 * noise):
        return None
    mask = _without_lines((smooth > max(0.3 * full, min(3 * noise, 0.4 * full))).astype(np.uint8))
    bridge = round(0.01 * side) if side >= 60 else 0  # a faint stroke is broken
    labels = cv2.connectedComponents(cv2.dilate(mask, np.ones((2 * bridge + 1,) * 2)))[1] * mask
    numbers = np.flatnonzero(np.bincount(labels[strong & (mask > 0)]))
    masses = np.bincount(labels.ravel(), ink.ravel())
    where = ndimage.find_objects(labels)
    pieces = [Piece(int(n), where[n - 1][0], where[n - 1][1], float(masses[n])) for n in numbers if n]
    kept = _of_digits(pieces, labels) if pieces else []
    return (np.clip((ink / full - FAINT) / (1 - FAINT), 0, 1), labels, kept) if kept else None


def digits_of(pieces: list[Piece]) -> list[list[Piece]]:
    """The pieces of each digit, from left to right; of one digit where not all that stands apart is as tall."""
    groups: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.columns.start):
        if groups and piece.columns.start < max(other.columns.stop for other in groups[-1]):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    heights = [max(p.rows.stop for p in group) - min(p.rows.start for p in group) for group in groups]
    return groups if min(heights) >= 0.6 * max(heights) else [pieces]


def mnist_form(ink: np.ndarray) -> np.ndarray:
    """Scale the ink's bounding box to BOX, widening strokes that would vanish; put its centre of mass in the middle.

    Args:
        ink: float32 array (height, width), 0…1.

    Returns:
        uint8 array (28, 28, 1).
    """
    ink = _cropped(ink)
    inside = cv2.distanceTransform(np.pad(ink > 0.4, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    stroke = 4 * inside[inside > 0].mean() - 1 if inside.any() else 1  # across a strip the mean is (width + 1) / 4
    missing = round(THIN * max(ink.shape) / BOX - stroke)
    if missing > 0:
        ink = _cropped(cv2.dilate(np.pad(ink, missing), disc(missing + 1)))
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    # INTER_AREA averages when it shrinks, which gives the grey edges that MNIST's own digits have.
    ink = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    ink = np.clip(ink / np.percentile(ink[ink > min(FAINT, ink.max() / 2)], 90), 0, 1)
    if ink[ink > FAINT].mean() < GREY:
        ink **= LIFT
    centre = ndimage.center_of_mass(ink)
    down, right = (
        int(np.clip(round(14 - middle), 0, 28 - side)) for middle, side in zip(centre, ink.shape, strict=True)
    )
    image = np.zeros((28, 28, 1), np.uint8)
    image[down : down + height, right : right + width, 0] = np.round(255 * ink)
    return image


def _of_digits(pieces: list[Piece], labels) -> list[Piece]:
    """Those that are no frames, no specks, and don't come in over the picture's edge beside others that lie inside."""
    height, width = labels.shape
    pieces = [piece for piece in pieces if not _frames(piece, pieces, labels)]
    inside = [
        piece
        for piece in pieces
        if min(piece.rows.start, piece.columns.start, height - piece.rows.stop, width - piece.columns.stop) > 0
    ]
    if inside:
        main = max(inside, key=lambda piece: piece.mass)
        if main.size >= 0.15 * max(height, width) or main.mass > 0.3 * max(piece.mass for piece in pieces):
            pieces = inside
    main = max(pieces, key=lambda piece: piece.mass)
    return [
        piece
        for piece in pieces
        if (piece.size >= 0.2 * main.size or piece.mass > 0.05 * main.mass)
        and (piece.size >= 0.5 * main.size or _gap(piece, main) < 0.5 * main.size)
    ]


def _frames(piece: Piece, pieces: list[Piece], labels) -> bool:
    """Whether it is a thin rectangle around another piece, as the box of a form is."""
    around = any(
        other.size >= 0.25 * piece.size
        and piece.rows.start < other.rows.start
        and piece.rows.stop > other.rows.stop
        and piece.columns.start < other.columns.start
        and piece.columns.stop > other.columns.stop
        for other in pieces
    )
    if not around:
        return False
    own = labels[piece.rows, piece.columns] == piece.label
    down, right = (max(2, side // 10) for side in own.shape)
    return bool(own[down:-down, right:-right].sum() < 0.25 * own.sum())


def _gap(piece: Piece, other: Piece) -> int:
    """Pixels between their bounding boxes."""
    return max(
        max(a.start, b.start) - min(a.stop, b.stop)
        for a, b in ((piece.rows, other.rows), (piece.columns, other.columns))
    )


def _many(pieces: list[Piece]) -> bool:
    """Whether ink that does not stand apart is several digits: wider than any is, or tall pieces side by side."""
    top, bottom = min(piece.rows.start for piece in pieces), max(piece.rows.stop for piece in pieces)
    columns = max(piece.columns.stop for piece in pieces) - min(piece.columns.start for piece in pieces)
    tall = [piece for piece in pieces if piece.height >= 0.6 * max(other.height for other in pieces)]
    gap = max(piece.rows.start for piece in tall) - min(piece.rows.stop for piece in tall)
    wide = 1.2 if len(tall) > 1 else 1.8
    return columns > wide * (bottom - top) or gap > 0.1 * (bottom - top)


def _without_lines(mask: np.ndarray) -> np.ndarray:
    """A mask without the ruled lines that cross the whole picture, unless nothing else is on it."""
    if min(mask.shape) < 60:
        return mask
    bare = _without_horizontal(np.ascontiguousarray(_without_horizontal(mask).T)).T
    stats = cv2.connectedComponentsWithStats(np.ascontiguousarray(bare))[2][1:]
    sizes = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    return np.ascontiguousarray(bare) if len(stats) and sizes.max() >= 0.15 * max(mask.shape) else mask


def _without_horizontal(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    high = cv2.dilate(mask, np.ones((3, 1)))  # a line that is a little slanted has longer runs then
    runs = cv2.morphologyEx(high, cv2.MORPH_OPEN, np.ones((1, width // 6)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(runs, np.ones((3, 9))))
    across = (stats[:, cv2.CC_STAT_WIDTH] >= width) & (stats[:, cv2.CC_STAT_HEIGHT] <= 0.12 * height)
    across[0] = False
    if not across.any():
        return mask
    lines: np.ndarray = cv2.dilate((across[labels] & (runs > 0)).astype(np.uint8), np.ones((3, 1)))
    rest = mask & ~lines & 1
    # A stroke that crosses a line stays whole.
    crossing: np.ndarray = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones((max(3, height // 25), 1)))
    return rest | (crossing & lines & high)


def _only(tone, labels, pieces: list[Piece]) -> np.ndarray:
    """The ink of those pieces, with the grey pixels around them."""
    return tone * cv2.dilate(_mask(labels, pieces), np.ones((3, 3)))


def _mask(labels, pieces: list[Piece]) -> np.ndarray:
    """1 where those pieces are, uint8 (height, width)."""
    return np.isin(labels, [piece.label for piece in pieces]).astype(np.uint8)


def _cropped(ink) -> np.ndarray:
    """To the bounding box of what is more than a trace."""
    left, top, width, height = cv2.boundingRect((ink > min(FAINT, ink.max() / 2)).astype(np.uint8))
    return ink[top : top + height, left : left + width]
