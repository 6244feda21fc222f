"""Six systems that others described, trained through our own pipeline, as one table beside ours."""

import math
import time
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from competition.config import MNIST, RECIPES, REFERENCE, Config, choose_config
from competition.data.dataset import Dataset, load_dataset, mnist_at_hand
from competition.data.digits import LabelledDigits, content_hash
from competition.ensemble.folds import plan_members
from competition.ensemble.manifest import manifest_of
from competition.ensemble.members import Trainer
from competition.errors import CompetitionError
from competition.execution.engines import choose_engine
from competition.network.device import Setup, choose_setup
from competition.network.models import build_model
from competition.pipeline import train
from competition.report.units import duration
from competition.runs import files, history
from competition.runs.folders import Folders
from competition.runs.resuming import fits
from competition.runs.run import Run, list_runs

SPLIT: dict = {"folds": 1, "repeats": 1, "holdout": 1 / 7}  # as MNIST's own 60,000 : 10,000
ALL_OF_MNIST = {"folds": 1, "repeats": 1, "holdout": 1 / 60}  # scored on its test digits; few training rows need to
PART = 4000  # rows on which the reference recipe is timed
PART_EPOCHS = 4  # of which the first, with all that starts then, does not count
NOT_AT_HAND, NONE = "not at hand", "–"


@dataclass(frozen=True)
class Claim:
    """What a system's description says of it.

    Attributes:
        text: in its words.
        accuracy: on rows that were not trained on; None where no number is given.
        loss: on the same.
        epoch: after which the accuracy is claimed; None: after training.
        mnist: whether on MNIST's 60,000 / 10,000; otherwise on rows of train.csv.
        seeds: how many trainings it is compared with.
    """

    text: str
    accuracy: float | None = None
    loss: float | None = None
    epoch: int | None = None
    mnist: bool = True
    seeds: int = 1


CLAIMS = {
    "readme-cnn": Claim("98.75 %, loss 0.041", 0.9875, 0.041),
    "dropout-cnn": Claim("“notable accuracy”"),
    "kaggle-cnn": Claim("99 %, loss 0.05", 0.99, 0.05, seeds=5),
    "mlp": Claim("98 % train, 97 % validation", 0.97),
    "dense-10": Claim("over 97 % by epoch 2", 0.97, epoch=2),
    "notebook-cnn": Claim("none", mnist=False),
}
HEADER = (
    "system", "claim", "accuracy (log-loss) as claimed", "on a 6:1 split", "claim reached", "out of fold",
    "predicted leaderboard", "parameters", "time",
)  # fmt: skip


