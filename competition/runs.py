"""The only module that knows paths: where data lies, and what a run keeps on disk.

    submissions/<YYYYMMDD-HHMMSS>-<recipe>/
      config.json  manifest.json            first
      members/<name>/                       weights.npz valid.npy test.npy history.csv, then done.json
      probabilities.npz  scores.json  submission.csv  then done.json: the run is complete

Arrays are read with allow_pickle=False and models are rebuilt from the config, so opening a run executes
nothing from it.
"""

import csv
import dataclasses
import io
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from competition import files
from competition.config import Config
from competition.errors import CompetitionError

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent
SAMPLE = ROOT / "input" / "sample"
COLUMNS = (
    "run", "recipe", "source", "oof_accuracy", "oof_low", "oof_high", "member_accuracy", "predicted",
    "predicted_low", "predicted_high", "leaderboard", "true_accuracy", "seconds", "hardware", "sha256",
    "submission", "submitted", "status",
)  # fmt: skip


@dataclass(frozen=True)
class Folders:
    """Where a user's data and runs lie."""

    input: Path
    submissions: Path
    working: Path | None = None  # Kaggle's own, when running there: all that lies in it is the kernel's output

    @classmethod
    def find(cls, input: Path | None = None, submissions: Path | None = None) -> "Folders":
        """The given folders, or Kaggle's when running there, or the project's own.

        Raises:
            CompetitionError: this runs on Kaggle and the competition's files are not attached.
        """
        working = None
        if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):
            kaggle = Path(os.environ.get("COMPETITION_KAGGLE_ROOT", "/kaggle"))  # another one in tests
            working = kaggle / "working"
            input, submissions = input or _mounted(kaggle / "input"), submissions or working / "submissions"
        return cls(Path(input or ROOT / "input"), Path(submissions or ROOT / "submissions"), working)

    @property
    def cache(self) -> Path:
        """Where parsed copies of the data lie."""
        return Path(tempfile.gettempdir()) / "competition-cache" if self.working else self.submissions / ".cache"

    @property
    def published(self) -> Path | None:
        """Where Kaggle looks for a kernel's submission; None elsewhere."""
        return self.working and self.working / "submission.csv"

    @property
    def history(self) -> Path:
        """One row a run, local."""
        return self.submissions / "history.csv"

    @property
    def record(self) -> Path:
        """The measured runs behind the README, committed."""
        return self.submissions / "record.csv"


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
        _write_table(folder / "history.csv", list(result.history[0]), result.history)
        sums = {file: files.sha256_of(folder / file) for file in MEMBER_FILES}
        self.write_json(f"members/{name}/done.json", {"sha256": sums, **result.facts})

    def load_member(self, name: str) -> MemberResult | None:
        """A member as it was stored, or None if it is not there, not finished or damaged (which is said)."""
        folder = self.path / "members" / name
        if not (folder / "done.json").exists():
            return None
        try:
            facts = self.read_json(f"members/{name}/done.json")
            sums = facts.pop("sha256")
            damaged = [file for file in MEMBER_FILES if files.sha256_of(folder / file) != sums[file]]
            if not damaged:
                weights = self.read_arrays(f"members/{name}/weights.npz")
                valid, test = (np.load(folder / f"{a}.npy", allow_pickle=False) for a in ("valid", "test"))
                history = _read_table(folder / "history.csv")
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


def finish(folders: Folders, run: Run, scores: dict, seconds: dict[str, float]) -> None:
    """Complete a run: seconds into its manifest, its row into history.csv, done.json last.

    Args:
        seconds: of each stage; those of an earlier, interrupted part are added.
    """
    manifest = run.manifest
    before = manifest.get("seconds", {})
    manifest["seconds"] = {stage: round(before.get(stage, 0) + spent, 1) for stage, spent in seconds.items()}
    run.write_json("manifest.json", manifest)
    row = history_row(run, scores)
    add_to_history(folders, row)
    if folders.published:
        files.write(folders.published, run.submission.read_bytes())
    run.write_json("done.json", {"sha256": row["sha256"]})


def history_row(run: Run, scores: dict) -> dict:
    """What history.csv says of a run before it is sent: its COLUMNS, but those that Kaggle fills in."""
    oof, board, manifest = scores["out_of_fold"], scores["leaderboard"], run.manifest
    return {
        **dict.fromkeys(COLUMNS, ""),
        "run": run.name,
        "recipe": run.config.recipe,
        "source": manifest["source"],
        "oof_accuracy": f"{oof['accuracy']:.5f}",
        "oof_low": f"{oof['low']:.5f}",
        "oof_high": f"{oof['high']:.5f}",
        "member_accuracy": f"{scores['members']['accuracy']:.5f}",
        "predicted": f"{board['score']:.5f}",
        "predicted_low": f"{board['low']:.5f}",
        "predicted_high": f"{board['high']:.5f}",
        "true_accuracy": f"{scores['true_accuracy']:.5f}" if "true_accuracy" in scores else "",
        "seconds": round(sum(manifest["seconds"].values())),
        "hardware": manifest["hardware"],
        "sha256": files.sha256_of(run.submission),
    }


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


def add_to_history(folders: Folders, row: dict) -> None:
    """Add a run's row, or replace the one it had."""
    rows = {old["run"]: old for old in read_history(folders)}
    rows[row["run"]] = row  # in its old place, where it had one
    _write_table(folders.history, COLUMNS, rows.values())


def read_history(folders: Folders) -> list[dict]:
    """All rows, oldest first, values as text."""
    return _read_table(folders.history) if folders.history.exists() else []


def add_to_record(folders: Folders, name: str | None, remark: str) -> dict:
    """Copy a run's row of history.csv into the committed record, with a remark.

    Returns:
        The row.

    Raises:
        CompetitionError: no such run is in history.csv.
    """
    run = find_run(folders, name)
    row = next((row for row in read_history(folders) if row["run"] == run.name), None)
    if row is None:
        raise CompetitionError(f"{folders.history} must list the run. Received: {run.name}. Next: `make train`.")
    rows = _read_table(folders.record) if folders.record.exists() else []
    rows = [old for old in rows if old["run"] != run.name] + [{**row, "remark": remark}]
    _write_table(folders.record, (*COLUMNS, "remark"), rows)
    return rows[-1]


def _mounted(inputs: Path) -> Path:
    """The competition's files among a kernel's inputs: newer images mount them one folder deeper."""
    places = [inputs / "digit-recognizer", inputs / "competitions" / "digit-recognizer"]
    for place in places:
        if (place / "train.csv").is_file():
            return place
    raise CompetitionError(
        f"The competition's files must be attached to the kernel. Received: no train.csv in {places[0]} or "
        f"{places[1]}. Next: Add Input, Competitions, Digit Recognizer."
    )


def _read_table(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_table(path: Path, columns, rows) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write(path, text.getvalue())
