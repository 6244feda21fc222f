"""Where things lie: the package, the sample, a user's data and runs, and all of it on Kaggle."""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from competition.errors import CompetitionError

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent
SAMPLE = ROOT / "input" / "sample"
KEPT_OUT = ROOT / "submissions" / "studies" / "kept-out.csv"  # committed: rows of train.csv that no study on it sees


@dataclass(frozen=True)
class Folders:
    """Where a user's data and runs lie."""

    input: Path
    submissions: Path
    working: Path | None = None  # Kaggle's own, when running there: all that lies in it is the kernel's output
    mnist_npz: Path | None = None  # MNIST as Keras keeps it, for the baselines; None: where Keras keeps it

    @classmethod
    def find(
        cls, input: Path | None = None, submissions: Path | None = None, mnist_npz: Path | None = None
    ) -> "Folders":
        """The given folders, or Kaggle's when running there, or the project's own.

        Raises:
            CompetitionError: this runs on Kaggle and the competition's files are not attached.
        """
        working = None
        if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):
            kaggle = Path(os.environ.get("COMPETITION_KAGGLE_ROOT", "/kaggle"))  # another one in tests
            working = kaggle / "working"
            input, submissions = input or _mounted(kaggle / "input"), submissions or working / "submissions"
        return cls(Path(input or ROOT / "input"), Path(submissions or ROOT / "submissions"), working, mnist_npz)

    @property
    def baselines(self) -> "Folders":
        """The same data; runs of the baselines, apart, so that nobody's newest run is one of them."""
        return replace(self, submissions=self.submissions / "baselines")

    @property
    def studies(self) -> Path:
        """Tables and pages of studies, and the members that they trained."""
        return self.submissions / "studies"

    @property
    def coverage(self) -> Path:
        """What the simulated competitions leave, to go on from."""
        return self.submissions / "coverage"

    @property
    def coverage_table(self) -> Path:
        """One row a simulated competition, committed."""
        return self.submissions / "coverage.csv"

    @property
    def shift_table(self) -> Path:
        """One row a kind of shift, its strength and number of test rows, committed."""
        return self.submissions / "shift.csv"

    @property
    def cache(self) -> Path:
        """Where parsed copies of the data lie."""
        return Path(tempfile.gettempdir()) / "competition-cache" if self.working else self.submissions / ".cache"

    @property
    def drawn(self) -> Path:
        """Digits that a user drew and kept, each named by its label; no run reads them."""
        return self.submissions / "drawn"

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


def shown(path: Path) -> Path:
    """A path as a user types it: relative where it lies in the folder at hand."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


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
