"""`make bench`: everything that the READMEs say about speed, measured side by side in one run.

`make bench ARGS=reading` (or augmentation, step, operations, life, members, determinism, memory) measures one part.
Ratios are what counts: the machine may be shared, its neighbours may change.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import cpu_count

from competition.config import RECIPES, Config
from competition.data.dataset import obtain
from competition.data.digits import read_digits
from competition.ensemble.folds import member_settings
from competition.runs.folders import ROOT, Folders
from competition.runs.run import find_run
from tests.bench.nets import QUICK, STEPS, WARM_UP

ROUNDS = 1 if QUICK else 3
CORES = cpu_count()
SMALL = ["--width", "0.125", "--tta", "0"] if QUICK else []


def best(function, rounds=ROUNDS):
    """The shortest of some runs, in seconds."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def reading():
    """Both CSV files: ours checks every value, pandas none."""
    paths = obtain(Folders.find())
    size = sum(path.stat().st_size for path in paths)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)

        def ours(cache=None):
            for path, labelled in zip(paths, (True, False), strict=True):
                read_digits(path, labelled, cache)

        plain = best(lambda: [pd.read_csv(path) for path in paths])
        checked = best(ours)
        ours(cache)
        cached = best(lambda: ours(cache))
    print(f"\nReading {paths[0].parent}, {size / 1e6:.0f} MB")
    row("pandas.read_csv, unchecked", plain, plain, "s")
    row("read_digits, every value checked", checked, plain, "s")
    row("read_digits, from the cache", cached, plain, "s")


def augmentation():
    """An epoch's images drawn, without a network."""
    import albumentations as A

    from competition.network.augmentation import Augmenter

    images = read_digits(obtain(Folders.find())[0], True).images
    rows, config = np.arange(min(6000, len(images))), Config()
    scale, shift, shear = config.scale, config.shift / 28, (-config.shear, config.shear)
    theirs = A.Compose([
        A.Affine(
            rotate=(-config.rotation, config.rotation),
            scale=dict.fromkeys("xy", (1 - scale, 1 + scale)),
            translate_percent=dict.fromkeys("xy", (-shift, shift)),
            shear=dict.fromkeys("xy", shear),
            p=1,
        )
    ])  # fmt: skip

    def in_groups():
        for start in range(0, 1600, 8):
            theirs(images=images[start : start + 8])

    single = best(lambda: [theirs(image=image) for image in images[:500]]) / 500
    grouped = best(in_groups) / 1600
    ours = best(lambda: Augmenter(config, 0)(images, rows, 0)) / len(rows)
    print("\nAugmentation, one core")
    row("albumentations, one call an image", single * 1e6, single * 1e6, "µs an image")
    row("albumentations, one call for eight", grouped * 1e6, single * 1e6, "µs an image")
    row("ours, a movement for eight", ours * 1e6, single * 1e6, "µs an image")


def step():
    """Training, by the wall time of whole epochs, in fresh processes that run in turn."""
    machine, precision = measure("machine", 0)[0].split("; ")
    print(f"\n{machine}; {precision}, oneDNN's kernels {'on' if operations_of_a_step()[1] else 'off'}")
    variants = {
        "reference recipe, plain Keras, batch 64": ("reference", 0, 1),
        "our net with batch norm, plain Keras, float32": ("plain", 0, 1),
        "our net, not augmented": ("bare", 1, CORES),
        "our net, one member on all cores": ("ours", CORES, 1),
        "our net, one member a core (the default)": ("ours", 1, CORES),
    }
    if importlib.util.find_spec("torch"):
        variants |= {
            "our net in PyTorch, on all cores": ("torch", CORES, 1),
            "our net in PyTorch, one a core": ("torch", 1, CORES),
        }
    seconds, peaks = {name: [] for name in variants}, {"float32": 0.0, "bfloat16": 0.0}
    for _ in range(ROUNDS):
        for name in peaks:  # on all cores by one product, and by one a core: what is more
            for threads, processes in {(CORES, 1), (1, CORES)}:
                peaks[name] = max(peaks[name], sum(map(float, measure(f"peak-{name}", threads, processes))))
        for name, (variant, threads, processes) in variants.items():
            measured = measure(variant, threads, processes)
            seconds[name].append(1 / sum(1 / float(value) for value in measured))
    peak = peaks[precision.removeprefix("mixed_")]
    print(f"Matrix product, {CORES} cores: {peaks['float32']:.0f} GFLOP/s float32, {peaks['bfloat16']:.0f} bfloat16")
    print(f"Training, ms an image, {CORES} cores, best of {ROUNDS}; of our net also the share of that peak")
    ours = min(seconds["our net, one member a core (the default)"])
    flops = float(measure("flops", 0)[0])
    for name, values in seconds.items():
        share = "" if variants[name][0] == "reference" else f"{flops / min(values) / 1e9 / peak:6.0%}"
        row(name, min(values) * 1e3, ours * 1e3, "ms", share)
    print(f"  {1 / ours:.0f} images a second with augmentation; {flops / 1e6:.1f} MFLOP an image and step")
    if not importlib.util.find_spec("torch"):
        print("  PyTorch is not installed: not compared (pip install torch)")


