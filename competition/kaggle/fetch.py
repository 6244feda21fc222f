"""Take home what a kernel made, once it is checked: a run, or the predictions of one."""

from pathlib import Path

import numpy as np

from competition.data.submission import read_submission
from competition.errors import CompetitionError
from competition.runs import files, history
from competition.runs.folders import Folders
from competition.runs.run import Run, find_run, list_runs

# Two digits whose probabilities are this near may change places in another precision or on another processor. In a run
# on the sample a probability differs by up to 0.004 between float32, bfloat16 and float16 on one CPU; a GPU was not
# measured, so this is wide.
NEAR_TIE = 0.05


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
        Refused: there is none that Kaggle would accept, or its labels differ from the run's where the run was sure.
    """
    run = find_run(folders, name)
    test_probs = run.probabilities()[1][run.config.submitted]
    try:
        there, here = (read_submission(path / "submission.csv", len(test_probs))[0] for path in (fetched, run.path))
    except CompetitionError as error:
        raise Refused(str(error).partition(" Next: ")[0].rstrip(".")) from None
    rows = np.flatnonzero(there != here)
    lead = test_probs[rows, here[rows]] - test_probs[rows, there[rows]]
    sure = np.count_nonzero(lead > NEAR_TIE)
    if sure:
        raise Refused(
            f"{len(rows)} of {len(here)} labels differ from those of {name}, which was sure of {sure} of them"
        )
    but = f", but for {len(rows)} near ties of {len(here)} rows" if len(rows) else ""
    return f"The kernel's labels are those of {name}{but}. Next: its Submit button, or `make submit RUN={name}`."


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
