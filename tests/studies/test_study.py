"""Settings as they are written, rows as they are shared out, and what is trained once for all."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from competition import __main__
from competition.config import RECIPES, Config
from competition.data.dataset import Dataset
from competition.data.digits import Digits, read_digits
from competition.data.inputs import find_files
from competition.ensemble.folds import choose_kept_out, kept_out
from competition.errors import CompetitionError
from competition.execution.engines import Processes
from competition.network.device import Setup
from competition.runs import files
from competition.runs.checkpoint import MemberResult
from competition.runs.folders import KEPT_OUT, ROOT, Folders
from competition.studies import members
from competition.studies.settings import BASE, NULL, plan, read_settings, stack_predictions, table_path, words_of
from competition.studies.study import NOT_TRAINED, conduct, summary
from tests.ensemble.planted import row_facts, said

QUICK = RECIPES["quick"]
PARTS = ("variant", "members", "measure")
STRENGTHS = {0.1: 4.0, 0.05: 5.5, 0.2: 3.0, 0.3: 4.0, 0.9: None}  # what this test's members know, by their smoothing


class Engine:
    """In place of training: members say what is planted, and `trained` keeps their names; one may be stopped at."""

    def allocate(self, setup, members):
        return setup

    def __init__(self, stop_at=None):
        self.trained, self.asked, self.stop_at = [], {}, stop_at

    def describe(self):
        return "planted"

    def each(self, work, members, tell):
        for member in members:
            if member.name == self.stop_at:
                raise KeyboardInterrupt
            self.trained.append(member.name)
            self.asked[member.name] = len(work.test)
            strength = STRENGTHS[member.config.label_smoothing]
            if strength is None:
                yield member.name, CompetitionError(f"{member.name} must learn.")
                continue
            labels, asked = work.train.labels, member.val_rows
            draw = np.random.default_rng(member.seed)
            valid = said(draw, labels, row_facts(len(labels))[1], strength)[:, asked]
            test = said(draw, np.zeros(len(work.test), int), np.ones(len(work.test)), strength)
            facts = {
                "seed": member.seed, "accuracy": float((valid[1].argmax(1) == labels[asked]).mean()), "epochs": 1,
                "kept_epoch": 1, "seconds": 2.0, "training_seconds": 1.0, "hardware": "planted",
                "data_source": work.train.source, "data_sha256": work.train.sha256, "failed_before": [],
            }  # fmt: skip
            history = [dict.fromkeys(("accuracy", "loss", "val_accuracy", "val_loss"), 0.5)]
            yield member.name, MemberResult(valid, test, [np.zeros(1)], history, facts)


@pytest.fixture
def study(tmp_path, few):
    """Compare changes on 600 digits with an engine of the test's; the lines, and the engine."""

    def start(changes, base="quick", seeds=1, full=False, engine=None):
        engine = engine or Engine()
        settings = read_settings(QUICK, base, changes, seeds)
        dataset = Dataset(few, replace(few, labels=None), None)
        folders = Folders(tmp_path, tmp_path)
        return conduct(folders, Setup("float32", False, 1), engine, dataset, settings, seeds, full), engine

    return start


def test_the_grammar():
    settings = read_settings(Config(), "", "label_smoothing=0.2; architecture=fine, pooled,epochs = 14 ;", 2)
    assert list(settings) == [BASE, "label_smoothing=0.2", "architecture=fine,pooled, epochs=14"]
    assert settings[BASE] == Config() and settings["label_smoothing=0.2"] == Config(label_smoothing=0.2)
    assert settings["architecture=fine,pooled, epochs=14"] == Config(architecture="fine,pooled", epochs=14)


def test_transforms_keep_their_commas_and_semicolons():
    one, two = "augment=Morphological(operation='erosion', scale=(2, 2)); Blur(p=0.1), epochs=3", "augment=Blur()"
    settings = read_settings(Config(), "fast,augment=Defocus(radius=(1, 2)); Blur(p=1)", f"{one}; {two}; epochs=4", 1)
    base = "Defocus(radius=(1, 2)); Blur(p=1)"
    assert [(config.augment, config.epochs) for config in settings.values()] == [
        (base, 19),
        ("Morphological(operation='erosion', scale=(2, 2)); Blur(p=0.1)", 3),
        ("Blur()", 19),
        (base, 4),
    ]
    assert list(settings) == [BASE, one, two, "epochs=4"]
    assert words_of(settings[BASE]) == f"fast, augment={base}"


