"""Probabilities as sure as they are right: one temperature, which the last layer of a network takes in."""

import math

import numpy as np
from scipy.optimize import minimize_scalar


def calibrate(model, labels, logits) -> float:
    """Bring a Keras model's probabilities to the temperature at which they fit the labels best.

    Label smoothing makes a network say 0.9 where it is right 999 times in 1,000. What rests on its probabilities would
    suffer: the predicted leaderboard score, the remark that a digit is a doubtful one. The weights of the layer
    `logits` are divided by the temperature, so that a saved model is calibrated as well.

    Args:
        labels: of rows that it did not learn from, int64 array (n,).
        logits: what it says of them, float array (k, n, 10): they are few, so each counts by all of its k views.

    Returns:
        The temperature: below 1, it was not sure enough.
    """
    temperature = fit_temperature(labels, logits)
    layer = model.get_layer("logits")
    layer.set_weights([weights / temperature for weights in layer.get_weights()])
    return temperature


def fit_temperature(labels, logits) -> float:
    """What logits, (k, n, 10), or logarithms of probabilities are to be divided by for the least log-loss.

    Temperature scaling: Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, 2017,
    https://arxiv.org/abs/1706.04599. A normal prior of its logarithm, mean 0 and deviation 1, speaks where rows are
    few: among those that are all read rightly nothing else would keep it from 0.
    """

    def loss(power):
        return log_losses(labels, at_temperature(math.exp(power), logits)).mean() + power**2 / 2 / len(labels)

    return math.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded", options={"xatol": 1e-3}).x)


def at_temperature(temperature: float, logits) -> np.ndarray:
    """Probabilities (k, n, 10) of logits at a temperature."""
    powers = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def log_losses(labels, probabilities) -> np.ndarray:
    """Negative natural logarithms of the labels' probabilities (…, n, 10), clipped to 1e-7: (…, n)."""
    return -np.log(np.maximum(probabilities[..., np.arange(len(labels)), labels], 1e-7))
