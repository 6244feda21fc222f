"""The page of all runs, and what stands on a run's line."""

import re

import numpy as np

from competition import __main__
from competition.report.index import make_index, sparkline
from competition.runs.folders import Folders
from tests.finished_run import finished_run


def test_each_complete_run_has_a_line_with_what_sets_it_apart(tmp_path):
    finished_run(tmp_path, "20260101-000000-quick", {(4, 9): 6})
    folders, *_ = finished_run(tmp_path, "20260102-000000-quick", {(2, 3): 3}, folds=3, trained=2, epochs=7)
    (tmp_path / "20260101-000000-quick" / "report.html").write_text("")
    (tmp_path / "compare-20260101-000000-quick-20260102-000000-quick.html").write_text("")
    page = make_index(folders).read_text("utf-8")
    newer, older = re.findall(r"<tr><th scope=\"row\">.*?</tr>", page, re.DOTALL)
    for words in ("folds 3, epochs 7", "2 of 3 members", "sample data", "1 min 1 s", "<svg", "0.99925"):
        assert words in newer, words
    assert 'href="20260101-000000-quick/report.html"' in older and 'quick/report.html"' not in newer
    for line, other in ((newer, "20260101-000000-quick"), (older, "20260102-000000-quick")):
        assert f'beside <a href="compare-20260101-000000-quick-20260102-000000-quick.html">{other}</a>' in line
    assert "0.99900" in older and ">folds 2</td>" in older


def test_a_damaged_run_says_so_and_an_unfinished_one_is_left_out(tmp_path):
    folders, run, _ = finished_run(tmp_path, "20260101-000000-quick")
    (run.path / "scores.json").write_text("{}")
    (tmp_path / "20260102-000000-quick").mkdir()
    (tmp_path / "20260102-000000-quick" / "config.json").write_text("{}")
    page = make_index(folders).read_text("utf-8")
    assert "scores.json must" in page and "20260102" not in page and "<h1>1 run</h1>" in page


def test_without_a_run_there_is_no_page(tmp_path):
    (tmp_path / "index.html").write_text("of runs that are gone")
    assert make_index(Folders.find(None, tmp_path)) is None and list(tmp_path.iterdir()) == []


def test_make_report_makes_it_anew(tmp_path, capsys):
    finished_run(tmp_path)
    assert __main__.main(["report", "--submissions", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "index.html")


def test_a_sparkline_falls_from_the_upper_left_to_the_lower_right():
    """The members' mean, on a logarithmic scale: of 10, 1 and 0.1 the second is half-way down."""
    svg = sparkline([{"val_loss": np.array([12, 1, 0.1])}, {"val_loss": np.array([8, 1])}])
    assert re.search(r'points="([^"]*)"', svg)[1] == "2.0,2.0 50.0,12.0 98.0,22.0"
    assert "from 10.000 to 0.100 in 3 epochs" in svg
    assert 'points="50.0,22.0"' in sparkline([{"val_loss": np.array([1.0])}])
