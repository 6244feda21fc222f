"""Matplotlib figures, each a function of arrays; no pyplot, no window, nothing global.

A figure is drawn once and saved twice: as PNG on white, and as SVG whose text and axes take the colour of the
page around them, so that it suits light and dark.
"""

import functools
import io

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from scipy.stats import entropy

from competition.ensemble import scoring

SIZE = (4.6, 3.1)  # inches; narrow enough that a phone shows its text at nearly full size
INK = "#010203"  # stands for the colour of the page's text
BLUE, ORANGE = "#3b82c4", "#d9731a"  # contrast above 3:1 on white and on near black
STYLE = matplotlib.RcParams({
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "digits",  # the same figure gives the same bytes
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
})  # fmt: skip
TICKS = np.array([m * 10.0**e for e in range(-5, 2) for m in (1, 2, 5)])  # of logarithmic axes
QUESTIONS = {"accuracy": "Does the accuracy still rise at the end?", "loss": "Does the loss of the slice rise again?"}


def styled(draw):
    """Draw in STYLE, whatever matplotlib is set to elsewhere."""

    @functools.wraps(draw)
    def inner(*arguments, **named):
        with matplotlib.rc_context(STYLE):
            return draw(*arguments, **named)

    return inner


@styled
def to_svg(figure: Figure) -> str:
    """The figure as an <svg> element for a page; INK becomes the page's own text colour."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


@styled
def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file on white."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, facecolor="white")
    return file.getvalue()


@styled
def curves(histories, kept, measure: str, label_smoothing: float = 0.0, refit: int = 0) -> Figure:
    """Learning curves of all members.

    Args:
        histories: for each member, a dict from Keras's log names to arrays (epochs,).
        kept: for each member, the epoch whose weights it kept, from 1.
        measure: `accuracy` or `loss`.
        label_smoothing: that of the training; the least possible loss is subtracted, near which curves would look flat.
        refit: how many of the members, the last ones, fit all rows; their lines are dashed.
    """
    least = least_loss(label_smoothing) if measure == "loss" else 0.0
    figure, axes = titled_axes(
        QUESTIONS[measure], "epoch", f"loss − {least:.2f}, the least possible" if least else measure
    )
    top = 0.9999 if measure == "accuracy" else np.inf
    for prefix, color, name in (("", ORANGE, "training (augmented)"), ("val_", BLUE, "early-stopping slice")):
        for i, history in enumerate(histories):
            values = np.clip(history[prefix + measure] - least, 1e-6, top)
            epochs = np.arange(1, len(values) + 1)
            style = "-" if i < len(histories) - refit else "--"
            axes.plot(epochs, values, style, color=color, lw=1.1, alpha=0.75, label=None if i else name)
    for i, history in enumerate(histories):
        value = np.clip(history["val_" + measure][kept[i] - 1] - least, 1e-6, top)
        label = None if i else "weights kept"
        axes.plot(kept[i], value, "o", ms=5, mfc="none", mec=INK, ls="none", label=label)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlim(left=1 - 0.03 * max(len(history["val_loss"]) for history in histories))
    if measure == "accuracy":
        ticks = np.array([0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, top])
        axes.set_yscale("logit")
        _fixed(axes.yaxis, ticks, [*(f"{tick:g}" for tick in ticks[:-1]), "≥ 0.9999"])
    else:
        axes.set_yscale("log")
        _fixed(axes.yaxis, TICKS, [f"{tick:g}" for tick in TICKS])
    axes.legend(fontsize=8, loc="lower right" if measure == "accuracy" else "upper right")
    return figure


@styled
def overlaid(runs, names, measure: str, label_smoothings=(0.0, 0.0)) -> Figure:
    """The early-stopping slices of two runs, a line for each member.

    Args:
        runs: of each, its members' histories as `curves` takes them.
        names: of the runs.
        measure: `accuracy`, of which the errors are drawn, or `loss`, drawn as in `curves`.
        label_smoothings: those of the training.
    """
    title, name = {
        "accuracy": ("Whose errors fall further?", "fraction of errors"),
        "loss": ("Whose loss falls further?", "loss − the least possible"),
    }[measure]
    figure, axes = titled_axes(title, "epoch", name)
    for histories, run, smoothing, color in zip(runs, names, label_smoothings, (BLUE, ORANGE), strict=True):
        for i, history in enumerate(histories):
            values = np.asarray(history["val_" + measure])
            values = np.maximum(1 - values if measure == "accuracy" else values - least_loss(smoothing), 1e-4)
            axes.plot(np.arange(1, len(values) + 1), values, color=color, lw=1.1, alpha=0.75, label=None if i else run)
    axes.set_yscale("log")
    _fixed(axes.yaxis, TICKS, [f"{tick:g}" for tick in TICKS])
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.legend(fontsize=8, loc="upper right")
    return figure


def least_loss(label_smoothing: float) -> float:
    """The entropy of smoothed labels, below which no loss can fall: 0.50 for a tenth."""
    return entropy([1 - 0.9 * label_smoothing, *9 * [label_smoothing / 10]])


@styled
def confusion_matrix(counts) -> Figure:
    """Counts (10, 10) by label and prediction; of the diagonal the numbers alone, without colour."""
    figure, axes = titled_axes("The darker, the more often confused", "predicted", "label", size=(4.6, 4.4))
    errors = np.where(np.eye(10, dtype=bool), 0, counts)
    axes.imshow(np.sqrt(errors), cmap="Oranges", vmax=2 * np.sqrt(max(1, errors.max())))
    for row, column in np.argwhere(counts):
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=7)
    axes.set(xticks=range(10), yticks=range(10))
    axes.grid(False)
    return figure


@styled
def class_shares(train_labels, predicted) -> Figure:
    """Share of each digit in train.csv and among the predicted test rows."""
    figure, axes = titled_axes("Is each digit as frequent among the predictions?", "digit", "share of the rows, %")
    for shift, labels, color, name in (
        (-0.2, train_labels, BLUE, "train.csv"),
        (0.2, predicted, ORANGE, "test, predicted"),
    ):
        shares = 100 * np.bincount(labels, minlength=10) / len(labels)
        axes.bar(np.arange(10) + shift, shares, 0.4, color=color, label=name)
    axes.set_xticks(range(10))
    axes.set_ylim(0, axes.get_ylim()[1] * 1.2)
    axes.legend(fontsize=8, ncols=2, loc="upper center")
    return figure


@styled
def ink_shares(train_images, test_images) -> Figure:
    """How much ink the images of both files hold."""
    figure, axes = titled_axes(
        "As much ink in both?", "mean of an image's pixels (0 paper … 255 ink)", "share of the images, %"
    )
    for images, color, name in ((train_images, BLUE, "train.csv"), (test_images, ORANGE, "test.csv")):
        ink = images.mean(axis=(1, 2, 3))
        axes.hist(ink, range(0, 101, 4), weights=np.full(len(ink), 100 / len(ink)),
                  histtype="step", lw=1.6, color=color, label=name)  # fmt: skip
    axes.legend(fontsize=8, loc="upper right")
    return figure


@styled
def reliability(bins: dict) -> Figure:
    """Reliability diagram of `scoring.calibration`'s bins, with their rows and 95 % intervals."""
    figure, axes = titled_axes(
        "Calibrated probabilities lie on the line", "mean probability of the predicted digit", "accuracy"
    )
    right = np.round(bins["accuracy"] * bins["count"])
    low, high = np.array([scoring.wilson(k, n) for k, n in zip(right, bins["count"], strict=True)]).T
    reach = np.maximum(0, [bins["accuracy"] - low, high - bins["accuracy"]])
    axes.plot([0, 1], [0, 1], "--", color=INK, lw=0.8, alpha=0.6, label="perfect")
    axes.errorbar(bins["confidence"], bins["accuracy"], reach, fmt="o", ms=4, lw=1, color=BLUE, label="measured, 95 %")
    start = min(0.9, bins["confidence"].min() - 0.05, low.min())
    bottom = start - 0.17 * (1 - start)  # below all intervals there is a strip for the numbers of rows
    places = apart(bins["confidence"], 0.03 * (1.02 - start), 1.01)
    for x, y, place, n in zip(bins["confidence"], low, places, bins["count"], strict=True):
        axes.plot([x, place], [y, start], ":", color=INK, lw=0.6, alpha=0.5)
        axes.annotate(f"{n:,}", (place, start), ha="center", va="top", rotation=90, fontsize=7)
    axes.set(xlim=(start, 1.02), ylim=(bottom, 1 + (1 - start) * 0.1))
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in axes.get_yticks() if start <= tick <= 1]))
    axes.legend(fontsize=8, loc="upper left")
    return figure


