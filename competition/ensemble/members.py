"""Train the members of a run that it does not hold yet, wherever they run."""

from dataclasses import dataclass, replace
from pathlib import Path

from competition.config import Config
from competition.data.digits import Digits, content_hash
from competition.ensemble.folds import plan_members
from competition.errors import CompetitionError, one_line
from competition.execution.budget import Budget, Pace
from competition.execution.engines import Engine
from competition.execution.interprocess import Tell
from competition.execution.progress import Progress
from competition.network.device import OUT_OF_MEMORY, Setup, hardware
from competition.network.member import Member
from competition.network.training import failure, fit_member
from competition.runs.checkpoint import MemberResult
from competition.runs.run import Run


@dataclass(frozen=True)
class Trainer:
    """What all members of a run share; a worker of a cluster gets it before its first.

    Attributes:
        test: their pixels alone are used.
        tensorboard: folder for TensorBoard's logs; None writes none.
    """

    setup: Setup
    train: Digits
    test: Digits
    tensorboard: Path | None = None

    def __call__(self, member: Member, tell: Tell) -> tuple[str, MemberResult | CompetitionError]:
        """Train one member, wherever this is called; once more, from another seed, where it fails to learn.

        Returns:
            Its name, and its result or why there is none: the other members go on.
        """
        failures: list[dict] = []
        why = None
        try:
            for seed in member.seeds:
                result = fit_member(
                    member,
                    seed,
                    self.setup,
                    self.train,
                    self.test,
                    lambda logs: tell(member.name, logs),
                    self.tensorboard and self.tensorboard / member.name,
                )
                result.facts["hardware"] = hardware()
                why = failure(result)
                if why is None:
                    return member.name, replace(result, facts=result.facts | {"failed_before": failures})
                failures.append({"seed": seed, "failure": why})
        except OUT_OF_MEMORY as error:
            return member.name, CompetitionError(
                f"{member.name} must fit into the memory. Received: {one_line(error, 100)}. "
                "Next: JOBS=1, or a smaller --batch-size or --width; finished members are kept."
            )
        return member.name, CompetitionError(
            f"{member.name} must learn. Received: {why}, from a second seed as well. Next: a lower --learning-rate; "
            "or look at the data."
        )

    def check(self) -> None:
        """Raise CompetitionError where the digits are not those that the hashes say."""
        for digits in (self.train, self.test):
            found = content_hash(digits.images, digits.labels)
            if found != digits.sha256:
                raise CompetitionError(f"data of content {found[:12]} in place of {digits.sha256[:12]}")


def fix_threads(run: Run, config: Config, setup: Setup, engine: Engine) -> Setup:
    """How each member of a run computes: with the threads that the run began with, for its results depend on them.

    The first start chooses them by the whole plan, unless the user chose them, and the manifest keeps them: a run goes
    on with as many wherever that is, and whatever is missing.
    """
    manifest = run.manifest
    threads = manifest["identity"].get("threads")
    setup = engine.allocate(replace(setup, threads=threads if type(threads) is int else None), config.members)
    manifest["identity"]["threads"] = setup.threads
    run.write_json("manifest.json", manifest)
    return setup


def train_members(
    run: Run,
    config: Config,
    setup: Setup,
    train: Digits,
    test: Digits,
    engine: Engine,
    tensorboard: bool = False,
    budget: Budget | None = None,
) -> dict[str, MemberResult]:
    """Train the members that the run does not hold yet, and keep each as it finishes.

    Args:
        engine: where they run.
        tensorboard: whether Keras also writes TensorBoard logs, into the run's folder tensorboard/.
        budget: what they may take; None: as long as they need. At least one is trained.

    Returns:
        The results by name, in the order of the plan: of all members, or of as many as fitted into the budget.

    Raises:
        CompetitionError: a member failed; the others are trained and kept all the same, but for those that a budget
            would have let begin later.
    """
    members = plan_members(config, train.labels)
    results = load_members(run, members, len(test))
    trainer = Trainer(setup, train, test, run.path / "tensorboard" if tensorboard else None)
    took = {name: result.facts["seconds"] for name, result in results.items()}
    budget = budget or Budget()
    missing = [member for member in members if member.name not in took]
    progress = Progress(len(missing), len(took), config.epochs, budget.left)
    sizes = {member.name: len(member.train_rows) / len(members[0].train_rows) for member in members}
    pace = Pace(budget, sizes, config.epochs, took, progress.say)

    def tell(name: str, logs: dict) -> None:
        progress.epoch(name, logs)
        pace.epoch(name)

    def scored() -> bool:
        """Whether any member has validation rows: without one there is no score."""
        return any(member.name in results and len(member.val_rows) for member in members)

    def train_wave(wave: list[Member]) -> None:
        failed = []
        for name, result in engine.each(trainer, wave, tell):
            if isinstance(result, CompetitionError):
                failed.append(result)
                continue
            for before in result.facts["failed_before"]:
                progress.say(f"{name} started again from another seed. Received: {before['failure']}.")
            run.store_member(name, result)
            results[name] = result
            pace.member(name, result.facts["seconds"])
            progress.member(name, result.facts, _accuracy_so_far(members, results))
        if failed:
            raise failed[0]

    try:
        while missing and (number := pace.next(engine.jobs or 1) or int(not scored())):
            train_wave(missing[:number])
            del missing[:number]
    finally:
        progress.close()
    return {member.name: results[member.name] for member in members if member.name in results}


def load_members(run: Run, members: list[Member], test_rows: int) -> dict[str, MemberResult]:
    """The members of a plan that a run holds, by name: not those that are missing, damaged or of another plan."""
    results = {}
    for member in members:
        result = run.intact_member(member.name)
        if result is not None and of_plan(result, member, test_rows):
            results[member.name] = result
        elif result is not None:
            print(f"{member.name} is of another plan: it is trained again.")
    return results


def of_plan(result: MemberResult, member: Member, test_rows: int) -> bool:
    """Whether a result can be that member's: its seed, its validation rows and the test rows."""
    rows = result.val_probs.shape[1], result.test_probs.shape[1]
    return result.facts.get("seed") in member.seeds and rows == (len(member.val_rows), test_rows)


def _accuracy_so_far(members: list[Member], results: dict[str, MemberResult]) -> float | None:
    """Accuracy on the validation rows of all members that have any and are trained; None without one."""
    correct = rows = 0
    for member in members:
        result = results.get(member.name)
        if result is not None and len(member.val_rows):
            correct += result.facts["accuracy"] * len(member.val_rows)
            rows += len(member.val_rows)
    return correct / rows if rows else None
