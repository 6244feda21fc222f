"""Reading: what is fine is read exactly, what is not ends in one clear line."""

import bz2
import gzip
import io
import lzma
import re
import zipfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from competition.data import parsing
from competition.data.constants import PIXELS
from competition.data.digits import content_hash, read_digits, read_unlabelled
from competition.errors import CompetitionError
from competition.runs.folders import SAMPLE
from tests.conftest import write_csv

HEADER = ",".join(["label", *PIXELS])


def rows(*labels, pixel="0"):
    """CSV lines of blank digits whose last pixel is given."""
    return [",".join([str(label), *["0"] * 783, pixel]) for label in labels]


def text(*lines, end="\n"):
    return end.join([*lines, ""]).encode()


GOOD = text(HEADER, *rows(3, 5, pixel="255"))


def read(tmp_path, content, name="train.csv", labelled=True):
    path = tmp_path / name
    path.write_bytes(content)
    return read_digits(path, labelled)


def test_reads_what_the_file_says(few, tmp_path):
    path = write_csv(tmp_path / "train.csv", few.images, few.labels)
    digits = read_digits(path, labelled=True)
    assert digits.images.dtype == np.uint8 and digits.images.shape == (600, 28, 28, 1)
    assert digits.labels.dtype == np.int64
    np.testing.assert_array_equal(digits.images, few.images)
    np.testing.assert_array_equal(digits.labels, few.labels)
    assert digits.sha256 == few.sha256


def test_the_sample_is_known_and_apart(sample):
    test = read_digits(SAMPLE / "test.csv.gz", labelled=False)
    assert (len(sample), len(test)) == (6000, 2000)
    assert (sample.source, test.source) == ("sample", "sample")
    train_rows = {image.tobytes() for image in sample.images}
    assert not any(image.tobytes() in train_rows for image in test.images)


def as_zip(content, *names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ["train.csv"]:
            archive.writestr(name, content)
    return file.getvalue()


SHUFFLED = text(
    ",".join([*PIXELS[::-1], "label"]), *[",".join(row.split(",")[::-1]) for row in rows(3, 5, pixel="255")]
)


def named(names):
    return GOOD.replace(HEADER.encode(), ",".join(["label", *names]).encode())


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (GOOD, "train.csv"),
        (GOOD.replace(b"\n", b"\r\n"), "train.csv"),
        (b"\xef\xbb\xbf" + GOOD, "train.csv"),
        (gzip.compress(GOOD), "train.csv.gz"),
        (gzip.compress(GOOD), "train.csv"),
        (bz2.compress(GOOD), "train.csv.bz2"),
        (lzma.compress(GOOD), "train.csv.xz"),
        (as_zip(GOOD), "digit-recognizer.zip"),
        (as_zip(GOOD, "digit-recognizer/TRAIN.csv", "__MACOSX/digit-recognizer/._train.csv"), "archive.zip"),
        (as_zip(GOOD, "digits.csv"), "train.csv.zip"),
        (as_zip(as_zip(GOOD), "train.csv.zip"), "digit-recognizer.zip"),
        (SHUFFLED, "train.csv"),
        (
            re.sub(rb"(\d+)(?=[,\n])", rb'"\1"', GOOD.split(b"\n", 1)[1]).join([HEADER.encode() + b"\n", b""]),
            "train.csv",
        ),
        (GOOD.rstrip(b"\n"), "train.csv"),
        (GOOD.replace(b",pixel7,", b", pixel7 ,"), "train.csv"),
        (GOOD.replace(b"\n", b"\n\r\n"), "train.csv"),
        (GOOD.replace(b"label", b"Label").replace(b"pixel", b"PIXEL"), "train.csv"),
        *((named(names), "train.csv") for names in parsing.OTHER_NAMES),
    ],
    ids=[
        "lf",
        "crlf",
        "bom",
        "gzip",
        "gzip by another name",
        "bzip2",
        "xz",
        "zip",
        "zip with a folder, by macOS",
        "zip of its own, whatever its name inside",
        "zip in a zip",
        "other column order",
        "quoted",
        "no last newline",
        "spaces in the header",
        "blank lines",
        "other case",
        "1x1 to 28x28",
        "pixel1 to pixel784",
        "0 to 783",
        "1 to 784",
    ],
)
def test_harmless_differences_are_fine(tmp_path, content, name):
    digits = read(tmp_path, content, name)
    assert digits.labels.tolist() == [3, 5]
    assert digits.images[:, 27, 27, 0].tolist() == [255, 255] and digits.images.sum() == 510


