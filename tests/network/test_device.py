"""What `auto` comes to: on Kaggle's GPUs, on newer ones, and on processors with and without bfloat16."""

import json
import os
import subprocess
import sys

import pytest

from competition.network import device
from competition.network.device import Setup, choose_setup
from competition.runs.folders import ROOT

pytestmark = pytest.mark.skipif(device.BACKEND != "tensorflow", reason="the table is TensorFlow's")

T4, A100, H100, OLD = (7, 5), (8, 0), (9, 0), None  # compute capabilities; of the last TensorFlow says nothing


@pytest.mark.parametrize(
    ("cards", "flags", "precision", "jit"),
    (
        ((), "fpu sse avx2 avx512f", "float32", False),
        ((), "fpu avx512f avx512_bf16", "mixed_bfloat16", False),
        ((), "amx_bf16", "mixed_bfloat16", False),
        ((), "", "float32", False),  # no /proc/cpuinfo
        ((T4, T4), "avx512_bf16", "mixed_float16", True),  # Kaggle's
        ((A100,), "avx2", "mixed_bfloat16", True),
        ((H100,), "", "mixed_bfloat16", True),
        ((A100, T4), "", "mixed_float16", True),  # members take either
        ((OLD,), "", "mixed_float16", True),
    ),
)
def test_auto_takes_what_measures_fastest(monkeypatch, cards, flags, precision, jit):
    monkeypatch.setattr(device, "gpus", lambda: list(range(len(cards))))
    monkeypatch.setattr(device, "_cpuinfo", lambda: f"flags\t\t: {flags}\nbugs\t\t: none\n")
    details = [{"compute_capability": card} if card else {} for card in cards]
    monkeypatch.setattr(device.tf.config.experimental, "get_device_details", lambda gpu: details[gpu])
    assert choose_setup() == Setup(precision, jit, threads=None, deterministic=True)
    assert choose_setup("float32", "on", 3, False) == Setup("float32", True, 3, False)
    assert choose_setup("mixed_bfloat16", "off", 0) == Setup("mixed_bfloat16", False, 0)


def imported(home, code, **settings):
    """Start a process that loads the device with a keras.json and an environment of its own."""
    (home / "keras.json").write_text(json.dumps(settings.pop("keras_json", {})))
    environment = {**os.environ, "KERAS_HOME": str(home), **settings}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_keras_json_changes_no_form_of_ours(tmp_path):
    code = "from competition.network.device import keras; c = keras.config\n"
    code += "print(c.image_data_format(), c.floatx(), c.epsilon())"
    odd = {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.5}
    done = imported(tmp_path, code, keras_json=odd)
    assert done.stdout == "channels_last float32 1e-07\n", done.stderr


@pytest.mark.parametrize(
    "settings", ({"KERAS_BACKEND": "numpy1"}, {"KERAS_BACKEND": "", "keras_json": {"backend": "theano"}})
)
def test_a_backend_that_is_not_there_is_refused_in_one_line(tmp_path, settings):
    code = "from competition.__main__ import main; exit(main(['train', '--source', 'sample', '--minutes', '0']))"
    done = imported(tmp_path, code, **settings)
    assert done.returncode == 1 and done.stderr.startswith("Error: Keras needs a backend that is installed")
    assert done.stderr.count("\n") == 1 and "Next: " in done.stderr
