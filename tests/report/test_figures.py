"""What figures show: their axes, their words, and the data of their lines, bars and cells."""

from itertools import pairwise

import numpy as np
import pytest

from competition.ensemble import scoring
from competition.report import figures
from competition.report.html import sheet


def words_of(axes):
    """Title, names of the axes, and the legend."""
    legend = axes.get_legend()
    return [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()], [t.get_text() for t in legend.texts]


HISTORIES = [
    {"accuracy": np.array([0.5, 0.8, 1.0]), "val_accuracy": np.array([0.6, 0.9, 0.95]),
     "loss": np.array([1.5, 0.5, 0.2]), "val_loss": np.array([1.2, 0.4, 0.3])},
    {"accuracy": np.array([0.4, 0.7]), "val_accuracy": np.array([0.55, 0.85]),
     "loss": np.array([1.7, 0.6]), "val_loss": np.array([1.3, 0.0])},
]  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "scale", "ends"),  # a logit axis has no 1, a logarithmic one no 0
    (("accuracy", "logit", {1.0: 0.9999}), ("loss", "log", {0.0: 1e-6})),
)
def test_curves_are_each_members_history_with_a_circle_at_the_weights_it_kept(measure, scale, ends):
    (axes,) = figures.curves(HISTORIES, [2, 1], measure).axes
    words, legend = words_of(axes)
    assert words == [figures.QUESTIONS[measure], "epoch", measure]
    assert legend == ["training (augmented)", "early-stopping slice", "weights kept"] and axes.get_yscale() == scale
    drawn = [(line.get_color(), *map(list, line.get_data())) for line in axes.lines if line.get_linestyle() == "-"]
    for color, prefix in ((figures.ORANGE, ""), (figures.BLUE, "val_")):
        for history in HISTORIES:
            values = [ends.get(value, value) for value in history[prefix + measure]]
            assert (color, list(range(1, len(values) + 1)), pytest.approx(values)) in drawn
    assert len(drawn) == 4
    circles = [tuple(map(float, np.ravel(line.get_data()))) for line in axes.lines if line.get_marker() == "o"]
    kept = HISTORIES[0]["val_" + measure][1], HISTORIES[1]["val_" + measure][0]
    assert circles == [(2, pytest.approx(kept[0])), (1, pytest.approx(kept[1]))]
    left, _ = axes.get_xlim()
    assert 0 < left < 1


def test_the_loss_of_smoothed_labels_is_drawn_above_their_entropy():
    """Labels 0.91 and nine times 0.01."""
    least = -0.91 * np.log(0.91) - 0.09 * np.log(0.01)
    (axes,) = figures.curves([{"loss": [1.5, 0.6], "val_loss": [1.2, 0.55]}], [2], "loss", 0.1).axes
    assert axes.get_ylabel() == "loss − 0.50, the least possible"
    drawn = [list(line.get_ydata()) for line in axes.lines]
    assert drawn == [pytest.approx(np.subtract(values, least)) for values in ([1.5, 0.6], [1.2, 0.55], [0.55])]


def test_refit_members_are_dashed_and_an_axis_has_two_numbers_at_least():
    flat = {name: np.array([0.12, 0.13]) for name in ("accuracy", "val_accuracy", "loss", "val_loss")}
    (axes,) = figures.curves([flat, flat, flat], [2, 2, 2], "accuracy", refit=1).axes
    assert [line.get_linestyle() for line in axes.lines[:6]] == ["-", "-", "--"] * 2
    low, high = axes.get_ylim()
    assert low <= 0.1 and 0.2 <= high < 0.5


def test_the_confusion_matrix_writes_counts_where_label_and_reading_meet():
    counts = np.diag(np.arange(590, 600))
    counts[4, 9], counts[9, 4] = 16, 4
    (axes,) = figures.confusion_matrix(counts).axes
    assert [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()] == [
        "The darker, the more often confused", "predicted", "label"
    ]  # fmt: skip
    told = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert told == {**{(i, i): str(590 + i) for i in range(10)}, (4, 9): "16", (9, 4): "4"}
    shown = np.zeros((10, 10))
    shown[4, 9], shown[9, 4] = 4, 2  # roots; what was read rightly has no colour
    np.testing.assert_array_equal(axes.images[0].get_array(), shown)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row on top
    assert list(axes.get_xticks()) == list(axes.get_yticks()) == list(range(10))


def test_bars_are_the_share_of_each_digit():
    (axes,) = figures.class_shares(np.repeat(np.arange(10), 3), np.array([0, 0, 0, 7])).axes
    words, legend = words_of(axes)
    assert words == ["Is each digit as frequent among the predictions?", "digit", "share of the rows, %"]
    assert legend == ["train.csv", "test, predicted"]
    for bars, shares, side in zip(axes.containers, ([10] * 10, [75, *[0] * 6, 25, 0, 0]), (-0.4, 0.0), strict=True):
        assert [bar.get_height() for bar in bars] == pytest.approx(shares)
        assert [bar.get_x() for bar in bars] == pytest.approx([digit + side for digit in range(10)])


