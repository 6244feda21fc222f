from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from competition.data.digits import read_digits
from competition.data.mnist_format import mnist_form, prepare
from competition.data.pictures import pictures_in, read_picture
from competition.errors import CompetitionError
from competition.runs.folders import SAMPLE
from tests.data import preparation_figure
from tests.data.drawn import FOUR, ONE, SEVEN, photo, stroked, typed


def read(tmp_path, picture, name="digit.png", **options):
    """The one digit of a picture, uint8 (28, 28, 1)."""
    found = picture_of(tmp_path, picture, name, **options)
    assert len(found.digits) == 1 and not found.several
    return found.digits[0]


def picture_of(tmp_path, picture, name="digit.png", **options):
    path = tmp_path / name
    if isinstance(picture, Image.Image):
        picture.save(path, **options)
    else:
        assert cv2.imwrite(str(path), picture)
    return read_picture(path)


def likeness(image, other):
    """The correlation of two images, a little blurred, where they fit best: centres are rounded."""
    a, b = (cv2.GaussianBlur(i.astype(np.float32), (0, 0), 1) for i in (image, other))
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return max(np.corrcoef(np.roll(a, shift, (0, 1)).ravel(), b.ravel())[0, 1] for shift in shifts)


def drawn_plainly(points, **options):
    """A photo without shadow, lines and noise."""
    return Image.fromarray(photo(points, shadow=False, lines=False, noise=0, **options))


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
    assert np.abs(np.array(centre_of_mass(image)) - 14).max() <= 0.51 and image.max() == 255
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


def test_a_phone_s_orientation_is_followed(tmp_path):
    upright = typed("7").convert("RGB")
    wanted = read(tmp_path, upright)
    for orientation, turn in (
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
    ):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = read(tmp_path, upright.transpose(turn), "digit.jpg", exif=exif, quality=95)
        np.testing.assert_allclose(image.astype(int), wanted, atol=25)


@pytest.mark.parametrize("points", [SEVEN, FOUR, ONE])
@pytest.mark.parametrize("conditions", [
    {"lines": False}, {"shadow": False}, {}, {"contrast": 0.15, "noise": 2}, {"pen": 3}, {"pen": 30},
    {"size": 1600, "pen": 40},
])  # fmt: skip
def test_shadows_ruled_lines_and_faint_pencil_change_little(tmp_path, points, conditions):
    image = read(tmp_path, Image.fromarray(photo(points, **conditions)), "photo.jpg", quality=80)
    pen = {key: value for key, value in conditions.items() if key in ("pen", "size")}
    assert likeness(image, read(tmp_path, drawn_plainly(points, **pen))) > 0.9


def test_a_digit_that_fills_its_picture_is_read(tmp_path):
    """A thick stroke without any margin covers half of the picture."""
    for points in (SEVEN, FOUR):
        sheet = stroked(points, thickness=16)
        left, top, width, height = cv2.boundingRect((sheet < 130).astype(np.uint8))
        tight = cv2.resize(sheet[top : top + height, left : left + width], None, fx=3, fy=3)
        assert likeness(read(tmp_path, cv2.GaussianBlur(tight, (0, 0), 4)), read(tmp_path, sheet)) > 0.9


