"""The benchmarks of what comes before training run: once, where their figures mean nothing."""

import os
import subprocess
import sys

import pytest

from competition.runs.folders import ROOT

SAID = {
    "reading": "read_digits, every value checked",
    "augmentation": "one call a group of images (ours)",
}


@pytest.mark.slow
@pytest.mark.parametrize("part", SAID)
def test_a_benchmark_runs(part):
    quick = {**os.environ, "BENCH_QUICK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", part], cwd=ROOT, env=quick, capture_output=True, text=True
    )
    assert (done.returncode, SAID[part] in done.stdout) == (0, True), done.stdout + done.stderr