def test_ink_is_a_histogram_of_the_pictures_means():
    pictures = np.zeros((4, 28, 28, 1), np.uint8)
    pictures[:, :14] = np.reshape([4, 4, 100, 196], (4, 1, 1, 1))  # half of each is paper
    (axes,) = figures.ink_shares(pictures, pictures[:1]).axes
    words, legend = words_of(axes)
    assert words == [
        "As much ink in both?",
        "mean of an image's pixels (0 paper … 255 ink)",
        "share of the images, %",
    ]
    assert legend == ["train.csv", "test.csv"]
    tops = [{x: y for x, y in patch.get_xy()[1::2] if y} for patch in axes.patches]  # of the steps, from the left
    assert tops == [{0: 50, 48: 25, 96: 25}, {0: 100}]


def test_reliability_is_a_point_a_bin_with_its_interval_and_its_rows():
    bins = {"confidence": np.array([0.6, 0.99]), "accuracy": np.array([0.5, 0.95]), "count": np.array([10, 200])}
    (axes,) = figures.reliability(bins).axes
    words, legend = words_of(axes)
    assert words == [
        "Calibrated probabilities lie on the line", "mean probability of the predicted digit", "accuracy"
    ]  # fmt: skip
    assert legend == ["perfect", "measured, 95 %"]
    diagonal, points = axes.lines[:2]
    assert np.ravel(diagonal.get_data()).tolist() == [0, 1, 0, 1]
    assert np.ravel(points.get_data()).tolist() == [0.6, 0.99, 0.5, 0.95]
    ((_, _, (bars,)),) = axes.containers
    ends = [[y for _, y in segment] for segment in bars.get_segments()]
    assert ends == [pytest.approx(scoring.wilson(5, 10)), pytest.approx(scoring.wilson(190, 200))]
    assert [(text.get_text(), text.xy[0]) for text in axes.texts] == [("10", 0.6), ("200", 0.99)]
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    assert left < 0.6 and right > 0.99 and low <= ends[0][0] and high > 1


def test_numbers_of_rows_are_written_side_by_side():
    """Nine bins whose probabilities lie closer to one another than a number is wide."""
    bins = {"confidence": np.linspace(0.97, 0.999, 9), "accuracy": np.full(9, 0.98), "count": np.full(9, 5000)}
    figure = figures.reliability(bins)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == ["5,000"] * 9
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 for box in boxes)


def test_the_curves_of_two_runs_are_overlaid():
    """Errors as they are; losses above the entropy of each run's smoothed labels."""
    runs = [[HISTORIES[0], HISTORIES[1]], [HISTORIES[0]]]
    (axes,) = figures.overlaid(runs, ["a", "b"], "accuracy").axes
    assert [t.get_text() for t in axes.get_legend().texts] == ["a", "b"]
    drawn = [(line.get_color(), list(line.get_ydata())) for line in axes.lines]
    assert drawn == [
        (figures.BLUE, pytest.approx([0.4, 0.1, 0.05])),
        (figures.BLUE, pytest.approx([0.45, 0.15])),
        (figures.ORANGE, pytest.approx([0.4, 0.1, 0.05])),
    ]
    (axes,) = figures.overlaid(runs[1:] * 2, ["a", "b"], "loss", (0.0, 0.1)).axes
    values = [list(line.get_ydata()) for line in axes.lines]
    assert values[0] == pytest.approx([1.2, 0.4, 0.3]) and values[1][0] == pytest.approx(1.2 - figures.least_loss(0.1))


def test_growth_is_errors_in_ten_thousand_measured_and_predicted():
    (axes,) = figures.growth(([1, 2], [0.99, 0.995]), (np.arange(6, 19, 6), np.array([0.99, 0.994, 0.996]))).axes
    words, legend = words_of(axes)
    assert words == ["How errors fall with the members", "members averaged", "errors in 10,000"]
    assert legend == ["predicted, unseen rows", "measured, out-of-fold"]
    predicted, measured = axes.lines
    assert (predicted.get_linestyle(), measured.get_linestyle()) == ("--", "-")
    assert np.ravel(predicted.get_data()).tolist() == pytest.approx([6, 12, 18, 100, 60, 40])
    assert np.ravel(measured.get_data()).tolist() == pytest.approx([1, 2, 100, 50])


def test_a_sheet_sets_digits_side_by_side_with_a_margin():
    images = np.stack([np.full((28, 28, 1), 10 * (i + 1), np.uint8) for i in range(3)])
    tiles = sheet(images, 2)
    assert tiles.shape == (60, 60) and tiles.dtype == np.uint8
    for i, (top, left) in enumerate(((0, 0), (0, 30), (30, 0))):
        tile = tiles[top : top + 30, left : left + 30]
        assert (tile[1:-1, 1:-1] == 10 * (i + 1)).all() and tile.sum() == 784 * 10 * (i + 1)
    assert not tiles[30:, 30:].any()


def test_a_figure_takes_the_pages_text_colour_and_is_the_same_again():
    """As SVG; as PNG it is on white."""
    first, again = (figures.growth(([1], [0.99]), ([1, 2], [0.99, 0.995])) for _ in range(2))
    svg = figures.to_svg(first)
    assert svg.startswith("<svg") and "currentColor" in svg and figures.INK not in svg and "<metadata" not in svg
    assert svg == figures.to_svg(again)
    png = figures.to_png(first)
    assert png.startswith(b"\x89PNG") and png == figures.to_png(again)
