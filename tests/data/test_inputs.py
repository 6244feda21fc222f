"""What lies in input/, as people put it there: taken, or named with a next step that leads on."""

import bz2
import gzip
import io
import lzma
import os
import re
import struct
import subprocess
import zipfile

import numpy as np
import pytest

from competition.data.constants import PIXELS
from competition.data.dataset import load_dataset, obtain, remarks
from competition.data.inputs import describe_files, find_files
from competition.errors import CompetitionError
from competition.runs.folders import Folders

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 784))
LABELS = [3, 0, 9, 4]
ROWS = [",".join(map(str, row)) for row in IMAGES]
TRAIN = "\n".join([",".join(["label", *PIXELS]), *map("{},{}".format, LABELS, ROWS[:4]), ""])
TEST = "\n".join([",".join(PIXELS), *ROWS[4:], ""])


def zipped(**entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("_csv", ".csv").replace("__in__", "/"), content)
    return file.getvalue()


BOTH = {"train_csv": TRAIN, "test_csv": TEST}
DEEP = {f"digits__in__{name}": content for name, content in BOTH.items()}
TAKEN = {
    "plain": {"train.csv": TRAIN, "test.csv": TEST},
    "other case": {"Train.CSV": TRAIN, "TEST.csv": TEST},
    "a browser's copies": {"train (1).csv": TRAIN, "test (1).csv": TEST},
    "gzip and bzip2": {"train.csv.gz": gzip.compress(TRAIN.encode()), "test.csv.bz2": bz2.compress(TEST.encode())},
    "xz, a zip each": {"train.csv.xz": lzma.compress(TRAIN.encode()), "test.csv.zip": zipped(test_csv=TEST)},
    "Kaggle's zip": {"digit-recognizer.zip": zipped(**BOTH, sample_submission_csv="ImageId,Label\n1,0\n")},
    "its second download": {"digit-recognizer (1).zip": zipped(**BOTH)},
    "another zip": {"archive.zip": zipped(**BOTH), "cats.zip": zipped(cat="miau")},
    "a zip by macOS": {"digits.zip": zipped(**DEEP, **{"__MACOSX__in__digits__in__._train.csv": "x"})},
    "a folder deeper": {"digit-recognizer/train.csv": TRAIN, "digit-recognizer/test.csv": TEST},
    "a folder for each": {"train.csv/train.csv": TRAIN, "test.csv/test.csv": TEST},
    "a zip and one of its files": {"digit-recognizer.zip": zipped(**BOTH), "train.csv": "label\n1\n"},
    "beside what is set aside": {"train.csv": TRAIN, "test.csv": TEST, "train.parquet": b"PAR1", "x.csv.old": "x"},
}


