"""Files of pictures, of any size and either polarity → their digits, 28×28."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from competition.data.mnist_format import Picture, prepare
from competition.errors import CompetitionError

SIDE = 400  # pixels, to which a larger picture shrinks before anything is looked for
SUFFIXES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")  # pictures in a folder
CONVERT = {
    "heic": "a phone's HEIC photo. Next: save it as JPEG",
    "heif": "a phone's HEIF photo. Next: save it as JPEG",
    "pdf": "a PDF. Next: save the page as PNG",
    "svg": "an SVG drawing. Next: save it as PNG",
}


def read_picture(path: Path) -> Picture:
    """Read a file that Pillow knows: PNG, JPEG, GIF, TIFF, WebP, BMP…

    Raises:
        CompetitionError: no such file, no picture, or nothing drawn on it.
    """
    if str(path).startswith(("http:/", "https:/")):
        raise CompetitionError(f"{path}: a picture must be a file. Received: a URL. Next: download it first.")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _refusal(path, "a picture must be a readable file", error.strerror or "no file") from None
    return picture_of(raw, path)


def picture_of(raw: bytes, name: str | Path, apart: bool = True) -> Picture:
    """What `read_picture` makes of a file's content; the name is for its errors, `apart` as `prepare` takes it."""
    for kind, advice in CONVERT.items():
        if (
            str(name).lower().endswith(f".{kind}")
            or raw[4:12] == b"ftyp" + kind.encode()
            or raw[1:4] == kind.upper().encode()
        ):
            raise CompetitionError(f"{name}: a picture must be a PNG or JPEG file. Received: {advice}.")
    try:
        pixels = _decoded(raw)
    except Exception as error:  # of damaged files decoders raise whatever they like
        received = "a picture of too many pixels" if isinstance(error, Image.DecompressionBombError) else None
        raise _refusal(
            name, "a picture must be a PNG or JPEG file", received or "something else, or a damaged one"
        ) from None
    picture = prepare(opaque(pixels), apart)
    if picture is None:
        raise _refusal(name, "a picture must show a digit", "a blank one")
    return picture


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, by name.

    Raises:
        CompetitionError: it holds none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise _refusal(folder, "a folder must hold pictures", "none")
    return found


def _decoded(raw: bytes) -> np.ndarray:
    """The upright picture, at most SIDE pixels wide and high: uint8 array (height, width, 4), RGBA."""
    with Image.open(io.BytesIO(raw)) as file:
        file.draft("RGB", (2 * SIDE, 2 * SIDE))  # a large JPEG is decoded at a fraction of its size
        image = ImageOps.exif_transpose(file)
    if image.mode.startswith(("I", "F")):  # 16 bits, or floats
        values = np.nan_to_num(np.asarray(image, np.float32))
        scale = 255 if values.max() <= 1 else 1 if values.max() <= 255 else 255 / 65535
        image = Image.fromarray(np.clip(scale * values, 0, 255).astype(np.uint8))
    image = image.convert("RGBA")
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image)


def opaque(pixels: np.ndarray) -> np.ndarray:
    """Put paper under what is transparent.

    Around an opaque picture with transparent margins it is more of the picture's own paper; under a drawing on nothing
    it is black or white, whichever contrasts with it.

    Args:
        pixels: uint8 array (height, width, 4), RGBA.

    Returns:
        float32 array (height, width, 3), 0…255.
    """
    colour, alpha = pixels[..., :3].astype(np.float32), pixels[..., 3:].astype(np.float32) / 255
    solid = (alpha[..., 0] > 0.5) if (alpha > 0.5).any() else (alpha[..., 0] > 0)
    if not solid.any():
        return np.zeros_like(colour)
    left, top, width, height = cv2.boundingRect(solid.astype(np.uint8))
    edge = solid & ~cv2.erode(solid.astype(np.uint8), np.ones((3, 3))).astype(bool)
    paper = np.median(colour[edge], axis=0) if edge.any() else np.zeros(3, np.float32)
    drawn = np.abs(colour[solid] - paper).max(axis=1) > 40
    if solid.sum() > 0.5 * width * height and 0 < drawn.mean() < 0.6:
        return (colour * alpha + paper * (1 - alpha))[top : top + height, left : left + width]
    return colour * alpha + (255 if colour[solid].mean() < 128 else 0) * (1 - alpha)


def _refusal(name: str | Path, rule: str, received: str) -> CompetitionError:
    return CompetitionError(
        f"{name}: {rule}. Received: {received}. Next: give another picture, dark on light or light on dark."
    )
