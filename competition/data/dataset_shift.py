"""Is test.csv drawn as train.csv is? What pixels alone can tell, before anything is trained.

A few measures of each image, compared between the two files by two-sample Kolmogorov-Smirnov tests. A difference counts
where it is significant (Bonferroni over all tests made) and large: 42,000 rows make any trifle significant.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.stats import ks_2samp

from competition.data.digits import Digits

ALPHA = 0.001  # chance that any of the tests finds a difference where there is none
LEAST = 0.05  # Kolmogorov-Smirnov statistic, 0…1: a smaller difference is left alone, however significant
FEWEST = 20  # rows on either side: fewer are not tested
ROWS = 5000  # of each file, at most: a random sample tells as much, in a second
MEASURES = (
    "grey of the paper", "lowest value", "highest value", "mean ink", "contrast of neighbours", "roughness",
    "horizontal centre", "vertical centre", "width", "height", "slant", "horizontal skewness", "vertical skewness",
    "stroke width",
)  # fmt: skip


def measure(images) -> np.ndarray:
    """MEASURES of each image.

    Args:
        images: uint8 array (n, 28, 28, 1).

    Returns:
        float64 array (n, 14). Grey values are 0…255; contrast and roughness (the mean absolute difference from the next
        pixel, and from the mean of the four around) are fractions of the image's range; lengths are in pixels. Ink is
        what differs from the paper, the median of the border.
    """
    pixels = np.asarray(images)[..., 0].astype(np.float32)
    border = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, 1:-1, 0], pixels[:, 1:-1, -1]], axis=1)
    paper, low, high = np.median(border, axis=1), pixels.min(axis=(1, 2)), pixels.max(axis=(1, 2))
    span = np.maximum(high - low, 1)
    across, down = np.abs(np.diff(pixels, axis=2)), np.abs(np.diff(pixels, axis=1))
    around = (pixels[:, :-2, 1:-1] + pixels[:, 2:, 1:-1] + pixels[:, 1:-1, :-2] + pixels[:, 1:-1, 2:]) / 4
    ink = np.abs(pixels - paper[:, None, None])
    x, width, _, x_skewness = _along(ink, axis=1)
    y, height, y_spread, y_skewness = _along(ink, axis=2)
    at = np.arange(28, dtype=np.float32)
    covariance = np.einsum("nij,i,j->n", ink, at, at) / np.maximum(ink.sum(axis=(1, 2)), 1) - x * y
    inked = ink > ink.max(axis=(1, 2), keepdims=True) / 2
    edges = np.diff(inked, axis=1).sum(axis=(1, 2)) + np.diff(inked, axis=2).sum(axis=(1, 2))
    return np.stack(
        [
            paper, low, high, pixels.mean(axis=(1, 2)),
            (across.mean(axis=(1, 2)) + down.mean(axis=(1, 2))) / span,
            np.abs(pixels[:, 1:-1, 1:-1] - around).mean(axis=(1, 2)) / span,
            x, y, width, height, covariance / np.maximum(y_spread**2, 1e-6), x_skewness, y_skewness,
            2 * inked.sum(axis=(1, 2)) / np.maximum(edges, 1),
        ],
        axis=1,
        dtype=np.float64,
    )  # fmt: skip


def _along(ink, axis: int) -> tuple[np.ndarray, ...]:
    """Centre, extent, standard deviation and skewness of the ink along one axis, summed over the other."""
    profile = ink.sum(axis=axis)
    weights = profile / np.maximum(profile.sum(axis=1, keepdims=True), 1)
    at = np.arange(28, dtype=np.float32)
    centre = weights @ at
    away = at - centre[:, None]
    spread = np.sqrt((weights * away**2).sum(axis=1))
    there = (ink > ink.max(axis=(1, 2), keepdims=True) / 4).any(axis=axis)
    extent = np.where(there.any(axis=1), 28 - there.argmax(axis=1) - there[:, ::-1].argmax(axis=1), 0)
    return centre, extent, spread, (weights * away**3).sum(axis=1) / np.maximum(spread**3, 1e-6)


def compare(names, train, test) -> list[dict]:
    """Two-sample tests of some measures, the largest difference first.

    Args:
        names: of the measures.
        train, test: float arrays (n, measures) and (m, measures), a row for each image.

    Returns:
        For each measure: `measure`, `distance` (Kolmogorov-Smirnov statistic, 0…1), `p` (corrected for the number of
        tests), the medians `train` and `test`, and whether they `differ`. Empty where a side has fewer than FEWEST.
    """
    if min(len(train), len(test)) < FEWEST:
        return []
    found = []
    for name, ours, theirs in zip(names, train.T, test.T, strict=True):
        distance, p = ks_2samp(ours, theirs, method="asymp")
        p = min(1.0, float(p) * len(names))
        found.append({
            "measure": name,
            "distance": float(distance),
            "p": p,
            "train": float(np.median(ours)),
            "test": float(np.median(theirs)),
            "differ": bool(p < ALPHA and distance >= LEAST),
        })  # fmt: skip
    return sorted(found, key=lambda test: -test["distance"])


def compare_pixels(train, test) -> list[dict]:
    """`compare` of the MEASURES of two sets of images, uint8 arrays (n, 28, 28, 1)."""
    return compare(MEASURES, measure(sample(train)), measure(sample(test)))


def sample(images, rows: int = ROWS) -> np.ndarray:
    """At most so many of the images, a random sample, always the same."""
    if len(images) <= rows:
        return np.asarray(images)
    return images[np.sort(np.random.default_rng(0).permutation(len(images))[:rows])]


def missing_digits(labels) -> list[int]:
    """The digits that no training row has, so that no network can predict them."""
    return sorted(set(range(10)) - set(np.unique(labels).tolist()))


def warning(train: Digits, test_images) -> str | None:
    """What is wrong with two files, and what would make them alike, in a line; None where nothing differs.

    Args:
        test_images: uint8 array (n, 28, 28, 1).
    """
    if missing := missing_digits(train.labels):
        return (
            "train.csv has rows of each digit. Received: none of "
            f"{', '.join(map(str, missing))}. Next: `make data` with a whole file; test rows of those are errors."
        )
    images = train.images
    if not (found := in_words(compare_pixels(images, test_images))):
        return None
    following = remedy(images, test_images) or "look at images of both; no score on train.csv holds for such a test.csv"
    return f"test.csv is not like train.csv. Received: {found}. Next: {following}."


def in_words(tests: list[dict], most: int = 3) -> str:
    """The largest of the differences that `compare` found, the medians of test.csv and of train.csv; else empty."""
    found = [test for test in tests if test["differ"]]
    named = [
        f"{test['measure']} {test['test']:.3g} instead of {test['train']:.3g} (KS {test['distance']:.2f})"
        for test in found[:most]
    ]
    return ", ".join(named) + (f" and {len(found) - most} more" if len(found) > most else "")


def remedy(train, test) -> str | None:
    """The simple operation after which two files look most alike, in words; None where half of the difference stays.

    Which of the two files is as it should be, pixels don't tell.
    """
    train, test = sample(train, 1000), sample(test, 1000)
    measured = measure(train)

    def compared(images) -> tuple[float, float, list[str]]:
        """How large the differences that count are, all differences, and the names of those that count."""
        tests = compare(MEASURES, measured, measure(images))
        found = [test for test in tests if test["differ"]]
        names = [test["measure"] for test in found]
        return sum(test["distance"] for test in found), sum(test["distance"] for test in tests), names

    before = compared(test)[0]
    tried = {words: compared(change(test)) for words, change in _operations(measured, measure(test)).items()}
    words, (after, _, left) = min(tried.items(), key=lambda item: item[1][:2])
    if after > before / 2:
        return None
    return f"{words}, and they look alike" if not left else f"{words}, and they differ less ({', '.join(left)})"


def _operations(train, test) -> dict[str, Callable]:
    """What undoes common mistakes: functions of test.csv's images, uint8 (n, 28, 28, 1), by what they do.

    Args:
        train, test: MEASURES of both files.
    """
    wanted = "grey of the paper", "highest value", "horizontal centre", "vertical centre"
    columns = [MEASURES.index(name) for name in wanted]
    (paper, top, x, y), (test_paper, test_top, test_x, test_y) = (
        np.median(table[:, columns], axis=0).tolist() for table in (train, test)
    )
    operations: dict[str, Callable] = {
        "invert the images of one file (255 − value)": lambda images: 255 - images,
        "transpose the images of one file": lambda images: images.swapaxes(1, 2),
        "transpose and invert the images of one file": lambda images: 255 - images.swapaxes(1, 2),
        "mirror the images of one file": lambda images: images[:, :, ::-1],
        "turn the images of one file upside down": lambda images: images[:, ::-1],
        "turn the images of test.csv by 90° to the left": partial(np.rot90, axes=(1, 2)),
        "turn the images of one file by 180°": partial(np.rot90, k=2, axes=(1, 2)),
        "turn the images of test.csv by 90° to the right": partial(np.rot90, k=3, axes=(1, 2)),
    }
    right, down = round(x - test_x), round(y - test_y)
    if right or down:
        name = f"shift the images of test.csv by {right} pixels to the right and {down} down"
        operations[name] = lambda images: np.roll(images, (down, right), axis=(1, 2))
    gain = (top - paper) / (test_top - test_paper) if test_top != test_paper and top != paper else 1.0
    if paper != test_paper or abs(gain - 1) > 0.02:
        ranges = f"{test_paper:.0f}…{test_top:.0f}", f"{paper:.0f}…{top:.0f}"
        file, factor, (old, new) = ("test.csv", gain, ranges) if gain >= 1 else ("train.csv", 1 / gain, ranges[::-1])
        name = (
            f"bring the values {old} of {file} to {new}" if paper or test_paper else f"multiply {file} by {factor:.3g}"
        )
        operations[name] = lambda images: np.rint(np.clip((images - test_paper) * gain + paper, 0, 255)).astype(
            np.uint8
        )
    return operations
