"""What the draw page shows of a drawing: a run's prediction, how much its members agree, which digits are near."""

import struct
import threading
import time
from collections import Counter
from functools import lru_cache

import numpy as np

from competition.data.dataset import load_dataset_of
from competition.data.digits import Digits
from competition.data.mnist_format import Picture
from competition.data.pictures import picture_of
from competition.ensemble.neighbours import Neighbours
from competition.ensemble.occlusion import Occlusion, occlusions
from competition.errors import CompetitionError
from competition.report.enlarged import heat_map, in_words
from competition.report.html import inline
from competition.report.units import accuracy
from competition.runs import files
from competition.runs.folders import Folders, shown
from competition.runs.run import Run, list_runs

WIDEST = 2048  # pixels; a small PNG file may unpack to a very large picture
NEAREST = 8  # training digits that are shown
LOADED = 4  # runs that are kept in memory, each with its training digits
PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


class Backend:
    """The complete runs, of which one is loaded when it is first chosen, and the folder of kept drawings.

    Attributes:
        runs: by name, first the one that is chosen to begin with, then the newest first.
        folder: where drawings are kept.

    Raises:
        CompetitionError: a member of the first run is missing or damaged.
    """

    def __init__(self, folders: Folders, first: Run):
        others = [run for run in reversed(list_runs(folders)) if run.complete and run.name != first.name]
        self.runs = {run.name: run for run in [first, *others]}
        self.folder = folders.drawn
        self._lock = threading.Lock()  # requests come on threads of their own, which would share the cores
        self._predictor = lru_cache(LOADED)(lambda name: Predictor(folders, self.runs[name]))
        self.first = self._predictor(first.name)

    def predict(self, png: bytes, name: str) -> dict:
        """See `Predictor.predict`; name is one of the runs."""
        with self._lock:
            return self._predictor(name).predict(picture(png))

    def occlude(self, png: bytes, name: str) -> dict:
        """See `Predictor.occlude`; name is one of the runs."""
        with self._lock:
            return self._predictor(name).occlude(picture(png))

    def keep(self, png: bytes, label: int) -> dict:
        """Write a drawing into the user's folder, named by its right label and the time (UTC).

        Raises:
            CompetitionError: it is no picture, or blank, or cannot be written.
        """
        picture(png)
        stem = f"{label}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
        with self._lock:
            taken = len(list(self.folder.glob(f"{stem}*.png")))  # in the same second
            path = self.folder / f"{stem}{f'-{taken + 1}' if taken else ''}.png"
            files.write(path, png)
        return {"file": str(shown(path)), "kept": len(list(self.folder.glob("*.png")))}


class Predictor:
    """A run that predicts drawings.

    Attributes:
        examples: some of its test digits, see `examples`.
        missing: why the training digits are not at hand; None where they are.

    Raises:
        CompetitionError: a member is missing or damaged.
    """

    def __init__(self, folders: Folders, run: Run):
        from competition.ensemble.networks import Ensemble
        from competition.ensemble.predict import doubt_limit

        self._ensemble, self._doubt = Ensemble(run), doubt_limit(run)
        self._neighbours, self.missing, self.examples = None, None, []
        try:
            dataset = load_dataset_of(folders, run.manifest)
            self._neighbours, self.examples = Neighbours(dataset), examples(run, dataset.test)
            self._unlike = self._neighbours.limit  # a second's work, before the first drawing
        except CompetitionError as error:
            self.missing = str(error)
        # The first calls trace the graph, a second or two: of one image and of many.
        self._ensemble.predict(np.zeros((1, 28, 28, 1), np.uint8))
        self._occlusion(np.zeros((28, 28, 1), np.uint8))

    def predict(self, drawing: Picture) -> dict:
        """What the page shows of a drawing as one digit."""
        from competition.ensemble.predict import remarks

        started = time.perf_counter()
        image = drawing.digits[0]
        probs, member_probs = (part[..., 0, :] for part in self._ensemble.predict(image[None]))
        unlike, nearest = not drawing.drawn, []
        if self._neighbours:
            train, (distances, rows) = self._neighbours.train, self._neighbours.nearest(image, NEAREST)
            unlike = unlike or distances[0] > self._unlike
            nearest = [
                {"row": int(row) + 1, "label": int(train.labels[row]), "png": inline(train.images[row])} for row in rows
            ]
        return {
            "probs": _rounded(probs),
            "members": [
                {"name": name, "probs": _rounded(row)}
                for name, row in zip(self._ensemble.members, member_probs, strict=True)
            ],
            "agreement": agreement(member_probs.argmax(axis=1)),
            "remarks": remarks(unlike, probs.max() < self._doubt, drawing.several),
            "image": inline(image),
            "nearest": nearest,
            "missing": self.missing,
            "milliseconds": round(1000 * (time.perf_counter() - started)),
        }

    def occlude(self, drawing: Picture) -> dict:
        """The occlusion map of a drawing, to lay over it, and in words."""
        found = self._occlusion(drawing.digits[0])
        return {"map": inline(heat_map(found)), "words": in_words(found, "The ensemble, without augmentation,")}

    def _occlusion(self, image) -> Occlusion:
        return occlusions([image], lambda images: self._ensemble.predict(images, tta=False)[0])[0]


def picture(png: bytes) -> Picture:
    """A drawing as the network sees it, all of it as one digit, made by the same code as `make predict`'s.

    Raises:
        CompetitionError: it is no PNG file, or a very large one, or blank.
    """
    sides = struct.unpack_from(">II", png, 16) if png.startswith(PNG_HEAD) and len(png) > 24 else (0, 0)
    if not 0 < max(sides) <= WIDEST:
        raise CompetitionError(
            f"A drawing is a PNG file of at most {WIDEST} pixels a side. Received: "
            f"{' × '.join(map(str, sides)) if max(sides) else 'something else'}. Next: a smaller one."
        )
    return picture_of(png, "The drawing", apart=False)


def examples(run: Run, test: Digits) -> list[str]:
    """The first test digit of each predicted label, dark on light, as data URIs."""
    labels = run.probabilities(test_rows=len(test))[1][run.config.submitted].argmax(axis=1)
    return [inline(255 - test.images[labels == digit][0]) for digit in np.unique(labels)]


def agreement(labels) -> str:
    """In words, how much the members agree; labels are what each of them predicts."""
    counts = Counter(map(int, labels)).most_common()
    if len(counts) == 1:
        who = {1: "The one member predicts", 2: "Both members predict"}.get(
            len(labels), f"All {len(labels)} members predict"
        )
        return f"{who} {counts[0][0]}."
    parts = [f"{count} {'predicts' if count == 1 else 'predict'} {digit}" for digit, count in counts]
    return f"The members disagree: {', '.join(parts)}."


def described(run: Run) -> str:
    """A run among others to choose from: its name and, where its scores can be read, its out-of-fold accuracy."""
    try:
        return f"{run.name} · {accuracy(run.scores['out_of_fold']['accuracy'])}"
    except CompetitionError:
        return run.name


def _rounded(probs) -> list[float]:
    return [round(float(p), 4) for p in probs]
