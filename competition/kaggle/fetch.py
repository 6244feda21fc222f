"""Take home what a kernel made, once it is checked: a run, or the predictions of one."""

from pathlib import Path

from competition.data.submission import read_submission
from competition.errors import CompetitionError
from competition.runs import files, history
from competition.runs.folders import Folders
from competition.runs.run import Run, find_run, list_runs


class Refused(Exception):
    """The outputs are not what the kernel was to make; they are left as they are."""


def take_run(folders: Folders, fetched: Path, package: str, exact: bool) -> str:
    """Move the run among a kernel's outputs to the others, with its row in history.csv.

    Args:
        fetched: folder of the outputs.
        package: hash of the package that must have made the run; empty where it is not known.
        exact: whether the outputs are those of the pushed version for sure; the newest ones may be of an older version,
            whose run is here already.

    Returns:
        What to tell the user.

    Raises:
        Refused: the outputs are damaged, incomplete or of another version.
    """
    inside = Folders(fetched, fetched / "submissions")
    run = _checked(inside, package)
    row = history.find(inside, run) or history.row_of(run, run.scores)
    home = Run(folders.submissions / run.name)
    if not home.path.exists():
        run.path.rename(home.path)
    elif not exact or home.read_json("done.json") != run.read_json("done.json"):
        raise Refused(f"{run.name}, which is here already")
    if history.find(folders, home) is None:
        history.add(folders, row)
    return f"{home.path} is complete. Next: `make submit RUN={run.name}`."


def take_predictions(folders: Folders, fetched: Path, name: str) -> str:
    """Compare the submission of a kernel that only predicts with the run's own.

    Args:
        name: of the run.

    Returns:
        What to tell the user.

    Raises:
        Refused: there is none that Kaggle would accept, or its labels are others.
    """
    run = find_run(folders, name)
    try:
        read_submission(fetched / "submission.csv", len(run.submission_csv.read_bytes().splitlines()) - 1)
    except CompetitionError as error:
        raise Refused(str(error).partition(" Next: ")[0].rstrip(".")) from None
    there, here = ((path / "submission.csv").read_bytes().splitlines() for path in (fetched, run.path))
    different = sum(a != b for a, b in zip(there, here, strict=True))
    if different:
        raise Refused(f"{different} of {len(here) - 1} labels differ from those of {run.name}")
    return f"The kernel's labels are those of {run.name}. Next: its Submit button, or `make submit RUN={run.name}`."


def _checked(inside: Folders, package: str) -> Run:
    """The run among the outputs, when it is whole and made by that package."""
    complete = [run for run in list_runs(inside) if run.complete]
    if not complete:
        raise Refused("no complete run")
    run = complete[-1]
    if package and run.manifest.get("identity", {}).get("package") != package:
        raise Refused(f"{run.name}, made by another version of the package")
    members = [path.name for path in (run.path / "members").glob("*") if path.name in (run.part or [path.name])]
    whole = sum(_is_whole(run, name) for name in members)
    planned = len(run.part or ()) or run.config.members
    if whole < max(planned, len(members)):
        raise Refused(f"{whole} whole members of {planned}")
    copies = run.submission_csv, inside.input / "submission.csv"
    sha256 = run.read_json("done.json").get("sha256")
    if not all(path.exists() and files.sha256_of(path) == sha256 for path in copies):
        raise Refused("another submission.csv than the run's")
    return run


def _is_whole(run: Run, member: str) -> bool:
    try:
        run.load_member(member)
    except CompetitionError:
        return False
    return True