def write_table(
    folders: Folders,
    settings: dict,
    source: str = "auto",
    jobs: int | None = None,
    reference: bool = False,
    minutes: float | None = None,
) -> str:
    """Train what is not trained yet and write the table.

    Args:
        settings: fields of Config that differ from the recipes'; None leaves the recipe's.
        source: of MNIST: `mnist-keras`, which Keras may download, `mnist-csv`, or `auto`, what is at hand.
        jobs: how many members train at once; None takes what suits the machine.
        reference: also train the reference recipe, which takes hours; one that was trained before is in the table.
        minutes: that it may take; see `pipeline.train`.

    Returns:
        The table as Markdown, which is also in submissions/baselines/table.md.

    Raises:
        CompetitionError: data or settings cannot be used.
    """
    if minutes is not None and not reference:
        raise CompetitionError("MINUTES= is for the reference. Received: it alone. Next: REFERENCE=1 MINUTES=240.")
    setup, place = choose_setup(), folders.baselines
    mnist = mnist_at_hand(folders) if source == "auto" else source
    dataset = load_dataset(place)
    lines = [HEADER, ["---"] * len(HEADER)]

    def trained(name: str, source: str = "auto", **more) -> Run:
        """The finished run of these settings, data and package, or a new one."""
        data = dataset if source == "auto" else load_dataset(place, source)
        config = choose_config(name, data.source, {**settings, **more})
        if found := _found(place, config, data, setup):
            return found
        print(f"\n{name}, {config.folds} folds" if config.folds > 1 else f"\n{name}, one split")
        return train(place, setup, name, {**settings, **more}, source, jobs)

    for name, claim in CLAIMS.items():
        folds, seeds = trained(name), range(claim.seeds)
        splits = [trained(name, **SPLIT, seed=seed) for seed in seeds]
        described = [trained(name, mnist, **ALL_OF_MNIST, seed=seed) for seed in seeds if claim.mnist and mnist]
        claimed = _cell(described) if described else NOT_AT_HAND if claim.mnist else NONE
        reached = _reached(claim, described or splits)
        lines.append(_line(name, _spent(folds), claim.text, claimed, _cell(splits), reached, _cell([folds]),
                           _predicted(folds)))  # fmt: skip
    if reference and not _found(place, choose_config(REFERENCE.recipe, dataset.source, {}), dataset, setup):
        print(f"\n{REFERENCE.recipe}, which takes hours: after an interruption the same command goes on")
        train(place, setup, REFERENCE.recipe, {}, "auto", jobs, minutes=minutes)
    lines += [_reference(place, setup, dataset, jobs), *_ours(folders)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    files.write(place.submissions / "table.md", table)
    return f"\n{table}\nThe table: {place.submissions / 'table.md'}"


def _found(place: Folders, config: Config, dataset: Dataset, setup: Setup, part: bool = False) -> Run | None:
    """A finished run of these settings, data and package; of a part of the members only where that is enough."""
    identity = manifest_of(config, dataset, setup)["identity"]
    for run in reversed(list_runs(place)):
        try:
            if (run.complete if part else run.whole) and run.manifest and fits(run.manifest["identity"], identity):
                return run
        except CompetitionError as error:
            print(f"Left alone: {error}")
    return None


def _reached(claim: Claim, runs: list[Run]) -> str:
    """Whether runs reach a claim, with the figures."""
    if claim.accuracy is None:
        return NONE
    accuracies, losses = [], []
    for run in runs:
        accuracy, loss = _judged(run)
        if claim.epoch:
            history = run.load_member("repeat1-fold1").history
            accuracy = float(history[min(claim.epoch, len(history)) - 1]["val_accuracy"])
        accuracies.append(accuracy)
        losses.append(loss)
    right = [accuracy >= claim.accuracy for accuracy in accuracies]
    low = [claim.loss is None or loss <= claim.loss for loss in losses]
    reached = sum(a and b for a, b in zip(right, low, strict=True))
    verdict = "yes" if reached == len(runs) else "no" if not reached else f"{reached} of {len(runs)}"
    figures = []
    if claim.epoch or not all(right):
        figures.append(" ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies) + " %")
    if not all(low):
        figures.append("loss " + " ".join(f"{loss:.3f}" for loss in losses))
    return f"{verdict}: {', '.join(figures)}" if figures else verdict


def _reference(place: Folders, setup: Setup, dataset: Dataset, jobs: int | None) -> list[str]:
    """The reference recipe's line: of its run, or of a part of that; without one its time alone is estimated."""
    claim = "0.99757 on the leaderboard"
    config = choose_config(REFERENCE.recipe, dataset.source, {})
    if run := _found(place, config, dataset, setup) or _found(place, config, dataset, setup, part=True):
        part = history.part_of(run.scores)
        took = f"{_spent(run)}, {part}" if part else _spent(run)
        return _line(REFERENCE.recipe, took, claim, folds=_cell([run]), predicted=_predicted(run))
    engine = choose_engine(jobs)
    setup = engine.allocate(setup, REFERENCE.members)
    at_once, rows = engine.jobs or 1, min(PART, len(dataset.train))
    images, labels = dataset.train.images[:rows], dataset.train.labels[:rows]
    shortened = LabelledDigits(images, labels, dataset.train.source, content_hash(images, labels))
    config = replace(REFERENCE, epochs=PART_EPOCHS, repeats=at_once)
    trainer = Trainer(setup, shortened, replace(dataset.test, images=dataset.test.images[:100]))
    ends = defaultdict(list)  # of each member's epochs
    part_of_it = f"{PART_EPOCHS} epochs of {rows} rows by {at_once} of its members at once"
    print(f"\n{REFERENCE.recipe}, for its time alone: {part_of_it}")
    members = plan_members(config, labels)
    for _ in engine.each(trainer, members, lambda name, logs: ends[name].append(time.perf_counter())):
        pass
    epoch = sum(times[-1] - times[0] for times in ends.values()) / (PART_EPOCHS - 1) / len(ends)
    turns = math.ceil(REFERENCE.members / at_once)  # of as many members as train at once
    whole = epoch * len(dataset.train) / rows * REFERENCE.epochs * turns
    return _line(REFERENCE.recipe, f"about {duration(whole)}, from {part_of_it}", claim)


def _ours(folders: Folders) -> list[list[str]]:
    """The line of `fast` from its newest reference run in the committed record; none where there is no record."""
    rows = files.read_table(folders.record) if folders.record.exists() else []
    rows = [row for row in rows if row["remark"].startswith("reference run of the recipe fast")][-1:]
    return [
        _line("fast", duration(float(row["seconds"])), claimed="never trained on it", folds=row["oof_accuracy"],
              predicted=row["predicted"])
        for row in rows
    ]  # fmt: skip


def _line(name, took, claim=NONE, claimed=NONE, split=NONE, reached=NONE, folds=NONE, predicted=NONE) -> list[str]:
    parameters = build_model(RECIPES[name]).count_params()
    return [f"`{name}`", claim, claimed, split, reached, folds, predicted, f"{parameters:,}", took]


def _judged(run: Run) -> tuple[float, float]:
    """Accuracy and log-loss on rows that no member fitted: MNIST's test digits, or those out of fold."""
    scores = run.scores
    if run.manifest["source"] in MNIST:
        return scores["true_accuracy"], scores["true_log_loss"]
    return scores["out_of_fold"]["accuracy"], scores["out_of_fold"]["log_loss"]


def _cell(runs: list[Run]) -> str:
    """The mean accuracy of some runs, and their mean log-loss."""
    accuracy, loss = np.mean([_judged(run) for run in runs], axis=0)
    cell = f"{accuracy:.5f} ({loss:.3f})"
    return f"{cell}, mean of {len(runs)}" if len(runs) > 1 else cell


def _predicted(run: Run) -> str:
    board = run.scores["leaderboard"]
    return f"{board['score']:.5f}" if board else NONE


def _spent(run: Run) -> str:
    return duration(sum(run.manifest["seconds"].values()))
