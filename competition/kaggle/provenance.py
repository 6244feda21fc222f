"""What a submission may come from: a complete run that saw the competition's files and nothing else."""

from pathlib import Path

from competition.data.constants import KNOWN_CONTENT, REAL
from competition.errors import CompetitionError
from competition.runs import files, history
from competition.runs.folders import Folders
from competition.runs.run import Run, list_runs

UNKNOWN = "unknown"  # that of a file which no run here wrote


def row_of_run(folders: Folders, run: Run) -> tuple[dict, Path]:
    """A run's row of history.csv and its submission.

    Raises:
        CompetitionError: the run saw other data, or the submission is not as the run wrote it.
    """

    manifest, known = run.manifest, {sha for sha, source in KNOWN_CONTENT.items() if source == REAL}
    if manifest.get("source") != REAL:
        raise _other_data(run.name, f"made from {manifest.get('source')} data")
    data = manifest.get("identity", {}).get("data", [])
    if len(data) != 2 or not set(data) <= known:
        raise _other_data(run.name, "whose manifest names other data")
    members = run.member_facts()
    planned = len(run.part or ()) or run.config.members
    found = members.keys() & (run.part or members)
    if len(found) < planned:
        raise _other_data(run.name, f"of which {len(found)} of {planned} members are there")
    for member, facts in members.items():
        source = facts.get("data_source")
        if source != REAL or not {facts.get("data_sha256"), facts.get("test_sha256", data[1])} <= known:
            source = source if source != REAL else "other"
            raise _other_data(run.name, f"whose member {member} was made from {source} data")
    sha256 = _sha256(run.submission_csv)
    if sha256 != run.read_json("done.json").get("sha256"):
        raise CompetitionError(
            f"{run.submission_csv} must be as the run wrote it. Received: a different file. Next: `make train NEW=1`."
        )
    row = history.find(folders, run) or history.row_of(run, run.scores)
    return row, run.submission_csv


def row_of_file(folders: Folders, path: Path) -> tuple[dict, Path]:
    """The row of the run that wrote this file, else a row of the file's own, and the file.

    Raises:
        CompetitionError: it cannot be read, or comes from a run that saw other data.
    """
    sha256 = _sha256(path)
    for run in reversed([*list_runs(folders.baselines), *list_runs(folders)]):
        if run.complete and run.read_json("done.json").get("sha256") == sha256:
            return row_of_run(folders, run)
    row = next((row for row in history.read(folders) if row["sha256"] == sha256), None)
    if row is None:
        row = {**dict.fromkeys(history.COLUMNS, ""), "run": f"file-{sha256[:8]}", "source": UNKNOWN, "sha256": sha256}
    if row["source"] not in (REAL, UNKNOWN):
        raise _other_data(row["run"], f"made from {row['source']} data")
    return row, path


def refuse_unknown(row: dict, path: Path) -> None:
    """Refuse a file that no run here wrote."""
    if row["source"] == UNKNOWN:
        raise CompetitionError(
            f"A submission comes from a run here. Received: {path}, of unknown origin. "
            "Next: ARGS=--force, if it saw nothing but the competition's files."
        )


def _other_data(run: str, received: str) -> CompetitionError:
    return CompetitionError(
        f"A submission comes from the competition's files alone. Received: {run}, {received}. "
        "Next: RUN= another one, or `make data` with the competition's files and `make train`."
    )


def _sha256(path: Path) -> str:
    try:
        return files.sha256_of(path)
    except OSError as error:
        raise CompetitionError(
            f"{path} must be a readable file. Received: {error.strerror}. Next: FILE=path/to/submission.csv."
        ) from None
