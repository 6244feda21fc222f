import gzip
import io
import re
import subprocess
import zipfile

import numpy as np
import pytest

from competition.data.submission import differences, read_submission, verdict_on, write_submission
from competition.errors import CompetitionError
from competition.runs.run import Run

GOOD = "ImageId,Label\n1,7\n2,0\n3,9\n"


def check(tmp_path, content):
    path = tmp_path / "submission.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_submission(path, rows=3)[1]


def test_what_is_written_is_kaggles_format_and_accepted(tmp_path):
    path = tmp_path / "submission.csv"
    write_submission(path, np.array([7, 0, 9]))
    assert path.read_text() == GOOD and read_submission(path, rows=3)[1] == []
    assert [p.name for p in tmp_path.iterdir()] == ["submission.csv"]


def test_the_real_size_is_the_default(tmp_path):
    write_submission(tmp_path / "s.csv", np.arange(28_000) % 10)
    assert read_submission(tmp_path / "s.csv")[1] == []
    write_submission(tmp_path / "s.csv", np.arange(27_999) % 10)
    with pytest.raises(CompetitionError, match=r"28000 rows. Received: 27999"):
        read_submission(tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ("", "an empty file"),
        ("Id,Label\n1,7\n2,0\n3,9\n", "Id,Label"),
        ("Label,ImageId\n7,1\n0,2\n9,3\n", "Label,ImageId"),
        ("1,7\n2,0\n3,9\n", "1,7"),
        ("ImageId,Label\n1,7\n2,0\n", "Received: 2"),
        (GOOD + "4,1\n", "Received: 4"),
        ("ImageId,Label\n1,7\n1,0\n3,9\n", "1 in row 2"),
        ("ImageId,Label\n0,7\n1,0\n2,9\n", "0 in row 1"),
        ("ImageId,Label\n1,7\n2,10\n3,9\n", "'10' in row 2"),
        ("ImageId,Label\n1,7\n2,-1\n3,9\n", "'-1' in row 2"),
        ("ImageId,Label\n1,7\n2,0.0\n3,9\n", "'0.0' in row 2"),
        ("ImageId,Label\n1,7\n2,\n3,9\n", "'' in row 2"),
        ("ImageId,Label\n1,7\n2,NaN\n3,9\n", "'NaN' in row 2"),
        ("ImageId,Label\n1.0,7\n2,0\n3,9\n", "'1.0' in row 1"),
        (f"ImageId,Label\n{'9' * 5000},7\n2,0\n3,9\n", f"Received: '{'9' * 40}' in row 1"),  # int() takes 4,300 digits
        (b"\xff\xfe\x00", "binary data"),
        ("ImageId,Label\n1,7,7\n2,0,0\n3,9,9\n", "3 values in row 1"),
    ],
)
def test_what_kaggle_would_refuse_is_refused(tmp_path, content, received):
    with pytest.raises(CompetitionError) as caught:
        check(tmp_path, content)
    assert received in str(caught.value) and "Next: " in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(CompetitionError, match="must be a file"):
            read_submission(path)


def test_crlf_and_bom_are_fine(tmp_path):
    assert check(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == []


def test_compressed_files_and_utf16_are_read(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("mine.csv", GOOD)
    assert check(tmp_path, packed.getvalue()) == check(tmp_path, gzip.compress(GOOD.encode())) == []
    assert check(tmp_path, GOOD.encode("utf-16")) == ["UTF-16: readable, and never tried on Kaggle"]


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (GOOD.replace("\n", "\n\n"), "blank lines"),
        (GOOD.replace("\n", "\r"), "lines that end in CR alone"),
        ("ImageId,Label\n01,7\n02,0\n03,9\n", "ids padded with zeros"),
        ("ImageId,Label\n3,9\n1,7\n2,0\n", "rows in another order"),
    ],
)
def test_what_nobody_tried_on_kaggle_is_read_with_a_warning(tmp_path, content, warning):
    assert check(tmp_path, content) == [f"{warning}: readable, and never tried on Kaggle"]
    assert read_submission(tmp_path / "submission.csv", 3)[0].tolist() == [7, 0, 9]


