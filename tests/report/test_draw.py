"""The draw page's server: requests as its page sends them, and as it must refuse them."""

import base64
import csv
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition import __main__
from competition.config import TTA
from competition.data.dataset import load_dataset
from competition.data.pictures import picture_of, read_picture
from competition.ensemble.folds import member_settings
from competition.ensemble.networks import Ensemble
from competition.ensemble.occlusion import occlusions
from competition.errors import CompetitionError
from competition.network.models import build_model
from competition.report import draw_server
from competition.report.draw_backend import agreement
from competition.report.enlarged import heat_map
from competition.runs.folders import ROOT, Folders
from competition.runs.run import list_runs
from tests.data.drawn import FOUR, SEVEN, stroked
from tests.finished_run import finished_run


def untrained_run(folder, **settings):
    """A complete run on the sample whose members have the weights they began with."""
    folders, run, digits = finished_run(folder, **settings)
    for name, config in member_settings(run.config).items():
        run.store_member(name, replace(run.load_member(name), weights=build_model(config).get_weights()))
    return folders, run, digits


class Page:
    """A server for a run, and requests as its page makes them."""

    def __init__(self, folders, run, port=0):
        self.server = draw_server.bound(port)
        self.server.open(folders, run)
        self.port, self.folders, self.run = self.server.server_port, folders, run
        self.own = {"Host": f"127.0.0.1:{self.port}", "Origin": f"http://127.0.0.1:{self.port}"}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def request(self, method, path, body=None, **headers):
        """Status and content of an answer; a header that is None is left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path, skip_host=True)
        length = {} if body is None else {"Content-Length": len(body)}
        for name, value in {**self.own, **length, **{n.replace("_", "-"): v for n, v in headers.items()}}.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if answer.headers["Content-Type"] == "application/json" else content

    def predict(self, png, run=None, **headers):
        """Status and content of what a run, the page's own where none is named, predicts."""
        return self.request("POST", f"/predict/{(run or self.run).name}", png, **headers)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def two_runs(folder):
    """A page of the newer of two untrained runs; the other one is page.other."""
    other = untrained_run(folder, name="20250101-000000-quick", seed=1)[1]
    page = Page(*untrained_run(folder)[:2])
    page.other = other
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    page = two_runs(tmp_path_factory.mktemp("runs"))
    yield page
    page.close()


def png_of(picture):
    return cv2.imencode(".png", picture)[1].tobytes()


def pixels_of(source):
    raw = np.frombuffer(base64.b64decode(source.removeprefix("data:image/png;base64,")), np.uint8)
    return cv2.imdecode(raw, cv2.IMREAD_GRAYSCALE)


ZIGZAG = [(10 + 50 * (i % 2), 10 + 9 * i) for i in range(9)]
DRAWING = png_of(stroked(SEVEN))
BLANK = png_of(np.full((560, 560), 255, np.uint8))


@pytest.mark.parametrize("drawing, unlike", [(SEVEN, False), (ZIGZAG, True)])
def test_a_drawing_gets_the_prediction_of_its_file(page, tmp_path, capsys, drawing, unlike):
    path = tmp_path / "drawing.png"
    path.write_bytes(png_of(stroked(drawing)))
    status, answer = page.predict(path.read_bytes())
    assert status == 200
    capsys.readouterr()
    __main__.main(["predict", "--run", str(page.run.path), str(path)])
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    np.testing.assert_allclose(answer["probs"], [float(row[f"p{digit}"]) for digit in range(10)], atol=1.1e-4)
    assert "; ".join(answer["remarks"]) == row["remark"]
    assert ("unlike training" in answer["remarks"]) == unlike
    member_probs = [member["probs"] for member in answer["members"]]
    np.testing.assert_allclose(np.mean(member_probs, axis=0), answer["probs"], atol=2e-4)
    assert answer["agreement"] == agreement(np.argmax(member_probs, axis=1))
    assert (pixels_of(answer["image"]) == read_picture(path).digits[0, ..., 0]).all()


def test_several_digits_are_called_so(page):
    both = np.hstack([stroked(SEVEN), stroked(FOUR)])
    status, answer = page.predict(png_of(both))
    assert status == 200 and "several digits" in answer["remarks"]


def test_the_occlusion_map_is_that_of_the_ensemble_without_augmentation(page):
    status, answer = page.request("POST", f"/occlude/{page.run.name}", DRAWING)
    assert status == 200
    image = picture_of(DRAWING, "", apart=False).digits[0]
    ensemble = Ensemble(page.run)
    [expected] = occlusions([image], lambda images: ensemble.predict(images, tta=False)[0])
    raw = base64.b64decode(answer["map"].removeprefix("data:image/png;base64,"))
    shown = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(shown[..., 3], heat_map(expected)[..., 3], atol=2)
    assert f"predicts {expected.label}" in answer["words"]


