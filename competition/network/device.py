"""The only module that may touch the backend below Keras: precision, oneDNN, threads, determinism, GPUs.

The others of the package take `keras` from here, so that no process loads TensorFlow before this has set it up.
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

from joblib import cpu_count

from competition.errors import CompetitionError, one_line


@contextmanager
def _no_greetings():
    """TensorFlow greets on file descriptor 2 before any setting of its own can stop it."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# By itself TensorFlow takes oneDNN's kernels only from AVX512-VNNI on; with AVX2 they halve the time of a step.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
with _no_greetings():
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
    # Whatever keras.json says: arrays, models and saved files of this package are in these forms.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    BACKEND, ONEDNN = keras.backend.backend(), False
    if BACKEND == "tensorflow":
        import tensorflow as tf
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled

        tf.config.list_physical_devices()
        tf.get_logger().setLevel("ERROR")  # it warns when a process trains its third member
        # What holds: a Mac's TensorFlow has no oneDNN, and who imported it before may have wanted none.
        ONEDNN = IsMklEnabled()
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(ONEDNN))  # processes that start from here are to do the same


@dataclass(frozen=True)
class Setup:
    """How one process computes.

    Attributes:
        precision: Keras's dtype policy, `float32`, `mixed_bfloat16` or `mixed_float16`.
        jit_compile: whether steps go through XLA.
        threads: how many threads one member computes on; 0 leaves it to the backend; None: to be chosen with the
            members of a run, one until then.
        deterministic: whether sums of several threads or of a GPU are added in one order.
        onednn: whether TensorFlow computes by oneDNN on the CPU, which the process's environment decides.
    """

    precision: str
    jit_compile: bool
    threads: int | None
    deterministic: bool = True
    onednn: bool = ONEDNN

    def describe(self) -> str:
        """How it computes, for the log."""
        return f"{self.precision}, oneDNN {'on' if self.onednn else 'off'}"


OUT_OF_MEMORY = (MemoryError, *((tf.errors.ResourceExhaustedError,) if BACKEND == "tensorflow" else ()))
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def choose_setup(
    precision: str = "auto", jit_compile: str = "auto", threads: int | None = None, deterministic: bool = True
) -> Setup:
    """Fill in `auto` with what measures fastest on this device.

    A CPU with native bfloat16 (AVX512-BF16 or AMX) trains in it, at 0.6 of float32's time; on one without,
    bfloat16 is slower than float32. XLA triples the step on a CPU and shortens it on a GPU; JAX has nothing
    else.

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
    """Make this process compute as set up, with nothing left of an earlier member.

    Threads are fixed by the process's first call; later ones cannot change them.
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
                pass  # the process has computed before: its threads are what they are
        if setup.deterministic and (gpus() or threads != 1):
            # One thread adds in one order anyway; there, this would only make tf.data complain of its own rewrite.
            tf.config.experimental.enable_op_determinism()
        for gpu in gpus():
            tf.config.experimental.set_memory_growth(gpu, True)


def feed(batches: Iterator):
    """What `model.fit` takes those batches from without waiting.

    Keras itself puts TensorFlow's own tuning behind a generator: a thread that sleeps 10 ms, 20 ms, 40 ms … up to
    a minute, and the end of `fit` waits until it wakes. Without it a member of `fast` takes a sixth less time.

    Args:
        batches: of (images uint8 (n, 28, 28, 1), targets float32 (n, 10)).
    """
    if BACKEND != "tensorflow":
        return batches
    form = tf.TensorSpec((None, 28, 28, 1), tf.uint8), tf.TensorSpec((None, 10), tf.float32)
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(lambda: batches, output_signature=form).prefetch(2).with_options(options)


@functools.cache
def use_free_gpu() -> TextIOWrapper | None:
    """Of several GPUs, let this process compute on one that no other process has claimed (TensorFlow only).

    It must not have computed before.

    Returns:
        The claim, which holds as long as something refers to it: functools.cache does.
    """
    found = gpus()
    if BACKEND != "tensorflow" or len(found) < 2:
        return None
    number, lock = free_gpu(len(found))
    tf.config.set_visible_devices(found[number], "GPU")
    return lock


def free_gpu(count: int) -> tuple[int, TextIOWrapper | None]:
    """Claim one of the GPUs that this process sees.

    A claim is a file lock: the system drops it when the process ends, however it ends. It is of the GPU's
    name in CUDA_VISIBLE_DEVICES where that is set, so that processes that see different GPUs agree.

    Returns:
        The number among those seen, and the lock; None where all are claimed, and so shared.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in seen.split(",")] if seen else [str(number) for number in range(count)]
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
    """The GPUs that this process sees."""
    if BACKEND == "tensorflow":
        return tf.config.list_physical_devices("GPU")
    if BACKEND == "jax":
        import jax

        return [device for device in jax.devices() if device.platform == "gpu"]
    import torch

    return list(range(torch.cuda.device_count()))


def versions() -> dict[str, str | None]:
    """Python's version and those of the libraries that compute."""
    packages = BACKEND, "keras", "numpy", "scipy", "pandas", "scikit-learn", "albumentations", "opencv-python-headless"
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def hardware() -> str:
    """One line: cores, processor and GPUs."""
    return f"{cpu_count()} cores {_processor()}" + (f", {len(gpus())} GPU" if gpus() else "")


@functools.cache
def _processor() -> str:
    """Its name, as Linux, macOS or Python has it."""
    if found := re.search(r"model name\s*:\s*(.*)", _cpuinfo()):
        return found[1]
    name = ""
    with suppress(OSError):
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        name = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
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
    """Whether every GPU computes bfloat16 natively (compute capability 8 and up)."""
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus()]
    return all(detail.get("compute_capability", (0,))[0] >= 8 for detail in details)
