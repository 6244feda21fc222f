"""One measurement in a process of its own: python -m tests.bench.nets VARIANT THREADS."""

import sys
import time

import numpy as np

from competition.config import RECIPES, Config
from competition.data.digits import read_digits
from competition.runs.folders import SAMPLE

WARM_UP, STEPS = 20, 60


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


def torch_net():
    """The plain net in eager PyTorch, bfloat16 and channels last, all cores."""
    import torch
    from torch import nn

    def block(inputs, channels, size, strides, padding, pool):
        layers = [nn.Conv2d(inputs, channels, size, strides, padding, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        return layers + [nn.MaxPool2d(2)] * pool

    layers = block(1, 32, 5, 2, 0, False) + block(32, 48, 3, 1, 1, True) + block(48, 96, 3, 1, 1, False)
    layers += block(96, 96, 3, 1, 1, True) + block(96, 128, 3, 1, 1, False)
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    size = RECIPES["fast"].batch_size
    images = torch.rand(size, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (size,))

    def fit(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()

    return seconds_an_image(fit, size)


def peak(dtype, size=2048, repeats=8):
    """GFLOP/s of a square matrix product."""
    from keras import ops

    matrix = ops.cast(np.random.default_rng(0).random((size, size), np.float32), dtype)
    ops.convert_to_numpy(ops.cast(ops.matmul(matrix, matrix)[0, 0], "float32"))
    started = time.perf_counter()
    for _ in range(repeats):
        result = ops.matmul(matrix, matrix)
    ops.convert_to_numpy(ops.cast(result[0, 0], "float32"))
    return 2 * size**3 * repeats / (time.perf_counter() - started) / 1e9


if __name__ == "__main__":
    variant, threads = sys.argv[1], int(sys.argv[2])
    measurements = {
        "reference": lambda: keras_with_defaults(reference_net(), 64),
        "plain": lambda: keras_with_defaults(plain_net(), RECIPES["fast"].batch_size),
        "ours": lambda: ours(threads),
        "bare": lambda: ours(threads, augmented=False),
        "flops": training_flops,
        "torch": torch_net,
        "peak-float32": lambda: peak("float32"),
        "peak-bfloat16": lambda: peak("bfloat16"),
    }
    print(measurements[variant]())