def changed(value, column=100):
    cells = rows(5)[0].split(",")
    cells[column] = value
    return text(HEADER, rows(3)[0], ",".join(cells))


BAD = {
    "empty": (b"", "an empty file"),
    "blank": (b"\n\n", "an empty file"),
    "binary": (bytes(range(128, 256)) * 30, "binary data"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(900), "a picture"),
    "no rows": (text(HEADER), "a header alone"),
    "no header": (text(*rows(1, 2)), "no header, the first line is 1,0,0"),
    "a wrong header": (text("a,b,c", "1,2,3"), "the first line 'a,b,c'"),
    "a pixel column missing": (text(HEADER.rsplit(",", 1)[0], rows(1)[0].rsplit(",", 1)[0]), "no column 'pixel783'"),
    "a pixel column extra": (text(HEADER + ",pixel784", rows(1)[0] + ",0"), "unknown column 'pixel784'"),
    "a pixel column repeated": (text(HEADER + ",pixel7", rows(1)[0] + ",0"), "repeated column 'pixel7'"),
    "a header of two lines": (text(HEADER[:-8] + '"pixel783', '",x', rows(1)[0] + ",0"), "786"),
    "cut in mid-row": (GOOD[:-900], "in row 2"),
    "a row too long": (text(HEADER, rows(1)[0] + ",0"), "786 in row 1"),
    "a later row too long": (text(HEADER, rows(1)[0], rows(1)[0] + ",0"), "786 in row 2"),
    "a row too short": (text(HEADER, rows(1)[0], rows(1)[0][:-2]), "784 in row 2"),
    "a word": (changed("ink"), "'ink' in row 2, column pixel99"),
    "a blank value": (changed(""), "a blank in row 2, column pixel99"),
    "NaN": (changed("NaN"), "'NaN' in row 2, column pixel99"),
    "a fraction": (changed("1.5"), "'1.5' in row 2, column pixel99"),
    "a negative": (changed("-1"), "'-1' in row 2, column pixel99"),
    "over 255": (changed("256"), "'256' in row 2, column pixel99"),
    "far over 255": (changed("99999999999999999999"), "in row 2, column pixel99"),
    "infinity": (changed("inf"), "'inf' in row 2, column pixel99"),
    "truth": (changed("True"), "'True' in row 2, column pixel99"),
    "a blank label": (changed("", 0), "a blank in row 2, column label"),
    "a label of 10": (changed("10", 0), "10 in row 2"),
    "a label of -1": (changed("-1", 0), "'-1' in row 2, column label"),
    "test given as train": (text(HEADER.split(",", 1)[1], rows(1)[0][2:]), "is this test.csv?"),
    "not UTF-8 later": (GOOD.replace(b",255\n", b",\xff\n"), "binary data"),
    "a damaged gzip": (gzip.compress(GOOD)[:-20], "ended before"),
    "a zip without the file": (as_zip(GOOD, "other.csv", "another.csv"), "a zip without it"),
    "a zip with two of them": (as_zip(GOOD, "a/train.csv", "b/train.csv"), "2 of them"),
    "a damaged zip": (as_zip(GOOD)[:-60], "zip"),
    "an escaping zip": (as_zip(GOOD, "../train.csv"), "'../train.csv'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(tmp_path, case):
    content, received = BAD[case]
    before = content
    with pytest.raises(CompetitionError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert received in message and "Received: " in message and "Next: " in message and "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]
    assert (tmp_path / "train.csv").read_bytes() == before


WHOLE = {"007": 7, "0007": 7, "+7": 7, "-0": 0, "1.0": 1, "1e2": 100, '"7"': 7, " 7": 7, "7 ": 7, "\t7": 7}
FORMS = WHOLE | dict.fromkeys(["0x10", "1_0", "0256", "257", "1007", "999", "null", "N/A", "7\r", "7\0", "٣"])


@pytest.mark.parametrize("form", FORMS, ids=ascii)
def test_forms_of_a_number(tmp_path, form):
    content = changed(form)
    if FORMS[form] is None:
        with pytest.raises(CompetitionError, match=r"row 2|is a whole number"):
            read(tmp_path, content)
    else:
        assert read(tmp_path, content).images[1].sum() == FORMS[form]


@st.composite
def nearly_plain(draw):
    """A small CSV of Kaggle's form, and at times with a piece of it replaced; its columns."""
    columns, end = "abc"[: draw(st.integers(1, 3))], draw(st.sampled_from(["\n", "\r\n"]))
    number = st.sampled_from([0, 7, 10, 99, 100, 199, 255]) | st.integers(0, 300)
    rows = draw(st.lists(st.lists(number, min_size=len(columns), max_size=len(columns)), max_size=9))
    body = "".join(",".join(map(str, row)) + end for row in rows)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        start = draw(st.integers(0, len(body)))
        piece = draw(st.sampled_from(["", "0", "00", "256", ",", "\n", "\r", "\r\n", '"', " ", "x", "/", ":", "\0"]))
        body = body[:start] + piece + body[start + draw(st.integers(0, 3)) :]
    return (",".join(columns) + end + body).encode(), list(columns)


def test_what_is_read_fast_is_what_pandas_reads(monkeypatch, tmp_path):
    monkeypatch.setattr(parsing, "BLOCK", 24)  # bytes: a few rows, so that blocks have borders
    read_so = []

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(nearly_plain())
    @example((b"a,b\n1\n2\n", ["a", "b"]))
    @example((b"a,b\r\n1,2,\n", ["a", "b"]))
    @example((b"a,b\r\n1,2\r,3,4\r\n", ["a", "b"]))
    def each(drawn):
        table = parsing._read_plain(*drawn)
        read_so.append(table is not None)
        if table is not None:
            assert table.dtype == np.uint8
            np.testing.assert_array_equal(table, parsing._read_by_pandas(*drawn, range(len(drawn[1]))))

    each()
    assert 40 < sum(read_so) < len(read_so) - 40


@pytest.mark.parametrize("content", [GOOD, GOOD.replace(b"\n", b"\r\n"), GOOD[:-1], SHUFFLED, b"\xef\xbb\xbf" + GOOD])
def test_kaggles_form_is_read_fast(monkeypatch, tmp_path, content):
    monkeypatch.setattr(parsing, "_read_by_pandas", None)
    assert read(tmp_path, content).labels.tolist() == [3, 5]


def test_train_given_as_test(tmp_path):
    with pytest.raises(CompetitionError, match=r"is this train\.csv\?"):
        read(tmp_path, GOOD, "test.csv", labelled=False)


PLAIN = text(",".join(PIXELS), *[row.partition(",")[2] for row in rows(3, 5, pixel="255")])


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (PLAIN, None),
        (GOOD, [3, 5]),
        (GOOD.replace(b"label", b"class"), [3, 5]),
        (GOOD.replace(b"\n3,", b"\n3.0,"), [3, 5]),
        (GOOD.replace(b"label", b"ImageId").replace(b"\n3,", b"\n27999,"), None),
        (GOOD.replace(b"\n", b"\n9,").replace(b"label", b"id,label")[:-2], [3, 5]),
        (GOOD.replace(b"\n3,", b"\nthree,"), None),
        (PLAIN.partition(b"\n")[2], None),
        (GOOD.partition(b"\n")[2], [3, 5]),
        (GOOD.partition(b"\n")[2].replace(b"3,", b"1,", 1).replace(b"5,", b"28000,", 1), None),
        (named(parsing.OTHER_NAMES[0]), [3, 5]),
        (PLAIN.replace(",".join(PIXELS).encode(), ",".join(map(str, range(784))).encode()), None),
        (as_zip(GOOD, "mine.csv"), [3, 5]),
    ],
    ids=["as test.csv", "labels", "another label column",
         "labels as floats", "ids", "ids and labels", "labels that are none", "no header",
         "labels, no header", "ids, no header", "1x1",
         "0 to 783", "zip"],
)  # fmt: skip
def test_a_users_own_digits_are_read_with_whatever_stands_beside_them(tmp_path, content, labels):
    (tmp_path / "mine").write_bytes(content)
    images, found = read_unlabelled(tmp_path / "mine")
    assert images[:, 27, 27, 0].tolist() == [255, 255] and images.sum() == 510
    assert (None if found is None else found.tolist()) == labels


def test_advice_on_a_users_own_file_is_not_to_download_another(tmp_path):
    (tmp_path / "mine.csv").write_bytes(PLAIN.replace(b",255\n", b",256\n"))
    with pytest.raises(CompetitionError, match=r"'256' in row 1, column pixel783.*Next: save it as test\.csv is"):
        read_unlabelled(tmp_path / "mine.csv")


def test_missing_file_folder_and_unreadable_zip(tmp_path):
    with pytest.raises(CompetitionError, match="nothing there"):
        read_digits(tmp_path / "train.csv", True)
    with pytest.raises(CompetitionError, match="a folder"):
        read_digits(tmp_path, True)


def test_unreadable_permissions(tmp_path, monkeypatch):
    path = tmp_path / "train.csv"
    path.write_bytes(GOOD)

    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", denied)  # root, as in containers, may read anything
    with pytest.raises(CompetitionError, match=r"Permission denied.*chmod u\+r"):
        read_digits(path, True)


def test_a_zip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("competition.data.archive.LARGEST", 1 << 20)
    for content in (as_zip(bytes(2 << 20)), gzip.compress(bytes(2 << 20))):
        with pytest.raises(CompetitionError, match="a larger one"):
            read(tmp_path, content)


def test_the_cache_gives_the_same_and_repairs_itself(tmp_path):
    path, cache = tmp_path / "train.csv", tmp_path / "cache"
    path.write_bytes(GOOD)
    first = read_digits(path, True, cache)
    second = read_digits(path, True, cache)
    assert isinstance(second.images, np.memmap) and second.sha256 == first.sha256
    np.testing.assert_array_equal(second.images, first.images)
    stored = next(cache.glob("*-images.npy"))
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    np.testing.assert_array_equal(read_digits(path, True, cache).images, first.images)
    path.write_bytes(text(HEADER, *rows(7)))
    assert read_digits(path, True, cache).labels.tolist() == [7]


def test_the_hash_sees_every_pixel_and_label(few):
    images, labels = few.images.copy(), few.labels.copy()
    assert content_hash(images, labels) == few.sha256
    images[17, 3, 4] ^= 1
    assert content_hash(images, labels) != few.sha256
    labels[5] = (labels[5] + 1) % 10
    assert content_hash(few.images, labels) != few.sha256


@pytest.mark.parametrize("case", ["a fraction", "cut in mid-row", "empty", "test given as train"])
def test_the_command_ends_with_one_line_and_exit_code_1(command, folders, case):
    (folders / "input" / "train.csv").write_bytes(BAD[case][0])
    done = command("data", "--input", folders / "input", "--submissions", folders / "runs")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: ") and len(done.stderr.strip().splitlines()) == 1
    assert not (folders / "runs").exists()


def test_without_anything_the_sample_with_a_banner(command, tmp_path):
    done = command("data", "--input", tmp_path / "none", "--submissions", tmp_path / "runs")
    assert done.returncode == 0 and "SAMPLE" in done.stdout and "digit-recognizer.zip" in done.stdout
    assert "6000 training and 2000 test digits" in done.stdout