LONG = "ImageId,Label\n" + "".join(f"{i},{i % 10}\n" for i in range(1, 13))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (LONG.replace(",", ";"), "semicolons"),
        (LONG.replace(",", ";").replace("\n", ",0\n").replace("Label,0", "Label"), "semicolons, and decimal commas"),
        (LONG.replace(",", "\t"), "tabs"),
        ("sep=,\n" + LONG, "a line for Excel"),
        (LONG.partition("\n")[2], "no header"),
        (LONG.replace("\n", ",\n"), "a comma at the end"),
        (LONG + ",\n,\n", "2 rows of commas alone at the end"),
        (re.sub("^(.)", r"8,\1", LONG, flags=re.MULTILINE).replace("8,Image", ",Image"), "row numbers before"),
        (re.sub("^(.*),(.*)$", r"\2,\1", LONG, flags=re.MULTILINE), "swapped"),
        (LONG.replace("ImageId,Label", "id, label"), "other names"),
        (LONG.replace(",", ", ").replace(" Label", "Label"), "' 1' in row 1"),
        (LONG.replace("\n", ".0\n").replace("Label.0", "Label"), "'1.0' in row 1"),
        (LONG.replace(",", ".0,").replace("Id.0", "Id"), "'1.0' in row 1"),
        (re.sub(",([0-9])", r",[\1]", LONG), "'[1]' in row 1"),
        (re.sub(",([0-9])", r",tensor(\1)", LONG), "'tensor(1)' in row 1"),
        ("ImageId,Label\n" + "".join(f"{i},{(i + 1) % 10}\n" for i in range(12)), "0 in row 1, counted from 0"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_next_command_mends_the_file(tmp_path, content, what, end):
    path, content = tmp_path / "my file.csv", content.replace("\n", end)
    path.write_bytes(content.encode())
    with pytest.raises(CompetitionError) as caught:
        read_submission(path, 12)
    message = str(caught.value)
    assert what in message
    subprocess.run(["bash", "-c", message.partition("Next: ")[2].removesuffix(".")], check=True, cwd=tmp_path)
    assert read_submission(path, 12)[0].tolist() == [i % 10 for i in range(1, 13)]
    assert (tmp_path / "my file.csv.old").read_bytes() == content.encode()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PAR1" + bytes(50), "a Parquet file. Next: write it as `ImageId,Label`"),
        (b"<html></html>", "a web page, perhaps Kaggle's login page. Next: download it again"),
        (GOOD.replace("7", "0.7"), "Next: write the most probable digit"),
        ("ImageId," + ",".join(map(str, range(10))), "a column for each digit. Next: write the digit of the largest"),
        (GOOD.replace("9", "10"), "Next: subtract 1"),
        (GOOD.replace("9", ""), "Next: give this row a label, too"),
    ],
)
def test_where_no_command_mends_it_the_next_step_is_in_words(tmp_path, content, what):
    with pytest.raises(CompetitionError, match=what):
        check(tmp_path, content)


def test_the_verdict_is_one_of_three(tmp_path):
    path = tmp_path / "s.csv"
    write_submission(path, np.arange(28_000) % 10)
    assert verdict_on(path).for_kaggle and str(verdict_on(path)) == "in form, for Kaggle"
    other = verdict_on(path, "other", 28_000)
    assert not other.for_kaggle and "of other data" in other.only_form
    write_submission(path, np.arange(2_000) % 10)
    for verdict in (verdict_on(path), verdict_on(path, "sample", 2_000)):
        assert not verdict.for_kaggle and not verdict.refused
        assert str(verdict).startswith("in form, and not for Kaggle: it labels 2,000 test digits of sample data")
    write_submission(path, np.arange(1_999) % 10)
    verdict = verdict_on(path)
    assert not verdict.for_kaggle and "28000 rows. Received: 1999" in str(verdict.refused)
    assert str(verdict).startswith("refused: ")


def test_one_label_throughout_is_a_warning(tmp_path):
    write_submission(tmp_path / "s.csv", np.zeros(28_000))
    warnings = verdict_on(tmp_path / "s.csv", train_labels=np.arange(1000) % 10).warnings
    assert warnings == ("all 28,000 rows are labelled 0: one in ten would be right",)


def test_the_difference_from_another_submission():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 10, 1000)
    few = labels.copy()
    few[:7] = (few[:7] + 1) % 10
    assert differences(few, labels, "A") == "It differs from A in 7 of 1,000 rows."
    assert differences(draw.permutation(labels), labels, "A").endswith(" of 1,000 rows: the order of the rows lost?")
    assert differences(np.roll(labels, 1), labels, "A").endswith(": each label stands one row too late?")
    assert differences(np.zeros(1000, int), labels, "A").endswith(": labels of other digits?")


def test_check_compares_with_the_newest_run(tmp_path, command):
    run = Run(tmp_path / "runs" / "20260101-000000-fast")
    run.write_json("config.json", {})
    run.write_json("done.json", {})
    labels = np.random.default_rng(0).integers(0, 10, 2000)
    write_submission(run.submission_csv, labels)
    write_submission(tmp_path / "mine.csv", np.sort(labels))
    where = "--input", tmp_path / "none", "--submissions", tmp_path / "runs"
    done = command("check", tmp_path / "mine.csv", *where)
    assert done.returncode == 0, done.stderr
    verdict, *_, line = done.stdout.splitlines()
    assert "mine.csv: in form, and not for Kaggle: it labels 2,000 test digits of sample data" in verdict
    assert re.fullmatch(
        r"It differs from 20260101-000000-fast in 1,\d+ of 2,000 rows: the order of the rows lost\?", line
    )
    done = command("check", run.submission_csv, *where)
    assert done.returncode == 0 and "differs" not in done.stdout


def test_unusual_digit_counts_are_warnings(tmp_path):
    path = tmp_path / "s.csv"
    labels = np.arange(5000) % 10
    write_submission(path, labels)
    assert verdict_on(path, rows=5000, train_labels=labels).warnings == ()
    write_submission(path, np.where(labels == 4, 9, labels))
    warnings = verdict_on(path, rows=5000, train_labels=labels).warnings
    assert [warning[:25] for warning in warnings] == ["0 rows are labelled 4; tr", "1000 rows are labelled 9;"]
