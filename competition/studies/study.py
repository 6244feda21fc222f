"""Does a change help? Settings trained on the same rows from the same seeds → a table of differences with intervals.

Reversed folds: the rows are cut in three; a member fits one third and predicts the other two. So each row is predicted
by two members a seed, three members predict twice as many rows as there are for the training cost of one, and their
errors, which are what a comparison counts, are many. Their average is an ensemble of two; more seeds make larger ones.
Compare at the largest: what single nets gain, their average may have already.

What they do not show: a member that learns from a third of the rows is overtaken by what saves it from too few rows. So
they favour regularization (smoothing, dropout, stronger distortion) and small nets; and two members that share no row
differ more, so that averages gain more, than in a run. What wins here is confirmed with `full`: the recipe's own folds.

No study sees the rows of `folds.kept_out`. What was trained is kept under a key of all that made it, and never trained
again: neither by the same study, killed and started again, nor by another one with the same base.
"""

from pathlib import Path

import numpy as np

from competition.config import Config
from competition.data.dataset import Dataset
from competition.ensemble.folds import kept_out
from competition.errors import CompetitionError
from competition.execution.engines import Engine
from competition.network.device import Setup, choose_setup
from competition.report.units import counted
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.version import git_commit
from competition.studies.members import open_study, train_plans
from competition.studies.page import make_study_page
from competition.studies.settings import (
    BASE,
    NULL,
    THIRDS,
    plan,
    read_settings,
    stack_predictions,
    table_path,
    words_of,
)
from competition.studies.statistics import (
    MEASURES,
    TITLES,
    Difference,
    compared,
    measured,
    scatter,
    verdict,
    widened,
)

COLUMNS = (
    "setting", "variant", "members", "measure", "of_base", "of_setting", "difference", "low", "high", "percent",
    "percent_half", "widened", "verdict", "seconds", "base", "split", "seeds", "rows", "source", "commit", "hardware",
)  # fmt: skip
SPLITS = ("reversed thirds", "full folds")
NOT_TRAINED = "did not train"


def run_study(
    folders: Folders,
    base: str,
    changes: str,
    seeds: int = 2,
    full: bool = False,
    name: str | None = None,
    source: str = "auto",
    jobs: int | None = None,
    scheduler: str | None = None,
) -> Path:
    """Tell which changes of a base are significantly better; see the module's docstring.

    Args:
        base, changes: see `read_settings`; a base without a recipe starts from the one that suits the data.
        seeds: how often all of it is trained, with folds and seeds of its own.
        full: on the recipe's own folds in place of reversed thirds.
        name: of the table and the page; None makes one of what is compared.

    Returns:
        The table, beside which the page lies.

    Raises:
        CompetitionError: the data or the settings cannot be used, another study trains, or the base does not learn.
    """
    engine, dataset, start, _ = open_study(folders, "", seeds, source, jobs, scheduler)
    settings = read_settings(start, base, changes, seeds)
    table = table_path(folders, name, base or settings[BASE].recipe, changes, full)
    members = (len(settings) + 1) * seeds * settings[BASE].repeats * (settings[BASE].folds if full else THIRDS)
    setup = engine.allocate(choose_setup(threads=1), members)  # threads change results: what is kept stays comparable
    count = counted(len(settings) - 1, "change")
    print(f"{count} of {words_of(settings[BASE])}, {setup.describe()},\n{engine.describe()}.")
    lines = conduct(folders, setup, engine, dataset, settings, seeds, full)
    files.write_table(table, COLUMNS, lines)
    print(summary(lines))
    print(f"\nTable                    {table}\nPage                     {make_study_page(table)}")
    return table


