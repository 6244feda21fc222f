"""How errors fall with the training rows: what a refit member, which fits all of them, is worth.

The rows are cut into six stratified blocks. For each block a chain of five members fits the next one, two, three, four
and five blocks, and all validate on the first: so each fraction of the rows is measured on every row, and the same
rows. Errors, log-loss and Brier score are taken to be powers of the number of rows (Hestness et al. 2017, *Deep
learning scaling is predictable, empirically*, https://arxiv.org/abs/1712.00409).
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import t

from competition.config import Config
from competition.ensemble.folds import repeated_folds
from competition.network.calibration import log_losses
from competition.network.device import choose_setup
from competition.network.member import Member, seed_of
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.version import git_commit
from competition.studies.members import open_study, train_all
from competition.studies.settings import table_path, words_of
from competition.studies.statistics import MEASURES

BLOCKS = 6
COLUMNS = ("measure", "fit_rows", "value", "exponent", "low", "high", "base", "seeds", "rows", "source", "commit")


def run_learning_curve(
    folders: Folders,
    base: str,
    seeds: int = 1,
    name: str | None = None,
    source: str = "auto",
    jobs: int | None = None,
    scheduler: str | None = None,
) -> Path:
    """Measure by which power errors fall with the rows; prints it, with its 95 % interval.

    Args:
        base: a recipe and settings, see `settings.read_settings`.
        seeds: how many chains are trained for each block, each on blocks of its own.
        name: of the table; None makes one.

    Returns:
        The table.

    Raises:
        CompetitionError: the data or the settings cannot be used, another study trains, or a member does not learn.
    """
    engine, dataset, config, rows = open_study(folders, base, seeds, source, jobs, scheduler)
    table = table_path(folders, name, f"learning-curve-{base or config.recipe}", "", False)
    members = plan_chains(config, dataset.train.labels, rows, seeds)
    setup = engine.allocate(choose_setup(threads=1), len(members))
    print(f"Learning curve of {words_of(config)}, {setup.describe()},\n{engine.describe()}.")
    commit = git_commit()  # before hours pass
    results = train_all(members, folders.studies / "members", setup, dataset, engine)
    losses = np.array([
        losses_of(dataset.train.labels[member.val_rows], results[member.name].val_probs[config.submitted])
        for member in members
    ])  # fmt: skip
    fit_rows = np.array([len(member.train_rows) for member in members])
    same = {"base": words_of(config), "seeds": seeds, "rows": len(rows), "source": dataset.source, "commit": commit}
    lines = []
    for measure, values in zip(MEASURES, losses.reshape(-1, BLOCKS - 1, len(MEASURES)).transpose(2, 0, 1), strict=True):
        chains = fit_rows.reshape(-1, BLOCKS - 1)
        exponent, half = power(chains.mean(axis=0), values)
        for count, value in zip(chains.mean(axis=0), values.mean(axis=0), strict=True):
            lines.append({"measure": measure, "fit_rows": round(count), "value": round(value, 6), **same})
        figures = {"exponent": exponent, "low": exponent - half, "high": exponent + half}
        lines[-1] |= {name: round(figure, 3) for name, figure in figures.items()}
    files.write_table(table, COLUMNS, lines)
    print(summary(lines), f"\n\nTable                    {table}")
    return table


def plan_chains(config: Config, labels, rows, seeds: int) -> list[Member]:
    """The members, chain by chain, in each from the fewest rows to the most.

    Args:
        labels: of all rows, int64 array (n,).
        rows: numbers of those that the study may see, sorted.
    """
    members = []
    for seed in range(seeds):
        pairs = repeated_folds(labels[rows], BLOCKS, 1, seed_of(config.seed, seed, BLOCKS))
        blocks = [rows[block] for _, block in pairs]
        for held in range(BLOCKS):
            for count in range(1, BLOCKS):
                fitted = [blocks[(held + 1 + number) % BLOCKS] for number in range(count)]
                name = f"{count} of {BLOCKS}: seed{seed + 1}-block{held + 1}"
                own_seed = seed_of(config.seed, seed, held, count) >> 1
                members.append(
                    Member(
                        name,
                        replace(config.of_repeat(seed), seed=0),
                        own_seed,
                        np.sort(np.concatenate(fitted)),
                        blocks[held],
                    )
                )
    return members


def losses_of(labels, probs) -> tuple[float, float, float]:
    """Error rate, mean log-loss and mean Brier score of probabilities (n, 10)."""
    errors = np.mean(probs.argmax(axis=1) != labels)
    return (
        float(errors),
        float(log_losses(labels, probs).mean()),
        float(((probs - np.eye(10)[labels]) ** 2).sum(axis=1).mean()),
    )


def power(fit_rows, values) -> tuple[float, float]:
    """The exponent by which values fall with the rows, and half of its 95 % interval.

    The means over chains are fitted as a straight line of logarithms. The interval is the jackknife's over chains, each
    of which has rows and members of its own: it holds the chance of rows and of training.

    Args:
        fit_rows: float array (k,).
        values: float array (chains, k).

    >>> rows = np.array([1000, 2000, 4000])
    >>> exponent, half = power(rows, np.array([0.02 * (rows / 1000) ** -0.5] * 4))
    >>> round(exponent, 6), round(half, 6)
    (0.5, 0.0)
    """

    def exponent(part) -> float:
        return -float(np.polyfit(np.log(fit_rows), np.log(np.maximum(part.mean(axis=0), 1e-9)), 1)[0])

    chains = len(values)
    without = np.array([exponent(np.delete(values, chain, axis=0)) for chain in range(chains)])
    error = math.sqrt((chains - 1) / chains * ((without - without.mean()) ** 2).sum())
    return exponent(values), float(t.isf(0.025, chains - 1)) * error


def summary(lines: list[dict]) -> str:
    """The curve of each measure and its exponent, as a table of text."""
    text = [f"\n{'fit rows':>10}" + "".join(f"{measure:>12}" for measure in MEASURES)]
    for count in dict.fromkeys(line["fit_rows"] for line in lines):
        values = [next(a["value"] for a in lines if (a["measure"], a["fit_rows"]) == (m, count)) for m in MEASURES]
        text.append(f"{count:>10}" + "".join(f"{value:>12.5f}" for value in values))
    for line in lines:
        if "exponent" in line:
            interval = f"{line['low']:.3f} – {line['high']:.3f}"
            text.append(f"{line['measure']}: rows to the power of −{line['exponent']:.3f} (95 % interval {interval})")
    return "\n".join(text)
