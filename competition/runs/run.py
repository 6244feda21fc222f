"""What a run keeps on disk; the only module that knows the paths in a run folder.

    submissions/<YYYYMMDD-HHMMSS>-<recipe>/
      config.json  manifest.json            first
      members/<name>/                       see `checkpoint`
      probabilities.npz  scores.json  submission.csv  then done.json: the run is complete

A run whose time ran out is complete as well: done.json then names the members behind its predictions. It may go on,
and stays complete, with the submission that it has, until a better one is written.

Somebody else may have made the folder. Arrays are read with allow_pickle=False and models are rebuilt from the
config, so opening a run executes nothing from it; what is read has the form that its readers count on.
"""

import shlex
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TextIO

import numpy as np

from competition.config import MNIST, RECIPES, Config
from competition.errors import CompetitionError
from competition.runs import files, schema
from competition.runs.checkpoint import LARGEST, MemberResult, read_intact, read_result, write_result
from competition.runs.folders import Folders, shown

RENAMED = {"test_views": "tta", "stop_fraction": "early_stopping_fraction"}  # settings of runs that older versions made
REMOVED = {"teachers": 0, "elastic": 0, "grid": 0, "unmoved": 0}  # likewise, with the value that switched them off


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
    def retrain(self) -> str:
        """The command that makes anew what of the run is damaged."""
        return f"`make train RUN={shlex.quote(str(shown(self.path)))}`"

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / "done.json").is_file()

    @property
    def part(self) -> list[str] | None:
        """The members behind a complete run whose time ran out before all were trained; else None."""
        return self.read_json("done.json", schema.DONE).get("members") if self.complete else None

    @property
    def whole(self) -> bool:
        """Whether the run is complete, with all members of its plan."""
        return self.complete and self.part is None

    @property
    def submission_csv(self) -> Path:
        """The file to send."""
        return self.path / "submission.csv"

    @property
    def config(self) -> Config:
        """The settings, checked anew."""
        settings = renamed(self.read_json("config.json"))
        try:
            return Config(**settings)
        except CompetitionError as error:
            received = str(error).partition(" Next: ")[0].removesuffix(".")
            raise CompetitionError(
                f"{self.path}/config.json must hold this version's settings. Received: {received}. "
                "Next: `make train NEW=1`."
            ) from None

    @property
    def manifest(self) -> dict:
        """What the run was made from and on; empty if it was killed before that was written."""
        return self.read_json("manifest.json", schema.MANIFEST) if (self.path / "manifest.json").exists() else {}

    @property
    def scores(self) -> dict:
        """What the run is worth, see `averaging.score`."""
        return self.read_json("scores.json", schema.SCORES)

    def member_facts(self) -> dict[str, dict]:
        """The facts of each member by its name; of a blend, those of its parents' members, as they were then."""
        names = sorted(path.parent.name for path in self.path.glob("members/*/done.json"))
        own = {name: self.read_json(f"members/{name}/done.json") for name in names}
        parents = self.manifest.get("parents", [])
        return own | {f"{run['run']}/{name}": facts for run in parents for name, facts in run["members"].items()}

    def histories(self) -> list[dict[str, np.ndarray]]:
        """Its members' learning curves, each from Keras's log names to arrays (epochs,); of a blend there is none.

        Raises:
            CompetitionError: one is damaged.
        """
        tables = [files.read_table(path) for path in sorted(self.path.glob("members/*/history.csv"))]
        try:
            return [{name: np.array([float(line[name]) for line in table]) for name in table[0]} for table in tables]
        except (IndexError, ValueError) as error:
            raise CompetitionError(
                f"{self.path}/members must hold learning curves. Received: {error}. Next: `make train NEW=1`."
            ) from None

    def read_json(self, name: str, form=schema.ANY) -> dict:
        """One of the run's JSON files.

        Args:
            form: what it must hold, see `schema`.

        Raises:
            CompetitionError: it is missing, damaged, or of another form.
        """
        return schema.read(self.path / name, form, *([] if name == "manifest.json" else [self.retrain]))

    def probabilities(self, train_rows: int | None = None, test_rows: int | None = None) -> tuple:
        """What probabilities.npz holds: float32 arrays (2, train_rows, 10) and (2, test_rows, 10).

        Rows of the first that no member validated are NaN.

        Raises:
            CompetitionError: it is missing or damaged, or of other data.
        """
        arrays = self.read_arrays("probabilities.npz")
        out_of_fold, test = arrays.get("out_of_fold"), arrays.get("test")
        fits = schema.are_probabilities(out_of_fold, train_rows, gaps=True)
        if not (fits and schema.are_probabilities(test, test_rows)):
            raise CompetitionError(
                f"{self.path}/probabilities.npz must hold those of each row. Received: other arrays. "
                f"Next: {self.retrain}."
            )
        return out_of_fold, test

    def write_json(self, name: str, content: dict) -> None:
        """Write one of the run's JSON files."""
        files.write_json(self.path / name, content)

    def write_arrays(self, name: str, **arrays) -> None:
        """Write an .npz file of named arrays."""
        files.write_arrays(self.path / name, arrays)

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Read an .npz file of named arrays.

        Raises:
            CompetitionError: it is missing or damaged.
        """
        try:
            return files.read_arrays(self.path / name, LARGEST)
        except Exception as error:  # a damaged zip raises whatever its bytes lead to
            raise CompetitionError(
                f"{self.path / name} must hold arrays. Received: {error}. Next: {self.retrain}."
            ) from None

    def withdraw(self) -> None:
        """Take back that the run is complete: its submission is written anew."""
        (self.path / "done.json").unlink(missing_ok=True)

    def store_member(self, name: str, result: MemberResult) -> None:
        """Write a finished member."""
        write_result(self.path / "members" / name, result)

    def load_member(self, name: str) -> MemberResult:
        """A member as it was stored.

        Raises:
            CompetitionError: it is missing or not finished, damaged, or was trained on other data.
        """
        received = "none"
        try:
            if result := read_result(self.path / "members" / name, self.manifest["identity"]["data"][0]):
                return result
        except CompetitionError as error:
            received = str(error)
        raise CompetitionError(f"{self.path} must hold {name}. Received: {received}. Next: {self.retrain}.")

    def intact_member(self, name: str) -> MemberResult | None:
        """Like `load_member`, but None where it must be trained, with a line where it is damaged."""
        return read_intact(self.path / "members" / name, self.manifest["identity"]["data"][0])


def list_runs(folders: Folders) -> list[Run]:
    """All run folders, oldest first."""
    return [Run(path.parent) for path in sorted(folders.submissions.glob("*/config.json"))]


def renamed(settings: dict) -> dict:
    """Settings as this version names them."""
    return {RENAMED.get(name, name): value for name, value in settings.items() if (name, value) not in REMOVED.items()}


def settings_of(config: Config) -> dict:
    """The config as JSON keeps it."""
    return asdict(config)


def find_run(folders: Folders, name: str | None = None) -> Run:
    """The complete run of that name (or path), or the newest one.

    Raises:
        CompetitionError: there is none.
    """
    if name is not None:
        run = named_run(folders, name)
        if not run.complete:
            raise CompetitionError(
                f"RUN names a complete run. Received: {name}, which is unfinished. Next: {run.retrain}."
            )
        return run
    complete = [run for run in list_runs(folders) if run.complete]
    if not complete:
        raise CompetitionError(
            f"A complete run in {folders.submissions} is needed. Received: none. Next: `make train`."
        )
    return complete[-1]


def named_run(folders: Folders, name: str) -> Run:
    """The run of that name or path, in whatever state.

    Raises:
        CompetitionError: there is none.
    """
    for path in (Path(name), folders.submissions / name):
        if (path / "config.json").is_file() or (path / "manifest.json").is_file():
            return Run(path)
    raise CompetitionError(
        f"RUN names a run in {folders.submissions}. Received: {name}, nothing there. Next: `make train`."
    )


def repeat_command(run: Run) -> str:
    """The command that makes the same run again, as it works in a fresh clone."""
    config, manifest = run.config, run.manifest
    recipe = config.recipe if config.recipe in RECIPES else "fast"
    settings = [
        f"--{field.name.replace('_', '-')} {shlex.quote(str(getattr(config, field.name)))}"
        for field in fields(Config)
        if field.name != "recipe" and getattr(config, field.name) != getattr(RECIPES[recipe], field.name)
    ]
    source = [f"--source {manifest['source']}"] if manifest["source"] in ("sample", *MNIST) else []
    precision = f"--precision {shlex.quote(manifest['identity']['precision'])}"
    threads = manifest["identity"].get("threads")  # on another number of them the results differ
    threads = [f"--threads {threads}"] if type(threads) is int else []
    kernels = ["TF_ENABLE_ONEDNN_OPTS=0"] if manifest["identity"].get("onednn") is False else []
    arguments = shlex.quote(" ".join([*settings, *source, precision, *threads])).replace("$", "$$")  # make expands it
    return " ".join([*kernels, "make train NEW=1", f"RECIPE={recipe}", f"ARGS={arguments}"])