def put(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Folders(folder, folder.parent / "submissions")


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_meant_beyond_doubt_is_taken_and_nothing_is_written(tmp_path, case):
    folders = put(tmp_path / "input", TAKEN[case])
    before = {path: path.read_bytes() for path in folders.input.rglob("*") if path.is_file()}
    dataset = load_dataset(folders)
    np.testing.assert_array_equal(np.concatenate([dataset.train.images, dataset.test.images]).reshape(6, 784), IMAGES)
    assert dataset.train.labels.tolist() == LABELS
    assert {path: path.read_bytes() for path in folders.input.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("files", ({}, {"README.md": "# My data\n"}, {".DS_Store": b"x"}, {"notes.txt": "buy milk"}))
def test_where_nothing_looks_like_data_the_sample_is_taken(tmp_path, capsys, files):
    assert obtain(put(tmp_path, files))[0].name == "train.csv.gz" and "SAMPLE" in capsys.readouterr().out
    with pytest.raises(CompetitionError, match=r"Received: nothing there\. Next: put digit-recognizer\.zip"):
        obtain(put(tmp_path, files), "kaggle")


PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)
PAGE = b"<!DOCTYPE html>\n<html><title>Login</title></html>"
HINTS = {  # what lies there, and how the message calls it
    "a name of Windows": ({"train.csv.txt": TRAIN, "test.csv.txt": TEST}, r"train\.csv\.txt, a CSV with \.txt behind"),
    "one alone": ({"train.csv": TRAIN}, r"train\.csv, without test\.csv"),
    "other names": ({"digits.csv": TRAIN}, r"digits\.csv, a file of another name"),
    "parquet": ({"train.parquet": b"PAR1" + bytes(60)}, r"train\.parquet, a Parquet file"),
    "arrays": ({"digits.npz": zipped(**{"x_train.npy": "x"})}, r"digits\.npz, NumPy arrays"),
    "numpy": ({"train.npy": b"\x93NUMPY" + bytes(60)}, r"train\.npy, a NumPy array"),
    "excel": ({"train.xlsx": zipped(**{"[Content_Types].xml": "<x/>"})}, r"train\.xlsx, an Excel file"),
    "idx": ({"train-images-idx3-ubyte": struct.pack(">4i", 2051, 1, 28, 28)}, "of MNIST, which holds the labels"),
    "idx, packed": ({"t10k-images-idx3-ubyte.gz": gzip.compress(b"x")}, "of MNIST, which holds the labels"),
    "mnist as CSV": ({"mnist_train.csv": TRAIN, "mnist_test.csv": TEST}, "mnist_test.csv, of MNIST"),
    "pictures": ({"train/7/1.png": PNG}, "train, a folder of pictures"),
    "a picture": ({"7.png": PNG}, r"7\.png, a picture"),
    "an unfinished download": ({"digit-recognizer.zip.crdownload": b"PK\3\4"}, "an unfinished download"),
    "a broken download": ({"digit-recognizer.zip": zipped(**BOTH)[:-60]}, r"digit-recognizer\.zip, a damaged zip"),
    "a login page": ({"digit-recognizer.zip": PAGE}, r"digit-recognizer\.zip, a web page, perhaps Kaggle's login"),
    "a zip of something else": ({"cats.zip": zipped(cat="miau")}, r"cats\.zip, a zip without train\.csv and test\.csv"),
    "the example alone": ({"sample_submission.csv": "ImageId,Label\n1,0\n"}, "an example of a submission"),
    "another archive": ({"digits.7z": b"7z\xbc\xaf'\x1c" + bytes(9)}, "an archive that is no zip"),
    "deeper": ({"old/train.parquet": b"PAR1" + bytes(60)}, r"old, a folder with train\.parquet, a Parquet file"),
}  # fmt: skip


@pytest.mark.parametrize("case", HINTS)
def test_what_cannot_be_used_is_named_and_the_sample_is_not_taken_in_its_place(tmp_path, capsys, case):
    files, what = HINTS[case]
    with pytest.raises(CompetitionError, match=rf"Received: .*{what}.* Next: ") as caught:
        obtain(put(tmp_path / "input", files))
    assert "\n" not in str(caught.value) and capsys.readouterr().out == ""


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    folders = put(tmp_path, {"digit-recognizer.zip": zipped(**BOTH)})
    with pytest.raises(CompetitionError, match=r"must be a folder.*Next: --input FOLDER"):
        obtain(Folders(folders.input / "digit-recognizer.zip", tmp_path))


def cells(change, text=TRAIN):
    header, *rows = text.splitlines()
    return "\n".join([header, *(",".join(map(change, row.split(","))) for row in rows), ""])


def on_pixels(change):
    return lambda text: "\n".join(
        [text.splitlines()[0]]
        + [",".join([row.split(",")[0], *map(change, row.split(",")[1:])]) for row in text.splitlines()[1:]]
    )


def words(pattern, mend):
    """A next step in words: what it says, and a user who does that to train.csv."""
    return pattern, mend


KAGGLES = words(r"put digit-recognizer\.zip", None)
SCALED = on_pixels(lambda value: f"{int(value) / 255:.4f}")(TRAIN)
UNSCALED = on_pixels(lambda value: str(round(255 * float(value))))
SIGNED = on_pixels(lambda value: str(int(value) - (256 if int(value) > 127 else 0)))(TRAIN)
UNSIGNED = on_pixels(lambda value: str(int(value) % 256))
ONE_HOT = "\n".join(
    [",".join([*map("label{}".format, range(10)), *PIXELS])]
    + [",".join([*(str(int(i == label)) for i in range(10)), row]) for label, row in zip(LABELS, ROWS[:4], strict=True)]
)
# A train.csv, what the message calls it, and where its next step is in words these and what a user does then.
FOLLOWED = {
    "semicolons": (TRAIN.replace(",", ";"), "Received: semicolons", None),
    "semicolons, decimal commas": (SCALED.replace(",", ";").replace(".", ","), "semicolons, and decimal commas", None),
    "tabs": (TRAIN.replace(",", "\t"), "Received: tabs", None),
    "UTF-16": (TRAIN.encode("utf-16"), "text in UTF-16", None),
    "a line for Excel": ("sep=,\n" + TRAIN, "a first line for Excel", None),
    "quoted rows": ("".join(f'"{line}"\n' for line in TRAIN.splitlines()), "each row in quotes", None),
    "commas at the end": (TRAIN.replace("\n", ",\n"), "a comma at its end", None),
    "no header": (TRAIN.partition("\n")[2], "no header, the first line is 3,", None),
    "row numbers": (re.sub("^", "7,", TRAIN, flags=re.MULTILINE)[1:-3], "a column '' that numbers the rows", None),
    "another label column": (TRAIN.replace("label", "class"), "no column 'label', and a column 'class'", None),
    "labels as bytes": (re.sub(r"^(\d),", r"b'\1',", TRAIN, flags=re.MULTILINE), "bytes of Python", None),
    "one-hot labels": (ONE_HOT, "ten columns 'label0'…'label9'", words("idxmax", lambda text: TRAIN)),
    "scaled": (SCALED, "pixels scaled to 0–1", words("multiply the pixels by 255", UNSCALED)),
    "signed": (SIGNED, "pixels as signed bytes", words("add 256", UNSIGNED)),
    "20×20": (",".join(["label", *PIXELS[:400]]) + "\n" + ",".join(["3", *["0"] * 400]), "20×20, 400 columns",
              words("make the pictures 28×28", lambda text: TRAIN)),
    "labels from 1": (TRAIN.replace("\n9,", "\n10,").replace("\n0,", "\n1,"), "10 in row 3, labels 1…10",
                      words("write them as 0…9", lambda text: TRAIN)),
    "256 columns": ("\n".join(",".join(line.split(",")[:256]) for line in TRAIN.splitlines()), "column 256", KAGGLES),
    "cut off": (TRAIN[:-900], "in row 4, the last: is the file cut off", KAGGLES),
    "a blank": (TRAIN.replace("\n9,", "\n,"), "a blank in row 3, column label: a missing value", KAGGLES),
    "a blank among floats": (cells(lambda v: v and f"{v}.0").replace("\n9.0,", "\n,"), "a blank in row 3", KAGGLES),
    "swapped": (TEST, "is this test.csv", words("swap the names", lambda text: TRAIN)),
    "a login page": (PAGE, "a web page", words("download it again", lambda text: TRAIN)),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS",
                words("git lfs pull", lambda text: TRAIN)),
}  # fmt: skip