def test_a_recipe_stands_before_its_settings_and_leaves_the_protocol_to_the_base():
    settings = read_settings(QUICK, "fast,folds=3,shear=4", "best,epochs=5; quick", 3)
    assert settings[BASE] == Config(folds=3, refit=2, shear=4.0)
    assert words_of(settings[BASE]) == "fast, folds=3, shear=4.0"
    assert settings["best, epochs=5"] == Config(folds=3, refit=2, epochs=5, architecture="residual")
    assert settings["quick"] == replace(QUICK, recipe="fast", folds=3, refit=2)
    assert read_settings(QUICK, "mlp", "shear=0.5", 1)["shear=0.5"] == replace(RECIPES["mlp"], shear=0.5)


@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        ("fast", "", "Received: none. Next: CHANGES="),
        ("fast", "smoothing=0.1", "Received: smoothing=0.1, which is unknown."),
        ("slow", "epochs=3", "Received: slow, which is unknown."),
        ("fast", "epochs=3,fast", "epochs is of type int. Received: '3,fast'."),
        ("fast", "epochs=many", "epochs is of type int. Received: 'many'."),
        ("fast", "epochs=0", "epochs lies between 1 and 10000"),
        ("fast", "architecture=huge", "architecture is one of"),
        ("fast", "recipe=quick", "Received: recipe=quick, which is unknown."),
        ("fast", "folds=3", "Received: folds=3, which all have alike. Next: BASE='fast,folds=3'"),
        ("fast", "epochs=3,epochs=4", "Received: epochs twice"),
        ("fast", "augment=Flip(p=1)", "Flip is no transform of albumentations"),
        ("fast", "augment=Blur(", r"Received: 'Blur\(': '\(' was never closed"),
        ("fast", "epochs=19", "Received: epochs=19, which is there already"),
        ("fast", "epochs=3;epochs=3", "which is there already"),
        ("fast", "architecture=fine,pooled,normalized", "more kinds than repeats. Next: SEEDS=3"),
    ],
)
def test_mistakes_are_told_in_one_line(few, base, changes, said):
    with pytest.raises(CompetitionError, match=said) as raised:
        for name, config in read_settings(QUICK, base, changes, 2).items():
            plan(name, config, few.labels, np.arange(600), 2, False)
    assert "\n" not in str(raised.value) and str(raised.value).count(" Next: ") == 1


def test_a_mistake_ends_the_command_before_anything_is_trained(tmp_path, capsys):
    arguments = ["study", "--changes", "smoothing=0.1", "--source", "sample", "--submissions", str(tmp_path)]
    assert __main__.main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: CHANGES names settings") and not (tmp_path / "studies").exists()


def test_a_study_is_named_by_what_it_compares(tmp_path):
    folders = Folders(tmp_path, tmp_path)
    path = table_path(folders, None, "fast", "epochs=3; architecture=fine,pooled", full=True)
    assert path == tmp_path / "studies" / "full-fast-epochs=3-architecture=fine-pooled.csv"
    for name in ("kept-out", "../record", "a b", ".hidden", "x" * 101):
        with pytest.raises(CompetitionError, match="NAME names"):
            table_path(folders, name, "fast", "epochs=3", full=False)


def test_one_third_teaches_and_two_thirds_are_asked(sample):
    rows = np.arange(1000, 6000)
    members = plan(BASE, QUICK, sample.labels, rows, seeds=2, full=False)
    assert len(members) == 6 and len({member.seed for member in members}) == 6
    for first in (0, 3):
        taught = np.concatenate([member.train_rows for member in members[first : first + 3]])
        asked = np.concatenate([member.val_rows for member in members[first : first + 3]])
        assert sorted(taught) == list(rows) and (np.bincount(asked)[rows] == 2).all()
    for member in members:
        assert sorted([*member.train_rows, *member.val_rows]) == list(rows)
        share = np.bincount(sample.labels[member.train_rows]) / len(member.train_rows)
        assert np.abs(share - np.bincount(sample.labels[rows]) / 5000).max() < 0.002
    assert (members[0].train_rows != members[3].train_rows).any()


def test_in_full_the_folds_are_the_recipes(sample):
    rows = np.arange(1000, 6000)
    members = plan(BASE, QUICK, sample.labels, rows, seeds=1, full=True)
    asked = np.concatenate([member.val_rows for member in members])
    assert len(members) == 4 and sorted(asked) == list(rows) and len(members[0].train_rows) == 3750
    with pytest.raises(CompetitionError, match="FULL=1 needs folds"):
        plan(BASE, RECIPES["reference"], sample.labels, rows, seeds=1, full=True)


