"""Image files as they are met: colour spaces, bits, what cameras add."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from src.data import images
from src.data.images import ImageError, decode, turned, upright

COARSE = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
SOFT = np.asarray(Image.fromarray(COARSE).resize((24, 16)))


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def test_cmyk_jpegs_become_the_colours_they_show():
    """ImageNet has 22 of them; read as four channels they look like nothing."""
    content = saved(Image.fromarray(SOFT).convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(content)).mode == "CMYK"
    for size, expected in ((0, SOFT), (16, SOFT[:, 4:20])):
        assert np.abs(decode(content, size).astype(float) - expected).mean() < 4  # Grey levels.


@pytest.mark.parametrize(("side", "decoded"), [(31, 31), (32, 16), (64, 16), (256, 32)])
def test_a_large_jpeg_is_decoded_at_a_half_a_quarter_or_an_eighth(monkeypatch, side, decoded):
    """For 16 pixels a side."""
    seen, convert = [], Image.Image.convert

    def spy(image: Image.Image, *mode: str) -> Image.Image:
        seen.append(image.size)
        return convert(image, *mode)

    content = saved(Image.fromarray(SOFT).resize((side, side)), "JPEG")
    monkeypatch.setattr(Image.Image, "convert", spy)
    assert decode(content, 16).shape == (16, 16, 3)
    assert seen == [(decoded, decoded)]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA"])
def test_modes_of_eight_bits_become_rgb_or_grey(mode):
    image = Image.fromarray(SOFT).convert(mode) if mode != "PA" else None
    if image is None:
        image = Image.fromarray(SOFT).convert("P")
        content = saved(image, "PNG", transparency=0)
    else:
        content = saved(image, "PNG")
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(content, 0), expected)
    assert decode(content, 0, 1).shape == (16, 24, 1)
    assert decode(content, 8, 1).shape == (8, 8, 1)


def test_more_than_eight_bits_are_refused():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 60_000, (6, 6)).astype(np.uint16))
    with pytest.raises(ImageError, match="more than 8 bits"):
        decode(saved(image, "PNG"), 0)


def test_photographs_with_damaged_exif_data_are_read_without_a_word():
    exif = b"Exif\0\0II*\0\x08\0\0\0\x03\0\x12\x01\x03\0\xff\xff\xff\x7f\x99\x99\x99\x99"
    content = saved(Image.fromarray(SOFT), "JPEG", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images._quieten_pillow.cache_clear()
        assert decode(content, 16).shape == (16, 16, 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("exif", [b"garbage", b"II*\0", b"MM\0*\0\0\0\x08\0"])
def test_an_image_is_sound_though_its_exif_data_are_damaged(exif, form):
    content = saved(Image.fromarray(SOFT), form, exif=b"Exif\0\0" + exif)
    images._quieten_pillow.cache_clear()
    np.testing.assert_array_equal(upright(content), decode(content, 0))
    assert not turned(content)


def test_an_image_is_turned_though_pillow_cannot_write_its_other_exif_data():
    """Here a width that is a text."""
    entries = ((0x0100, 2, 4, b"abc\0"), (0x0112, 3, 1, b"\0\6\0\0"))
    exif = b"MM\0*\0\0\0\x08\0\2" + b"".join(struct.pack(">HHI4s", *each) for each in entries)
    content = saved(Image.fromarray(SOFT), "PNG", exif=b"Exif\0\0" + exif + bytes(4))
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(upright(content), np.rot90(SOFT, -1))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda x: x),
        (3, lambda x: x[::-1, ::-1]),
        (6, lambda x: np.rot90(x, -1)),
        (8, np.rot90),
        (2, lambda x: x[:, ::-1]),
        (4, lambda x: x[::-1]),
        (5, lambda x: x.swapaxes(0, 1)),
        (7, lambda x: x[::-1, ::-1].swapaxes(0, 1)),
        (0, lambda x: x),  # Some programs write it for what they do not know.
    ],
)
def test_images_of_a_turned_camera_are_turned_upright(orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(SOFT), "PNG", exif=exif)
    assert turned(content) == (orientation > 1)
    np.testing.assert_array_equal(upright(content), turn(SOFT))
    np.testing.assert_array_equal(decode(content, 0), SOFT)  # as TFDS and TensorFlow read it
