"""Which members there are, where each runs, and how their probabilities become one answer."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Manager

import numpy as np
from joblib import Parallel, delayed

from competition import scoring
from competition.config import Config
from competition.device import BACKEND, Setup, claim_gpu, gpus
from competition.digits import Digits
from competition.folds import Member, plan_members
from competition.progress import Progress
from competition.runs import MemberResult, Run
from competition.training import train_member


@dataclass(frozen=True)
class Answer:
    """What an ensemble says; index 0 is of the images as they are, 1 averaged over test-time shifts.

    Attributes:
        out_of_fold: float32 array (2, n_train, 10), each row averaged over the members that never saw it.
        test: float32 array (2, n_test, 10), averaged over all members.
        test_members: float32 array (members, n_test, 10), of the variant that the recipe submits.
        variant: which of the two that is.
    """

    out_of_fold: np.ndarray
    test: np.ndarray
    test_members: np.ndarray
    variant: int


def choose_jobs(setup: Setup) -> tuple[int, str]:
    """How many members train at once on this machine, and why."""
    if gpus():
        count = len(gpus()) if BACKEND == "tensorflow" else 1
        return count, "one GPU trains one member at a time"
    cores = len(os.sched_getaffinity(0))
    return max(1, cores // max(1, setup.threads)), (
        "single-threaded members side by side use the cores better than one member on all of them"
    )


def train_members(
    run: Run, config: Config, setup: Setup, train: Digits, test: Digits, jobs: int, tensorboard: bool = False
) -> list:
    """Train the members that the run does not hold yet, several at once, and keep each as it finishes.

    Args:
        tensorboard: whether Keras also writes TensorBoard logs, into the run's folder tensorboard/.

    Returns:
        The results of all members, in the order of the plan.
    """
    members = plan_members(config, train.labels)
    results = {member.name: run.load_member(member.name) for member in members}
    missing = [member for member in members if results[member.name] is None]
    progress = Progress(len(members), len(members) - len(missing), config.epochs)
    jobs = max(1, min(jobs, len(missing)))
    with _reports(progress, jobs) as report:
        work = (
            delayed(_train)(
                member, config, setup, train, test.images, report, jobs > 1,
                run.path / "tensorboard" / member.name if tensorboard else None,
            )
            for member in missing
        )  # fmt: skip
        finished = Parallel(n_jobs=jobs, return_as="generator_unordered")(work)
        for name, result in finished:
            run.store_member(name, result)
            results[name] = result
            progress.member(name, result.facts, _accuracy_so_far(members, results))
    progress.close()
    return [results[member.name] for member in members]


def combine(config: Config, train: Digits, results: list[MemberResult]) -> Answer:
    """Average the members' probabilities."""
    members = plan_members(config, train.labels)
    out_of_fold = np.zeros((2, len(train), 10), np.float64)
    for member, result in zip(members, results, strict=True):
        out_of_fold[:, member.rows[1]] += result.valid / config.repeats
    variant = int(config.test_shift > 0)
    return Answer(
        out_of_fold=out_of_fold.astype(np.float32),
        test=np.mean([result.test for result in results], axis=0, dtype=np.float64).astype(np.float32),
        test_members=np.stack([result.test[variant] for result in results]),
        variant=variant,
    )


def score(labels, answer: Answer, results: list[MemberResult], repeats: int) -> dict:
    """The two scores of a run, never mixed up: out-of-fold, and predicted for the leaderboard."""
    chosen = answer.out_of_fold[answer.variant]
    accuracy = scoring.accuracy(labels, chosen)
    low, high = scoring.wilson(accuracy, len(labels))
    return {
        "out_of_fold": {
            "accuracy": accuracy,
            "low": low,
            "high": high,
            "log_loss": scoring.log_loss(labels, chosen),
            "errors": round((1 - accuracy) * len(labels)),
            "without_shifts": scoring.accuracy(labels, answer.out_of_fold[0]),
        },
        "leaderboard": scoring.predict_leaderboard(labels, chosen, repeats, answer.test_members),
        "members": {
            "accuracy": float(np.mean([result.facts["accuracy"] for result in results])),
            "each": [result.facts["accuracy"] for result in results],
        },
    }


def _train(member: Member, config, setup, train: Digits, test_images, report, side_by_side, tensorboard):
    if side_by_side:
        claim_gpu()

    def tell(logs):
        report((member.name, logs))

    return member.name, train_member(config, setup, member.seed, train, member.rows, test_images, tell, tensorboard)


def _accuracy_so_far(members, results) -> float:
    right = rows = 0
    for member in members:
        result = results[member.name]
        if result is not None:
            right += result.facts["accuracy"] * len(member.rows[1])
            rows += len(member.rows[1])
    return right / rows


@contextmanager
def _reports(progress: Progress, jobs: int) -> Iterator:
    """A function that carries a member's epochs to the progress line, from whatever process it runs in."""
    if jobs <= 1:
        yield lambda message: progress.epoch(*message)
        return
    with Manager() as manager:
        messages = manager.Queue()

        def listen():
            while (message := messages.get()) is not None:
                progress.epoch(*message)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield messages.put
        finally:
            messages.put(None)
            listener.join()
