"""A finished run → one self-contained HTML page."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from competition.config import PLAIN, TTA
from competition.data import dataset_shift
from competition.data.dataset import Dataset
from competition.data.submission import verdict_on
from competition.ensemble import scoring
from competition.ensemble.folds import is_refit, members_of, plan_members
from competition.ensemble.neighbours import Neighbours
from competition.errors import CompetitionError
from competition.report import figures
from competition.report.analysis import (
    errors_kept_out,
    errors_of,
    growth_of,
    per_class,
    per_digit,
    per_member,
    sample_sheets,
    suspected_labels,
)
from competition.report.enlarged import LARGEST, enlarge
from competition.report.html import inline, png, render, sheet
from competition.report.meaning import meaning
from competition.runs import files, history
from competition.runs.folders import Folders
from competition.runs.run import Run, repeat_command

LOOKED_AT = 2000  # test rows among which those least like training are looked for
FRACTIONS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)  # of the most confident rows


class Plot(NamedTuple):
    """A figure of the page: the section that shows it, its description for who cannot see it, and its caption."""

    section: str
    figure: Figure
    alt: str
    caption: str


def make_report(folders: Folders, run: Run, dataset: Dataset) -> Path:
    """Write report.html, figures/*.png and suspected_labels.csv into a complete run's folder.

    Args:
        dataset: the run's own, see `load_dataset_of`.

    Returns:
        The page.
    """
    if "parents" in run.manifest:
        raise CompetitionError(f"A report shows how a run was trained. Received: {run.name}, a blend. Next: "
                               f"COMPARE={run.name},{run.manifest['parents'][0]['run']}.")  # fmt: skip
    config = run.config
    out_of_fold, test = run.probabilities(len(dataset.train), len(dataset.test))
    test = test[config.submitted]
    # Random splits, or a time that ran out, leave rows that no member validated: no part of any figure.
    rows = scoring.rows_predicted(out_of_fold[0])
    labels, out_of_fold = dataset.train.labels[rows], out_of_fold[:, rows]
    probabilities = out_of_fold[config.submitted]
    names = members_of(run)
    members = [member for member in plan_members(config, dataset.train.labels) if member.name in names]
    refit = sum(is_refit(member.name) for member in members)
    results = [run.load_member(member.name) for member in members]
    if any((r.val_probs.shape[1], r.test_probs.shape[1]) != (len(member.val_rows), len(dataset.test))
           for r, member in zip(results, members, strict=True)):  # fmt: skip
        raise CompetitionError(f"{run.path} must hold its members. Received: one of another plan. Next: {run.retrain}.")

    histories = [_columns(result.history) for result in results]
    kept = [result.facts["kept_epoch"] for result in results]
    suspects = suspected_labels(run, dataset, rows, probabilities)
    errors = errors_of(dataset, rows, probabilities, suspects["found"] if suspects else ())
    shown = [*errors["errors"], *(suspects["pictures"] if suspects else ()), *errors["right"]]
    confident = scoring.most_confident(labels, probabilities, FRACTIONS)
    row = history.find(folders, run) or {}
    details, not_enlarged = _details(run, dataset, members, rows, probabilities, shown)
    counts = Counter(member.name.split("-")[0] for member in members)
    rounds = [repeat for repeat, count in counts.items() if count == config.folds > 1]  # they validate all rows
    measured = growth_of(config, labels, probabilities, members, results, rounds)
    dashed = " Refit members are dashed." if refit else ""
    plots = {
        "accuracy": Plot("curves", figures.curves(histories, kept, "accuracy", refit=refit), "Accuracy per epoch of "
            "all members, on their training batches and on the slice that early stopping watches.", "Training accuracy is "
            "measured on augmented images, while the weights still change, so it may lie below that of the slice."
            + dashed),
        "loss": Plot("curves", figures.curves(histories, kept, "loss", config.label_smoothing, refit), "Loss per epoch "
            "of all members, training and early-stopping slice, on a logarithmic scale.", "A loss of the slice that "
            "rises while the training loss falls is overfitting; both high is underfitting."
            + (" Drawn is what it is above the entropy of the smoothed labels, which no loss falls below."
               if config.label_smoothing else "") + dashed),
        "confusion": Plot("", figures.confusion_matrix(np.array(errors["counts"])), "", ""),  # the page has a table
        "reliability": Plot("calibration", figures.reliability(scoring.calibration(labels, probabilities)),
            "Reliability diagram: fraction right against mean probability, with intervals and the number of rows in "
            "each bin.", "Bins adapt: each holds an equal share of the errors that the probabilities expect, so the "
            "last one holds nearly all rows."),
        "classes": Plot("data", figures.class_shares(dataset.train.labels, test.argmax(1)), "Bar chart: share of each "
            "digit in train.csv and among the predicted test rows.", "Shares that differ by much would point to a "
            "mistake."),
        "ink": Plot("data", figures.ink_shares(dataset.train.images, dataset.test.images), "Histogram of the mean ink "
            "of an image, train.csv and test.csv.", "Both files should hold as much ink: the curves should cover each "
            "other."),
        "growth": Plot("ensemble", figures.growth(*measured), "Errors in ten thousand against the number of members "
            "averaged: measured out of fold, and predicted.", ("One point is measured: single members." if not rounds
            else f"Measured: each row averaged over the members of 1 to {len(rounds)} repeats." if len(rounds) > 1
            else "With one repeat only the single point is measured: every row is validated by one member.")
            + (" Measured are members of the folds alone; predicted are averages that hold refit members in the share "
               "in which they are submitted." if refit else "")),
    }  # fmt: skip
    looked_at = dataset_shift.sample(dataset.test.images, LOOKED_AT)
    sheets = {
        **sample_sheets(config, dataset),
        "least_like": sheet(Neighbours(dataset).farthest(looked_at, 24), 12),
    }
    for name, plot in plots.items():
        files.write(run.path / "figures" / f"{name}.png", figures.to_png(plot.figure))
    for name, image in sheets.items():
        files.write(run.path / "figures" / f"{name}.png", png(image))
    page = render(
        "run.html.j2",
        run=run,
        config=config,
        scores=run.scores,
        manifest=run.manifest,
        train_rows=len(dataset.train),
        validated_rows=len(rows),
        test_rows=len(dataset.test),
        looked_at=len(looked_at),
        rounds=len(rounds),
        seconds=sum(run.manifest.get("seconds", {}).values()),
        row=row,
        meaning=meaning(run, row, len(rows), errors["confusions"], confident),
        details=details,
        not_enlarged=not_enlarged,
        verdict=verdict_on(run.submission_csv, dataset.source, len(dataset.test)),
        plots=[(plot, Markup(figures.to_svg(plot.figure))) for plot in plots.values() if plot.section],
        sheet={name: inline(image) for name, image in sheets.items()},
        stops=Counter((epoch, result.facts["epochs"]) for result, epoch in zip(results, kept, strict=True)),
        kept_out=errors_kept_out(dataset, rows, probabilities),
        suspects=suspects,
        members=per_member(config, members, results),
        refit=refit,
        tta=scoring.paired(labels, out_of_fold[TTA], out_of_fold[PLAIN]) if config.submitted else None,
        error=scoring.expected_calibration_error(labels, probabilities),
        confident=confident,
        digit_rows=per_digit(dataset, test),
        command=repeat_command(run),
        manifest_text=json.dumps(run.manifest, indent=2),
        **errors,
        **per_class(labels, probabilities),
        submission_head=run.submission_csv.read_text("utf-8").splitlines()[:6],
        submission_sha256=files.sha256_of(run.submission_csv),
    )
    files.write(run.path / "report.html", page)
    return run.path / "report.html"


def _details(run: Run, dataset: Dataset, members, rows, probabilities, shown: list[dict]) -> tuple[dict, str]:
    """What an enlarged digit shows, and the note of one that cannot be enlarged."""
    wanted = list(dict.fromkeys(picture["row"] - 1 for picture in shown))[:LARGEST]
    at = np.searchsorted(rows, wanted)
    try:
        details = enlarge(run, dataset, members, rows[at], probabilities[at])
    except CompetitionError as error:
        return {"members": [], "rows": {}}, f"More is shown where the members’ networks can be loaded. {error}"
    return details, f"More is shown of the first {LARGEST} digits."


def _columns(history: list[dict]) -> dict[str, np.ndarray]:
    return {name: np.array([float(epoch[name]) for epoch in history]) for name in history[0]}
