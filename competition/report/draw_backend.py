"""What the draw page shows of a drawing: how a run reads it, how much its members agree, which digits are near."""

import os
import struct
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from competition.data.dataset import load_dataset_of
from competition.data.pictures import digit_of
from competition.ensemble.neighbours import Neighbours
from competition.errors import CompetitionError
from competition.report.html import inline
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.run import Run

WIDEST = 2048  # pixels; a small PNG file may unpack to a very large picture
NEAREST = 8  # training digits that are shown
PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


class Reader:
    """A run that reads drawings, loaded once.

    Attributes:
        ensemble: its members.
        folder: where drawings are kept.
        missing: why the training digits are not at hand; None where they are.

    Raises:
        CompetitionError: a member is missing or damaged.
    """

    def __init__(self, folders: Folders, run: Run):
        from competition.ensemble.predict import Ensemble, doubt_limit

        self.folder = folders.drawn
        self.ensemble, self._doubt = Ensemble(run), doubt_limit(run)
        self._neighbours, self.missing = None, None
        try:
            self._neighbours = Neighbours(load_dataset_of(folders, run.manifest))
        except CompetitionError as error:
            self.missing = str(error)
        self._one = threading.Lock()  # requests come on threads of their own, which would share the cores
        self.ensemble.ask(np.zeros((1, 28, 28, 1), np.uint8))  # the first call traces the graph, a second or two

    def read(self, png: bytes) -> dict:
        """What the ensemble thinks of a drawing, as the page shows it.

        Raises:
            CompetitionError: it is no picture, or blank.
        """
        from competition.ensemble.predict import remarks

        started = time.perf_counter()
        image = picture(png)
        with self._one:
            whole, members = (said[..., 0, :] for said in self.ensemble.ask(image[None]))
            distances, rows = self._neighbours.nearest(image, NEAREST) if self._neighbours else ([0.0], [])
        unlike = bool(self._neighbours) and distances[0] > self._neighbours.limit
        train = self._neighbours and self._neighbours.train
        return {
            "label": int(whole.argmax()),
            "probabilities": _rounded(whole),
            "members": [_rounded(member) for member in members],
            "agreement": agreement(members.argmax(axis=1)),
            "remarks": remarks(unlike, whole.max() < self._doubt),
            "seen": inline(image),
            "nearest": [
                {"row": int(row) + 1, "label": int(train.labels[row]), "png": inline(train.images[row])} for row in rows
            ],
            "milliseconds": round(1000 * (time.perf_counter() - started)),
        }

    def keep(self, png: bytes, label: int) -> dict:
        """Write a drawing into the user's folder, named by its right label and the time (UTC).

        Raises:
            CompetitionError: it is no picture, or blank, or cannot be written.
        """
        picture(png)
        stem = f"{label}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
        with self._one:
            taken = len(list(self.folder.glob(f"{stem}*.png")))  # in the same second
            path = self.folder / f"{stem}{f'-{taken + 1}' if taken else ''}.png"
            files.write(path, png)
        return {"file": shown(path), "kept": len(list(self.folder.glob("*.png")))}


def picture(png: bytes) -> np.ndarray:
    """A drawing as the network sees it, made by the same code as `make predict`'s: uint8 array (28, 28, 1).

    Raises:
        CompetitionError: it is no PNG file, or a very large one, or blank.
    """
    sides = struct.unpack_from(">II", png, 16) if png.startswith(PNG_HEAD) and len(png) > 24 else (0, 0)
    if not 0 < max(sides) <= WIDEST:
        raise CompetitionError(
            f"A drawing is a PNG file of at most {WIDEST} pixels a side. Received: "
            f"{' × '.join(map(str, sides)) if max(sides) else 'something else'}. Next: a smaller one."
        )
    return digit_of(png, "The drawing")


def agreement(votes) -> str:
    """In words, how much the members agree; votes are the digits that each of them reads."""
    counts = Counter(map(int, votes)).most_common()
    if len(counts) == 1:
        who = {1: "The one member says", 2: "Both members say"}.get(len(votes), f"All {len(votes)} members say")
        return f"{who} {counts[0][0]}."
    said = [f"{count} say{'s' if count == 1 else ''} {digit}" for digit, count in counts]
    return f"The members disagree: {', '.join(said)}."


def shown(path: Path) -> str:
    """A path as one would type it here."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)


def _rounded(probabilities) -> list[float]:
    return [round(float(p), 4) for p in probabilities]
