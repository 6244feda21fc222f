"""What a run keeps on disk; the only module that knows the paths in a run folder.

    submissions/<YYYYMMDD-HHMMSS>-<recipe>/
      config.json  manifest.json            first
      members/<name>/                       weights.npz valid.npy test.npy history.csv, then done.json
      probabilities.npz  scores.json  submission.csv  then done.json: the run is complete

Arrays are read with allow_pickle=False and models are rebuilt from the config, so opening a run executes
nothing from it.
"""

import dataclasses
import json
import subprocess
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from competition import files
from competition.config import Config
from competition.errors import CompetitionError
from competition.folders import PACKAGE, ROOT, Folders


@dataclass(frozen=True)
class MemberResult:
    """What one trained network leaves behind.

    Attributes:
        valid: float32 array (2, n_valid, 10), probabilities of the rows it never saw: of the image as it is,
            and averaged over the test-time shifts.
        test: float32 array (2, n_test, 10), likewise.
        weights: the model's weights, in Keras's order.
        history: one dict an epoch, as Keras logs it.
        facts: seed, seconds, accuracies and whatever else is worth knowing.
    """

    valid: np.ndarray
    test: np.ndarray
    weights: list[np.ndarray]
    history: list[dict]
    facts: dict


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / "done.json").is_file()

    @property
    def submission(self) -> Path:
        """The file to send."""
        return self.path / "submission.csv"

    @property
    def config(self) -> Config:
        """The settings, checked anew."""
        try:
            return Config(**self.read_json("config.json"))
        except TypeError as error:
            raise CompetitionError(
                f"{self.path}/config.json must hold this version's settings. Received: {error}. "
                "Next: `make train NEW=1`."
            ) from None

    @property
    def manifest(self) -> dict:
        """What the run was made from and on; empty if it was killed before saying so."""
        return self.read_json("manifest.json") if (self.path / "manifest.json").exists() else {}

    def read_json(self, name: str) -> dict:
        """One of the run's JSON files.

        Raises:
            CompetitionError: it is missing or damaged.
        """
        try:
            value = json.loads((self.path / name).read_text("utf-8"))
        except (OSError, ValueError) as error:
            value = error
        if not isinstance(value, dict):
            raise CompetitionError(
                f"{self.path / name} must hold a JSON object. Received: {value}. Next: `make train NEW=1`."
            )
        return value

    def write_json(self, name: str, content: dict) -> None:
        """Write one of the run's JSON files."""
        files.write(self.path / name, json.dumps(content, indent=2) + "\n")

    def write_arrays(self, name: str, **arrays) -> None:
        """Write an .npz file of named arrays."""
        with files.replacing(self.path / name) as file:
            np.savez(file, allow_pickle=False, **arrays)

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Read an .npz file of named arrays.

        Raises:
            CompetitionError: it is missing or damaged.
        """
        try:
            with np.load(self.path / name, allow_pickle=False) as archive:
                return dict(archive)
        except Exception as error:  # a damaged zip raises whatever its bytes lead to
            raise CompetitionError(
                f"{self.path / name} must hold arrays. Received: {error}. Next: `make train` repairs the run."
            ) from None

    def store_member(self, name: str, result: MemberResult) -> None:
        """Write a finished member; its done.json, with the checksums of the others, comes last."""
        folder = self.path / "members" / name
        for array in ("valid", "test"):
            with files.replacing(folder / f"{array}.npy") as file:
                np.save(file, getattr(result, array), allow_pickle=False)
        self.write_arrays(f"members/{name}/weights.npz", **{f"w{i:03}": w for i, w in enumerate(result.weights)})
        files.write_table(folder / "history.csv", list(result.history[0]), result.history)
        sums = {file: files.sha256_of(folder / file) for file in MEMBER_FILES}
        self.write_json(f"members/{name}/done.json", {"sha256": sums, **result.facts})

    def load_member(self, name: str) -> MemberResult | None:
        """A member as it was stored, or None if it is not there or not finished, or damaged or another run's (said)."""
        folder = self.path / "members" / name
        if not (folder / "done.json").exists():
            return None
        try:
            facts = self.read_json(f"members/{name}/done.json")
            sums = facts.pop("sha256")
            if facts["data_sha256"] != self.manifest["identity"]["data"][0]:
                print(f"{folder} was made from other data than {self.name}: it does not count.")
                return None
            damaged = [file for file in MEMBER_FILES if files.sha256_of(folder / file) != sums[file]]
            if not damaged:
                weights = self.read_arrays(f"members/{name}/weights.npz")
                valid, test = (np.load(folder / f"{a}.npy", allow_pickle=False) for a in ("valid", "test"))
                history = files.read_table(folder / "history.csv")
                return MemberResult(valid, test, [weights[key] for key in sorted(weights)], history, facts)
        except (OSError, KeyError, TypeError, ValueError, CompetitionError):
            damaged = ["done.json"]
        print(f"{folder / damaged[0]} is damaged: {name} is trained again.")
        return None


