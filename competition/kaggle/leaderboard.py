"""Guard, send, wait for the score, keep history.csv.

What ties a row of history.csv to Kaggle's own list is the file's sha256: its first eight digits are in the
message that goes with a submission. So whatever is interrupted, `make scores` finds its way.

`kaggle competitions submit --wait` does less: it waits for the number that its own upload was answered with, so where
that answer is lost or the waiting is interrupted nothing finds the submission again; and 2.2.4 has no such flag.
"""

import time
from collections.abc import Collection
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from competition.data.constants import PAGE
from competition.data.submission import read_submission
from competition.errors import CompetitionError
from competition.kaggle import cli, client
from competition.kaggle.client import Submission
from competition.kaggle.failures import TRANSIENT, KaggleError
from competition.kaggle.provenance import refuse_unknown, row_of_file, row_of_run
from competition.runs import history
from competition.runs.folders import Folders
from competition.runs.run import Run, find_run

POLL = 10  # seconds between two looks at Kaggle's list
PATIENCE = 900  # seconds to wait for a score
LISTED = 60  # seconds until a submission must be in the list
FAILURES = 5  # looks in a row that may fail while waiting for a score


def submit(
    folders: Folders, name: str | None = None, file: Path | None = None, force: bool = False, wait: bool = True
) -> dict:
    """Send a run's submission, or a file, and wait for its score.

    Args:
        name: of the run; None takes the newest complete one.
        file: a file instead of a run.
        force: send what was sent before, what is of unknown origin or of a test.csv unlike train.csv, or where
            nothing is left today.
            Nothing forces an invalid file, or a run that saw other data.
        wait: for the score; otherwise `make scores` brings it.

    Returns:
        The row of history.csv.

    Raises:
        CompetitionError: a guard refused, or Kaggle did, or gave no score in time.
    """
    row, path = row_of_run(folders, find_run(folders, name)) if file is None else row_of_file(folders, file)
    read_submission(path)
    if not force:
        _refuse_sent(row, row.get("submission"), row.get("submitted"))
        refuse_unknown(row, path)
        _refuse_unlike(row, path)
    history.add(folders, row)  # from here on `make scores` knows the file

    arrived = client.submissions()
    if not force:
        before = _arrived(arrived, row)
        if before:
            _note(folders, row, before)
            _refuse_sent(row, before.ref, before.date)
        _refuse_exhausted()
    message = message_of(row, path)
    older = {submission.ref for submission in arrived}
    try:
        _send(path, message, row, older)
        print(f"Sent {path}: {message}", flush=True)
        submission = _follow(folders, row, older, wait)
    except KeyboardInterrupt:
        print("The submission may be on its way; `make scores` finds it and its score.")
        raise
    if client.ended(submission.status) and submission.status != "COMPLETE":
        reason = client.reason_of(submission)
        raise CompetitionError(
            f"Kaggle must be able to score the file. Received: {submission.status} for submission {submission.ref}"
            f"{f': {reason}' if reason else ''}. Next: {PAGE}/submissions shows it; `make check FILE={path}` checks it."
        )
    print(verdict(row) if row.get("leaderboard") else "No score yet. Next: `make scores`.")
    return row


def refresh(folders: Folders) -> list[dict]:
    """Bring history.csv up to date with Kaggle's list.

    Returns:
        The rows that were sent, oldest first.

    Raises:
        CompetitionError: nothing could be listed.
    """
    rows = history.read(folders)
    if not rows:
        raise CompetitionError(f"{folders.history} must list a run. Received: none. Next: `make train`.")
    arrived = client.submissions()
    for row in rows:
        submission = _arrived(arrived, row)
        if submission:
            _note(folders, row, submission)
    return [row for row in rows if row.get("submission")]


def table(rows: list[dict]) -> str:
    """Predicted against real, one line a submission, in about 80 columns."""
    if not rows:
        return "Kaggle lists no submission of a run here. Next: `make submit`."
    shown = [
        {
            "run": row["run"],
            "out-of-fold": row["oof_accuracy"],
            "predicted": row["predicted"] or ("none" if row["oof_accuracy"] else ""),  # test.csv was unlike train.csv
            "leaderboard": row["leaderboard"] or row["status"].lower(),
            "interval": f"{row['predicted_low']}–{row['predicted_high']}",
            "holds": {True: "yes", False: "no", None: ""}[inside(row)],
        }
        for row in rows
    ]
    return pd.DataFrame(shown).replace("", "–").to_string(index=False)


def inside(row: dict) -> bool | None:
    """Whether the real score lies in the predicted interval; None where either is unknown."""
    if not row.get("leaderboard") or not row.get("predicted_low"):
        return None
    return float(row["predicted_low"]) <= float(row["leaderboard"]) <= float(row["predicted_high"])


def verdict(row: dict) -> str:
    """The real score beside the predicted one, in a sentence."""
    line = f"Leaderboard score {row['leaderboard']}"
    if inside(row) is None:
        return f"{line}{'; none was predicted, as test.csv is unlike train.csv' if row.get('oof_accuracy') else ''}."
    place = "inside" if inside(row) else "OUTSIDE"
    return f"{line}, {place} the predicted {row['predicted']} ({row['predicted_low']} – {row['predicted_high']})."