def test_the_nearest_digits_are_those_of_their_rows(page, sample):
    wanted = sample.images[[1233, 77, 5999]]
    for image, row in zip(wanted, (1234, 78, 6000), strict=True):
        large = cv2.resize(image[..., 0], (280, 280), interpolation=cv2.INTER_NEAREST)
        near = page.predict(png_of(large))[1]["nearest"]
        assert row in [digit["row"] for digit in near] and len(near) == 8
        for digit in near:
            assert digit["label"] == sample.labels[digit["row"] - 1]
            assert (pixels_of(digit["png"]) == sample.images[digit["row"] - 1, ..., 0]).all()


def test_each_run_predicts_by_its_own_members(page):
    html = page.request("GET", "/")[1].decode()
    assert re.findall('<option value="([^"]*)">', html) == [page.run.name, page.other.name]
    assert f"{page.run.name} · {page.run.scores['out_of_fold']['accuracy']:.5f}</option>" in html
    predictions = [page.predict(DRAWING, run)[1]["probs"] for run in (page.run, page.other, page.run)]
    assert predictions[0] == predictions[2] != predictions[1]


def test_the_examples_are_test_digits_one_of_each_prediction(page):
    html = page.request("GET", "/")[1].decode()
    images = load_dataset(page.folders, "sample").test.images[..., 0]
    labels = page.run.probabilities()[1][TTA].argmax(axis=1)
    for digit, example in enumerate(re.findall('aria-label="Example [0-9]+"><img alt="" src="([^"]*)">', html)):
        assert set(labels[(images == 255 - pixels_of(example)).all(axis=(1, 2))]) == {digit}
    assert digit == 9


def test_nothing_is_predicted_for_a_blank_drawing(page):
    for path in (f"/predict/{page.run.name}", "/keep/3"):
        status, answer = page.request("POST", path, BLANK)
        assert status == 422 and "must show a digit" in answer["error"]


@pytest.mark.parametrize("body", [
    b"", b"label,pixel0\n", DRAWING[:40], cv2.imencode(".jpg", stroked(SEVEN))[1].tobytes(),
    DRAWING[:16] + b"\0\1\0\0\0\1\0\0" + DRAWING[24:],
])  # fmt: skip
def test_what_is_no_drawing_is_refused(page, body):
    assert page.predict(body)[0] == 422


def test_any_page_of_the_web_is_refused(page):
    port = page.port
    hosts = {
        "Host": (None, "evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", f"0.0.0.0:{port}")
    }
    origins = {"Origin": (None, "null", "http://evil.example", f"https://127.0.0.1:{port}", "http://127.0.0.1",
                          f"http://127.0.0.1:{port}.evil.example", f"http://localhost:{port}")}  # fmt: skip
    for name, values in (hosts | origins).items():
        for value in values:
            for path in (f"/predict/{page.run.name}", "/keep/3"):
                assert page.request("POST", path, DRAWING, **{name: value})[0] == 403, (name, value)
            assert page.request("GET", "/", **{name: value})[0] == (403 if name == "Host" else 200), (name, value)
    assert not page.folders.drawn.exists()
    named = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}
    assert page.predict(DRAWING, **named)[0] == page.request("GET", "/", **named)[0] == 200


@pytest.mark.parametrize("headers, status", [
    ({"Content_Length": str(draw_server.LARGEST + 1)}, 413), ({"Content_Length": "9" * 30}, 411), ({}, 411),
    ({"Content_Length": "-1"}, 411), ({"Content_Length": "²"}, 411), ({"Transfer_Encoding": "chunked"}, 411),
])  # fmt: skip
def test_a_body_is_refused_before_it_is_read(page, headers, status):
    headers = {name: value.encode() for name, value in headers.items()}
    assert page.request("POST", f"/predict/{page.run.name}", **headers)[0] == status


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/predict/x", 404), ("POST", "/predict/../x", 404), ("POST", "/predict/", 404),
    ("GET", "/../../etc/passwd", 404), ("GET", "/?run=x", 404), ("GET", "//evil.example/", 404),
    ("POST", "/", 404), ("POST", "/keep/10", 404), ("POST", "/keep/x", 404), ("POST", "/keep/", 404),
    ("PUT", "/", 501), ("DELETE", "/keep/1", 501), ("OPTIONS", "/read", 501), ("HEAD", "/", 501),
])  # fmt: skip
def test_nothing_else_is_there(page, method, path, status):
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    connection.request(method, path, DRAWING if method == "POST" else None, page.own)
    answer = connection.getresponse()
    assert answer.status == status and answer.headers["Content-Security-Policy"] == page.server.policy
    content = answer.read()
    assert content == b"" if method == "HEAD" else json.loads(content)["error"]


def test_fifty_requests_at_once_are_answered(page):
    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(lambda _: page.request("GET", "/")[0], range(50))) == [200] * 50