def refused(folders):
    try:
        load_dataset(folders)
    except CompetitionError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("case", FOLLOWED)
def test_the_next_step_of_a_refused_file_leads_on(tmp_path, case, end):
    content, what, followed = FOLLOWED[case]
    content = content.replace("\n", end) if isinstance(content, str) else content
    if end == "\r\n" and case == "cut off":
        pytest.skip("its length is that of LF")
    folders = put(tmp_path / "my input", {"train.csv": content, "test.csv": TEST})
    message = refused(folders)
    assert what in message and "\n" not in message
    following = message.partition("Next: ")[2].removesuffix(".")
    if followed is None:
        subprocess.run(["bash", "-c", following], check=True, cwd=tmp_path)
    else:
        pattern, mend = followed
        assert re.search(pattern, following)
        if mend:
            path = folders.input / "train.csv"
            path.write_text(mend(content if isinstance(content, str) else ""))
        else:
            subprocess.run(["bash", "-c", following.partition(", and put")[0]], check=True, cwd=tmp_path)
            assert "Next: put digit-recognizer.zip" in refused(folders)  # test.csv alone, until the zip lies there
            put(folders.input, {"digit-recognizer.zip": zipped(**BOTH)})
    if case == "semicolons, decimal commas":  # which are scaled as well
        assert "pixels scaled to 0–1" in refused(folders)
    else:
        assert load_dataset(folders).train.labels.tolist() == LABELS
        np.testing.assert_array_equal(load_dataset(folders).train.images.reshape(4, 784), IMAGES[:4])