MEMBER_FILES = ("valid.npy", "test.npy", "weights.npz", "history.csv")


def open_run(folders: Folders, config: Config, manifest: dict, new: bool = False) -> Run:
    """Go on with the newest unfinished run that was made from the same, or start one.

    Args:
        manifest: what the run is made from; its `identity` decides whether runs are the same.
        new: start one in any case.
    """
    unfinished = [run for run in reversed(list_runs(folders)) if not run.complete and run.manifest]
    for run in [] if new else unfinished:
        if run.manifest["identity"] == manifest["identity"]:
            print(f"Going on with {run.path}.")
            return run
    if unfinished and not new:
        before, now = unfinished[0].manifest["identity"], manifest["identity"]
        changed = ", ".join(key for key in now if before.get(key) != now[key])
        print(f"{unfinished[0].path} is unfinished, but changed since: {changed}. A new run starts.")
    base = folders.submissions / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.recipe}"
    path, attempt = base, 1
    while path.exists():
        path, attempt = base.with_name(f"{base.name}-{attempt}"), attempt + 1
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise CompetitionError(
            f"Runs are kept in {folders.submissions}. Received: {error.strerror}. Next: --submissions FOLDER."
        ) from None
    run = Run(path)
    run.write_json("config.json", settings_of(config))
    run.write_json("manifest.json", manifest)
    return run


def list_runs(folders: Folders) -> list[Run]:
    """All run folders, oldest first."""
    return [Run(path.parent) for path in sorted(folders.submissions.glob("*/config.json"))]


def settings_of(config: Config) -> dict:
    """The config as JSON keeps it."""
    return dataclasses.asdict(config)


def find_run(folders: Folders, name: str | None = None) -> Run:
    """The complete run of that name (or path), or the newest one.

    Raises:
        CompetitionError: there is none.
    """
    if name is not None:
        path = next((p for p in (Path(name), folders.submissions / name) if (p / "config.json").is_file()), None)
        if path is None or not Run(path).complete:
            state = "an unfinished run" if path else "nothing there"
            raise CompetitionError(f"RUN names a complete run in {folders.submissions}. Received: {name}, {state}. "
                                   "Next: `make train`.")  # fmt: skip
        return Run(path)
    complete = [run for run in list_runs(folders) if run.complete]
    if not complete:
        raise CompetitionError(
            f"A complete run in {folders.submissions} is needed. Received: none. Next: `make train`."
        )
    return complete[-1]


def sources_sha256() -> str:
    """One hash of the package's own source files."""
    digest = sha256()
    for path in sorted(PACKAGE.glob("*.py")):
        digest.update(f"{path.name} {files.sha256_of(path)}\n".encode())
    return digest.hexdigest()


def git_commit() -> str | None:
    """The commit the package is at, with `+` when files differ from it; None outside git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
