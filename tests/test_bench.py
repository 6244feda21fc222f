"""Every benchmark runs: once, on a handful of rows, where its figures mean nothing."""

import os
import subprocess
import sys

import pytest

from competition.runs.folders import ROOT

SAID = {
    "reading": "read_digits, every value checked",
    "augmentation": "one call a group of images (ours)",
    "step": "our net, one member a core (the default)",
    "operations": "all else: bias, ReLU, copies, Python, the feed",
    "members": "single-threaded processes (the default)",
    "determinism": "the same bytes twice",
    "memory": "a member of each repeat of standard",
}


@pytest.mark.slow
@pytest.mark.parametrize("part", SAID)
def test_a_benchmark_runs(part):
    quick = {**os.environ, "BENCH_QUICK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", part], cwd=ROOT, env=quick, capture_output=True, text=True
    )
    assert (done.returncode, SAID[part] in done.stdout) == (0, True), done.stdout + done.stderr


def test_every_benchmark_is_one_of_these():
    text = (ROOT / "tests" / "bench" / "__main__.py").read_text()
    assert f"parts = ({', '.join(SAID)})" in text
