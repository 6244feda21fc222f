"""The members' predictions → their average, and its score."""

from dataclasses import dataclass

import numpy as np

from competition.config import PLAIN, Config
from competition.data.digits import LabelledDigits
from competition.ensemble import scoring
from competition.ensemble.folds import exchangeable_groups, is_refit, members_per_row, plan_members, row_ratio
from competition.ensemble.prediction_shift import single_members
from competition.ensemble.scoring import Group
from competition.runs.checkpoint import MemberResult


@dataclass(frozen=True)
class Predictions:
    """The average of an ensemble's members; the first axis of its arrays is PLAIN and TTA.

    Attributes:
        out_of_fold: float32 array (2, n_train, 10), each row averaged over the members that validate on it, none of
            which fitted it; NaN where there is none, as random splits or too short a time may leave rows.
        test: float32 array (2, n_test, 10), averaged over all members.
        submitted: which of PLAIN and TTA is submitted and scored.
        groups: what the average of the test rows is made of.
        single: the predictions of single members for the rows of both files, see `prediction_shift.single_members`.
        refit: how many of the members fit all rows, and score nothing.
        row_ratio: see `folds.row_ratio`.
    """

    out_of_fold: np.ndarray
    test: np.ndarray
    submitted: int
    groups: list[Group]
    single: tuple[np.ndarray, np.ndarray]
    refit: int = 0
    row_ratio: float = 1.0


def average_members(config: Config, train: LabelledDigits, results: dict[str, MemberResult]) -> Predictions:
    """Average the members' probabilities.

    Args:
        results: by name, of the members of the plan or a part of them.
    """
    plan = [member for member in plan_members(config, train.labels) if member.name in results]
    scoring_members = [member for member in plan if not is_refit(member.name)]
    per_row = members_per_row(scoring_members, len(train))
    out_of_fold = np.where(per_row[:, None], np.zeros((2, len(train), 10)), np.nan)
    for member in scoring_members:
        probs = results[member.name].val_probs
        out_of_fold[:, member.val_rows] += probs / per_row[member.val_rows, None].astype(np.float32)
    test = np.mean([results[member.name].test_probs for member in plan], axis=0, dtype=np.float64)
    test_probs = np.stack([results[member.name].test_probs[config.submitted] for member in scoring_members])
    val_probs = [results[member.name].val_probs[config.submitted] for member in scoring_members]
    refit = len(plan) - len(scoring_members)
    return Predictions(
        out_of_fold=out_of_fold.astype(np.float32),
        test=np.asarray(test, np.float32),
        submitted=config.submitted,
        groups=exchangeable_groups(config, scoring_members, test_probs, refit),
        single=single_members(scoring_members, val_probs, test_probs, len(train)),
        refit=refit,
        row_ratio=row_ratio(plan, scoring_members),
    )


def score(labels, predictions: Predictions, results: dict[str, MemberResult], planned: int) -> dict:
    """The two scores of a run, never mixed up: out-of-fold, and predicted for the leaderboard.

    Args:
        labels: of all training rows, int64 array (n_train,).
        results: by name, of the trained members; of a blend as `run/member`.
        planned: how many members were to be trained.

    Returns:
        What scores.json holds.
    """
    rows = scoring.rows_predicted(predictions.out_of_fold[PLAIN])
    labels, plain = labels[rows], predictions.out_of_fold[PLAIN, rows]
    probs = predictions.out_of_fold[predictions.submitted, rows]
    accuracy = scoring.accuracy(labels, probs)
    errors = round((1 - accuracy) * len(labels))
    low, high = scoring.wilson(len(labels) - errors, len(labels))
    accuracies = [result.facts["accuracy"] for result in results.values() if len(result.val_probs[PLAIN])]
    return {
        "out_of_fold": {
            "accuracy": accuracy,
            "low": low,
            "high": high,
            "log_loss": scoring.log_loss(labels, probs),
            "errors": errors,
            "rows": len(labels),
            "without_tta": scoring.accuracy(labels, plain),
        },
        "leaderboard": scoring.predict_leaderboard(labels, probs, predictions.groups, predictions.row_ratio),
        "members": {
            "accuracy": float(np.mean(accuracies)),
            "each": accuracies,
            "trained": len(results),
            "planned": planned,
            "refit": predictions.refit,
        },
    }