def conduct(
    folders: Folders,
    setup: Setup,
    engine: Engine,
    dataset: Dataset,
    settings: dict[str, Config],
    seeds: int,
    full: bool,
) -> list[dict]:
    """Train what the settings need and is not kept yet, and compare each with the base.

    Args:
        settings: by their words, the base among them; see `read_settings`.
        seeds: how often all of it is trained, each time with folds and seeds of its own.
        full: on the recipe's own folds in place of reversed thirds.

    Returns:
        A dict of COLUMNS for each setting but the base, variant, size of the average and measure. The first setting is
        the null: the base on the same folds from other seeds, which shows what chance alone does. Errors are counted in
        rows, log-loss and Brier score are means; `widened` is by how much an interval is wider than rows alone would
        have it, see `statistics.widened`; seconds are those of a member's training.

    Raises:
        CompetitionError: another study trains in this folder, or the base does not learn.
    """
    train = dataset.train
    rows = np.setdiff1d(np.arange(len(train)), kept_out(train))
    settings = {BASE: settings[BASE], NULL: settings[BASE]} | settings
    plans = {name: plan(name, config, train.labels, rows, seeds, full) for name, config in settings.items()}
    same = {
        "base": words_of(settings[BASE]),
        "split": SPLITS[full],
        "seeds": seeds,
        "rows": len(rows),
        "source": dataset.source,
        "commit": git_commit(),  # before hours pass
    }
    results = train_plans(plans, folders.studies / "members", setup, dataset, engine)
    base: dict = {}
    found: dict[str, dict] = {}
    facts: dict[str, list[dict]] = {}
    scatters = []
    for name, members in plans.items():
        made = [results[member.name] for member in members]
        failed = [result for result in made if isinstance(result, CompetitionError)]
        learned = [result for result in made if not isinstance(result, CompetitionError)]
        if failed and name in (BASE, NULL):
            raise failed[0]
        if failed:
            print(f"{name}: {failed[0]}")
            continue
        probs, member_of_row = stack_predictions(members, learned, rows)
        measures = measured(train.labels[rows], probs)
        if name == BASE:
            base = measures
            continue
        found[name] = compared(base, measures)
        scatters.append(scatter(member_of_row, base, measures))
        facts[name] = [result.facts for result in learned]
    adjusted = widened(list(found.values()), scatters, freedom=len(plans[BASE]) - 1)
    differences, factors = (dict(zip(found, values, strict=True)) for values in adjusted)
    lines = []
    for name in settings:
        if name == BASE:
            continue
        if name not in differences:
            lines.append({"setting": name, "verdict": NOT_TRAINED, **same})
            continue
        same_here = same | {
            "setting": name,
            "verdict": verdict(differences[name], looks=2 * (len(plans) - 2)),
            "seconds": round(float(np.mean([record["training_seconds"] for record in facts[name]])), 1),
            "hardware": ", ".join(sorted({record["hardware"] for record in facts[name]})),
        }
        for (variant, size, measure), difference in differences[name].items():
            numbers = _numbers(variant, size, measure, difference, len(rows))
            lines.append(same_here | numbers | {"widened": round(factors[name][variant, measure], 3)})
    return lines


def summary(lines: list[dict]) -> str:
    """The deciding lines, by TTA at the largest average, as a table of at most 100 columns."""
    first, trained = lines[0], [line for line in lines if line["verdict"] != NOT_TRAINED]
    largest = max(line["members"] for line in trained)
    by = {(line["setting"], line["members"], line["measure"]): line for line in trained if line["variant"] == "tta"}
    columns = [(1, "errors"), *((largest, measure) for measure in MEASURES)]
    width = min(24, max(len(line["setting"]) for line in lines))
    readers = "1 member" if largest == 1 else f"{largest} members"
    text = [
        "",
        f"Base {first['base']}: {first['rows']:,} rows in {first['split']}, each predicted by {readers}.",
        "Errors of the base: " + ", ".join(
            f"{by[NULL, size, 'errors']['of_base']:.1f} by {'single nets' if size == 1 else f'averages of {size}'}"
            for size in sorted({size for _, size, _ in by})
        ),
        "Below: difference in % of the base, ± half of its 95 % interval, by TTA; less is better.",
        "Wider than by rows alone, as members scatter: "
        + ", ".join(
            f"{min(line['widened'] for line in by.values() if line['measure'] == measure):.2f}× ({TITLES[measure]})"
            for measure in MEASURES
        )
        + ".",
        "",
        f"{'':{width}}{'single nets':>13}{f'averages of {largest}':^39}".rstrip(),
        f"{'':{width}}" + "".join(f"{TITLES[measure]:>13}" for _, measure in columns),
    ]  # fmt: skip
    for setting in dict.fromkeys(line["setting"] for line in lines):
        cells = [by.get((setting, *column)) for column in columns]
        numbers = [f"{cell['percent']:+.1f} ± {cell['percent_half']:.1f}" if cell else "–" for cell in cells]
        verdict = next(line["verdict"] for line in lines if line["setting"] == setting)
        name = setting if len(setting) <= width else setting[: width - 1] + "…"
        text.append(f"{name:{width}}" + "".join(f"{number:>13}" for number in numbers) + f"  {verdict}")
    return "\n".join(text)


def _numbers(variant: str, members: int, measure: str, found: Difference, rows: int) -> dict:
    unit, digits = (rows, 2) if measure == "errors" else (1, 6)
    low, high = found.difference - found.half, found.difference + found.half
    numbers = {"of_base": found.base, "of_setting": found.changed, "difference": found.difference}
    numbers |= {"low": low, "high": high}
    percent, half = found.percent
    return {
        "variant": variant,
        "members": members,
        "measure": measure,
        **{name: round(unit * value, digits) for name, value in numbers.items()},
        "percent": round(percent, 2),
        "percent_half": round(half, 2),
    }
