"""Five systems that others described, trained through our own pipeline, as one table beside ours."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from competition.config import BASELINES, RECIPES, REFERENCE, choose_config
from competition.data.dataset import Dataset, load_dataset, mnist_at_hand
from competition.data.digits import Digits, content_hash
from competition.ensemble.folds import plan_members
from competition.ensemble.manifest import manifest_of
from competition.ensemble.members import Trainer, choose_engine
from competition.network.device import Setup, choose_setup
from competition.network.models import build_model
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.resuming import fits
from competition.runs.run import Run, list_runs

SPLIT = {"folds": 1, "repeats": 1, "holdout": 1 / 7}  # as MNIST's own 60,000 : 10,000
ALL_OF_MNIST = {"folds": 1, "repeats": 1, "holdout": 1 / 60}  # its test digits judge; few training rows need to
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
        mnist: whether on MNIST's 60,000 / 10,000; otherwise on a split of train.csv.
    """

    text: str
    accuracy: float | None = None
    loss: float | None = None
    epoch: int | None = None
    mnist: bool = True


CLAIMS = {
    "readme-cnn": Claim("98.75 %, loss 0.041", 0.9875, 0.041),
    "dropout-cnn": Claim("“notable accuracy”"),
    "kaggle-cnn": Claim("99 %, loss 0.05", 0.99, 0.05, mnist=False),
    "mlp": Claim("98 % train, 97 % validation", 0.97),
    "dense-10": Claim("over 97 % by epoch 2", 0.97, epoch=2),
}
HEADER = (
    "system", "claim", "accuracy (log-loss) as claimed", "on a 6:1 split", "out of fold", "claim reached on the split",
    "parameters", "time",
)  # fmt: skip


def write_table(
    folders: Folders, settings: dict, train: Callable[..., Run], source: str = "auto", jobs: int | None = None
) -> str:
    """Train what is not trained yet and write the table.

    Args:
        settings: fields of Config that differ from the recipes'; None leaves the recipe's.
        train: `pipeline.train`.
        source: of MNIST: `mnist-keras`, which Keras may download, `mnist-csv`, or `auto`, what is at hand.
        jobs: how many members train at once; None takes what suits the machine.

    Returns:
        The table as Markdown, which is also in submissions/baselines/table.md.

    Raises:
        CompetitionError: data or settings cannot be used.
    """
    setup, place = choose_setup(), folders.baselines
    mnist = mnist_at_hand(folders) if source == "auto" else source
    dataset = load_dataset(place)
    lines = [HEADER, ["---"] * len(HEADER)]
    for name in BASELINES:
        split, folds = (
            _trained(place, setup, dataset, name, {**settings, **more}, train, "auto", jobs) for more in (SPLIT, {})
        )
        claimed = NOT_AT_HAND
        if not CLAIMS[name].mnist:
            claimed = _score(split)
        elif mnist:
            run = _trained(
                place, setup, load_dataset(place, mnist), name, {**settings, **ALL_OF_MNIST}, train, mnist, jobs
            )
            claimed = _cell(run.scores, "true_accuracy", "true_log_loss")
        took = _span(sum(folds.manifest["seconds"].values()))
        reached = _reached(CLAIMS[name], split)
        lines.append(_line(name, took, CLAIMS[name].text, claimed, _score(split), _score(folds), reached))
    lines += [_reference(setup, dataset, jobs), *_ours(folders)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    files.write(place.submissions / "table.md", table)
    return f"\n{table}\nThe table: {place.submissions / 'table.md'}"


def _trained(
    place: Folders, setup: Setup, dataset: Dataset, name: str, settings: dict, train, source: str, jobs
) -> Run:
    """The finished run of these settings, data and package, or a new one."""
    config = choose_config(name, dataset.source, settings)
    identity = manifest_of(config, dataset, setup)["identity"]
    for run in list_runs(place):
        if run.whole and fits(run.manifest["identity"], identity):
            return run
    print(f"\n{name}, {config.folds} folds" if config.folds > 1 else f"\n{name}, one split")
    return train(place, setup, name, settings, source, jobs)


def _reached(claim: Claim, run: Run) -> str:
    """Whether a split's rows bear the claim out, and if not by what."""
    if claim.accuracy is None:
        return NONE
    scores = run.scores["out_of_fold"]
    accuracy, missed = scores["accuracy"], []
    if claim.epoch:
        history = run.load_member("repeat1-fold1").history
        accuracy = float(history[min(claim.epoch, len(history)) - 1]["val_accuracy"])
    if accuracy < claim.accuracy:
        missed.append(f"{100 * accuracy:.2f} %")
    if claim.loss and scores["log_loss"] > claim.loss:
        missed.append(f"loss {scores['log_loss']:.3f}")
    return f"no: {', '.join(missed)}" if missed else "yes" + f", {100 * accuracy:.2f} %" * bool(claim.epoch)


def _reference(setup: Setup, dataset: Dataset, jobs: int | None) -> list[str]:
    """The reference recipe's line: its time is measured on a part and scaled."""
    engine = choose_engine(jobs)
    setup = engine.settle(setup, REFERENCE.side_by_side)
    rows = min(PART, len(dataset.train))
    images, labels = dataset.train.images[:rows], dataset.train.labels[:rows]
    part = Digits(images, labels, dataset.train.source, content_hash(images, labels))
    config = replace(REFERENCE, epochs=PART_EPOCHS, repeats=engine.jobs)
    trainer = Trainer(setup, part, replace(dataset.test, images=dataset.test.images[:100]))
    ends = defaultdict(list)  # of each member's epochs
    part_of_it = f"{PART_EPOCHS} epochs of {rows} rows by {engine.jobs} of its members at once"
    print(f"\n{REFERENCE.recipe}, for its time alone: {part_of_it}")
    members = plan_members(config, labels)
    for _ in engine.each(trainer, members, lambda name, logs: ends[name].append(time.perf_counter())):
        pass
    epoch = sum(times[-1] - times[0] for times in ends.values()) / (PART_EPOCHS - 1) / len(ends)
    whole = epoch * len(dataset.train) / rows * REFERENCE.epochs * REFERENCE.members / engine.jobs
    return _line("reference", f"about {_span(whole)}, from {part_of_it}", "0.99757 on the leaderboard")


def _ours(folders: Folders) -> list[list[str]]:
    """The line of `fast` from its newest reference run in the committed record; none where there is no record."""
    rows = files.read_table(folders.record) if folders.record.exists() else []
    rows = [row for row in rows if row["remark"].startswith("reference run of the recipe fast")][-1:]
    return [
        _line("fast", _span(float(row["seconds"])), claimed="never trained on it", folds=row["oof_accuracy"])
        for row in rows
    ]


def _line(name, took, claim=NONE, claimed=NONE, split=NONE, folds=NONE, reached=NONE) -> list[str]:
    parameters = build_model(RECIPES[name]).count_params()
    return [f"`{name}`", claim, claimed, split, folds, reached, f"{parameters:,}", took]


def _score(run: Run) -> str:
    return _cell(run.scores["out_of_fold"], "accuracy", "log_loss")


def _cell(scores: dict, accuracy: str, loss: str) -> str:
    return f"{scores[accuracy]:.5f} ({scores[loss]:.3f})"


def _span(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:02.0f} min"