@pytest.mark.parametrize(
    "start", ("", "POST /keep/1 HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nContent-Length: 999\r\n\r\n")
)
def test_a_client_that_trickles_is_cut_off(page, monkeypatch, start):
    monkeypatch.setattr(draw_server, "SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", page.port)) as connection, pytest.raises(ConnectionError):
        connection.sendall(start.format(page.own["Host"]).encode())
        for _ in range(100):  # a byte each time, well within a timeout of each read
            connection.sendall(b"G")
            time.sleep(0.05)


def test_it_listens_once_the_run_is_loaded(page):
    with draw_server.bound(0) as server:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.server_port))
        taken = pytest.raises(CompetitionError, match=f"PORT={server.server_port} must be free")
        with socket.create_server(("127.0.0.1", server.server_port)), taken:  # between binding and listening
            server.open(page.folders, page.run)


def test_a_kept_drawing_is_a_file_named_by_its_label_which_no_run_and_no_commit_takes(page):
    drawings = [DRAWING, png_of(stroked(FOUR)), DRAWING]
    kept = [page.request("POST", f"/keep/{label}", png)[1] for label, png in zip((7, 4, 7), drawings, strict=True)]
    assert [answer["kept"] for answer in kept] == [1, 2, 3]
    files = [Path(answer["file"]) for answer in kept]
    assert [path.read_bytes() for path in files] == drawings and len(set(files)) == 3
    assert all(path.parent == page.folders.drawn for path in files)
    assert all(re.fullmatch(r"[47]-\d{8}-\d{6}(-2)?\.png", path.name) for path in files)
    assert list_runs(page.folders) == [page.other, page.run]
    own = Folders.find().drawn / files[0].name
    assert subprocess.run(["git", "-C", str(ROOT), "check-ignore", "-q", str(own)]).returncode == 0


def test_without_its_data_a_run_still_predicts(page, tmp_path):
    folders, run, _ = finished_run(tmp_path)
    for path in page.run.path.glob("members/*/*"):
        (run.path / path.relative_to(page.run.path)).write_bytes(path.read_bytes())
    run.write_json("manifest.json", {**run.manifest, "source": "kaggle"})
    elsewhere = Page(Folders(tmp_path / "empty", folders.submissions), run)
    try:
        answer, whole = elsewhere.predict(DRAWING)[1], page.predict(DRAWING)[1]
        assert answer["nearest"] == [] and answer["probs"] == whole["probs"]
        assert answer["missing"] and whole["missing"] is None
        assert b"Example 1" not in elsewhere.request("GET", "/")[1]
    finally:
        elsewhere.close()


def test_it_listens_on_this_computer_alone(page):
    tables = [Path("/proc/net", name) for name in ("tcp", "tcp6")]
    lines = [line.split() for path in tables if path.exists() for line in path.read_text().splitlines()[1:]]
    listening = [line[1] for line in lines if line[3] == "0A" and line[1].endswith(f":{page.port:04X}")]
    assert listening == [f"0100007F:{page.port:04X}"]


def test_a_port_in_use_gets_the_next_free_one_or_an_error(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(draw_server, "PORT", taken)
        with draw_server.bound() as server:
            assert taken < server.server_port < taken + draw_server.PORTS_TRIED
            assert f"Port {taken} is taken by another program: this is {server.server_port}." in capsys.readouterr().out
        with pytest.raises(CompetitionError, match=f"PORT={taken} must be free. Received: Address already in use"):
            draw_server.bound(taken)
    with pytest.raises(CompetitionError, match="between 0 and 65535"):
        draw_server.bound(70000)


def test_without_a_run_one_line_says_which_command_makes_one(command, tmp_path):
    done = command("draw", "--submissions", tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(r"Error: A complete run in .* is needed. Received: none. Next: `make train`\.\n", done.stderr)


@pytest.mark.parametrize("votes, words", [
    ([7], "The one member predicts 7."), ([3, 3], "Both members predict 3."), ([0] * 6, "All 6 members predict 0."),
    ([7, 1, 7, 7, 9, 9], "The members disagree: 3 predict 7, 2 predict 9, 1 predicts 1."),
])  # fmt: skip
def test_agreement_in_words(votes, words):
    assert agreement(np.array(votes)) == words


@pytest.mark.parametrize("platform, environment, opened", [
    ("linux", {}, False), ("linux", {"DISPLAY": ":0"}, True), ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
    ("linux", {"DISPLAY": ":0", "CI": "true"}, False), ("darwin", {}, True),
])  # fmt: skip
def test_a_browser_is_opened_where_somebody_sees_it(monkeypatch, platform, environment, opened):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert draw_server._screen() == opened


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_well(page, number):
    words = [sys.executable, "-m", "competition", "draw", "--run", str(page.run.path), "--port", "0", "--no-browser"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = next(found[0] for line in process.stdout if (found := re.search("http://[^ ]*", line)))
        assert b"Draw a digit" in urllib.request.urlopen(url).read()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out.strip(), err) == (0, "The page is closed.", "")
