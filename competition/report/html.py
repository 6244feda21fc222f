"""Self-contained HTML pages: templates filled by jinja2, pictures of digits as data URIs."""

import base64
import re
from pathlib import Path

import cv2
import jinja2
import numpy as np
from markupsafe import Markup, escape

from competition.data.digits import LabelledDigits
from competition.report import units
from competition.runs.folders import PACKAGE

LARGEST_GALLERY = 1500  # errors on a page at most, so that it stays under 3 MB even for a hopeless run


def render(template: str, templates: Path = PACKAGE / "report" / "templates", **values) -> str:
    """Fill one of a folder's templates, or of the report's; every value is escaped, a missing one an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates, PACKAGE / "report" / "templates"]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= units.FILTERS | {"ticked": ticked}
    return environment.get_template(template).render(values)


def ticked(text: str) -> Markup:
    """A sentence as HTML; what stands between backticks in it is code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def png(image) -> bytes:
    """A uint8 array (height, width) or (height, width, 1), grey, or (height, width, 4), BGRA, as a PNG file."""
    return cv2.imencode(".png", np.ascontiguousarray(image))[1].tobytes()


def worst_first(probabilities, rows) -> np.ndarray:
    """Rows in falling order of the probability of their predicted digit."""
    return rows[np.argsort(-probabilities[rows].max(axis=1), kind="stable")]


def gallery(digits: LabelledDigits, rows, probabilities, chosen, suspected=()) -> list[dict]:
    """What the page shows of some training rows; row numbers count from 1 like the file's own.

    Args:
        rows: int array (n,) of the training rows that the probabilities, (n, 10), are of.
        chosen: which of those to show.
        suspected: indices likewise, of suspected labels.
    """
    return [
        {
            "row": int(rows[i]) + 1,
            "label": int(digits.labels[rows[i]]),
            "predicted": int(probabilities[i].argmax()),
            "probability": float(probabilities[i].max()),
            "suspected": i in suspected,
            "png": inline(digits.images[rows[i]]),
        }
        for i in chosen
    ]


def inline(image) -> str:
    """An image as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def sheet(images, columns: int) -> np.ndarray:
    """Digits side by side.

    Args:
        images: uint8 array (n, 28, 28, 1).

    Returns:
        uint8 array (rows * 30, columns * 30), each digit in its tile with a margin of one pixel.
    """
    rows = -(-len(images) // columns)
    tiles = np.zeros((rows * columns, 30, 30), np.uint8)
    tiles[: len(images), 1:-1, 1:-1] = np.asarray(images)[..., 0]
    return tiles.reshape(rows, columns, 30, 30).swapaxes(1, 2).reshape(rows * 30, columns * 30)
