"""`make soak`: a small run is killed at random moments, again and again, and ends with the bytes of one that was not.

`make soak ARGS="20 7"` kills 20 times, at the moments of seed 7.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from competition.data.digits import read_digits
from competition.runs.folders import ROOT, SAMPLE, Folders
from competition.runs.run import Run, list_runs
from tests.conftest import write_csv

SMALL = ("--folds", "2", "--refit", "1", "--epochs", "2", "--batch-size", "32", "--width", "0.25",
         "--early-stopping-fraction", "0.1")  # fmt: skip
LONG = 1200  # seconds: a start that takes longer hangs


class Soak:
    """Starts, kills and compares; `counts` says how often."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.random, self.counts = folder, random.Random(seed), Counter()
        digits = read_digits(SAMPLE / "train.csv.gz", labelled=True)
        (folder / "input").mkdir()
        write_csv(folder / "input" / "train.csv", digits.images[:240], digits.labels[:240])
        write_csv(folder / "input" / "test.csv", digits.images[600:700])

    def start(self, submissions: Path, jobs: int) -> subprocess.Popen:
        """The command line in a process group of its own."""
        command = [sys.executable, "-m", "competition", "train", *SMALL, "--precision", "float32", "--jobs", jobs]
        command += ["--input", self.folder / "input", "--submissions", submissions]
        self.log = submissions.with_suffix(".log")
        with self.log.open("w") as log:
            return subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)

    def undisturbed(self) -> tuple[bytes, float]:
        """The submission of a run that nobody kills, and its seconds."""
        started = time.monotonic()
        process = self.start(self.folder / "undisturbed", 1)
        assert process.wait(LONG) == 0, self.log.read_text()
        return only_run(self.folder / "undisturbed").submission_csv.read_bytes(), time.monotonic() - started

    def disturbed(self, submissions: Path, kills: int, seconds: float) -> bytes:
        """The submission of a run that is started and killed, at most so many times, until it ends."""
        kept = {}
        while True:
            process = self.start(submissions, self.random.choice((1, 1, 1, 2)))
            self.counts["starts"] += 1
            try:
                code = process.wait(self.random.uniform(0, seconds) if self.counts["kills"] < kills else LONG)
                assert code == 0, self.log.read_text()
            except subprocess.TimeoutExpired:
                assert self.counts["kills"] < kills, f"a hang: {self.log.read_text()}"
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self.counts["kills"] += 1
                self.counts[f"kills {stage(submissions)}"] += 1
            run = only_run(submissions)
            if run is None:
                continue
            finished = {path: path.stat().st_mtime_ns for path in run.path.glob("members/*/done.json")}
            assert kept.items() <= finished.items(), "a finished member was trained again"
            kept = finished
            if run.complete:
                return run.submission_csv.read_bytes()


def only_run(submissions: Path) -> Run | None:
    """The run that all starts share; None before there is one."""
    runs = list_runs(Folders(submissions, submissions))
    assert len(runs) < 2, "a start has not gone on with the run"
    return runs[0] if runs else None


def stage(submissions: Path) -> str:
    """How far a run was."""
    run = only_run(submissions)
    if run is None:
        return "before the run began"
    if run.complete:
        return "while the report was made"
    if (run.path / "probabilities.npz").exists():
        return "while the submission was written"
    return f"with {len(list(run.path.glob('members/*/done.json')))} of 3 members finished"


def soak(folder: Path, kills: int, seed: int = 0) -> Counter:
    """Kill runs so many times in all; every one must end with the same bytes.

    Returns:
        How many starts, kills (by how far the run was) and finished runs there were.
    """
    work = Soak(folder, seed)
    expected, seconds = work.undisturbed()
    while work.counts["kills"] < kills:
        submissions = folder / f"run {work.counts['runs']}"
        assert work.disturbed(submissions, kills, seconds) == expected, f"other bytes in {submissions}"
        work.counts["runs"] += 1
        print(f"run {work.counts['runs']}: the same bytes after {work.counts['kills']} of {kills} kills", flush=True)
    return work.counts


if __name__ == "__main__":
    kills, seed, *_ = (*map(int, sys.argv[1:]), *(100, 0)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as name:
        result = soak(Path(name), kills, seed)
    print("\n".join(f"{count:6d} {what}" for what, count in sorted(result.items())))
    print(f"{result['runs']} runs were killed {result['kills']} times; each ended with the same submission bytes.")
