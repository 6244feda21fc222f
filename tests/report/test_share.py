"""The shared page: one file, in which a network in plain JavaScript predicts what Keras predicts."""

import base64
import json
import re
import statistics

import numpy as np
import pytest

from competition.config import ARCHITECTURES
from competition.data.pictures import digit_of
from competition.ensemble.predict import probabilities_of_file
from competition.errors import CompetitionError
from competition.network.models import build_model, with_plain_layers
from competition.report.share import LARGEST, make_share
from competition.runs.folders import Folders
from tests.report.sixty import WAYS, drawing
from tests.report.test_draw import untrained_run
from tests.report.test_draw_browser import draw, opened, small_run

DRAWABLE = sorted(set(ARCHITECTURES) - {"residual"})


def test_the_page_holds_the_network_of_model_keras_in_16_bits(tmp_path):
    folders, run, _ = untrained_run(tmp_path)
    page = make_share(folders, run).read_text()
    assert len(page.encode()) < LARGEST / 2 and "bits, to fit" not in page
    assert page.count('aria-label="Example') == 10
    layers = json.loads(re.search("^const NETWORK = (.*);$", page, re.MULTILINE)[1])
    drawn = [layer for layer in layers if "kernel" in layer]
    network = with_plain_layers(build_model(run.config))
    network.set_weights(run.load_member("repeat1-fold1").weights[:0] or network.get_weights())
    kernels = [weights[0] for layer in network.layers if (weights := layer.get_weights())]
    assert len(drawn) == len(kernels) == 6


def test_a_wide_network_has_8_bits_and_a_wider_one_no_page(tmp_path):
    folders, run, _ = untrained_run(tmp_path / "wide", width=2)
    page = make_share(folders, run).read_text()
    assert len(page.encode()) < LARGEST and "rounded to 8 bits" in page
    folders, run, _ = untrained_run(tmp_path / "wider", width=3)
    with pytest.raises(CompetitionError, match="Received: a network of 2,"):
        make_share(folders, run)
    assert not (run.path / "share.html").exists()