def test_a_change_shares_folds_and_seeds_with_the_base_and_the_null_the_folds_alone(few):
    rows = np.arange(len(few))
    base, null, change = (
        plan(name, config, few.labels, rows, 2, False)
        for name, config in ((BASE, QUICK), (NULL, QUICK), ("epochs=3", replace(QUICK, epochs=3)))
    )
    for one, again, other in zip(base, null, change, strict=True):
        assert one.seed == other.seed != again.seed
        assert (one.train_rows == other.train_rows).all() and (one.train_rows == again.train_rows).all()
    assert not {member.seed for member in base} & {member.seed for member in null}


def test_the_kinds_of_a_mixed_ensemble_take_turns_over_the_seeds(few):
    config = replace(QUICK, architecture="fine,pooled")
    members = plan("mixed", config, few.labels, np.arange(600), 2, False)
    assert [member.config.architecture for member in members] == ["fine"] * 3 + ["pooled"] * 3


def test_what_members_say_is_found_by_row(few):
    rows = np.arange(5, 605 - 10)
    members = plan(BASE, QUICK, few.labels, rows, 2, False)
    results = [
        MemberResult(np.tile(member.val_rows[:, None] + number / 10, (2, 1, 10)), None, [], [], {})
        for number, member in enumerate(members)
    ]
    found, spoke = stack_predictions(members, results, rows)
    assert found.shape == (4, 2, len(rows), 10)
    assert (found.astype(int) == rows[:, None]).all()
    tenths = np.round(10 * (found[:, 0, :, 0] - rows)).astype(int)
    assert (np.sort(tenths, axis=0) == tenths).all() and set(tenths[:2].ravel()) == {0, 1, 2}
    assert (spoke == tenths).all()


def test_the_rows_kept_out_are_a_stratified_seventh(few, sample):
    rows = kept_out(sample)
    assert len(rows) == 857 and (rows == choose_kept_out(sample.labels)).all() and (np.diff(rows) > 0).all()
    share = np.bincount(sample.labels[rows]) / 857
    assert np.abs(share - np.bincount(sample.labels) / 6000).max() < 0.002
    assert len(kept_out(few)) == 86


def test_of_the_real_data_6000_committed_rows_are_kept_out(few):
    rows = kept_out(Digits(few.images, few.labels, "kaggle", ""))
    assert len(rows) == 6000 and (np.diff(rows) > 0).all() and rows[0] >= 0 and rows[-1] < 42_000
    assert files.sha256_of(KEPT_OUT) == "eb8be37a730980e81f0b252d039143a8e5cd722a63f026709e78a2f4a880189f"


def test_the_committed_rows_are_what_the_rule_draws():
    found = find_files(Folders.find().input)
    digits = read_digits(found[0], labelled=True) if found else None
    if digits is None or digits.source != "kaggle":
        pytest.skip("the competition's train.csv is not in input/")
    np.testing.assert_array_equal(kept_out(digits), choose_kept_out(digits.labels))


def test_no_study_teaches_or_asks_about_the_rows_kept_out(few, study):
    lines, _ = study("epochs=3")
    assert {line["rows"] for line in lines} == {600 - 86}
    hidden, rows = kept_out(few), np.setdiff1d(np.arange(600), kept_out(few))
    for member in plan(BASE, QUICK, few.labels, rows, 1, False):
        assert not set(hidden) & {*member.train_rows, *member.val_rows}


def test_nothing_is_trained_twice(study):
    """Neither by the same study, nor by one with more seeds or other changes of the same base."""
    first, engine = study("label_smoothing=0.05")
    assert len(engine.trained) == 9 and set(engine.asked.values()) == {1}  # test.csv tells nothing
    again, engine = study("label_smoothing=0.05")
    assert engine.trained == [] and again == first
    _, engine = study("label_smoothing=0.05; label_smoothing=0.2", seeds=2)
    assert len(engine.trained) == 4 * 6 - 9
    assert not any(re.match(r"(base|base again|label_smoothing=0.05): seed1", name) for name in engine.trained)
    _, engine = study("quick,label_smoothing=0.2", base="quick,label_smoothing=0.05", seeds=2)
    assert {name.partition(":")[0] for name in engine.trained} == {NULL}


def test_in_full_a_row_is_read_once_a_repeat(study):
    lines, engine = study("epochs=3", base="quick,repeats=2", seeds=2, full=True)
    assert len(engine.trained) == 3 * 2 * 2 * 4 and {line["members"] for line in lines} == {1, 2, 4}
    assert {line["split"] for line in lines} == {"full folds"}


