"""Train here, infer there: a run's weights as a Kaggle dataset, and its members' predictions in the kernel that has it.

The package goes along as a folder, whose archive Kaggle unpacks; of the weights, each file's path is in its name.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from competition.data.digits import read_digits
from competition.data.submission import read_submission, write_submission
from competition.ensemble.folds import members_of
from competition.errors import CompetitionError
from competition.kaggle import cli, client
from competition.kaggle.failures import TRANSIENT, KaggleError
from competition.kaggle.provenance import row_of_run
from competition.runs import files
from competition.runs.checkpoint import LARGEST, MemberResult
from competition.runs.folders import PACKAGE, Folders
from competition.runs.run import Run
from competition.runs.version import package_files

SEPARATOR = "__"  # of a path's parts in a file's name
SETTINGS = ("config.json", "manifest.json", "done.json")  # of a run; the rest is its members' weights
POLL = 10  # seconds between two looks at the dataset
PATIENCE = 900  # seconds until Kaggle must have taken it in
DESCRIPTION = "dataset-metadata.json"


@dataclass(frozen=True)
class PackedRun(Run):
    """A run of which there are settings and weights alone."""

    def load_member(self, name: str) -> MemberResult:
        """A member's weights; its probabilities are left empty."""
        none = np.empty((2, 0, 10), np.float32)
        arrays = files.read_arrays(self.path / "members" / name / "weights.npz", LARGEST)
        return MemberResult(none, none, [arrays[key] for key in sorted(arrays)], [], {})


def write_package(folder: Path) -> None:
    """Copy the package into the folder of a dataset, where a kernel imports it and readers see its source."""
    for path in package_files():
        files.write(folder / path.relative_to(PACKAGE.parent), path.read_bytes())


def write_description(folder: Path, dataset: str, title: str) -> None:
    """Finish the folder of a dataset: what `kaggle datasets create` needs, and a file named after what it holds.

    By that name, which is `sha256-…`, `upload` tells whether this very content has arrived at Kaggle.

    Args:
        folder: with all files of the dataset.
        dataset: `owner/slug`.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = "".join(f"{files.sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
    files.write(folder / f"sha256-{sha256(lines.encode()).hexdigest()[:16]}.txt", lines)
    files.write_json(folder / DESCRIPTION, {"title": title, "id": dataset, "licenses": [{"name": "other"}]})


def write_weights(folders: Folders, run: Run, folder: Path) -> None:
    """Write the weights of a run's members, and its settings.

    Args:
        run: of a blend, its parents' members are taken.
        folder: a new one.

    Raises:
        CompetitionError: the run saw other data than the competition's, or a member is missing or damaged.
    """
    row_of_run(folders, run)
    parents = run.manifest.get("parents", [])
    parts = {Run(run.path.parent / Path(parent["run"]).name): list(parent["members"]) for parent in parents}
    for part, trained in (parts or {run: list(members_of(run))}).items():
        for name in trained:
            part.load_member(name)  # raises where it is damaged
        for path in (*SETTINGS, *(f"members/{name}/weights.npz" for name in trained)):
            _copy(part, path, folder)
    for path in SETTINGS if parts else ():
        _copy(run, path, folder)


def upload(folder: Path, message: str, public: bool) -> None:
    """Make a dataset, or a new version of it, and wait until Kaggle has taken it in. Nothing is sent twice.

    Args:
        folder: after `write_description`.
        message: what a new version is about.
        public: whether everybody sees it, once it is created; a version leaves that as it is.

    Raises:
        CompetitionError: Kaggle refused it, or needs longer than PATIENCE.
    """
    dataset = json.loads((folder / DESCRIPTION).read_text("utf-8"))["id"]
    content = next(folder.glob("sha256-*.txt")).name
    for attempt in range(1, len(cli.PAUSES) + 2):
        there = client.dataset_files(dataset)
        if there and content in there:  # of an earlier command, whose answer may have been lost
            break
        try:
            client.send_dataset(folder, None if there is None else message, public)
            print(f"Sent {folder.name}: https://www.kaggle.com/datasets/{dataset}", flush=True)
            if public and there is not None:
                print(f"If it was private, it still is: https://www.kaggle.com/datasets/{dataset}/settings", flush=True)
            break
        except KaggleError as error:
            if error.kind not in TRANSIENT or attempt > len(cli.PAUSES):
                raise
            cli.wait_while_busy(error, attempt)
    started = time.monotonic()
    while not (client.dataset_ready(dataset) and content in (client.dataset_files(dataset) or ())):
        if time.monotonic() - started > PATIENCE:
            raise CompetitionError(
                f"Kaggle must take in the dataset in {PATIENCE} s. Received: not yet. "
                f"Next: https://www.kaggle.com/datasets/{dataset}, then the same command."
            )
        time.sleep(POLL)


def predict(folders: Folders, name: str) -> Path:
    """Write submission.csv in a kernel that has the weights attached: the labels of the run's own submission.

    Args:
        folders: Kaggle's.
        name: of the run.

    Returns:
        The file.

    Raises:
        CompetitionError: the weights are not attached.
    """
    from competition.ensemble.networks import probabilities_of  # loads Keras

    assert folders.working and folders.published, "a kernel has both"
    inputs = folders.working.parent / "input"
    found = next(inputs.rglob(f"{name}{SEPARATOR}config.json"), None)
    if found is None:
        raise CompetitionError(
            f"The run's weights must be attached to the kernel. Received: nothing of {name} in {inputs}. "
            "Next: Add Input, Datasets, the one that `make kernel RUN=` made."
        )
    images = read_digits(folders.input / "test.csv", labelled=False).images
    with tempfile.TemporaryDirectory() as runs:
        for file in found.parent.glob(f"*{SEPARATOR}*"):
            path = Path(runs, *file.name.split(SEPARATOR))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(file)
        labels = probabilities_of(PackedRun(Path(runs, name)), images).argmax(axis=1)
    write_submission(folders.published, labels)
    read_submission(folders.published, len(images))
    return folders.published


def _copy(run: Run, path: str, folder: Path) -> None:
    name = SEPARATOR.join([run.name, *path.split("/")])
    files.write(folder / name, (run.path / path).read_bytes())
