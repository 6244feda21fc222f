"""Every benchmark runs once, on so little that its figures mean nothing."""

import os
import subprocess
import sys

import pytest

from competition.runs.folders import ROOT

SAID = {
    "reading": "read_digits, every value checked",
    "augmentation": "ours, a movement for eight",
    "step": "our net, one member a core (the default)",
    "operations": "all else: bias, ReLU, copies, Python, the feed",
    "life": "answers: eight views and the picture",
    "members": "a Dask cluster of 2 single-threaded",
    "determinism": "the same bytes twice",
    "memory": "MB more for each further",
}


@pytest.mark.slow
@pytest.mark.parametrize("part", SAID)
def test_a_benchmark_runs(part):
    quick = {**os.environ, "BENCH_QUICK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", part], cwd=ROOT, env=quick, capture_output=True, text=True
    )
    assert (done.returncode, SAID[part] in done.stdout) == (0, True), done.stdout + done.stderr
