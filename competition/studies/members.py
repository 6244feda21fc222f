"""The members of a study: trained once, kept under a key of all that made them, and never trained again."""

import json
from collections import defaultdict
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from competition.config import Config, choose_config
from competition.data.dataset import Dataset, load_dataset
from competition.data.digits import Digits, content_hash
from competition.ensemble.folds import kept_out
from competition.ensemble.members import Trainer
from competition.errors import CompetitionError
from competition.execution.engines import Engine, choose_engine
from competition.execution.progress import Progress
from competition.kaggle.download import fetch_missing
from competition.network.device import Setup, versions
from competition.network.member import Member
from competition.runs import files
from competition.runs.checkpoint import MemberResult, read_intact, write_result
from competition.runs.folders import Folders
from competition.runs.version import code_sha256
from competition.studies.settings import OWN, read_base

# The modules of network/ on which a trained member depends
TRAINING = ("augmentation", "calibration", "device", "early_stopping", "member", "models", "training")


class Study(NamedTuple):
    """What a study of one base trains with and on; `rows` are the numbers of the training rows that it may see."""

    engine: Engine
    dataset: Dataset
    config: Config
    rows: np.ndarray


def open_study(folders: Folders, base: str, seeds: int, source: str, jobs: int | None, scheduler: str | None) -> Study:
    """Find the data and read the base.

    Raises:
        CompetitionError: the data or the settings cannot be used, or there is no such scheduler.
    """
    engine = choose_engine(jobs, scheduler)
    fetch_missing(folders, source)
    dataset = load_dataset(folders, source)
    config = read_base(choose_config(None, dataset.source, {}), base, seeds)
    return Study(engine, dataset, config, np.setdiff1d(np.arange(len(dataset.train)), kept_out(dataset.train)))


def train_all(
    members: list[Member], folder: Path, setup: Setup, dataset: Dataset, engine: Engine
) -> dict[str, MemberResult]:
    """Like `train_plans`, of one plan of which each member is needed.

    Raises:
        CompetitionError: likewise, or a member does not learn.
    """
    results = {}
    for name, result in train_plans({"all": members}, folder, setup, dataset, engine).items():
        if isinstance(result, CompetitionError):
            raise result
        results[name] = result
    return results


def train_plans(
    plans: dict[str, list[Member]], folder: Path, setup: Setup, dataset: Dataset, engine: Engine
) -> dict[str, MemberResult | CompetitionError]:
    """Train what the plans of a study need and the folder does not hold yet.

    Returns:
        By the member's name its result, or why training failed.

    Raises:
        CompetitionError: another study trains in the folder, or it cannot be written.
    """
    lock = files.lock(folder / ".lock")
    if lock is None:
        raise CompetitionError(
            f"One study trains in a folder. Received: {folder}, where {files.lock_holder(folder / '.lock')} trains. "
            "Next: wait for it, or --submissions FOLDER."
        )
    # Their predictions of test.csv are not needed: one image is as good as all
    image = dataset.test.images[:1]
    test = Digits(image, None, dataset.test.source, content_hash(image, None))
    with lock:
        files.sweep(folder)
        members = [member for plan in plans.values() for member in plan]
        return _train_missing(members, folder, Trainer(setup, dataset.train, test), engine)


def _train_missing(
    members: list[Member], folder: Path, trainer: Trainer, engine: Engine
) -> dict[str, MemberResult | CompetitionError]:
    """Each result in a folder named by all that made it what it is, kept as it finishes; the weights nobody needs."""
    network = code_sha256(*(f"network/{name}" for name in TRAINING))
    places = {member.name: folder / _key(member, trainer, network) for member in members}
    results: dict[str, MemberResult | CompetitionError] = {}
    accuracies: dict[str, list[float]] = defaultdict(list)
    for name, place in places.items():
        if kept := read_intact(place, trainer.train.sha256):
            results[name] = kept
            accuracies[_setting(name)].append(kept.facts["accuracy"])
    missing = [member for member in members if member.name not in results]
    if not missing:
        return results
    progress = Progress(len(missing), len(results), max(member.config.epochs for member in missing))
    try:
        for name, result in engine.each(trainer, missing, progress.epoch):
            results[name] = result
            if isinstance(result, CompetitionError):
                progress.say(str(result))
                continue
            write_result(places[name], replace(result, weights=[]))
            accuracies[_setting(name)].append(result.facts["accuracy"])
            progress.member(name, result.facts, float(np.mean(accuracies[_setting(name)])))
    finally:
        progress.close()
    return results


def _key(member: Member, trainer: Trainer, network: str) -> str:
    """A hash of the settings, rows, seed, data, code and libraries."""
    made_of = {
        "settings": {name: value for name, value in asdict(member.config).items() if name not in OWN},
        "seed": member.seed,
        "rows": [sha256(rows.tobytes()).hexdigest() for rows in (member.train_rows, member.val_rows)],
        "data": [trainer.train.sha256, trainer.test.sha256],
        "network": network,
        "libraries": versions(),
        **asdict(trainer.setup),
    }
    return sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


def _setting(name: str) -> str:
    """What a member's name begins with."""
    return name.rpartition(": ")[0]
