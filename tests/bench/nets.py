"""One measurement in a process of its own: python -m tests.bench.nets VARIANT THREADS."""

import os
import sys
import time

import numpy as np

from competition.config import RECIPES, Config
from competition.data.digits import read_digits
from competition.runs.folders import SAMPLE

QUICK = "BENCH_QUICK" in os.environ  # a handful of rows, to see that all of it runs: its figures mean nothing
WARM_UP, STEPS = (1, 1) if QUICK else (20, 60)


def training_flops(config: Config | None = None) -> float:
    """Floating-point operations of a training step for an image: three times the forward pass's."""
    import keras

    from competition.network.models import StandardizedConv2D, build_model

    total = 0
    for layer in build_model(config or RECIPES["fast"]).layers:
        if isinstance(layer, StandardizedConv2D):
            _, height, width, _ = layer.output.shape
            total += height * width * np.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += np.prod(layer.kernel.shape)
    return float(2 * total * 3)


def plain_net():
    """The layers of our net as most people would write them."""
    import keras
    from keras import layers

    model = keras.Sequential([keras.Input((28, 28, 1))])
    for channels, size, strides, padding, pool in (
        (32, 5, 2, "valid", False),
        (48, 3, 1, "same", True),
        (96, 3, 1, "same", False),
        (96, 3, 1, "same", True),
        (128, 3, 1, "same", False),
    ):
        model.add(layers.Conv2D(channels, size, strides, padding, use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        if pool:
            model.add(layers.MaxPooling2D(2))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, activation="softmax"))
    return model


def reference_net():
    """The net of the best public recipe, as it comes: float32, and a softmax at its end."""
    import keras

    from competition.network.models import build_model

    return keras.Sequential([build_model(RECIPES["reference"]), keras.layers.Softmax()])


def seconds_an_image(fit, batch_size):
    """Time `fit(steps)` after a warm-up."""
    fit(WARM_UP)
    started = time.perf_counter()
    fit(STEPS)
    return (time.perf_counter() - started) / STEPS / batch_size


def digits(rows):
    """So many of the sample's digits: noise in their place makes denormal numbers, and another speed."""
    sample = read_digits(SAMPLE / "train.csv.gz", True)
    chosen = np.arange(rows) % len(sample)
    return sample.images[chosen], np.eye(10, dtype=np.float32)[sample.labels[chosen]]


def keras_with_defaults(model, batch_size):
    """Compile and fit as the tutorials do."""
    images, one_hot = digits(STEPS * batch_size)
    images = images.astype(np.float32) / 255
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])

    def fit(steps):
        rows = steps * batch_size
        model.fit(images[:rows], one_hot[:rows], batch_size=batch_size, verbose=0)

    return seconds_an_image(fit, batch_size)


def ours(threads, augmented=True):
    """The same calls as training.fit_member, by the recipe `fast`."""
    from dataclasses import replace

    from competition.network.device import choose_setup, feed, prepare
    from competition.network.training import augmented_batches, compiled_model

    config = replace(RECIPES["fast"], epochs=3)
    setup = choose_setup(threads=threads)
    prepare(setup, 0)
    images, one_hot = digits(STEPS * config.batch_size)
    model = compiled_model(config, setup, STEPS)
    batches = augmented_batches(config, 0, images, one_hot, np.arange(len(images)))
    if not augmented:
        size = config.batch_size
        starts = list(range(0, len(images), size)) * 3
        batches = ((images[start : start + size], one_hot[start : start + size]) for start in starts)
    return seconds_an_image(
        lambda steps: model.fit(feed(batches), steps_per_epoch=steps, verbose=0, shuffle=False), config.batch_size
    )


def torch_net(threads, steps=(WARM_UP, STEPS)):
    """Our net in eager PyTorch: the same layers, standardized weights and precision, channels last; fused Adam.

    Muon is left out: it would add a twentieth to PyTorch's time.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    from competition.network.device import choose_setup

    torch.set_num_threads(threads)
    torch.manual_seed(0)

    class Standardized(nn.Module):
        def __init__(self, inputs, channels, size, **where):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(channels, inputs, size, size))
            self.gain = nn.Parameter(torch.ones(channels, 1, 1, 1))
            self.bias = nn.Parameter(torch.zeros(channels))
            self.where, self.fan_in = where, inputs * size**2

        def forward(self, x):
            variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
            weight = (self.weight - mean) * (torch.rsqrt(variance * self.fan_in + 1e-4) * 1.7 * self.gain)
            return functional.relu(functional.conv2d(x, weight, self.bias, **self.where))

    layers = [Standardized(1, 32, 5, stride=2), Standardized(32, 48, 3, padding=1), nn.MaxPool2d(2)]
    layers += [Standardized(48, 96, 3, padding=1), Standardized(96, 96, 3, padding=1), nn.MaxPool2d(2)]
    layers += [Standardized(96, 128, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3)]
    net = nn.Sequential(*layers, nn.Linear(128, 10)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    size, half = RECIPES["fast"].batch_size, choose_setup().precision == "mixed_bfloat16"
    images, one_hot = digits(size)
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)
    targets = torch.from_numpy(one_hot)

    def fit(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = functional.cross_entropy(net(images), targets)
            loss.backward()
            optimizer.step()

    return seconds_an_image(fit, size)


def peak(dtype, threads, size=64 if QUICK else 2048, repeats=8, blocks=5):
    """GFLOP/s of a square matrix product, the best of some blocks of them."""
    from keras import ops

    from competition.network.device import choose_setup, prepare

    prepare(choose_setup("float32", threads=threads), 0)
    matrix = ops.cast(np.random.default_rng(0).random((size, size), np.float32), dtype)
    ops.convert_to_numpy(ops.cast(ops.matmul(matrix, matrix)[0, 0], "float32"))
    seconds = []
    for _ in range(blocks):
        started = time.perf_counter()
        for _ in range(repeats):
            result = ops.matmul(matrix, matrix)
        ops.convert_to_numpy(ops.cast(result[0, 0], "float32"))
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 * repeats / min(seconds) / 1e9


def machine():
    """The processor, and the precision that is chosen for it."""
    from competition.network.device import choose_setup, hardware

    return f"{hardware()}; {choose_setup().precision}"


if __name__ == "__main__":
    variant, threads = sys.argv[1], int(sys.argv[2])
    measurements = {
        "reference": lambda: keras_with_defaults(reference_net(), 64),
        "plain": lambda: keras_with_defaults(plain_net(), RECIPES["fast"].batch_size),
        "ours": lambda: ours(threads),
        "bare": lambda: ours(threads, augmented=False),
        "flops": training_flops,
        "machine": machine,
        "torch": lambda: torch_net(threads),
        "peak-float32": lambda: peak("float32", threads),
        "peak-bfloat16": lambda: peak("bfloat16", threads),
    }
    print(measurements[variant]())
