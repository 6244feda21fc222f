"""The members of a study: trained once, kept under a key of all that made them, and never trained again."""

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from competition.data.dataset import Dataset
from competition.data.digits import Digits, content_hash
from competition.ensemble.engines import Engine
from competition.ensemble.members import Trainer, taught
from competition.ensemble.progress import Progress
from competition.ensemble.study_settings import OWN
from competition.errors import CompetitionError
from competition.network.device import Setup, versions
from competition.network.member import Member
from competition.runs import files
from competition.runs.result import MemberResult, read_result, write_result
from competition.runs.version import code_sha256


def train_plans(
    plans: dict[str, list[Member]], folder: Path, setup: Setup, dataset: Dataset, engine: Engine
) -> dict[str, MemberResult | CompetitionError]:
    """Train what the plans of a study need and the folder does not hold yet.

    Args:
        plans: of each setting; where it has teachers, these label the test rows for the others of their seed.

    Returns:
        By the member's name its result, or why it has none.

    Raises:
        CompetitionError: another study is at work in the folder, or it cannot be written.
    """
    lock = files.claim(folder / ".lock")
    if lock is None:
        raise CompetitionError(
            f"One study trains in a folder. Received: {folder}, at which {files.holder(folder / '.lock')} is at work. "
            "Next: wait for it, or --submissions FOLDER."
        )
    with lock:
        files.sweep(folder)
        store = _Store(folder, setup, dataset.train, engine)
        image = dataset.test.images[:1]  # of test.csv only pupils need more
        alone, teachers, pupils = [], [], []
        for plan in plans.values():
            for number, member in enumerate(plan):
                of = member.config
                teaches = number // of.folds % of.repeats < of.teachers
                (teachers if teaches else pupils if of.teachers else alone).append(member)
        results = store.trained(alone, Digits(image, None, dataset.test.source, content_hash(image, None)))
        results |= store.trained(teachers, dataset.test)
        ready = []
        for member in pupils:
            its_own = [teacher for teacher in teachers if _seed(teacher) == _seed(member)]
            failed = [result for its in its_own if isinstance(result := results[its.name], CompetitionError)]
            if failed:
                results[member.name] = failed[0]
            else:
                ready.append(taught(member, its_own, results))
        return results | store.trained(ready, dataset.test)


@dataclass(frozen=True)
class _Store:
    """Results on disk, each in a folder named by all that made it what it is; the weights nobody needs."""

    folder: Path
    setup: Setup
    train: Digits
    engine: Engine

    def trained(self, members: list[Member], test: Digits) -> dict[str, MemberResult | CompetitionError]:
        """Results of members that are asked about some test digits as well, each kept as it finishes."""
        network = code_sha256("network")
        places = {member.name: self.folder / self.key(member, test, network) for member in members}
        kept = {name: read_result(place, [self.train.sha256, test.sha256]) for name, place in places.items()}
        results = {name: result for name, result in kept.items() if result is not None}
        missing = [member for member in members if member.name not in results]
        if not missing:
            return results
        rows = {member.name: len(member.train_rows) for member in missing}
        progress = Progress(rows, len(results), max(member.config.epochs for member in missing))
        accuracies = {_setting(name): [] for name in places}
        for name, result in results.items():
            accuracies[_setting(name)].append(result.facts["accuracy"])
        try:
            for name, result in self.engine.each(Trainer(self.setup, self.train, test), missing, progress.epoch):
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

    def key(self, member: Member, test: Digits, network: str) -> str:
        """A hash of the settings, rows, seed, data, code and libraries."""
        arrays = member.train_rows, member.out_of_fold_rows, member.test_labels
        made_of = {
            "settings": {k: v for k, v in asdict(member.config).items() if k not in (*OWN, "teachers")},
            "seed": member.seed,
            "arrays": [None if array is None else sha256(array.tobytes()).hexdigest() for array in arrays],
            "data": [self.train.sha256, test.sha256],
            "network": network,
            "libraries": versions(),
            **asdict(self.setup),
        }
        return sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


def _setting(name: str) -> str:
    return name.rpartition(": ")[0]


def _seed(member: Member) -> str:
    """Setting and seed: what a member's name begins with."""
    return member.name.rpartition("-repeat")[0]
