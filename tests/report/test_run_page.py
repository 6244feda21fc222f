import html
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from competition import __main__
from competition.data.dataset import load_dataset_of
from competition.data.submission import verdict_on
from competition.ensemble.averaging import average_members
from competition.ensemble.folds import kept_out, plan_members
from competition.ensemble.scoring import predict_leaderboard
from competition.errors import CompetitionError
from competition.report.analysis import errors_kept_out, growth_of, per_member
from competition.report.comparison import make_comparison
from competition.report.run_page import make_report, repeat_command
from competition.runs.folders import ROOT
from tests.conftest import needed
from tests.finished_run import MISREAD, finished_run

SECTIONS = ["headline", "curves", "confusion", "classes", "errors"]
SECTIONS += ["labels", "calibration", "data", "ensemble", "provenance", "glossary"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folders, run, digits = finished_run(tmp_path_factory.mktemp("runs"))
    return folders, run, digits, make_report(folders, run, digits).read_text("utf-8")


def test_the_page_holds_all_sections_in_order_and_asks_the_network_for_nothing(made):
    _, run, _, page = made
    assert re.findall(r'<section id="(\w+)">', page) == SECTIONS
    assert len(page.encode()) < 3_000_000
    loaded = re.findall(r"""(?:src|srcset|xlink:href)=["']([^"']*)|url\(([^)]*)\)|@import (\S+)""", page)
    assert all(any(part.startswith(("data:", "#")) for part in parts) for parts in loaded)
    links = re.findall(r'<link [^>]*href="([^"]*)"', page)
    assert links == ["data:,"]
    assert "&lt;none &amp; nothing&gt;" in page and "<none" not in page  # what others wrote is escaped
    terms = set(re.findall(r'href="#(term-[^"]+)"', page))
    assert len(terms) >= 5 and terms <= set(re.findall(r'<dt id="([^"]+)"', page))
    for name in ("accuracy", "loss", "confusion", "reliability", "samples", "augmentations"):
        assert (run.path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def text_of(page):
    """What a reader reads, on one line."""
    page = re.sub(r"<(svg|script|style|dialog|select).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_errors_of_the_rows_that_no_study_saw(made):
    """Of four rows the committed list holds two of the competition's; of other data nothing is said."""
    _, _, digits, _ = made
    inside, outside = kept_out(real := replace(digits.train, source="kaggle"))[:2], np.array([0, 1])
    assert not set(outside) & set(kept_out(real))
    rows = np.sort(np.concatenate([inside, outside]))
    probabilities = np.eye(10)[(digits.train.labels[rows] + (rows == inside[1])) % 10]  # one of those inside is misread
    assert errors_kept_out(replace(digits, train=real), rows, probabilities) == [(1, 2), (0, 2)]
    assert errors_kept_out(digits, rows, probabilities) is None


def test_its_numbers_are_those_counted_by_hand(made):
    """Of 6,000 rows 9 are misread: five 4 as 9, three 9 as 4, a 7 as 1; and a 2 as 8 in the images as they are."""
    _, run, digits, page = made
    labels, sure = digits.train.labels, run.probabilities()[0][1].max(axis=1).astype(float)
    right = run.probabilities()[0][1].argmax(axis=1) == labels
    # Of nine rows 1 - sure went to the label, a ninth of it each; of the others all that they are sure of.
    loss = -(np.log(sure[right]).sum() + np.log((1 - sure[~right]) / 9).sum()) / 6000
    surest = np.sort(sure)[-5400]  # of nine rows in ten
    text = text_of(page)
    for words in (
        "Out-of-fold accuracy 0.99850 95 % interval 0.99715 – 0.99921",  # 5991/6000, by Wilson's formula
        "Predicted leaderboard score 0.99870 95 % interval 0.99754 – 0.99943",
        "True accuracy 1.00000",
        "Errors 9 of 6,000 training rows",
        f"Log-loss, out of fold {loss:.5f}",
        "Time 1 min 1 s",
        # precision, recall, F1, rows: 669 of 670 read as 1; 577 of 580 as 4, of 582; 595 of 600 as 9, of 598
        " 1 0.99851 1.00000 0.99925 669 ",
        " 4 0.99483 0.99141 0.99312 582 ",
        " 7 1.00000 0.99841 0.99920 629 ",
        " 9 0.99167 0.99498 0.99332 598 ",
        " macro avg 0.99850 0.99848 0.99849 6,000 weighted avg 0.99850 0.99850 0.99850 6,000 ",
        # in each bin more are right than the probabilities say: all distances have one sign
        f"Expected calibration error: {0.9985 - sure.mean():.5f}",
        f" 90 % 5,400 {np.sum(~right & (sure >= surest))} ",
        " 100 % 6,000 9 0.99850 ",
        " 0 590 197 44.2 ",  # rows in train.csv and predicted ones, mean ink
        # the two members differ in ten of 2,000 test rows
        " repeat1-fold1 pooled 0.99000 99.5 % ",
        "changes the out-of-fold accuracy by +0.00017 ± 0.00033 (95 %, paired)",  # one row of 6,000
        "1 row is right only with it, 0 only without",
        # what this means
        "predicted 5,991 of 6,000 training digits right: an accuracy of 0.99850, one error in 667 digits",
        "expect about 0.99870; anything from 0.99754 to 0.99943 would be no surprise",
        "predicts 9 where the label is 4 (5 rows) and 4 where the label is 9 (3 rows), which is 88.9 % of all its",
        "Next: bring the competition’s own data",
        # one verdict: what `make check` says of the file
        "Submission not for Kaggle not sent",
        f"The submission is {verdict_on(run.submission_csv)}.",
    ):
        assert words in text, words
    assert "make submit" not in text


def test_the_kept_epochs_are_counted(made):
    assert "weights were kept: 2 of 3 in 2 members." in made[3]


def test_the_gallery_holds_each_error_once_with_its_row(made):
    _, _, digits, page = made
    shown = re.findall(r'data-cell="(\d)-(\d)">\s*<img [^>]*alt="Row (\d+): label (\d), predicted (\d)"', page)
    errors = [s for s in shown if s[0] != s[1]]
    assert len(errors) == len({row for _, _, row, *_ in errors}) == sum(MISREAD.values())
    for cell_label, cell_read, row, label, read in shown:
        assert (cell_label, cell_read) == (label, read)
        assert digits.train.labels[int(row) - 1] == int(label)
    assert {(int(i), int(j)) for i, j, *_ in errors} == set(MISREAD)
    assert ">4 predicted as 9: 5,</span>" in page


def test_every_picture_has_a_text(made):
    page = made[3]
    assert all('alt="' in tag for tag in re.findall(r"<img [^>]*>", page))
    assert page.count("<svg") == len(re.findall(r'<div role="img" aria-label="[^"]+"><svg', page)) == 6


def test_suspected_labels_are_listed_with_their_rows(made):
    needed("cleanlab")
    _, run, digits, page = made
    lines = (run.path / "suspected_labels.csv").read_text().splitlines()
    assert lines[0] == "row,label,suggested,label_probability" and len(lines) > 1
    for line in lines[1:]:
        row, label, suggested, _ = line.split(",")
        assert digits.train.labels[int(row) - 1] == int(label) and (int(label), int(suggested)) in MISREAD
    assert "suspected" in page


def test_without_cleanlab_the_section_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    folders, run, digits = finished_run(tmp_path, misread={}, views=0)
    page = make_report(folders, run, digits).read_text("utf-8")
    assert "pip install cleanlab" in page and not (run.path / "suspected_labels.csv").exists()
    assert "There are no errors" in page and "no test-time augmentation" in page


def test_a_plain_split_shows_the_rows_that_were_validated(tmp_path):
    folders, run, digits = finished_run(tmp_path, folds=1, holdout=0.5)
    validated = plan_members(run.config, digits.train.labels)[0].val_rows
    page = make_report(folders, run, digits).read_text("utf-8")
    shown = re.findall(r'alt="Row (\d+): label (\d), predicted (\d)"', page)
    assert shown and {int(row) - 1 for row, _, _ in shown} <= set(validated)
    assert all(digits.train.labels[int(row) - 1] == int(label) for row, label, _ in shown)
    assert "of 3,000 training rows" in page and "validated on a random 50.0 % of the rows" in page
    assert not re.search(r"\bnan\b", text_of(page))


def test_a_run_whose_time_ran_out_shows_what_there_is(tmp_path):
    """Of three repeats one is all there, and two of three members of the second."""
    folders, run, digits = finished_run(tmp_path, trained=5, folds=3, repeats=3)
    page = make_report(folders, run, digits).read_text("utf-8")
    assert "5 of 9 members: 3 folds, 3 repeats; the time ran out before the others" in page
    assert "the average of all 5 members" in page and "of 6,000 training rows" in page
    assert "With one repeat only the single point" in page and "(with all of its 9 members)" in page
    assert "repeat3" not in page
    run.store_member("repeat2-fold3", run.load_member("repeat1-fold1"))  # it goes on, and is not there yet
    assert make_report(folders, run, digits).read_text("utf-8") == page


def test_a_run_without_time_for_a_repeat_shows_the_rows_that_were_validated_and_is_compared(tmp_path):
    finished_run(tmp_path, "whole", {(4, 9): 5}, folds=3)
    folders, run, digits = finished_run(tmp_path, "ended", {(4, 9): 2}, trained=2, folds=3)
    page = make_report(folders, run, digits).read_text("utf-8")
    assert "(here 4,000 of 6,000: the time ran out before the others had one)" in page
    assert not re.search(r"\bnan\b", text_of(page))
    assert "One point is measured: single members." in page and "of 4,000 training rows" in page
    assert __main__.main(["report", "--submissions", str(tmp_path), "--compare", "whole,ended"]) == 0
    page = (tmp_path / "compare-whole-ended.html").read_text("utf-8")
    assert "the same 4,000 training rows" in page
    assert '<th scope="row">trained</th><td>all members</td><td>2 of 3 members</td>' in page


def test_refit_members_are_shown_and_score_nothing(tmp_path):
    """The folds' two members score; the growth figure ends where the score of all three is predicted."""
    folders, run, digits = finished_run(tmp_path, misread={(4, 9): 500}, refit=1)
    text = text_of(make_report(folders, run, digits).read_text("utf-8"))
    for words in (
        "3 members: 2 folds, 1 repeat, 1 refit on all rows",
        "The folds’ members score; submitted is their average with 1 refit member , trained on all rows.",
        "weights were kept: 2 of 3 in 3 members.",
        " repeat1-fold2 pooled 0.99000 99.5 % ",
        " refit1 pooled – 99.5 % ",
        "Measured are members of the folds alone",
    ):
        assert words in text, words
    members = plan_members(run.config, digits.train.labels)
    results = [run.load_member(member.name) for member in members]
    averaged = average_members(run.config, digits.train, dict(zip([m.name for m in members], results, strict=True)))
    labels, out_of_fold = digits.train.labels, averaged.out_of_fold[averaged.submitted]
    board = predict_leaderboard(labels, out_of_fold, averaged.groups, averaged.row_ratio)
    measured, (sizes, predicted) = growth_of(run.config, labels, out_of_fold, members, results, ["repeat1"])
    assert measured == ([1], [pytest.approx(5500 / 6000)])
    assert sizes.tolist() == [1, 2, 3] and 1 > predicted[-1] == board["score"] > measured[1][0]


def test_a_hopeless_run_still_fits(tmp_path):
    wrong = {(i, (i + 1) % 10): 10_000 for i in range(10)}
    folders, run, digits = finished_run(tmp_path, misread=wrong, repeats=2)
    page = make_report(folders, run, digits).read_text("utf-8")
    assert len(page.encode()) < 3_000_000 and " most confident." in page


def test_other_data_is_refused(made, tmp_path, monkeypatch):
    folders, run, *_ = made
    manifest = run.manifest
    manifest["identity"]["data"][0] = "0" * 64
    with pytest.raises(CompetitionError, match=r"train.csv that it was made from, content 000000000000…. Received"):
        load_dataset_of(folders, manifest)


def dry_run(words):
    """The last line that make would start; the variables of a make that runs these tests would add lines of its own."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME")}
    return subprocess.run(
        ["make", "-n", *words], cwd=ROOT, env=clean, capture_output=True, text=True
    ).stdout.splitlines()[-1]


def test_the_repeating_command_names_what_differs_and_parses(made):
    run = made[1]
    command = repeat_command(run)
    arguments = "--folds 2 --source sample --precision float32"
    assert command == f"make train NEW=1 RECIPE=quick ARGS='{arguments}'"
    started = shlex.split(dry_run(shlex.split(command)[1:]))
    options = __main__.parser().parse_args(started[started.index("competition") + 1 :])
    assert (options.recipe, options.new, options.folds, options.precision) == ("quick", True, 2, "float32")
    manifest, before = run.manifest, run.manifest
    manifest["identity"] |= {"threads": 1, "onednn": False}
    run.write_json("manifest.json", manifest)
    again = f"TF_ENABLE_ONEDNN_OPTS=0 make train NEW=1 RECIPE=quick ARGS='{arguments} --threads 1'"
    assert repeat_command(run) == again
    manifest["identity"] |= {"threads": None, "onednn": None, "precision": "x; echo $(shell echo run) $HOME"}
    run.write_json("manifest.json", manifest)  # somebody else's
    words = shlex.split(repeat_command(run))[1:]
    assert shlex.split(dry_run(words))[-1] == manifest["identity"]["precision"]
    run.write_json("manifest.json", before)


def test_members_are_compared_on_the_test_rows(made):
    _, run, digits, _ = made
    members = plan_members(run.config, digits.train.labels)
    results = [run.load_member(m.name) for m in members]
    rows = per_member(run.config, members, results)
    assert rows[0]["agreement"] == pytest.approx(1 - 10 / 2000)  # they differ in ten of 2,000


def test_a_comparison_shows_the_rows_that_only_one_gets_wrong(tmp_path, capsys):
    finished_run(tmp_path, "a", {(4, 9): 5})
    folders, run, digits = finished_run(tmp_path, "b", {(4, 9): 2, (7, 1): 1})
    assert __main__.main(["report", "--submissions", str(tmp_path), "--compare", "a,b"]) == 0
    page = (tmp_path / "compare-a-b.html").read_text("utf-8")
    alts = re.findall(r'alt="Row \d+: label (\d), predicted (\d)"', page)
    assert sorted(alts) == [("4", "9")] * 3 + [("7", "1")]
    text = text_of(page)
    for words in (  # 5 and 3 errors in 6,000 rows; 3 of the first alone and 1 of the second
        "Accuracy, first minus second −0.00033 ± 0.00065 the interval holds zero: no significant difference",
        "Only the first is wrong 3 rows Only the second is wrong 1 row Both are wrong 2 rows",
        "out-of-fold accuracy 0.99917 0.99950",
        "Predictions that changed 4 rows",
        " 4 · · · · +3 · · · · −3 ",  # by label and prediction, the second run's counts minus the first's
        " 7 · +1 · · · · · −1 · · ",
    ):
        assert words in text, words
    other = run.manifest
    other["identity"]["data"] = ["0", "0"]
    run.write_json("manifest.json", other)
    with pytest.raises(CompetitionError, match="on the same data"):
        make_comparison(folders, run, type(run)(tmp_path / "a"), digits)
    assert __main__.main(["report", "--submissions", str(tmp_path), "--compare", "a"]) == 1
    assert "COMPARE takes two runs" in capsys.readouterr().err


def test_the_report_needs_no_keras():
    code = "import sys, competition.report.run_page, competition.report.comparison; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_failing_report_costs_a_line(tmp_path, monkeypatch, capsys):
    from competition import pipeline  # loads Keras

    folders, run, digits = finished_run(tmp_path, misread={})
    run.submission_csv.write_text("damaged")
    (run.path / "scores.json").unlink()
    pipeline.illustrate(folders, run, digits)
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split()[0] for line in lines] == ["Report", "Model", "All"] and "none (CompetitionError" in lines[0]
    assert run.complete
