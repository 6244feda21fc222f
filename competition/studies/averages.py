"""Which average to submit, of how many members, with or without test-time augmentation: simulated competitions.

The rows are cut into three stratified parts. Each in turn is the test.csv of a competition whose train.csv are the
other two: the recipe's folds' members and its refit members are trained there as a run would, and all predict the test
part. So averages of either kind, and of both together, are compared on every row, and the same rows, at the sizes that
are submitted. What a run would have predicted of each average stands beside what it reached. Members of a change of the
recipe are trained for the same folds: averaged alone and, as `half …`, with as many of the base.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from competition.config import PLAIN, TTA, Config
from competition.ensemble import scoring
from competition.ensemble.folds import (
    exchangeable_groups,
    is_refit,
    members_per_row,
    plan_members,
    repeated_folds,
    row_ratio,
)
from competition.network.device import choose_setup
from competition.network.member import Member, seed_of
from competition.report.figures import BLUE, ORANGE, styled, titled_axes, to_png
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.version import git_commit
from competition.studies.members import open_study, train_all
from competition.studies.settings import BASE, THIRDS, read_settings, table_path, words_of
from competition.studies.statistics import MEASURES, VARIANTS, averages, halves_of, row_losses, sizes

KINDS = ("folds", "refit", "both")
COLUMNS = (
    "average", "members", "variant", "measure", "value", "difference", "low", "high", "predicted", "base", "rows",
    "source", "commit",
)  # fmt: skip


def run_averages(
    folders: Folders,
    base: str,
    changes: str = "",
    name: str | None = None,
    source: str = "auto",
    jobs: int | None = None,
    scheduler: str | None = None,
) -> Path:
    """Compare the averages that a recipe could submit; prints the comparison.

    Args:
        base: a recipe and settings, see `settings.read_settings`; without refit members it gets as many as folds.
        changes: of the base, like `architecture=residual,epochs=11`, whose members average with its own; may be empty.
        name: of the table; None makes one.

    Returns:
        The table.

    Raises:
        CompetitionError: the data or the settings cannot be used, another study trains, or a member does not learn.
    """
    engine, dataset, config, rows = open_study(folders, base, 1, source, jobs, scheduler)
    config = replace(config, refit=config.refit or config.folds)
    labels = dataset.train.labels
    table = table_path(folders, name, f"averages-{base or config.recipe}", changes, False)
    draws = plan_draws(config, labels, rows)
    settings = read_settings(config, "", changes, 1) if changes else {}
    others = {
        change: plan_draws(replace(changed, refit=0), labels, rows, f"{change}, ")
        for change, changed in settings.items()
        if change != BASE
    }
    members = [member for plan in (draws, *others.values()) for _, own in plan for member in own]
    setup = engine.allocate(choose_setup(threads=1), len(members))
    print(f"Averages of {words_of(config)}, {setup.describe()},\n{engine.describe()}.")
    same = {"base": words_of(config), "rows": len(rows), "source": dataset.source, "commit": git_commit()}
    results = train_all(members, folders.studies / "members", setup, dataset, engine)
    probs = {name: result.val_probs for name, result in results.items()}
    lines = [line | same for line in compare(config, labels, draws, probs, others)]
    files.write_table(table, COLUMNS, lines)
    files.write(table.with_suffix(".png"), to_png(figure_of(lines)))
    print(summary(lines), f"\n\nTable                    {table}\nFigure                   {table.with_suffix('.png')}")
    return table


def plan_draws(config: Config, labels, rows, prefix: str = "") -> list[tuple[np.ndarray, list[Member]]]:
    """Three competitions: of each the test rows and the members, whose validation rows end with all test rows.

    Args:
        labels: of all rows, int64 array (n,).
        rows: numbers of those that the study may see, sorted.
        prefix: of the members' names.
    """
    draws = []
    for number, (train, test) in enumerate(repeated_folds(labels[rows], THIRDS, 1, seed_of(config.seed, THIRDS))):
        train, test = rows[train], rows[test]
        plan = plan_members(replace(config, seed=seed_of(config.seed, number, THIRDS) >> 1), labels[train])
        draws.append((test, [
            replace(member, name=f"{prefix}draw {number + 1}: {member.name}", train_rows=train[member.train_rows],
                    val_rows=np.concatenate([train[member.val_rows], test]))
            for member in plan
        ]))  # fmt: skip
    return draws


def compare(config: Config, labels, draws, probs: dict[str, np.ndarray], others: dict[str, list]) -> list[dict]:
    """Each average's errors, log-loss and Brier score on all test rows, against the folds' members by TTA.

    Args:
        draws: of `plan_draws`.
        probs: by member, float32 array (2, validation rows, 10).
        others: by change its own draws.

    Returns:
        Dicts of COLUMNS, without what all have alike.
    """
    truth = labels[np.concatenate([rows for rows, _ in draws])]
    halves = halves_of(truth)
    folds, refit = (_of_test_rows(draws, probs, of_refit) for of_refit in (False, True))
    changed = {change: _of_test_rows(plan, probs, False) for change, plan in others.items()}
    found = {}
    for variant, name in ((PLAIN, VARIANTS[PLAIN]), (TTA, VARIANTS[TTA])):
        own, whole = folds[:, variant], refit[:, variant]
        p = {("folds", size): averages(own, size) for size in sizes(len(own))}  # by average and size (choices, n, 10)
        p |= {("refit", size): averages(whole, size) for size in sizes(len(whole))}
        for size in sizes(len(whole)):
            both = len(own) + size
            p["both", both] = (len(own) * own.mean(axis=0) + size * averages(whole, size)) / both
        for change, members in changed.items():
            p |= {(change, size): averages(members[:, variant], size) for size in sizes(len(members))}
            for half in [*sizes(len(members) // 2), len(members)]:
                p[f"half {change}", 2 * half] = _half_each(own, members[:, variant], half)
        for (kind, size), values in p.items():
            found[kind, size, name] = [losses.mean(axis=0) for losses in row_losses(truth, values, halves).values()]
    base = found["folds", len(folds), VARIANTS[config.submitted]]
    lines = []
    for (kind, size, name), losses in found.items():
        as_submitted = (kind in KINDS or kind in others) and name == VARIANTS[config.submitted]
        predicted = predict(config, labels, others.get(kind, draws), probs, kind, size) if as_submitted else None
        for measure, values, of_base in zip(MEASURES, losses, base, strict=True):
            difference = values - of_base
            half = scoring.Z95 * difference.std(ddof=1) / len(truth) ** 0.5
            line = {"average": kind, "members": size, "variant": name, "measure": measure}
            line |= {"value": values.mean(), "difference": difference.mean()}
            line |= {"low": difference.mean() - half, "high": difference.mean() + half}
            line |= {"predicted": predicted} if measure == "errors" and predicted is not None else {}
            lines.append({key: round(float(v), 7) if isinstance(v, float) else v for key, v in line.items()})
    return lines


def _of_test_rows(draws, probs, refit: bool) -> np.ndarray:
    """What the folds' members, or the refit ones, predict: float array (members, 2, all test rows, 10)."""
    of_draws = []
    for rows, plan in draws:
        chosen = [member for member in plan if is_refit(member.name.rpartition(": ")[2]) == refit]
        of_draws.append(np.stack([probs[member.name][:, -len(rows) :] for member in chosen]))
    return np.concatenate(of_draws, axis=2)