def test_a_study_that_was_stopped_goes_on(study):
    with pytest.raises(KeyboardInterrupt):
        study("epochs=3", engine=Engine(stop_at="epochs=3: seed1-repeat1-fold2"))
    lines, engine = study("epochs=3")
    assert engine.trained == [f"epochs=3: seed1-repeat1-fold{fold}" for fold in (2, 3)]
    assert lines == study("epochs=3")[0]


def test_other_code_of_the_network_or_another_setup_trains_anew(study, monkeypatch):
    study("epochs=3")
    monkeypatch.setattr(members, "code_sha256", lambda *parts: "another")
    assert len(study("epochs=3")[1].trained) == 9


def test_one_study_at_a_time_trains_in_a_folder(study, tmp_path):
    script = "import sys; from pathlib import Path; from competition.runs import files\n"
    script += "lock = files.lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    lock = tmp_path / "studies" / "members" / ".lock"
    command = [sys.executable, "-c", script, str(lock)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(CompetitionError, match=f"where process {other.pid} on .* trains. Next: wait for it"):
            study("epochs=3")
        other.stdin.close()
    assert study("epochs=3")[1].trained


def test_a_change_that_does_not_learn_costs_its_own_line_alone(study, capsys):
    lines, _ = study("label_smoothing=0.9; label_smoothing=0.05")
    (lost,) = [line for line in lines if line["setting"] == "label_smoothing=0.9"]
    assert lost["verdict"] == NOT_TRAINED and NOT_TRAINED in summary(lines)
    assert "label_smoothing=0.9: seed1-repeat1-fold1 must learn." in capsys.readouterr().out
    assert sum(line["setting"] == "label_smoothing=0.05" for line in lines) == 2 * 2 * 3
    with pytest.raises(CompetitionError, match="base: seed1-repeat1-fold1 must learn"):
        study("epochs=3", base="quick,label_smoothing=0.9")


def test_planted_changes_are_told_apart_from_the_command_line_to_the_page(tmp_path, monkeypatch, capsys):
    """On the sample's rows: one better, one worse, one that does nothing; and the table holds what was printed."""
    monkeypatch.setattr("competition.studies.members.choose_engine", lambda *a: Engine())
    changes = "label_smoothing=0.05; label_smoothing=0.2,epochs=14; label_smoothing=0.3"
    arguments = ["study", "--changes", changes, "--name", "planted", "--source", "sample"]
    assert __main__.main([*arguments, "--submissions", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.partition("Base quick: 5,143 rows")[2].partition("\nTable")[0]
    assert max(map(len, printed.splitlines())) <= 100
    lines = files.read_table(tmp_path / "studies" / "planted.csv")
    verdicts = {line["setting"]: line["verdict"] for line in lines}
    assert list(verdicts) == [NULL, "label_smoothing=0.05", "label_smoothing=0.2, epochs=14", "label_smoothing=0.3"]
    assert list(verdicts.values())[1:3] == ["better", "worse"]
    nothing = "not significant, ±"
    assert all(verdicts[name].startswith(nothing) for name in (NULL, "label_smoothing=0.3"))
    assert len(lines) == 4 * 2 * 3 * 3 and {line["members"] for line in lines} == {"1", "2", "4"}
    for line in lines:
        low, high, found = (float(line[name]) for name in ("low", "high", "difference"))
        assert low <= found <= high
        assert found == pytest.approx(float(line["of_setting"]) - float(line["of_base"]), abs=0.02)
    assert (tmp_path / "studies" / "planted.html").exists()
    assert all(verdict in printed for verdict in verdicts.values())


@pytest.mark.slow
def test_one_epoch_in_place_of_ten_is_worse(study, capsys):
    """Trained in fact, on six hundred digits; and a second time nothing is."""
    short = "epochs=1", "quick,epochs=10,batch_size=32,width=0.5,tta=0"
    lines, _ = study(*short, engine=Processes(1, "a test"))
    assert {line["verdict"] for line in lines if line["setting"] == "epochs=1"} == {"worse"}
    found = {(line["setting"], *(line[part] for part in PARTS)): float(line["difference"]) for line in lines}
    for (setting, *part), difference in found.items():  # of nets of 200 digits chance alone may seem a gain
        assert setting == NULL or difference > 5 * abs(found[NULL, *part])
    assert capsys.readouterr().out.count("member ") == 9
    assert study(*short, engine=Processes(1, "a test"))[0] == lines and "member " not in capsys.readouterr().out
