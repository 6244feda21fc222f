"""Two finished runs → one page that says which is better, row by row."""

from pathlib import Path

import numpy as np

from competition.data.dataset import Dataset
from competition.ensemble import scoring
from competition.errors import CompetitionError
from competition.report.html import LARGEST_GALLERY, gallery, render, worst_first
from competition.runs import files, history
from competition.runs.folders import Folders
from competition.runs.run import Run


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
    rows = np.intersect1d(*map(scoring.rows_predicted, probabilities))
    if len(rows) < 2:
        raise CompetitionError("COMPARE takes two runs that were asked about the same rows. Received: "
                               f"{len(rows)} in common. Next: choose two of the same protocol.")  # fmt: skip
    labels, probabilities = dataset.train.labels[rows], [p[rows] for p in probabilities]
    wrong = [p.argmax(1) != labels for p in probabilities]
    only = [np.flatnonzero(wrong[i] & ~wrong[1 - i]) for i in (0, 1)]
    settings = [run.manifest["identity"]["settings"] for run in pair]
    page = render(
        "comparison.html.j2",
        runs=pair,
        scores=[run.scores for run in pair],
        parts=[history.part_of(run.scores) for run in pair],
        manifests=[run.manifest for run in pair],
        seconds=[sum(run.manifest.get("seconds", {}).values()) for run in pair],
        result=scoring.paired(labels, *probabilities),
        both_wrong=int(np.sum(wrong[0] & wrong[1])),
        rows=len(rows),
        differing=[(key, settings[0].get(key), settings[1].get(key)) for key in {**settings[0], **settings[1]}
                   if settings[0].get(key) != settings[1].get(key)],
        only=[gallery(dataset.train, rows, p, worst_first(p, chosen)[: LARGEST_GALLERY // 2])
              for p, chosen in zip(probabilities, only, strict=True)],
    )  # fmt: skip
    path = folders.submissions / f"compare-{first.name}-{second.name}.html"
    files.write(path, page)
    return path
