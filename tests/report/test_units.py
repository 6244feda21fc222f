"""One way to write each kind of number, on pages and in the terminal."""

import re

import pytest

from competition.data.submission import Verdict
from competition.report import units
from competition.report.meaning import how_good, how_sure, what_it_confuses, what_next, whom_to_believe
from competition.runs.folders import PACKAGE
from tests.finished_run import finished_run


@pytest.mark.parametrize(
    ("function", "values", "text"),
    (
        (units.accuracy, (0.9925,), "0.99250"),
        (units.loss, (0.015226,), "0.01523"),
        (units.measure, (-0.09083,), "−0.0908"),
        (units.probability, (0.9,), "90.0 %"),
        (units.probability, (0.9991,), "> 99.9 %"),
        (units.probability, (1.0,), "> 99.9 %"),
        (units.probability, (0.999,), "99.9 %"),
        (units.probability, (0.0004,), "< 0.1 %"),
        (units.share, (1.0,), "100.0 %"),
        (units.change, (-0.000333, 0.00065), "−0.00033 ± 0.00065"),
        (units.change, (0.0002,), "+0.00020"),
        (units.change, (-0.000001, 0.0), "0.00000 ± 0.00000"),
        (units.count, (42000,), "42,000"),
        (units.counted, (1, "row"), "1 row"),
        (units.counted, (2000, "row"), "2,000 rows"),
        (units.counted, (0, "patch", "patches"), "0 patches"),
        (units.duration, (59.4,), "59 s"),
        (units.duration, (497.0,), "8 min 17 s"),
        (units.duration, (3599.8,), "1 h 0 min"),
        (units.duration, (9000.0,), "2 h 30 min"),
    ),
)
def test_each_kind_of_number(function, values, text):
    assert function(*values) == text


def test_templates_write_numbers_by_these_functions_and_the_script_in_their_words():
    pages = {path.name: path.read_text("utf-8") for path in (PACKAGE / "report" / "templates").glob("*.j2")}
    for name, text in pages.items():
        assert not re.search(r"%\.[45]f|\{:,\}", text), name
    many, few = units.probability(1), units.probability(0)
    assert f'p > 0.999 ? "{many}" : p < 0.001 ? "{few}" : (100 * p).toFixed(1) + " %"' in pages["pad.html.j2"]
    assert sum(text.count("toFixed") for text in pages.values()) == 1


def test_the_page_and_the_terminal_write_a_score_alike(tmp_path):
    from competition.pipeline import summary  # loads Keras
    from competition.report.run_page import make_report

    folders, run, digits = finished_run(tmp_path)
    page = make_report(folders, run, digits).read_text("utf-8")
    text = summary(folders, run, run.scores, Verdict())
    for part in (run.scores["out_of_fold"]["accuracy"], run.scores["leaderboard"]["score"]):
        assert units.accuracy(part) in text and units.accuracy(part) in page


def test_a_run_without_an_error_and_one_that_kaggle_scored(tmp_path):
    assert how_good({"errors": 0, "accuracy": 1.0}, 6000).endswith("an accuracy of 1.00000, without an error.")
    board = {"score": 0.996, "low": 0.995, "high": 0.997}
    assert "or 84 to 140 errors in Kaggle’s 28,000 rows" in how_sure(board, "kaggle")
    assert "Kaggle" not in how_sure(board, "sample")
    assert how_good({"errors": 204, "accuracy": 0.15}, 240).endswith("an accuracy of 0.15000, 204 errors.")
    assert what_it_confuses([], 0) == "It confuses no two digits."
    assert (
        what_it_confuses([(4, 9, 1)], 4)
        == "Most often it predicts 9 where the label is 4 (1 row), which is 25.0 % of all its errors."
    )
    lines = [{"fraction": 0.95, "rows": 5700, "errors": 4}, {"fraction": 1.0, "rows": 6000, "errors": 46}]
    assert "the 300 digits of which it is least sure, one in twenty, hold 91.3 % of its errors" in whom_to_believe(
        lines
    )
    lines = [{"fraction": 0.95, "rows": 228, "errors": 192}, {"fraction": 1.0, "rows": 240, "errors": 204}]
    assert whom_to_believe(lines).startswith("Its confidence tells little: the 12 digits")
    _, run, _ = finished_run(tmp_path)
    scores = {"leaderboard": board}
    assert what_next(run, scores, {}).startswith("Next: bring the competition’s own data")
    run.write_json("manifest.json", run.manifest | {"source": "kaggle"})
    assert (
        what_next(run, scores, {"leaderboard": "0.99610"}) == "Kaggle scored it 0.99610, inside the predicted interval."
    )
    assert "outside the predicted interval" in what_next(run, scores, {"leaderboard": "0.99800"})
    unlike = what_next(run, {"leaderboard": None}, {"leaderboard": "0.97000"})
    assert unlike.startswith("Kaggle scored it 0.97000; no score had been predicted")
    assert "`make data`" in what_next(run, {"leaderboard": None}, {})
    assert "`make scores`" in what_next(run, scores, {"submitted": "2026-01-01"})
    assert f"`make submit RUN={run.name}`" in what_next(run, scores, {})
