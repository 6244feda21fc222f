import cv2
import numpy as np
import pytest
from PIL import Image

from competition.data.digits import read_digits
from competition.data.pictures import read_picture
from competition.errors import CompetitionError
from competition.runs.folders import SAMPLE
from tests.data.drawn import FOUR, ONE, SEVEN, stroked, typed


def read(tmp_path, picture, name="digit.png"):
    path = tmp_path / name
    if isinstance(picture, Image.Image):
        picture.save(path)
    else:
        assert cv2.imwrite(str(path), picture)
    return read_picture(path)


def centre_of_mass(image):
    ink = image[..., 0] / image.sum()
    return (ink.sum(1) @ np.arange(28), ink.sum(0) @ np.arange(28))


@pytest.mark.parametrize("paper, ink", [(255, 0), (0, 255), (200, 90), (60, 140)])
def test_a_bar_fills_the_box_in_the_middle_whatever_its_polarity(tmp_path, paper, ink):
    picture = np.full((300, 500), paper, np.uint8)
    picture[40:240, 400:440] = ink  # 200 × 40, far from the middle: becomes 20 × 4
    image = read(tmp_path, picture)
    assert image.shape == (28, 28, 1) and image.dtype == np.uint8
    assert (image[4:24, 12:16] == 255).all() and image.sum() == 255 * 80


def test_the_centre_of_mass_is_in_the_middle(tmp_path):
    image = read(tmp_path, typed("7"))
    assert np.abs(np.array(centre_of_mass(image)) - 13.5).max() <= 0.5 and image.max() == 255
    rows = np.flatnonzero(image.any(axis=(1, 2)))
    assert rows[-1] - rows[0] + 1 == 20


def test_transparency_depth_and_colour_change_nothing(tmp_path):
    wanted = read(tmp_path, typed("3"))
    grey = np.asarray(typed("3"))
    clear = np.dstack([np.zeros((*grey.shape, 3), np.uint8), 255 - grey])  # black ink on nothing
    white = np.dstack([np.full((*grey.shape, 3), 255, np.uint8), 255 - grey])  # white ink on nothing
    for picture in (clear, white, grey.astype(np.uint16) * 257, np.dstack([grey] * 3)):
        np.testing.assert_allclose(read(tmp_path, picture).astype(int), wanted, atol=2)


def test_a_tiny_picture_grows(tmp_path):
    picture = np.zeros((8, 6), np.uint8)
    picture[1:7, 2] = 255
    image = read(tmp_path, picture)
    assert np.flatnonzero(image.any(axis=(1, 2))).size == 20


@pytest.mark.parametrize("content, rule", [
    (None, "must be a readable file"), (b"", "PNG or JPEG"), (b"label,pixel0\n", "PNG or JPEG"),
    (np.full((30, 30), 255, np.uint8), "must show a digit"), (np.full((1, 1), 7, np.uint8), "must show a digit"),
])  # fmt: skip
def test_what_shows_no_digit_is_refused(tmp_path, content, rule):
    path = tmp_path / "picture.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        cv2.imwrite(str(path), content)
    with pytest.raises(CompetitionError, match=rule):
        read_picture(path)


def test_drawn_digits_look_like_their_likes_in_the_sample(tmp_path):
    """The nearest sample digit has the same label for nearly all: no training needed to see that it fits."""
    train = read_digits(SAMPLE / "train.csv.gz", labelled=True)
    known = train.images.reshape(-1, 784).astype(np.float32)
    drawn = [
        (digit, read(tmp_path, typed(str(digit), font, size, paper, ink), f"digit.{suffix}"))
        for digit in range(10)
        for font, size, paper, ink, suffix in (
            ("DejaVuSans", 24, 255, 0, "png"),
            ("DejaVuSerif", 150, 10, 240, "jpg"),
            ("STIXGeneral", 90, 210, 40, "jpg"),
        )
    ]
    drawn += [(d, read(tmp_path, stroked(points, noise=6))) for d, points in ((7, SEVEN), (1, ONE), (4, FOUR))]
    right = []
    for digit, image in drawn:
        nearest = np.argmin(((known - image.reshape(784)) ** 2).sum(axis=1))
        right.append(train.labels[nearest] == digit)
    assert np.mean(right) >= 0.8
