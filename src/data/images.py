"""From the bytes of an image file to pixels."""

import functools
import io
import warnings

import numpy as np
from jaxtyping import UInt8

FORMATS = ("JPEG", "PNG", "BMP", "GIF")
MODES = {1: "L", 3: "RGB"}  # Pillow's word for 8 bits in so many channels
_ORIENTATION = 0x0112  # EXIF's number for it.
_PNG_START, _PNG_DEPTH = b"\x89PNG", 24  # the byte of a PNG file that holds the bits a channel has


class ImageError(Exception):
    """An image that cannot be used. The message is part of a line."""


def decode(
    content: bytes, size: int, channels: int = 3, *, warped: bool = False
) -> UInt8[np.ndarray, "H W C"]:
    """An image of `channels`, 1 or 3: whole where `size` is 0, else its central square.

    The square is the paper's (section 2): the shorter side brought to `size` pixels, then the
    middle cut out. A JPEG that is at least twice too large is decoded at a half, a quarter or an
    eighth of its size, which costs a fraction; the rest is done by a bilinear filter over all
    pixels concerned.

    `warped` takes all of the image instead, both its sides brought to `size`.

    Grey becomes RGB, RGB grey, and transparency is left out, as `channels` demands.

    Raises:
        ImageError: If it has more than 8 bits a channel.
        Exception: Whatever Pillow makes of damaged files.
    """
    from PIL import Image  # noqa: PLC0415

    _quieten_pillow()
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
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


@functools.cache
def _quieten_pillow() -> None:
    """A photograph with damaged EXIF data is worth no line on the terminal each time it is read."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def turned(content: bytes) -> bool:
    """Whether a camera held on its side has left word (EXIF) that the image is to be turned."""
    from PIL import Image  # noqa: PLC0415

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return image.getexif().get(_ORIENTATION, 1) != 1


def upright(content: bytes) -> UInt8[np.ndarray, "H W C"]:
    """An image in colours, whole, turned as its EXIF data says.

    Raises:
        ImageError: As `decode`.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415

    pixels = decode(content, 0)
    if not turned(content):
        return pixels
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return _array(ImageOps.exif_transpose(image).convert("RGB"))


def _array(image: object) -> UInt8[np.ndarray, "H W C"]:
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]