def _half_each(own, changed, half: int) -> np.ndarray:
    """Averages of so many members of either, of different folds as far as there are: float array (choices, n, 10)."""
    return (averages(own, half) + averages(np.roll(changed, -half, axis=0), half)) / 2


def predict(config: Config, labels, draws, probs, kind: str, size: int) -> float:
    """The error rate that a run would predict of an average, mean over the draws.

    Args:
        kind: one of KINDS, or a change whose draws these are.
    """
    rates = []
    for test, members in draws:
        refit = [member for member in members if is_refit(member.name.rpartition(": ")[2])]
        fold_members = members[: len(members) - len(refit)]
        own = [replace(member, name=member.name.rpartition(": ")[2], val_rows=member.val_rows[: -len(test)])
               for member in fold_members]  # fmt: skip
        kept = [probs[member.name][config.submitted] for member in fold_members]
        per_row = members_per_row(own, len(labels))
        train, out_of_fold = np.flatnonzero(per_row), np.zeros((len(labels), 10))
        for member, p in zip(own, kept, strict=True):
            out_of_fold[member.val_rows] += p[: -len(test)] / per_row[member.val_rows, None]
        submitted = {"refit": refit, "both": own + refit}.get(kind, own)[:size]
        groups = exchangeable_groups(config, own, np.stack([p[-len(test) :] for p in kept]), size - len(own))
        ratio = row_ratio(submitted, own)
        rates.append(1 - scoring.predict_leaderboard(labels[train], out_of_fold[train], groups, ratio)["score"])
    return float(np.mean(rates))


@styled
def figure_of(lines: list[dict]) -> Figure:
    """Errors of averages of folds' and of refit members, of the images as they are and by TTA.

    Args:
        lines: dicts of COLUMNS.
    """
    figure, axes = titled_axes("What do more members bring, and TTA?", "members averaged", "errors in 10,000")
    own = [line for line in lines if line["measure"] == "errors" and line["average"] in ("folds", "refit")]
    for kind, variant in dict.fromkeys((line["average"], line["variant"]) for line in own):
        curve = [line for line in own if (line["average"], line["variant"]) == (kind, variant)]
        color, style = {"folds": BLUE, "refit": ORANGE}[kind], {"plain": "o--", "tta": "o-"}[variant]
        label = f"{'all rows (refit)' if kind == 'refit' else 'folds'}, {'TTA' if variant == 'tta' else variant}"
        members, rates = [line["members"] for line in curve], [1e4 * line["value"] for line in curve]
        axes.plot(members, rates, style, color=color, ms=4, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.legend(fontsize=8, loc="upper right")
    return figure


def summary(lines: list[dict]) -> str:
    """Errors of each average in 10,000 rows, plain and by TTA, and how they differ from the folds' average."""
    heads = f"{'difference (95 %)':>22}{'predicted':>11}{'Brier, difference (95 %)':>28}"
    width = max(len(f"{line['average']}, 12 members") for line in lines) + 2
    text = [f"\n{'average':{width}}{'plain':>8}{'TTA':>8}{heads}"]
    cells = {(a["average"], a["members"], a["variant"], a["measure"]): a for a in lines}
    for kind, size in dict.fromkeys((a["average"], a["members"]) for a in lines):
        plain, tta = (cells[kind, size, variant, "errors"] for variant in VARIANTS)
        brier = cells[kind, size, VARIANTS[TTA], "brier"]
        interval = f"{1e4 * tta['difference']:+.2f} ± {5e3 * (tta['high'] - tta['low']):.2f}"
        squared = f"{1e4 * brier['difference']:+.2f} ± {5e3 * (brier['high'] - brier['low']):.2f}"
        predicted = f"{1e4 * tta['predicted']:.2f}" if tta.get("predicted") is not None else "–"
        errors = f"{1e4 * plain['value']:8.2f}{1e4 * tta['value']:8.2f}"
        text.append(f"{f'{kind}, {size} members':{width}}{errors}{interval:>22}{predicted:>11}{squared:>28}")
    return "\n".join(text)
