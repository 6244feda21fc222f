"""A run folder that somebody else made: nothing in it is executed, nothing in it breaks out of the page."""

import zipfile

import keras
import numpy as np
import pytest

from competition.config import RECIPES
from competition.ensemble.networks import probabilities_of
from competition.errors import CompetitionError
from competition.network import device
from competition.network.device import Setup
from competition.network.models import build_model
from competition.report.run_page import make_report
from competition.runs.checkpoint import MemberResult
from competition.runs.run import files
from tests.finished_run import finished_run


class Pickled:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (self.marker.touch, ())


@pytest.fixture
def hostile(tmp_path):
    """A whole run with model.keras and weights that execute, where somebody loads them carelessly."""
    folders, run, digits = finished_run(tmp_path / "submissions", name='20260101-<img src=x onerror="alert(1)">')
    device.prepare(Setup("float32", False, 1), 0)
    weights = build_model(RECIPES["quick"]).get_weights()
    for name in ("repeat1-fold1", "repeat1-fold2"):
        member = run.load_member(name)
        run.store_member(name, MemberResult(member.val_probs, member.test_probs, weights, member.history, member.facts))
    return folders, run, digits


def test_a_lambda_in_model_keras_is_nobodys(hostile, tmp_path):
    """Members are rebuilt from the config; model.keras is written, never read."""
    folders, run, digits = hostile
    marker = tmp_path / "executed"
    opened = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Lambda(lambda x, touch=marker.touch: touch() or x)]
    )
    marker.unlink()  # building it called it
    opened.save(run.path / "model.keras")
    with zipfile.ZipFile(run.path / "model.keras") as archive:
        assert b"Lambda" in archive.read("config.json")
    said = probabilities_of(run, digits.test.images[:5])
    assert said.shape == (5, 10)
    make_report(folders, run, digits)
    assert not marker.exists()


@pytest.mark.parametrize("name", ("valid.npy", "test.npy", "weights.npz"))
def test_a_pickle_with_the_right_checksum_is_refused(hostile, tmp_path, name):
    _, run, digits = hostile
    folder = run.path / "members" / "repeat1-fold1"
    bomb = np.array([Pickled(tmp_path / "executed")], object)
    with (folder / name).open("wb") as file:
        (np.savez if name.endswith("z") else np.save)(file, bomb)
    done = run.read_json("members/repeat1-fold1/done.json")
    done["sha256"][name] = files.sha256_of(folder / name)
    run.write_json("members/repeat1-fold1/done.json", done)
    with pytest.raises(CompetitionError, match=r"done.json is damaged. Next: `make train RUN="):
        probabilities_of(run, digits.test.images[:5])
    assert not (tmp_path / "executed").exists()


def test_html_in_names_stays_text(hostile):
    folders, run, digits = hostile
    config = run.read_json("config.json")
    run.write_json("config.json", {**config, "recipe": "<script>alert(2)</script>"})
    manifest = run.manifest
    run.write_json("manifest.json", {**manifest, "hardware": "<b>4 cores", "commit": "'><i>", "extra": "</pre><u>"})
    page = make_report(folders, run, digits).read_text("utf-8")
    assert "&lt;script&gt;alert(2)" in page and "&lt;img src=x" in page
    assert [tag for tag in ("<script>alert", "<img src=x", "<b>4 cores", "'><i>", "</pre><u>") if tag in page] == []


def test_probabilities_of_other_data_are_refused(hostile):
    folders, run, digits = hostile
    run.write_arrays("probabilities.npz", out_of_fold=np.full((2, 7, 10), 0.1, np.float32),
                     test=np.full((2, 7, 10), 0.1, np.float32))  # fmt: skip
    with pytest.raises(CompetitionError, match="must hold those of each row"):
        make_report(folders, run, digits)


def test_a_precision_that_is_none_is_refused(hostile):
    _, run, digits = hostile
    manifest = run.manifest
    manifest["identity"]["precision"] = "__import__('os')"
    run.write_json("manifest.json", manifest)
    with pytest.raises(CompetitionError, match="must name a precision"):
        probabilities_of(run, digits.test.images[:5])