def test_an_object_is_not_taken_for_strokes(tmp_path):
    """An animal: a broad body on thin legs; a hand: broad, and of many tones."""
    animal, hand = (np.full((400, 400), 235, np.uint8) for _ in range(2))
    cv2.ellipse(animal, (200, 150), (90, 50), 0, 0, 360, 60, -1)
    for leg in (130, 160, 240, 270):
        cv2.line(animal, (leg, 150), (leg, 330), 60, 8)
    cv2.ellipse(hand, (200, 220), (70, 120), 0, 0, 360, 90, -1)
    hand[(hand == 90) & (np.arange(400) // 20 % 2 == 0)] = 170
    for picture in (animal, hand):
        assert not picture_of(tmp_path, picture).drawn
    for pen in (3, 20, 40):
        assert picture_of(tmp_path, Image.fromarray(photo(SEVEN, pen=pen))).drawn


def test_pale_strokes_are_made_as_white_as_those_of_mnist():
    tones = np.tile(np.float32([0.3, 0.9, 0.4, 0.5]), (40, 4))
    image = mnist_form(np.pad(tones, 20))
    assert (image[image > 51] / 255).mean() > 0.65


def test_the_figure_of_the_preparation_shows_what_the_networks_get():
    picture = preparation_figure.photo()
    shown = preparation_figure.draw_preparation(picture).axes[-1].images[0].get_array()
    assert (shown == prepare(picture.astype(np.float32)).digits[0, ..., 0]).all()


def test_what_lies_around_the_digit_changes_little(tmp_path):
    """Dark frames, a table, specks, a stroke that comes in over the edge, the box of a form, a screenshot's window."""
    sheet = stroked(SEVEN, size=(200, 160))
    wanted = read(tmp_path, sheet)
    framed = np.pad(sheet, 12, constant_values=20)
    table = np.pad(sheet, ((0, 40), (60, 60)), constant_values=60)
    specks, edge, box = sheet.copy(), sheet.copy(), sheet.copy()
    specks[[100, 150, 160], [120, 20, 140]] = 30
    cv2.line(edge, (0, 150), (40, 199), 30, 6)
    cv2.rectangle(box, (4, 4), (90, 110), 30, 2)
    for around in (framed, table, specks, edge, box):
        assert likeness(read(tmp_path, around), wanted) > 0.95


@pytest.mark.parametrize("points", [SEVEN, FOUR])
@pytest.mark.parametrize("table", [60, 150, 245])
def test_a_soft_shadow_across_sheet_and_table_is_no_ink(tmp_path, points, table):
    """A broad one, over half of the picture or as of an arm, at any angle, on a darker and on a lighter table."""
    sheet = cv2.resize(stroked(points), (210, 270), interpolation=cv2.INTER_CUBIC)
    wanted = read(tmp_path, sheet)
    picture = np.pad((0.85 * sheet).astype(np.float32), ((50, 80), (95, 95)), constant_values=table)
    down, right = np.mgrid[-1:1:400j, -1:1:400j]
    for angle in np.radians([20, 50, 130]):
        across = right * np.cos(angle) + down * np.sin(angle)
        for shadow in (across > 0.1, np.abs(across) < 0.25):
            dark = 0.45 * cv2.GaussianBlur(shadow.astype(np.float32), (0, 0), 8)
            shaded = Image.fromarray((picture * (1 - dark)).astype(np.uint8))
            assert likeness(read(tmp_path, shaded), wanted) > 0.9


def test_transparent_margins_are_no_ink(tmp_path):
    sheet = Image.fromarray(stroked(SEVEN)).convert("RGBA")
    wanted = read(tmp_path, sheet)
    wide = Image.new("RGBA", (200, 220), (0, 0, 0, 0))
    wide.paste(sheet, (50, 60))
    np.testing.assert_allclose(read(tmp_path, wide).astype(int), wanted, atol=2)


def test_coloured_ink_on_coloured_paper_of_the_same_grey(tmp_path):
    mask = stroked(SEVEN, size=(120, 100)) < 130
    colour = np.where(mask[..., None], [200, 50, 60], [40, 125, 60]).astype(np.uint8)
    grey = np.asarray(Image.fromarray(colour).convert("L"))
    assert abs(int(grey[mask].mean()) - int(grey[~mask].mean())) < 10
    assert likeness(read(tmp_path, Image.fromarray(colour)), read(tmp_path, stroked(SEVEN, size=(120, 100)))) > 0.95


def test_thin_strokes_are_widened(tmp_path):
    for pen in (1, 2, 8):
        image = read(
            tmp_path, stroked(SEVEN, thickness=pen, size=(800, 600)) if pen > 1 else drawn_plainly(SEVEN, pen=1)
        )
        assert image.max() == 255 and (image > 100).sum() > 40


@pytest.mark.parametrize("kind", ["float", "uint16", "palette", "cmyk", "la", "one bit"])
def test_every_form_of_a_file_is_the_same_digit(tmp_path, kind):
    grey = typed("3")
    wanted = read(tmp_path, grey)
    values = np.asarray(grey)
    picture, name = {
        "float": (Image.fromarray(values.astype(np.float32) / 255), "digit.tif"),
        "uint16": (Image.fromarray(values.astype(np.uint16) * 257), "digit.png"),
        "palette": (grey.quantize(16), "digit.gif"),
        "cmyk": (grey.convert("RGB").convert("CMYK"), "digit.jpg"),
        "la": (Image.merge("LA", (Image.new("L", grey.size, 0), Image.fromarray(255 - values))), "digit.png"),
        "one bit": (grey.convert("1"), "digit.png"),
    }[kind]
    assert likeness(read(tmp_path, picture, name), wanted) > 0.97


def test_several_digits_are_read_each_or_called_several(tmp_path):
    digits = [read(tmp_path, typed(text)) for text in "407"]
    wide = Image.new("L", (400, 160), 255)
    for place, text in enumerate("407"):
        wide.paste(typed(text), (120 * place, 0))
    found = picture_of(tmp_path, wide)
    assert found.several and len(found.digits) == 3
    assert all(likeness(a, b) > 0.97 for a, b in zip(found.digits, digits, strict=True))
    joined = np.asarray(wide).copy()
    joined[90:96, 60:330] = 0
    assert picture_of(tmp_path, joined).several
    five = stroked([(25, 30), (24, 48), (50, 52), (52, 75), (22, 80)], size=(110, 80))
    cv2.line(five, (30, 18), (58, 17), 30, 6)  # its bar stands apart
    assert len(picture_of(tmp_path, five).digits) == 1 and not picture_of(tmp_path, five).several


def test_digits_of_the_sample_come_through_unchanged(tmp_path):
    """As a picture, MNIST's own digit is the image that it was: the same strokes, in nearly all."""
    images = read_digits(SAMPLE / "test.csv.gz", labelled=False).images[:200]
    found = [picture_of(tmp_path, image) for image in images]
    alike = [likeness(picture.digits[0], image) for picture, image in zip(found, images, strict=True)]
    assert np.mean(np.array(alike) > 0.98) >= 0.99
    assert sum(picture.several for picture in found) <= 1


def test_shaded_or_grainy_paper_is_blank(tmp_path):
    down, right = np.mgrid[0:400, 0:400] / 400
    grain = np.random.default_rng(0).normal(0, 8, right.shape)
    shades = (140 + 90 * right, 220 - 60 * (right * down), 230 + grain, 200 + 25 * right + grain)
    for paper in shades:
        with pytest.raises(CompetitionError, match="must show a digit"):
            read(tmp_path, Image.fromarray(np.clip(paper, 0, 255).astype(np.uint8)), "paper.jpg", quality=75)


@pytest.mark.parametrize(("name", "content", "advice"), [
    ("photo.heic", b"", "save it as JPEG"), ("photo.jpg", b"\0\0\0\x18ftypheic\0\0", "save it as JPEG"),
    ("scan.pdf", b"%PDF-1.7", "save the page as PNG"), ("seven.svg", b"<svg/>", "save it as PNG"),
])  # fmt: skip
def test_what_must_be_converted_is_named(tmp_path, name, content, advice):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CompetitionError, match=advice):
        read_picture(tmp_path / name)


def test_a_url_must_be_downloaded():
    with pytest.raises(CompetitionError, match="download it first"):
        read_picture(Path("https://example.org/seven.png"))


def test_the_pictures_of_a_folder_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "c.png").mkdir()
    assert [path.name for path in pictures_in(tmp_path)] == ["a.jpg", "b.PNG"]
    with pytest.raises(CompetitionError, match="must hold pictures"):
        pictures_in(tmp_path / "c.png")


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
    assert np.mean(right) >= 0.75
