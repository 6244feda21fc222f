"""What `auto` comes to: on Kaggle's GPUs, on newer ones, and on processors with and without bfloat16."""

import pytest

from competition.network import device
from competition.network.device import Setup, choose_setup

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
