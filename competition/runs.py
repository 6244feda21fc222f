"""What a run keeps on disk; the only module that knows the paths in a run folder.

    submissions/<YYYYMMDD-HHMMSS>-<recipe>/
      config.json  manifest.json            first
      members/<name>/                       weights.npz valid.npy test.npy history.csv, then done.json
      probabilities.npz  scores.json  submission.csv  then done.json: the run is complete

Somebody else may have made the folder. Arrays are read with allow_pickle=False and models are rebuilt from the
config, so opening a run executes nothing from it; what is read has the form that its readers count on.
"""

import json
import math
import zipfile
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TextIO

import numpy as np

from competition import files, forms
from competition.config import Config
from competition.errors import CompetitionError
from competition.folders import Folders


@dataclass(frozen=True)
class MemberResult:
    """What one trained network leaves behind.

    Attributes:
        valid: float32 array (2, n_valid, 10), probabilities of the rows it never saw: of the image as it is,
            and averaged over its test-time views.
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
    """A run folder.

    Attributes:
        lock: of the process that trains it, held as long as something refers to it; None elsewhere.
    """

    path: Path
    lock: TextIO | None = field(default=None, compare=False, repr=False)

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
        except (TypeError, CompetitionError) as error:
            received = str(error).partition(" Next: ")[0].removesuffix(".")
            raise CompetitionError(
                f"{self.path}/config.json must hold this version's settings. Received: {received}. "
                "Next: `make train NEW=1`."
            ) from None

    @property
    def manifest(self) -> dict:
        """What the run was made from and on; empty if it was killed before saying so."""
        return self.read_json("manifest.json", forms.MANIFEST) if (self.path / "manifest.json").exists() else {}

    def read_json(self, name: str, form=dict) -> dict:
        """One of the run's JSON files.

        Args:
            form: what it must hold, see `forms`.

        Raises:
            CompetitionError: it is missing, damaged, or of another form.
        """
        try:
            return forms.parse((self.path / name).read_bytes(), form)
        except (OSError, CompetitionError) as error:
            raise CompetitionError(
                f"{self.path / name} must be as a run writes it. Received: {error}. Next: `make train NEW=1`."
            ) from None

    def probabilities(self, train_rows: int | None = None, test_rows: int | None = None) -> tuple:
        """What probabilities.npz holds: float32 arrays (2, train_rows, 10) and (2, test_rows, 10).

        Rows of the first that no member was asked about are NaN.

        Raises:
            CompetitionError: it is missing or damaged, or of other data.
        """
        arrays = self.read_arrays("probabilities.npz")
        out_of_fold, test = arrays.get("out_of_fold"), arrays.get("test")
        fits = forms.are_probabilities(out_of_fold, train_rows, gaps=True)
        if not (fits and forms.are_probabilities(test, test_rows)):
            raise CompetitionError(
                f"{self.path}/probabilities.npz must hold those of each row. Received: other arrays. "
                "Next: `make train NEW=1`."
            )
        return out_of_fold, test

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
            with zipfile.ZipFile(self.path / name) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                    raise ValueError("more than any model needs")
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
        self.write_json(f"members/{name}/done.json", {"sha256": sums | {"facts": _sum(result.facts)}, **result.facts})

    def load_member(self, name: str) -> MemberResult | None:
        """A member as it was stored, or None if it is not there or not finished, or damaged or another run's (said)."""
        folder = self.path / "members" / name
        if not (folder / "done.json").exists():
            return None
        try:
            facts = self.read_json(f"members/{name}/done.json", forms.MEMBER)
            sums = facts.pop("sha256")
            if (seen := self.manifest["identity"]["data"]) != [facts["data_sha256"], facts.get("test_sha256", seen[1])]:
                print(f"{folder} was made from other data than {self.name}: it does not count.")
                return None
            damaged = [file for file in MEMBER_FILES if _sha256(folder / file) != sums[file]]
            if sums["facts"] == _sum(facts) and not damaged:
                return self._member(name, facts)
        except (KeyError, TypeError, CompetitionError):
            damaged = []
        print(f"{folder / (damaged or ['done.json'])[0]} is damaged: {name} is trained again.")
        return None

    def _member(self, name: str, facts: dict) -> MemberResult:
        """A member whose checksums are right; whoever made them up has not made up a traceback.

        Raises:
            CompetitionError: a file does not hold what a member leaves behind.
        """
        folder = self.path / "members" / name
        try:
            valid, test = (np.load(folder / f"{a}.npy", allow_pickle=False) for a in ("valid", "test"))
            history = files.read_table(folder / "history.csv")
            numbers = [float(value) for epoch in history for value in epoch.values()]
        except Exception as error:  # a made-up header raises whatever its bytes lead to
            raise CompetitionError(str(error)) from None
        arrays = self.read_arrays(f"members/{name}/weights.npz")
        weights = [arrays[key] for key in sorted(arrays)]
        if not (
            all(map(forms.are_probabilities, (valid, test)))
            and all(array.dtype.kind in "fiu" for array in weights)
            and 0 < len(history) == facts["epochs"] >= facts["kept_epoch"] >= 0
            and {"accuracy", "loss", "val_accuracy", "val_loss"} <= history[0].keys()
            and all(math.isfinite(number) for number in numbers)
        ):
            raise CompetitionError("other arrays or another history")
        return MemberResult(valid, test, weights, history, facts)


MEMBER_FILES = ("valid.npy", "test.npy", "weights.npz", "history.csv")
LARGEST = 2 << 30  # bytes of unpacked arrays


def _sha256(path: Path) -> str | None:
    try:
        return files.sha256_of(path)
    except OSError:
        return None


def _sum(facts: dict) -> str:
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def list_runs(folders: Folders) -> list[Run]:
    """All run folders, oldest first."""
    return [Run(path.parent) for path in sorted(folders.submissions.glob("*/config.json"))]


def settings_of(config: Config) -> dict:
    """The config as JSON keeps it."""
    return asdict(config)


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
