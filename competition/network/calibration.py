"""Temperature scaling: probabilities that are as high as the predictions are accurate."""

import math

import numpy as np
from scipy.optimize import minimize_scalar


def calibrate(model, labels: np.ndarray, logits: np.ndarray) -> float:
    """Fit a temperature, and divide a Keras model's last layer by it.

    A network that was trained with label smoothing predicts 0.9 where it is right 999 times in 1,000. What is computed
    from probabilities would suffer: the predicted leaderboard score, the remark `unsure`. The weights of the layer
    `logits` are divided by the temperature, so that a saved model is calibrated as well.

    Args:
        model: keras.Model with a layer `logits`; changed in place.
        labels: of rows that it was not trained on, int64 array (n,).
        logits: the model's, of these rows under k transforms, float array (k, n, 10): the rows are few, so each counts
            under every transform.

    Returns:
        The temperature; below 1 the model was underconfident.
    """
    temperature = fit_temperature(labels, logits)
    layer = model.get_layer("logits")
    layer.set_weights([weights / temperature for weights in layer.get_weights()])
    return temperature


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """The temperature, a divisor of logits or of log-probabilities, at which the log-loss is least.

    Temperature scaling: Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, 2017,
    https://arxiv.org/abs/1706.04599. The logarithm of the temperature has a standard normal prior, which matters where
    rows are few: if all are predicted correctly, nothing else keeps the temperature away from 0.

    Args:
        labels: int64 array (n,).
        logits: float array (k, n, 10).

    Examples:
        Nine of ten rows are predicted correctly, each with logits that promise 99 %: at the temperature the probability
        is 90 %, but for the prior.

        >>> labels = np.array([0] * 900 + [1] * 100)
        >>> logits = np.zeros((1, 1000, 2))
        >>> logits[..., 0] = np.log(0.99 / 0.01)
        >>> temperature = fit_temperature(labels, logits)
        >>> round(temperature, 2), at_temperature(temperature, logits)[0, 0].round(2).tolist()
        (2.09, [0.9, 0.1])
    """

    def loss(log_temperature):
        probabilities = at_temperature(math.exp(log_temperature), logits)
        return log_losses(labels, probabilities).mean() + log_temperature**2 / 2 / len(labels)

    return math.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded", options={"xatol": 1e-3}).x)


def at_temperature(temperature: float, logits: np.ndarray) -> np.ndarray:
    """Probabilities (k, n, 10) of logits at a temperature.

    >>> at_temperature(2.0, np.log([[[9.0, 1.0]]])).tolist()
    [[[0.75, 0.25]]]
    """
    powers = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Negative natural logarithms of the labels' probabilities (…, n, 10), clipped to 1e-7: (…, n).

    >>> log_losses(np.array([0, 1]), np.array([[0.5, 0.5], [1.0, 0.0]])).round(2).tolist()
    [0.69, 16.12]
    """
    return -np.log(np.maximum(probabilities[..., np.arange(len(labels)), labels], 1e-7))
