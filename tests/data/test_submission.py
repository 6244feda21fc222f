import numpy as np
import pytest

from competition.data.submission import check_submission, write_submission
from competition.errors import CompetitionError

GOOD = "ImageId,Label\n1,7\n2,0\n3,9\n"


def check(tmp_path, content, **settings):
    path = tmp_path / "submission.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return check_submission(path, rows=3, **settings)


def test_what_is_written_is_kaggles_format_and_accepted(tmp_path):
    path = tmp_path / "submission.csv"
    write_submission(path, np.array([7, 0, 9]))
    assert path.read_text() == GOOD and check_submission(path, rows=3) == []
    assert [p.name for p in tmp_path.iterdir()] == ["submission.csv"]


def test_the_real_size_is_the_default(tmp_path):
    write_submission(tmp_path / "s.csv", np.arange(28_000) % 10)
    assert check_submission(tmp_path / "s.csv") == []
    write_submission(tmp_path / "s.csv", np.arange(27_999) % 10)
    with pytest.raises(CompetitionError, match=r"28000 rows. Received: 27999"):
        check_submission(tmp_path / "s.csv")


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
            check_submission(path)


def test_crlf_and_bom_are_fine(tmp_path):
    assert check(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == []


def test_unusual_digit_counts_are_told(tmp_path):
    path = tmp_path / "s.csv"
    labels = np.arange(5000) % 10
    write_submission(path, labels)
    assert check_submission(path, 5000, labels) == []
    write_submission(path, np.where(labels == 4, 9, labels))
    warnings = check_submission(path, 5000, labels)
    assert [warning[:25] for warning in warnings] == ["0 rows are labelled 4; tr", "1000 rows are labelled 9;"]
