"""A slice of `make fuzz`, the same in each run."""

import warnings

import pytest

from tests.fuzz import Bench

KINDS = ("train.csv", "test.csv", "train.csv.gz", "zip", "zip, its names", "submission.csv", "config.json",
         "manifest.json", "scores.json", "history.csv", "done.json", "member's files", "member's files, signed",
         "arrays of any kind, signed")  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_as_what_it_is_or_refused(bench, kind):
    warnings.simplefilter("ignore")  # of zips that name a file twice
    counts = bench.fuzz(kind, 20)
    assert counts["read"] and counts["refused"], counts  # a reader that refuses everything, or takes it, is none


def test_every_kind_is_tried(bench):
    assert set(bench.kinds()) == set(KINDS)
