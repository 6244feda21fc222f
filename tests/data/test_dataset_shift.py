"""What pixels alone tell of two files: mistakes are named, chance is not."""

from dataclasses import replace

import numpy as np
import pytest

from competition.data import dataset_shift
from competition.data.digits import Digits, read_digits
from competition.runs.folders import SAMPLE


@pytest.fixture(scope="module")
def files():
    """800 training images and 200 of test.csv, as somebody tries the package."""
    train = read_digits(SAMPLE / "train.csv.gz", labelled=True)
    return Digits(train.images[:800], train.labels[:800], "other", ""), read_digits(
        SAMPLE / "test.csv.gz", labelled=False
    ).images[:200]


def test_measures_of_a_bar():
    """A bar of 200 in rows 4 to 23 and columns 10 to 13 on white paper of 0."""
    image = np.zeros((1, 28, 28, 1), np.uint8)
    image[0, 4:24, 10:14] = 200
    found = dict(zip(dataset_shift.MEASURES, dataset_shift.measure(image)[0], strict=True))
    assert (found["grey of the paper"], found["lowest value"], found["highest value"]) == (0, 0, 200)
    assert found["mean ink"] == pytest.approx(200 * 80 / 784)
    assert (found["horizontal centre"], found["vertical centre"]) == (11.5, 13.5)
    assert (found["width"], found["height"]) == (4, 20)
    assert found["slant"] == pytest.approx(0, abs=1e-5)
    assert found["stroke width"] == pytest.approx(2 * 80 / 48)  # 48 edges around 80 pixels
    inverted = dict(zip(dataset_shift.MEASURES, dataset_shift.measure(255 - image)[0], strict=True))
    assert inverted["grey of the paper"] == 255 and inverted["width"] == 4  # ink is what differs from the paper
    assert np.isfinite(dataset_shift.measure(np.zeros((1, 28, 28, 1), np.uint8))).all()  # of a blank one as well


def test_files_of_one_source_are_alike(files):
    train, test = files
    assert dataset_shift.warning(train, test) is None
    assert dataset_shift.warning(train, test[:20]) is None
    assert dataset_shift.compare_pixels(train.images, test[: dataset_shift.FEWEST - 1]) == []


ONE_FILE = {
    "invert the images of one file (255 − value), and they look alike": lambda images: 255 - images,
    "transpose the images of one file, and they look alike": lambda images: images.swapaxes(1, 2),
    "transpose and invert the images of one file, and they look alike": lambda images: 255 - images.swapaxes(1, 2),
    "mirror the images of one file, and they look alike": lambda images: images[:, :, ::-1],
    "turn the images of one file upside down, and they look alike": lambda images: images[:, ::-1],
    "turn the images of one file by 180°, and they look alike": lambda images: np.rot90(images, 2, axes=(1, 2)),
}
TEST_CSV = {
    "turn the images of test.csv by 90° to the left": lambda images: np.rot90(images, 3, axes=(1, 2)),
    "multiply test.csv by 255": lambda images: np.rint(images / 255).astype(np.uint8),
    "multiply test.csv by 2.01": lambda images: images // 2,
    "bring the values 40…255 of test.csv to 0…255": lambda images: (40 + images * (215 / 255)).astype(np.uint8),
    "shift the images of test.csv by 2 pixels to the right and -3 down": lambda images: np.roll(
        images, (3, -2), (1, 2)
    ),
}


@pytest.mark.parametrize("mistake", ONE_FILE.items(), ids=lambda item: item[0][:20])
def test_a_mistake_in_either_file_is_named_with_what_undoes_it(files, mistake):
    (train, test), (words, make) = files, mistake
    for pair in ((replace(train, images=make(train.images)), test), (train, make(test))):
        assert dataset_shift.warning(*pair).endswith(f"Next: {words}.")


@pytest.mark.parametrize("mistake", TEST_CSV.items(), ids=lambda item: item[0][:20])
def test_a_mistake_in_test_csv_is_named_with_what_undoes_it(files, mistake):
    (train, test), (words, make) = files, mistake
    said = dataset_shift.warning(train, make(test))
    assert said.startswith("test.csv is not like train.csv. Received: ") and f"Next: {words}, and they" in said


def test_what_is_lost_is_not_given_back(files):
    train, test = files
    half = np.where((np.arange(len(test)) % 2 == 0)[:, None, None, None], test, 255 - test)
    assert "Next: look at images of both" in dataset_shift.warning(train, half)
    assert "Next: multiply train.csv by 255, and they look alike" in dataset_shift.warning(
        replace(train, images=(train.images > 127).astype(np.uint8)), test
    )


def test_a_digit_that_train_csv_lacks_is_named(files):
    train, test = files
    kept = train.labels % 9 > 0
    lacking = Digits(train.images[kept], train.labels[kept], "other", "")
    assert "Received: none of 0, 9. Next: " in dataset_shift.warning(lacking, test)


def test_a_significant_trifle_of_many_rows_is_no_difference():
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(40_000, 1)), draw.normal(0.08, size=(28_000, 1))
    (test,) = dataset_shift.compare(["a"], ours, theirs)
    assert test["p"] < 1e-9 and test["distance"] < dataset_shift.LEAST and not test["differ"]
    (test,) = dataset_shift.compare(["a"], ours, theirs + 0.2)
    assert test["differ"] and dataset_shift.in_words([test]).startswith("a 0.2")


def test_chance_is_rarely_called_a_difference(sample):
    """Of 100 draws of 200 rows from one source at most one: the study draws more (submissions/shift.csv)."""
    measured, draw = dataset_shift.measure(sample.images[:1000]), np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        order = draw.permutation(len(measured))
        tests = dataset_shift.compare(dataset_shift.MEASURES, measured[order[200:]], measured[order[:200]])
        alarms += any(test["differ"] for test in tests)
    assert alarms <= 1
