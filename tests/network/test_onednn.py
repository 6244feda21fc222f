"""oneDNN in every process that computes, and said as it is, whoever set it."""

import os
import subprocess
import sys

import pytest

from competition.network import device
from competition.network.device import Setup
from competition.runs.folders import ROOT

pytestmark = pytest.mark.skipif(device.BACKEND != "tensorflow", reason="oneDNN is TensorFlow's")

ASK = """
import os

def ask(member=None, tell=None):
    from competition.network.device import ONEDNN, Setup
    from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    return IsMklEnabled(), ONEDNN, os.environ["TF_ENABLE_ONEDNN_OPTS"], Setup("float32", False, 1).describe()
"""
ON, OFF = (True, True, "1", "float32, oneDNN on"), (False, False, "0", "float32, oneDNN off")


def said(code, **environment):
    """What a fresh process prints, where nobody has set oneDNN yet but `environment`."""
    clean = {name: value for name, value in os.environ.items() if "ONEDNN" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_this_process_says_what_tensorflow_does():
    from tensorflow.python.util._pywrap_util_port import IsMklEnabled

    assert IsMklEnabled() == device.ONEDNN == Setup("float32", False, 1).onednn
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == str(int(device.ONEDNN))


def test_a_users_own_setting_wins_and_is_recorded():
    """Also where the value is none that TensorFlow knows: it then decides by the processor, and we say how."""
    first = "import competition.network.models" + ASK
    assert said(first + "print(ask())", TF_ENABLE_ONEDNN_OPTS="0") == [str(OFF)]


@pytest.mark.slow
def test_by_itself_it_is_on_wherever_tensorflow_has_it():
    first = "import competition.network.models" + ASK
    assert said(first + "print(ask())") == [str(ON if device.ONEDNN else OFF)]
    assert said(first + "print(ask())", TF_ENABLE_ONEDNN_OPTS="off") in ([str(ON)], [str(OFF)])


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ("0", "1"))
def test_who_imported_tensorflow_first_decides_also_for_the_workers(wanted):
    """As in a notebook: what is set afterwards changes nothing, so the workers must not take it for theirs."""
    code = f"""
import os
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "{wanted}"
import tensorflow
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "{1 - int(wanted)}"
{ASK}
from competition.execution.engines import Processes
print({{ask(), *Processes(2).each(ask, range(4), print)}})
"""
    assert said(code) == [str({ON if wanted == "1" and device.ONEDNN else OFF})]