def message_of(row: dict, path: Path) -> str:
    """What goes with a submission, and is shown in Kaggle's list."""
    commit = Run(path.parent).manifest.get("commit") if row["run"] == path.parent.name else None
    facts = [row["recipe"] or path.name, f"out-of-fold {row['oof_accuracy']}" if row["oof_accuracy"] else ""]
    facts += [f"commit {commit}" if commit else "", f"sha256 {row['sha256'][:8]}"]
    return ", ".join(fact for fact in facts if fact)


def _refuse_sent(row: dict, ref: str | None, when: str | None) -> None:
    if ref:
        raise CompetitionError(
            f"A file is sent once. Received: {row['run']}, sent {(when or '')[:16]} as submission {ref}. "
            "Next: `make scores`, or ARGS=--force."
        )


def _refuse_unlike(row: dict, path: Path) -> None:
    if row.get("status") == history.UNLIKE:
        raise CompetitionError(
            f"A submission has a predicted score. Received: {row['run']}, without one, as its test.csv is unlike its "
            "train.csv. Next: `make report`, which shows how; or ARGS=--force."
        )


def _refuse_exhausted() -> None:
    left, ever = client.remaining()
    if left:
        print(f"{left} submissions are left today.")
        return
    new_day = "wait until 00:00 UTC" if ever else f"join the competition at {PAGE}, or wait until 00:00 UTC"
    raise CompetitionError(
        f"A submission must be left today. Received: 0 left. Next: {new_day}; ARGS=--force tries all the same."
    )


def _send(path: Path, message: str, row: dict, before: set[str]) -> None:
    """Upload; where the answer was lost or Kaggle was busy, look whether it arrived before trying again."""
    for attempt in range(1, len(cli.PAUSES) + 2):
        try:
            return client.submit(path, message)
        except KaggleError as error:
            if error.kind not in TRANSIENT:
                raise
            try:
                arrived = _arrived(client.submissions(), row, before)
            except CompetitionError:
                raise _sent(error, "whether it arrived is not known") from None
            if arrived:
                return None
            if error.kind != "busy" or attempt > len(cli.PAUSES):
                raise
            cli.wait_while_busy(error, attempt)


def _follow(folders: Folders, row: dict, before: set[str], wait: bool) -> Submission:
    """Look at Kaggle's list until it shows the submission and, with `wait`, its score.

    A look that fails is no end: the file was sent, and the same command would refuse to send it again.
    """
    started, submission, failures, status = time.monotonic(), None, 0, ""
    line = "{desc}: {elapsed} of at most " + tqdm.format_interval(PATIENCE)
    with tqdm(desc="waiting for the score", bar_format=line, leave=False, disable=None) as bar:
        while True:
            try:
                submission, failures, status = _arrived(client.submissions(), row, before), 0, ""
            except KaggleError as error:
                status = client.unknown_status(error)  # such as RESCORING
                failures += not status
                if failures > FAILURES or (client.ended(status) if status else error.kind not in TRANSIENT):
                    raise _sent(error, "the file was sent") from None
            if submission:
                _note(folders, row, submission)
                if not wait or row["leaderboard"] or client.ended(submission.status):
                    return submission
            if time.monotonic() - started > (PATIENCE if submission or failures or status else LISTED):
                break
            bar.set_description_str(f"waiting for the score{f' ({status.lower()})' if status else ''}")
            time.sleep(POLL)
    if submission is None and not status:
        raise CompetitionError(
            f"Kaggle's list must show what was sent. Received: no submission with sha256 {row['sha256'][:8]} in "
            f"{LISTED:g} s. Next: `make scores` in some minutes; if it is still not there, `make submit` again."
        )
    received = f"{submission.status} for submission {submission.ref}" if submission else status
    raise CompetitionError(f"Kaggle gives a score in {PATIENCE:g} s. Received: {received}. Next: `make scores`.")


def _sent(error: KaggleError, state: str) -> CompetitionError:
    """The same failure with the step that helps once a file was sent: the same command would send it twice."""
    return CompetitionError(f"{str(error).partition(' Next: ')[0]} Next: `make scores` brings its score: {state}.")


def _arrived(submissions: list[Submission], row: dict, before: Collection[str] = ()) -> Submission | None:
    """The newest submission of the row's file, other than those that were there before."""
    mark = f"sha256 {row['sha256'][:8]}"
    found = (submission for submission in submissions if mark in submission.description)
    return next((submission for submission in found if submission.ref not in before), None)


def _note(folders: Folders, row: dict, submission: Submission) -> None:
    """Keep Kaggle's status and score of a row; a score that was known stays."""
    score = "" if submission.score is None else f"{submission.score:.5f}"
    if row.get("submission") == submission.ref:
        score = score or row.get("leaderboard", "")
    row.update(submission=submission.ref, submitted=submission.date, status=submission.status, leaderboard=score)
    history.add(folders, row)
