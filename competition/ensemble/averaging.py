"""The members' probabilities → one answer, and what it is worth."""

from dataclasses import dataclass

import numpy as np

from competition.config import Config
from competition.data.digits import Digits
from competition.ensemble import scoring
from competition.ensemble.folds import exchangeable_groups, members_per_row, plan_members
from competition.ensemble.scoring import Group
from competition.runs.checkpoint import MemberResult


@dataclass(frozen=True)
class Predictions:
    """What an ensemble says; index 0 is of the images as they are, 1 averaged over test-time views.

    Attributes:
        out_of_fold: float32 array (2, n_train, 10), each row averaged over the members that were asked about
            it, none of which saw it; NaN where none was asked, as random splits or too short a time may leave rows.
        test: float32 array (2, n_test, 10), averaged over all members.
        submitted: which of the two is submitted and scored: PLAIN or TTA.
        groups: what the average is made of.
    """

    out_of_fold: np.ndarray
    test: np.ndarray
    submitted: int
    groups: list[Group]


def average_members(config: Config, train: Digits, results: dict[str, MemberResult]) -> Predictions:
    """Average the members' probabilities.

    Args:
        results: by name, of the members of the plan or a part of them.
    """
    members = [member for member in plan_members(config, train.labels) if member.name in results]
    asked = members_per_row(members, len(train))
    out_of_fold = np.where(asked[:, None], np.zeros((2, len(train), 10)), np.nan)
    for member in members:
        result = results[member.name]
        out_of_fold[:, member.val_rows] += result.val_probs / asked[member.val_rows, None].astype(np.float32)
    return Predictions(
        out_of_fold=out_of_fold.astype(np.float32),
        test=np.mean([results[member.name].test_probs for member in members], axis=0, dtype=np.float64).astype(
            np.float32
        ),
        submitted=config.submitted,
        groups=exchangeable_groups(
            config, members, np.stack([results[one.name].test_probs[config.submitted] for one in members])
        ),
    )


def score(labels, answer: Predictions, results: list[MemberResult], planned: int) -> dict:
    """The two scores of a run, never mixed up: out-of-fold, and predicted for the leaderboard.

    Args:
        results: of the members that the answer averages.
        planned: how many members were meant to be.
    """
    rows = scoring.rows_predicted(answer.out_of_fold[0])
    labels, plain, chosen = labels[rows], answer.out_of_fold[0, rows], answer.out_of_fold[answer.submitted, rows]
    accuracy = scoring.accuracy(labels, chosen)
    errors = round((1 - accuracy) * len(labels))
    low, high = scoring.wilson(len(labels) - errors, len(labels))
    return {
        "out_of_fold": {
            "accuracy": accuracy,
            "low": low,
            "high": high,
            "log_loss": scoring.log_loss(labels, chosen),
            "errors": errors,
            "rows": len(labels),
            "without_views": scoring.accuracy(labels, plain),
        },
        "leaderboard": scoring.predict_leaderboard(labels, chosen, answer.groups),
        "members": {
            "accuracy": float(np.mean([result.facts["accuracy"] for result in results])),
            "each": [result.facts["accuracy"] for result in results],
            "planned": planned,
        },
    }
