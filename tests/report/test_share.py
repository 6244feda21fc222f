"""The shared page: one file, in which a network in plain JavaScript predicts what Keras predicts."""

import base64
import json
import re

import numpy as np
import pytest

from competition.config import ARCHITECTURES
from competition.data.dataset import load_dataset
from competition.data.pictures import picture_of
from competition.ensemble.export import probabilities_of_file
from competition.errors import CompetitionError
from competition.network.device import keras
from competition.network.saved_model import read_model
from competition.report.share import LARGEST, _described, make_share
from tests.report.sixty import WAYS, drawing
from tests.report.test_browser import WIDTHS, opened
from tests.report.test_draw import untrained_run
from tests.report.test_draw_browser import draw, png_on, requests_of, settled, trained_run


def network_of(page: str) -> list[dict]:
    """The layers that a page computes."""
    return json.loads(re.search("^const NETWORK = (.*);$", page, re.MULTILINE)[1])


def test_the_page_holds_the_weights_of_model_keras_in_24_bits(tmp_path):
    folders, run, _ = untrained_run(tmp_path)
    page = make_share(folders, run).read_text()
    assert len(page.encode()) <= LARGEST and "bits, to fit" not in page and page.count('aria-label="Example') == 10
    layers = [layer for layer in network_of(page) if "kernel" in layer]
    weights = [pair for layer in read_model(run.path / "model.keras").layers if (pair := layer.get_weights())]
    for layer, (kernel, bias) in zip(layers, weights, strict=True):
        low, middle, high = np.frombuffer(base64.b64decode(layer["kernel"]), np.uint8).reshape(-1, 3).T
        integers = (low + 256 * middle.astype(int) + 65536 * high.view(np.int8).astype(int)).reshape(-1, len(bias))
        rounding = np.abs(integers * layer["scales"] - kernel.reshape(integers.shape))
        assert (rounding <= 0.51 * np.array(layer["scales"])).all() and layer["bias"] == bias.tolist()


def test_a_wide_network_is_shared_in_8_bits_and_a_wider_one_not_at_all(tmp_path):
    folders, run, _ = untrained_run(tmp_path / "wide", width=2)
    page = make_share(folders, run).read_text()
    assert len(page.encode()) <= LARGEST and "rounded to 8 bits" in page
    folders, run, _ = untrained_run(tmp_path / "wider", width=3)
    with pytest.raises(CompetitionError, match="a network of 2,"):
        make_share(folders, run)
    assert not (run.path / "share.html").exists()


def test_what_cannot_be_shared_is_refused(tmp_path):
    folders, run, _ = untrained_run(tmp_path)
    run.write_json("manifest.json", {**run.manifest, "parents": [{"run": "a-run", "members": {}}]})
    with pytest.raises(CompetitionError, match=r"a blend\. Next: make share RUN=a-run\."):
        make_share(folders, run)
    with pytest.raises(CompetitionError, match=r"the layer odd\. Next: make share RUN="):
        _described(keras.layers.DepthwiseConv2D(3, name="odd"), 24)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_predicts_in_the_browser_as_in_keras(browser, tmp_path, sample, architecture):
    folders, run, _ = untrained_run(tmp_path, architecture=architecture)
    probs = predicted(browser, make_share(folders, run), sample.images[:20])
    np.testing.assert_allclose(probs, read_model(run.path / "model.keras")(sample.images[:20]), atol=1e-4)


@pytest.mark.slow
def test_8_bits_are_computed_as_keras_computes_weights_rounded_so(browser, tmp_path, sample):
    folders, run, _ = untrained_run(tmp_path, width=2)
    page = make_share(folders, run)
    model = read_model(run.path / "model.keras")
    layers = iter([layer for layer in network_of(page.read_text()) if "kernel" in layer])
    for layer in model.layers:
        if weights := layer.get_weights():
            shared_layer = next(layers)
            integers = np.frombuffer(base64.b64decode(shared_layer["kernel"]), np.int8)
            kernel = integers.reshape(weights[0].shape) * shared_layer["scales"]
            layer.set_weights([kernel, weights[1]])
    images = sample.images[:20]
    np.testing.assert_allclose(predicted(browser, page, images), model(images), atol=1e-4)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The page of a trained run, and the run."""
    folders, run = trained_run(tmp_path_factory.mktemp("runs"), folds=1, epochs=4)
    return make_share(folders, run), run, folders


@pytest.mark.slow
def test_a_hundred_digits_get_keras_probabilities_in_under_50_ms_each(browser, shared):
    page, run, folders = shared
    images = load_dataset(folders, "sample").test.images[:100]
    probs = predicted(browser, page, images)
    np.testing.assert_allclose(probs, probabilities_of_file(run.path / "model.keras", images), atol=1e-4)
    assert probs.max(axis=1).mean() > 0.9  # a network that has learned something
    took = "const start = performance.now(); predict(arguments[0]); return performance.now() - start"
    times = [browser.execute_script(took, image.ravel().tolist()) for image in images[:20]]
    assert np.median(times) < 50


@pytest.mark.slow
def test_the_drawing_is_prepared_as_for_make_predict(browser, shared):
    """But for grey edges; where a side or the centre of mass lies between two pixels, it may be the other one."""
    opened(browser, shared[0])
    alike = []
    for way in WAYS:
        for digit in range(10):
            browser.execute_script("clear()")
            draw(browser, *drawing(digit, way))
            pixels = np.array(browser.execute_script("return [...prepared()]")).reshape(28, 28)
            alike.append(
                np.abs(
                    pixels - picture_of(png_on(browser), "The drawing", apart=False).digits[0, ..., 0].astype(int)
                ).mean()
                < 1.5
            )
    assert sum(alike) >= 56 and len(alike) == 60


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_it_works_from_a_file_without_any_request(browser, axe, shared, width, scheme):
    opened(browser, shared[0], width, scheme)
    assert browser.find_element("id", "sure").text == "Nothing drawn yet"
    assert axe(browser) == []
    draw(browser, *drawing(7, "pieces"))
    assert browser.find_element("id", "digit").text == "7" and axe(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.find_element("id", "clear").click()
    browser.find_element("css selector", "#examples button:nth-child(4)").click()
    assert settled(browser)[0] == "3"
    assert browser.get_log("browser") == [] and requests_of(browser) == [shared[0].as_uri()]


def predicted(browser, page, images):
    """What the page's network predicts of some images: float array (n, 10)."""
    opened(browser, page)
    return np.array(
        [browser.execute_script("return predict(arguments[0])", image.ravel().tolist()) for image in images]
    )
