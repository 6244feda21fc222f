"""A run's numbers in five plain sentences: how good, how sure, what it confuses, whom to believe, what to do next."""

import shlex

from competition.data.constants import REAL, TEST_ROWS
from competition.report.units import accuracy, count, counted, share
from competition.runs.run import Run


def meaning(run: Run, row: dict, rows: int, confusions, confident: list[dict]) -> list[str]:
    """The sentences.

    Args:
        row: the run's of history.csv, with what Kaggle answered.
        rows: how many training rows have out-of-fold predictions.
        confusions: of the most frequent errors, (label, predicted, rows) each, the most frequent first.
        confident: as `scoring.most_confident` gives it.
    """
    scores = run.scores
    return [
        how_good(scores["out_of_fold"], rows),
        how_sure(scores["leaderboard"], run.manifest["source"]),
        what_it_confuses(confusions, scores["out_of_fold"]["errors"]),
        whom_to_believe(confident),
        what_next(run, scores, row),
    ]


def how_good(out_of_fold: dict, rows: int) -> str:
    """The measured score."""
    errors = out_of_fold["errors"]
    often = f"one error in {count(round(rows / errors))} digits" if errors else "without an error"
    if errors > rows / 2:
        often = counted(errors, "error")
    return (
        f"Networks that had not seen them predicted {count(rows - errors)} of {count(rows)} training digits right: "
        f"an accuracy of {accuracy(out_of_fold['accuracy'])}, {often}."
    )


def how_sure(board: dict | None, source: str) -> str:
    """The predicted score, and its interval in errors; none where test.csv is unlike train.csv."""
    if board is None:
        return "The digits of test.csv are not like those of train.csv: how good it is on them, nobody knows."
    low, high = (round(TEST_ROWS * (1 - board[end])) for end in ("high", "low"))
    errors = f", or {count(low)} to {count(high)} errors in Kaggle’s {count(TEST_ROWS)} rows" if source == REAL else ""
    return (
        f"On new digits of the same kind expect about {accuracy(board['score'])}; anything from "
        f"{accuracy(board['low'])} to {accuracy(board['high'])}{errors} would be no surprise."
    )


def what_it_confuses(confusions, errors: int) -> str:
    """The two most frequent errors."""
    if not confusions:
        return "It confuses no two digits."
    named = (f"{predicted} where the label is {label} ({counted(n, 'row')})" for label, predicted, n in confusions[:2])
    part = sum(n for *_, n in confusions[:2]) / errors
    return f"Most often it predicts {' and '.join(named)}, which is {share(part)} of all its errors."


def whom_to_believe(confident: list[dict]) -> str:
    """Where the errors lie: among how many of the least confident rows."""
    whole, most = confident[-1], next(line for line in confident if line["fraction"] == 0.95)
    if not whole["errors"]:
        return "There was no error, so its confidence tells nothing yet."
    part = 1 - most["errors"] / whole["errors"]
    use = "can be used" if part > 0.2 else "tells little"
    return (
        f"Its confidence {use}: the {counted(whole['rows'] - most['rows'], 'digit')} of which it is least sure, "
        f"one in twenty, hold {share(part)} of its errors."
    )


def what_next(run: Run, scores: dict, row: dict) -> str:
    """The next command, or what the real score says of the predicted one."""
    board, real = scores["leaderboard"], row.get("leaderboard")
    if run.manifest["source"] != REAL:
        return "Next: bring the competition’s own data, as `make data` explains; a run on other data submits nothing."
    if real and board is None:
        return (
            f"Kaggle scored it {accuracy(float(real))}; no score had been predicted, as test.csv is unlike train.csv."
        )
    if real:
        inside = board["low"] <= float(real) <= board["high"]
        verdict = "inside the predicted interval" if inside else (
            "outside the predicted interval, so ask whether test rows come as training rows do")  # fmt: skip
        return f"Kaggle scored it {accuracy(float(real))}, {verdict}."
    if board is None:
        return "Next: `make data`, which says where test.csv differs from train.csv, and what may make them alike."
    if row.get("submitted"):
        return "It was submitted and has no score yet. Next: `make scores`."
    if not run.whole:
        return "Its time ran out before all members were trained. Next: `make train` with more MINUTES goes on."
    name = shlex.quote(run.name)
    return f"Next: `make submit RUN={name}` sends it, and `make report RUN={name}` shows the real score here."
