import numpy as np

from competition.config import Config
from competition.ensemble.folds import plan_members, repeated_folds
from competition.network.member import early_stopping_split


def test_each_row_is_asked_once_a_repeat_and_never_taught_then(sample):
    pairs = repeated_folds(sample.labels, folds=5, repeats=3, seed=1)
    assert len(pairs) == 15
    for repeat in range(3):
        part = pairs[5 * repeat : 5 * repeat + 5]
        assert sorted(np.concatenate([valid for _, valid in part])) == list(range(6000))
    for train, valid in pairs:
        assert not set(train) & set(valid) and len(train) + len(valid) == 6000
        share = np.bincount(sample.labels[valid], minlength=10) / len(valid)
        assert np.abs(share - np.bincount(sample.labels) / 6000).max() < 0.002


def test_repeats_and_seeds_differ_and_are_repeatable(few):
    first = repeated_folds(few.labels, 2, 2, seed=1)
    again = repeated_folds(few.labels, 2, 2, seed=1)
    other = repeated_folds(few.labels, 2, 2, seed=2)
    assert all((a[1] == b[1]).all() for a, b in zip(first, again, strict=True))
    assert (first[0][1] != first[2][1]).any() and (first[0][1] != other[0][1]).any()


def test_each_repeat_takes_the_next_architecture_and_folds_of_its_own(few):
    members = plan_members(Config(folds=2, repeats=3, architecture="pooled,fine"), few.labels)
    assert [member.config.architecture for member in members] == ["pooled"] * 2 + ["fine"] * 2 + ["pooled"] * 2
    assert (members[0].val_rows != members[2].val_rows).any()
    assert len({member.seed for member in members}) == 6


def test_the_slice_for_early_stopping_comes_from_the_training_rows(sample):
    rows = np.arange(1000, 5000)
    taught, watched = early_stopping_split(sample.labels, rows, 0.02, seed=3)
    assert len(watched) == 80 and sorted([*taught, *watched]) == list(rows)
    assert set(sample.labels[watched]) == set(range(10))
