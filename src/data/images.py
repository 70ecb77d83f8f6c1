"""Decodes image files to pixels."""

import functools
import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "BMP", "GIF")
MODES = {1: "L", 3: "RGB"}  # Number of channels -> Pillow's name for that many of 8 bits.
_ORIENTATION = 0x0112  # EXIF's tag of the orientation; 1 is upright.
_TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
_TURNS |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
_PNG_START, _PNG_DEPTH = b"\x89PNG", 24  # A PNG file's byte 24 holds the bits per channel.


class ImageError(Exception):
    """An image cannot be used. The message is part of a line."""


def decode(
    content: bytes, size: int, channels: int = 3, *, warped: bool = False
) -> UInt8[np.ndarray, "H W C"]:
    """Decodes an image, whole or its central square.

    The square is the paper's: the shorter side is brought to `size` pixels, then the middle is cut
    out. A JPEG that is at least twice too large is decoded at a half, a quarter or an eighth of its
    size, which costs a fraction; a bilinear filter over all pixels concerned does the rest.

    Args:
        content: The bytes of a file in one of `FORMATS`.
        size: Side of the square in pixels; 0: the whole image as it is.
        channels: 1 or 3. Grey becomes RGB or RGB grey as needed; transparency is left out.
        warped: Whether to bring both sides of the whole image to `size` instead.

    Raises:
        ImageError: If it is of another format or has more than 8 bits a channel.
        Exception: Whatever Pillow raises on damaged files.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 2.
    """
    from PIL import Image  # noqa: PLC0415

    _quieten_pillow()
    with _opened(content) as image:
        deep = content.startswith(_PNG_START) and content[_PNG_DEPTH : _PNG_DEPTH + 1] == b"\x10"
        if deep or image.mode[0] in "IF":
            raise ImageError(f"it has more than 8 bits a channel (Pillow's mode {image.mode})")
        if not size:
            return _array(image.convert(MODES[channels]))
        image.draft(MODES[channels], (size, size))
        width, height = image.size if warped else (min(image.size),) * 2
        left, top = (image.width - width) / 2, (image.height - height) / 2
        box = (left, top, left + width, top + height)
        square = image.convert(MODES[channels]).resize((size, size), Image.Resampling.BILINEAR, box)
        return _array(square)


def _opened(content: bytes) -> "Image.Image":
    """The image in a file's bytes, not decoded yet.

    Raises:
        ImageError: If it is no image of the formats that are read.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:  # It names an object in memory.
        raise ImageError(f"it is damaged, or none of {', '.join(FORMATS)}") from error


@functools.cache
def _quieten_pillow() -> None:
    """Silences Pillow, which would warn of damaged EXIF data each time a photograph is read."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def turned(content: bytes) -> bool:
    """Whether the EXIF data say that the image must be turned, as cameras held sideways write."""
    return _turn(content) is not None


def upright(content: bytes) -> UInt8[np.ndarray, "H W C"]:
    """Decodes a whole image to RGB, turned as its EXIF data say.

    Raises:
        ImageError: If it has more than 8 bits a channel.
    """
    from PIL import Image  # noqa: PLC0415

    pixels, turn = decode(content, 0), _turn(content)
    return _array(Image.fromarray(pixels).transpose(Image.Transpose[turn])) if turn else pixels


def _turn(content: bytes) -> str | None:
    """Pillow's name for what brings an image upright; damaged EXIF data ask for nothing."""
    with _opened(content) as image:
        try:
            return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        except Exception:  # Pillow skips them in JPEG files, and raises almost anything for PNG.
            return None


def _array(image: object) -> UInt8[np.ndarray, "H W C"]:
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]