def test_files_with_txt_behind_their_names_are_renamed_by_the_next_step(tmp_path):
    folders = put(tmp_path / "my input", HINTS["a name of Windows"][0])
    following = refused(folders).partition("Next: ")[2].partition("; or")[0]
    subprocess.run(["bash", "-c", following], check=True, cwd=tmp_path)
    assert load_dataset(folders).train.labels.tolist() == LABELS


def test_rows_that_repeat_are_remarked(tmp_path):
    train = TRAIN + "\n".join([f"3,{ROWS[0]}", f"1,{ROWS[4]}", ""])
    dataset = load_dataset(put(tmp_path / "input", {"train.csv": train, "test.csv": TEST}))
    repeated = "1 training digits repeat another one: their out-of-fold score is too good"
    assert remarks(dataset) == [repeated, "1 test digits are also training digits, or stand there twice"]


def test_of_two_zips_the_newest_is_taken_by_kaggles_name_before_others(tmp_path):
    names = "digit-recognizer.zip", "digit-recognizer (1).zip", "archive.zip"
    folder = put(tmp_path, dict.fromkeys(names, zipped(**BOTH))).input
    for newer, taken in ((0, 0), (1, 1), (2, 1)):  # each becomes the newest in turn
        os.utime(folder / names[newer], (2e9 + newer, 2e9 + newer))
        assert find_files(folder) == (folder / names[taken],) * 2
    for name in names[:2]:
        (folder / name).rename(folder / f"b{name.replace('digit-recognizer', '')}")
    assert find_files(folder) == (folder / "archive.zip",) * 2


def test_a_folder_that_cannot_be_read_blocks_nothing(tmp_path):
    folders = put(tmp_path / "input", {"a/notes.txt": "x", "digits/train.csv": TRAIN, "digits/test.csv": TEST})
    shut = folders.input / "a"
    shut.chmod(0)
    try:
        if os.access(shut, os.R_OK):
            pytest.skip("root reads every folder")
        assert load_dataset(folders).train.labels.tolist() == LABELS
        (folders.input / "digits" / "test.csv").unlink()
        described = dict(describe_files(folders.input))
        assert described["a, a folder that cannot be read"] == f"chmod u+rx {shut}"
    finally:
        shut.chmod(0o755)


def test_data_names_the_file_that_it_reads(tmp_path, command):
    folders = put(tmp_path / "input", {"archive.zip": zipped(**BOTH)})
    done = command("data", "--input", folders.input, "--submissions", folders.submissions)
    assert done.returncode == 0 and f"Read from {folders.input}/archive.zip.\n" in done.stdout, done.stderr


def test_what_a_filter_cannot_mend_is_to_be_unpacked_first(tmp_path):
    content = gzip.compress(TRAIN.replace(",", ";").encode())
    message = refused(put(tmp_path / "input", {"train.csv.gz": content, "test.csv": TEST}))
    assert message.endswith(f"Received: semicolons. Next: unpack {tmp_path}/input/train.csv.gz, then the same command.")
