"""A finished run → one self-contained HTML page."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
from markupsafe import Markup
from sklearn.metrics import classification_report

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
    drawn = {
        "accuracy": figures.curves(histories, kept, "accuracy", refit=refit),
        "loss": figures.curves(histories, kept, "loss", config.label_smoothing, refit),
        "confusion": figures.confusion_matrix(np.array(errors["counts"])),  # as a file; the page has a table
        "reliability": figures.reliability(scoring.calibration(labels, probabilities)),
        "classes": figures.class_shares(dataset.train.labels, test.argmax(1)),
        "ink": figures.ink_shares(dataset.train.images, dataset.test.images),
        "growth": figures.growth(*measured),
    }
    looked_at = dataset_shift.sample(dataset.test.images, LOOKED_AT)
    sheets = {
        **sample_sheets(config, dataset),
        "least_like": sheet(Neighbours(dataset).farthest(looked_at, 24), 12),
    }
    for name, figure in drawn.items():
        files.write(run.path / "figures" / f"{name}.png", figures.to_png(figure))
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
        row=row,
        meaning=meaning(run, row, len(rows), errors["confusions"], confident),
        details=details,
        not_enlarged=not_enlarged,
        verdict=verdict_on(run.submission_csv, dataset.source, len(dataset.test)),
        svg={name: Markup(figures.to_svg(figure)) for name, figure in drawn.items()},
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
        classes=_per_class(labels, probabilities.argmax(1)),
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


def _per_class(labels, predicted) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each digit, then their macro and weighted averages."""
    report = classification_report(labels, predicted, labels=range(10), zero_division=0, output_dict=True)
    return {name: measures for name, measures in report.items() if name not in ("accuracy", "micro avg")}


def _columns(history: list[dict]) -> dict[str, np.ndarray]:
    return {name: np.array([float(epoch[name]) for epoch in history]) for name in history[0]}
