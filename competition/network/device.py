"""The backend below Keras: precision, oneDNN, threads, determinism, GPUs. No other module touches it.

Other modules import `keras` from here, so that no process loads TensorFlow before it is set up.
"""

import fcntl
import functools
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from joblib import cpu_count

from competition.errors import CompetitionError, one_line


@contextmanager
def _stderr_muted() -> Iterator[None]:
    """TensorFlow writes to file descriptor 2 while it is imported, before any setting of its own can stop it."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# By default TensorFlow uses oneDNN from AVX512-VNNI on only; with AVX2 it halves the time of a training step.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
with _stderr_muted():
    try:
        import keras
    except (ModuleNotFoundError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name not in ("jax", "torch", "openvino"):
            raise
        raise CompetitionError(
            "Keras needs a backend that is installed and settings that it knows, from KERAS_BACKEND and "
            f"~/.keras/keras.json. Received: {one_line(error)}. "
            "Next: the same command after `export KERAS_BACKEND=tensorflow`, or with keras.json moved away."
        ) from None
    # Whatever keras.json has: the arrays, models and files of this package are in these forms
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    BACKEND, ONEDNN = keras.backend.backend(), False
    if BACKEND == "tensorflow":
        import tensorflow as tf
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled

        tf.config.list_physical_devices()
        tf.get_logger().setLevel("ERROR")  # it warns of retracing at a process's third member
        # As it is, not as it was set: TensorFlow on a Mac has no oneDNN, and it may have been imported before.
        ONEDNN = IsMklEnabled()
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(ONEDNN))  # for the processes that this one starts


@dataclass(frozen=True)
class Setup:
    """How one process computes.

    Attributes:
        precision: Keras's dtype policy, `float32`, `mixed_bfloat16` or `mixed_float16`.
        jit_compile: whether steps go through XLA.
        threads: of one member; 0 leaves it to the backend; None: not chosen yet, which counts as one.
        deterministic: whether several threads or a GPU give bit-identical results each time.
        onednn: whether TensorFlow uses oneDNN on the CPU, which the environment of the process decides.
    """

    precision: str
    jit_compile: bool
    threads: int | None
    deterministic: bool = True
    onednn: bool = ONEDNN

    def describe(self) -> str:
        """One phrase for the log."""
        return f"{self.precision}, oneDNN {'on' if self.onednn else 'off'}"


OUT_OF_MEMORY = (MemoryError, *((tf.errors.ResourceExhaustedError,) if BACKEND == "tensorflow" else ()))
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def choose_setup(
    precision: str = "auto", jit_compile: str = "auto", threads: int | None = None, deterministic: bool = True
) -> Setup:
    """Replace `auto` by what is fastest on this device.

    A CPU with native bfloat16 (AVX512-BF16 or AMX) trains with it in 0.6 of float32's time; on other CPUs bfloat16 is
    slower than float32. XLA triples the time of a step on a CPU and shortens it on a GPU; JAX always uses it.

    Args:
        precision: `auto` or one of PRECISIONS.
        jit_compile: `auto`, `on` or `off`.
        threads, deterministic: see `Setup`.

    Raises:
        CompetitionError: `threads` is negative.
    """
    if threads is not None and threads < 0:
        raise CompetitionError(f"--threads is 1 or more, or 0 for all cores. Received: {threads}. Next: --threads 1.")
    gpu = bool(gpus())
    if precision == "auto":
        precision = "mixed_bfloat16" if gpu or _native_bfloat16() else "float32"
        if gpu and BACKEND == "tensorflow" and not _ampere():
            precision = "mixed_float16"  # a T4 computes bfloat16 in software
    jit = BACKEND == "jax" or (gpu if jit_compile == "auto" else jit_compile == "on")
    return Setup(precision, jit, threads, deterministic)


def prepare(setup: Setup, seed: int) -> None:
    """Set this process up to compute one member, with no state left from an earlier one.

    The number of threads is fixed by the first call in a process.
    """
    keras.utils.clear_session()
    keras.config.set_dtype_policy(setup.precision)
    keras.utils.set_random_seed(seed)
    if BACKEND == "tensorflow":
        threads = 1 if setup.threads is None else setup.threads
        if threads:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            except RuntimeError:
                pass  # TensorFlow has computed before: its threads are fixed
        if setup.deterministic and (gpus() or threads != 1):
            # One thread is deterministic anyway, and tf.data would warn.
            tf.config.experimental.enable_op_determinism()
        for gpu in gpus():
            tf.config.experimental.set_memory_growth(gpu, True)


def feed(batches: Iterator) -> Any:
    """Batches in the form that `model.fit` reads fastest.

    For a generator Keras turns on tf.data's autotuning: a thread that sleeps 10 ms, 20 ms, 40 ms … up to a minute, and
    `fit` cannot end before it wakes. Without autotuning a member of `fast` takes a sixth less time.

    Args:
        batches: of (images uint8 (n, 28, 28, 1), targets float32 (n, 10)).
    """
    if BACKEND != "tensorflow":
        return batches
    signature = tf.TensorSpec((None, 28, 28, 1), tf.uint8), tf.TensorSpec((None, 10), tf.float32)
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(lambda: batches, output_signature=signature).prefetch(2).with_options(options)


@functools.cache
def use_free_gpu() -> TextIOWrapper | None:
    """Restrict this process to one of several GPUs that no other process uses (TensorFlow only).

    To be called before the process computes anything.

    Returns:
        The lock of the GPU, held while something refers to it: functools.cache does.
    """
    visible = gpus()
    if BACKEND != "tensorflow" or len(visible) < 2:
        return None
    number, lock = free_gpu(len(visible))
    tf.config.set_visible_devices(visible[number], "GPU")
    return lock


def free_gpu(count: int) -> tuple[int, TextIOWrapper | None]:
    """Lock one of the GPUs that are visible to this process.

    It is a file lock: the system releases it when the process ends, however it ends. The file is named after the GPU as
    CUDA_VISIBLE_DEVICES has it, if set, so that processes with different visible GPUs agree.

    Args:
        count: of visible GPUs.

    Returns:
        The GPU's number among the visible ones, and the lock; None where all are locked, and one is shared.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in visible.split(",")] if visible else [str(number) for number in range(count)]
    for number, name in enumerate(names[:count]):
        name = re.sub(r"[^\w-]", "_", name)
        lock = (Path(tempfile.gettempdir()) / f"competition-gpu-{name}-{os.getuid()}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return number, lock
    return os.getpid() % count, None


def gpus() -> list:
    """The GPUs that are visible to this process."""
    if BACKEND == "tensorflow":
        return tf.config.list_physical_devices("GPU")
    if BACKEND == "jax":
        import jax

        return [device for device in jax.devices() if device.platform == "gpu"]
    import torch

    return list(range(torch.cuda.device_count()))


def versions() -> dict[str, str | None]:
    """The versions of Python and of the libraries on which results depend."""
    packages = BACKEND, "keras", "numpy", "scipy", "pandas", "scikit-learn", "albumentations", "opencv-python-headless"
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def hardware() -> str:
    """One line: cores, processor and GPUs."""
    return f"{cpu_count()} cores {_processor()}" + (f", {len(gpus())} GPU" if gpus() else "")


@functools.cache
def _processor() -> str:
    """The processor's name, as Linux, macOS or Python reports it."""
    if found := re.search(r"model name\s*:\s*(.*)", _cpuinfo()):
        return found[1]
    name = ""
    with suppress(OSError):
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        name = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return name or platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:
        return None


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _native_bfloat16() -> bool:
    return bool({"avx512_bf16", "amx_bf16"} & set(_cpuinfo().split()))


def _ampere() -> bool:
    """Whether every GPU has native bfloat16 (compute capability 8 and up)."""
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus()]
    return all(detail.get("compute_capability", (0,))[0] >= 8 for detail in details)
