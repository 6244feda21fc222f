"""One row a run: history.csv, local, and record.csv, the measured runs that are committed."""

import re

from competition.config import MNIST
from competition.errors import CompetitionError
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.run import Run, find_run

COLUMNS = (
    "run", "recipe", "source", "oof_accuracy", "oof_low", "oof_high", "member_accuracy", "predicted",
    "predicted_low", "predicted_high", "leaderboard", "true_accuracy", "seconds", "hardware", "sha256",
    "submission", "submitted", "status",
)  # fmt: skip
UNLIKE = "test.csv unlike train.csv"  # status of a run without a prediction, until Kaggle has one for its submission
KAGGLES = ("leaderboard", "submission", "submitted", "status")  # those that Kaggle fills in
NUMBERS = ("oof_accuracy", "predicted", "predicted_low", "predicted_high", "leaderboard", "true_accuracy", "seconds")
NUMBER_OR_BLANK = re.compile(r"(\d+(\.\d+)?)?", re.ASCII)


def finish(folders: Folders, run: Run, scores: dict, seconds: dict[str, float], part: list[str] | None = None) -> None:
    """Complete a run: seconds into its manifest, its row into history.csv, done.json last.

    Where an earlier answer of the run was sent, that row stays, with the first digits of its file's sha256 in its name.

    Args:
        seconds: of each stage; those of an earlier part of the run are added.
        part: the members behind the answer where they are not all of the plan.
    """
    manifest = run.manifest
    before = manifest.get("seconds", {})
    manifest["seconds"] = {stage: round(before.get(stage, 0) + spent, 1) for stage, spent in seconds.items()}
    run.write_json("manifest.json", manifest)
    row, earlier = row_of(run, scores), find(folders, run)
    if earlier and earlier["submission"]:
        if earlier["sha256"] == row["sha256"]:
            row |= {column: earlier[column] for column in KAGGLES}
        else:
            add(folders, earlier | {"run": f"{run.name}-{earlier['sha256'][:8]}"})
    add(folders, row)
    if folders.published and manifest["source"] not in MNIST:  # Kaggle's own button would send it
        files.write(folders.published, run.submission_csv.read_bytes())
    run.write_json("done.json", {"sha256": row["sha256"], **({} if part is None else {"members": part})})


def row_of(run: Run, scores: dict) -> dict:
    """What history.csv says of a run before it is sent: its COLUMNS, but for KAGGLES."""
    oof, board, manifest, part = scores["out_of_fold"], scores["leaderboard"], run.manifest, part_of(scores)
    return {
        **dict.fromkeys(COLUMNS, ""),
        "run": run.name,
        "recipe": run.config.recipe + (f" ({part})" if part else ""),
        "source": manifest["source"],
        "oof_accuracy": f"{oof['accuracy']:.5f}",
        "oof_low": f"{oof['low']:.5f}",
        "oof_high": f"{oof['high']:.5f}",
        "member_accuracy": f"{scores['members']['accuracy']:.5f}",
        "predicted": f"{board['score']:.5f}" if board else "",
        "predicted_low": f"{board['low']:.5f}" if board else "",
        "predicted_high": f"{board['high']:.5f}" if board else "",
        "true_accuracy": f"{scores['true_accuracy']:.5f}" if "true_accuracy" in scores else "",
        "seconds": round(sum(manifest.get("seconds", {}).values())),
        "hardware": manifest["hardware"],
        "sha256": files.sha256_of(run.submission_csv),
        "status": "" if board else UNLIKE,
    }


def part_of(scores: dict) -> str:
    """How many members were trained of those that were planned, in words; empty where all were."""
    members = scores["members"]
    trained = members.get("trained", len(members.get("each", [])))
    planned = members.get("planned", trained)
    return f"{trained} of {planned} members" if trained < planned else ""


def add(folders: Folders, row: dict) -> None:
    """Add a run's row, or replace the one it had."""
    with files.alone(folders.history):
        rows = {old["run"]: old for old in read(folders)}
        rows[row["run"]] = row  # in its old place, where it had one
        files.write_table(folders.history, COLUMNS, rows.values())


def read(folders: Folders) -> list[dict]:
    """All rows, oldest first, values as text.

    Raises:
        CompetitionError: the file is damaged.
    """
    rows = files.read_table(folders.history) if folders.history.exists() else []
    for number, row in enumerate(rows, start=1):
        wrong = [column for column in NUMBERS if not NUMBER_OR_BLANK.fullmatch(row.get(column) or "")]
        if wrong or not row.get("run"):
            column = wrong[0] if wrong else "run"
            raise CompetitionError(
                f"{folders.history} must list runs as written. Received: {row.get(column)!r} in row {number}, "
                f"column {column}. Next: mend it, or move it away."
            )
    return [dict.fromkeys(COLUMNS, "") | row for row in rows]


def find(folders: Folders, run: Run) -> dict | None:
    """A run's row, if it is listed."""
    return next((row for row in read(folders) if row["run"] == run.name), None)


def record(folders: Folders, name: str | None, remark: str) -> dict:
    """Copy a run's row of history.csv into the committed record, with a remark.

    Returns:
        The row.

    Raises:
        CompetitionError: no such run is in history.csv.
    """
    run = find_run(folders, name)
    row = find(folders, run)
    if row is None:
        raise CompetitionError(f"{folders.history} must list the run. Received: {run.name}. Next: `make train`.")
    rows = files.read_table(folders.record) if folders.record.exists() else []
    rows = [old for old in rows if old["run"] != run.name] + [{**row, "remark": remark}]
    files.write_table(folders.record, (*COLUMNS, "remark"), rows)
    return rows[-1]
