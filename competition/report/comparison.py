"""Two finished runs → one page that says which is better, row by row."""

from pathlib import Path

import numpy as np
from markupsafe import Markup
from sklearn.metrics import confusion_matrix

from competition.data.dataset import Dataset
from competition.ensemble import scoring
from competition.errors import CompetitionError
from competition.report import figures
from competition.report.html import LARGEST_GALLERY, gallery, render, worst_first
from competition.runs import files, history
from competition.runs.folders import Folders
from competition.runs.run import Run, settings_of


def make_comparison(folders: Folders, first: Run, second: Run, dataset: Dataset) -> Path:
    """Write a page that compares two complete runs on the same training rows, pair by pair.

    Raises:
        CompetitionError: the runs were not made from the same data.
    """
    pair = (first, second)
    if first.manifest["identity"]["data"] != second.manifest["identity"]["data"]:
        raise CompetitionError("COMPARE takes two runs on the same data. Received: "
                               f"{first.name} and {second.name}. Next: choose two of one source.")  # fmt: skip
    probabilities = [run.probabilities(len(dataset.train), len(dataset.test))[0][run.config.submitted] for run in pair]
    rows = np.intersect1d(scoring.rows_predicted(probabilities[0]), scoring.rows_predicted(probabilities[1]))
    if len(rows) < 2:
        raise CompetitionError("COMPARE takes two runs that validated the same rows. Received: "
                               f"{len(rows)} in common. Next: choose two of the same protocol.")  # fmt: skip
    labels, probabilities = dataset.train.labels[rows], [p[rows] for p in probabilities]
    predicted = [p.argmax(1) for p in probabilities]
    wrong = [p != labels for p in predicted]
    changed = predicted[0] != predicted[1]
    only = [np.flatnonzero(wrong[i] & ~wrong[1 - i]) for i in (0, 1)]
    differently = np.flatnonzero(wrong[0] & wrong[1] & changed)
    settings = [settings_of(run.config) for run in pair]
    histories = [run.histories() for run in pair]
    names, smoothings = [run.name for run in pair], [run.config.label_smoothing for run in pair]
    counts = [confusion_matrix(labels, p, labels=range(10)) for p in predicted]

    def shown(i, chosen):
        chosen = worst_first(probabilities[i], chosen)[: LARGEST_GALLERY // 3]
        return gallery(dataset.train, rows, probabilities[i], chosen), predicted[1 - i][chosen].tolist()

    page = render(
        "comparison.html.j2",
        runs=pair,
        parts=[history.part_of(run.scores) for run in pair],
        result=scoring.paired(labels, *probabilities),
        both_wrong=int(np.sum(wrong[0] & wrong[1])),
        changed=int(changed.sum()),
        rows=len(rows),
        differing=[(key, value, settings[1][key]) for key, value in settings[0].items() if settings[1][key] != value],
        curves=[Markup(figures.to_svg(figures.overlaid(histories, names, measure, smoothings)))
                for measure in figures.QUESTIONS] if all(histories) else [],
        difference=(counts[1] - counts[0]).tolist(),
        only=[shown(i, chosen)[0] for i, chosen in enumerate(only)],
        differently=list(zip(*shown(0, differently), strict=True)),
    )  # fmt: skip
    path = folders.submissions / f"compare-{first.name}-{second.name}.html"
    files.write(path, page)
    return path