def apart(places, least: float, end: float) -> np.ndarray:
    """Rising numbers, moved so that they are at least so far apart, and none beyond the end.

    >>> apart([0, 1, 1.5, 9], 1, 10).tolist()
    [0.0, 1.0, 2.0, 9.0]
    """
    steps = least * np.arange(len(places))
    return np.minimum(np.maximum.accumulate(places - steps), end - steps[-1]) + steps


@styled
def growth(measured, predicted) -> Figure:
    """How errors fall with the members.

    Args:
        measured, predicted: pairs (members (k,), accuracy (k,)).
    """
    figure, axes = titled_axes("How errors fall with the members", "members averaged", "errors in 10,000")
    axes.plot(predicted[0], 1e4 * (1 - np.asarray(predicted[1])), "--", color=ORANGE, label="predicted, unseen rows")
    axes.plot(measured[0], 1e4 * (1 - np.asarray(measured[1])), "o-", color=BLUE, ms=4, label="measured, out-of-fold")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.legend(fontsize=8, loc="upper right")
    return figure


def titled_axes(title: str, x: str, y: str, size=SIZE) -> tuple[Figure, Axes]:
    """A figure of that size in inches with one grid of axes, and the axes."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=INK, alpha=0.12, lw=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _fixed(axis, ticks, names) -> None:
    low, high = axis.get_view_interval()
    if np.sum((low <= ticks) & (ticks <= high)) < 2:  # as of a short run: up to the ticks around
        below, above = np.searchsorted(ticks, (low, high)).clip(1, len(ticks) - 1)
        axis.axes.set_ylim(min(low, ticks[below - 1]), max(high, ticks[above]))
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter(names))
    axis.set_minor_locator(NullLocator())