def operations():
    """Where a step's time goes, by oneDNN's own clock."""
    whole, found = operations_of_a_step()
    if not found:
        return print("\noneDNN's kernels are off: no operation of theirs to time")
    found["all else: bias, ReLU, copies, Python, the feed"] = whole - sum(found.values())
    print(f"\nA training step on one thread, µs an image: {whole:.0f}")
    for name, spent in sorted(found.items(), key=lambda item: -item[1]):
        row(name, spent, whole, "µs")


def operations_of_a_step():
    """A step of one thread, and in it oneDNN's operations by kind, none where TensorFlow does without; µs an image."""
    command = [sys.executable, "-m", "tests.bench.nets", "bare", "1"]
    environment = {**os.environ, "ONEDNN_VERBOSE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True)
    kinds = {
        "forward_training": "forward", "backward_data": "backward by data",
        "backward_weights": "backward by weights",
    }  # fmt: skip
    found = Counter()
    for line in done.stdout.splitlines():
        words = line.split(",")
        if "exec" not in words:
            continue
        operation, kernel, direction = words[words.index("exec") + 2 :][:3]
        if operation == "convolution":
            operation += f", {kinds[direction]} ({kernel.partition('+')[0]})"
        found[{"gemm_api": "matrix products (Muon, the logits)"}.get(operation, operation)] += float(words[-1])
    images = (WARM_UP + STEPS) * RECIPES["fast"].batch_size
    return 1e6 * float(done.stdout.split()[-1]), {name: 1e3 * spent / images for name, spent in found.items()}


def life():
    """Where a member of `fast` spends its time, from its process's start to its answers, by one epoch and by three."""
    from competition.network.augmentation import Augmenter

    config = RECIPES["fast"]
    flags = ("--recipe", "fast", "--source", "auto", "--folds", 1, "--holdout", 1 / config.folds, "--refit", 0)
    facts = {}
    for epochs in (1, 3):
        ((member,), *_) = trained(*flags, "--jobs", 1, "--threads", 1, "--epochs", epochs)
        facts[epochs] = member.facts
    epoch = (facts[3]["training_seconds"] - facts[1]["training_seconds"]) / 2
    images, size = read_digits(obtain(Folders.find())[0], True).images, config.batch_size
    taught = np.arange(facts[1]["steps"] * size)
    draw = best(lambda: Augmenter(config, 0)(images, taught, 0))
    work = "import competition.network.training"
    parts = {
        "start: Python, Keras": best(lambda: subprocess.run([sys.executable, "-c", work], cwd=ROOT, check=True)),
        "the graph, built and traced": facts[1]["training_seconds"] - epoch,
        f"augmented pictures of {config.epochs} epochs": config.epochs * draw,
        f"steps of {config.epochs} epochs": config.epochs * (epoch - draw),
        "answers: eight views and the picture": facts[1]["seconds"] - facts[1]["training_seconds"],
    }
    print(f"\nA member of fast on one thread, {len(taught):,} rows an epoch: {sum(parts.values()):.0f} s")
    for name, seconds in parts.items():
        row(name, seconds, sum(parts.values()), "s")


def members():
    """Four members of six epochs on the sample: side by side or not, and on a cluster of this machine's own."""
    variants = {
        f"one after the other on {CORES} threads": ("--jobs", "1", "--threads", CORES),
        f"{CORES} single-threaded processes (the default)": ("--jobs", CORES),
    }
    seconds = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, flags in variants.items():
            seconds[name].append(train_four(*flags)[0])
    print(f"\nFour members on the sample, six epochs each, start-up included, best of {ROUNDS}")
    for name, values in seconds.items():
        row(name, min(values), min(next(iter(seconds.values()))), "s")
    if importlib.util.find_spec("distributed") is None:
        print("  Dask is not installed: no cluster measured (pip install -r tests/requirements.txt)")
        return
    alone = None
    for workers in (1, 2):
        spent, own, meter, memory = on_a_cluster(workers)
        alone = alone or spent
        row(f"a Dask cluster of {workers} single-threaded", spent, alone, "s")
        start = spent - own / workers
        print(
            f"    {start:.1f} s of that are start-up; {meter.to / 1e6:.2f} MB to the first worker, "
            f"{meter.back / 1e6:.2f} MB from it; {memory / 1e3:.0f} MB of memory a worker"
        )


def on_a_cluster(workers):
    """Seconds of the members and of their training alone, a meter around a worker, and its peak memory in kB."""
    from tests.execution.clusters import LocalCluster, Meter

    with tempfile.TemporaryDirectory() as folder, LocalCluster(Path(folder)) as cluster:
        meter = Meter()
        first = cluster.worker(meter=meter)
        for _ in range(workers - 1):
            cluster.worker()
        time.sleep(8)  # they join
        spent, own = train_four("--scheduler", cluster.address)
        status = Path(f"/proc/{first.pid}/status").read_text()
        return spent, own, meter, int(status.split("VmHWM:")[1].split()[0])


def determinism():
    """What it costs that sums are added in one order, and how far apart the answers of other orders are."""
    variants = {
        "one thread a member (the default)": ("--threads", 1),
        f"{CORES} threads a member": ("--threads", CORES),
        f"{CORES} threads a member, --no-deterministic": ("--threads", CORES, "--no-deterministic"),
    }
    runs = {name: [trained("--jobs", 1, *flags) for _ in range(2)] for name, flags in variants.items()}
    seconds = {
        name: min(sum(member.facts["seconds"] for member in members) for members, *_ in pair)
        for name, pair in runs.items()
    }
    first = next(iter(runs.values()))[0]
    print("\nDeterminism: four members on the sample, six epochs each, one at a time, the faster of two runs")
    for name, (once, again) in runs.items():
        row(name, seconds[name], next(iter(seconds.values())), "s")
        same = "the same bytes" if np.array_equal(once[1], again[1]) else "other bytes"
        apart = np.abs(once[1] - first[1]).max()
        print(f"    {same} twice; from the first line's: probabilities up to {apart:.2g} apart, "
              f"true accuracy {once[2]:.4f} against {first[2]:.4f}")  # fmt: skip


def memory():
    """What members leave behind in a process that trains them one after the other, and what the largest ones need."""
    most = 3 if QUICK else 30
    few, many = (peak_memory("--source", "sample", "--folds", count) for count in (2, most))
    print("\nPeak memory of a run in one process, one epoch a member")
    further = (many - few) / (most - 2)
    print(f"  2 members on the sample: {few:.0f} MB; {most}: {many:.0f} MB; {further:.1f} MB more for each further")
    largest = peak_memory("--recipe", "best", "--folds", 1, "--refit", 0)
    print(f"  a member of best, on {obtain(Folders.find())[0].parent}: {largest:.0f} MB")


def peak_memory(*flags):
    """In MB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "competition", "train", "--epochs", "1", "--jobs", "1", *map(str, flags)]
        process = subprocess.Popen([*command, *SMALL, "--submissions", folder], cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, f"the run ended with {status}"
        return usage.ru_maxrss / 1e3


def train_four(*flags):
    """Seconds of the stage in which four members train, and the sum of their own."""
    members, _, _, seconds = trained(*flags)
    return seconds, sum(member.facts["seconds"] for member in members)


def trained(*flags):
    """Four members on the sample, the test probabilities, their true accuracy, and the seconds of that stage."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "competition", "train", "--source", "sample", *SMALL]
        command += ["--folds", "2", "--epochs", "1"] if QUICK else ["--folds", "4", "--epochs", "6"]
        command += ["--submissions", folder, *map(str, flags)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        run = find_run(Folders(Path(folder), Path(folder)))
        members = [run.load_member(name) for name in member_settings(run.config)]
        score = run.read_json("scores.json").get("true_accuracy")
        return members, run.probabilities()[1], score, run.manifest["seconds"]["members"]


def measure(variant, threads, processes=1):
    """What each of some simultaneous processes measures: seconds an image, GFLOP/s, operations an image."""
    command = [sys.executable, "-m", "tests.bench.nets", variant, str(threads)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
        for _ in range(processes)
    ]
    return [process.communicate()[0].splitlines()[-1] for process in running]


def row(name, value, against, unit, more=""):
    """A line of the table: the value, its ratio to another, and what else there is to say."""
    print(f"  {name:58s} {value:8.3f} {unit:12s} {value / against:6.2f}× {more}".rstrip())


if __name__ == "__main__":
    parts = (reading, augmentation, step, operations, life, members, determinism, memory)
    parts = {part.__name__: part for part in parts}
    for part in sys.argv[1:] or parts:
        parts[part]()
