"""Generated JPEG images of many sizes, in TFDS form, on which the stream is tested and timed."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from src.data.describe import describe
from src.data.stream import Stream, look_through
from src.data.write_tfds import DatasetInfo, Example, write_folder

NAME, VERSION = "photos", "1.0.0"
QUALITY = 90


def write_photos(
    data_dir: Path, *, train: int, test: int, classes: int, sides: tuple[int, int], seed: int = 0
) -> None:
    """Writes data set `photos`, with splits `train` and `validation`, to a TFDS data directory.

    Args:
        data_dir: TFDS data directory.
        train: Number of training images.
        test: Number of validation images.
        classes: Number of classes; each has a colour of its own.
        sides: Least and greatest height and width, pixels; 375 to 500 for most of ImageNet.
        seed: Seed of all that is drawn.
    """
    folder = data_dir / NAME / VERSION
    folder.mkdir(parents=True)
    names = tuple(f"class{label}" for label in range(classes))
    text = "Generated JPEG images of many sizes."
    description = DatasetInfo(NAME, VERSION, text, "", (None, None, 3), names)
    splits = {
        split: _examples(split, count, classes, sides, np.random.default_rng([seed, number]))
        for number, (split, count) in enumerate({"train": train, "validation": test}.items())
    }
    write_folder(folder, description, splits)


def open_stream(name: str, folder: Path, size: int) -> Stream:
    """The data set prepared in the folder of a version, its images still on disk.

    Args:
        name: Its name in records.
        folder: `<data_dir>/<name>/<version>`.
        size: Side of the decoded images in pixels; 0: as they are.
    """
    return look_through(name, describe(folder), size).stream


def _examples(
    split: str, count: int, classes: int, sides: tuple[int, int], rng: np.random.Generator
) -> Iterator[Example]:
    colours = np.random.default_rng(classes).integers(60, 196, (classes, 3))
    for index in range(count):
        label = int(rng.integers(classes))
        height, width = rng.integers(sides[0], sides[1] + 1, 2).tolist()
        yield Example(f"{split}_{index}", _photo(rng, height, width, colours[label]), label)


def _photo(rng: np.random.Generator, height: int, width: int, colour: np.ndarray) -> bytes:
    """Soft shapes with some grain, which JPEG packs about as well as a photograph."""
    from PIL import Image  # noqa: PLC0415

    shapes = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8))
    soft = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    grain = rng.normal(0, 12, (height, width, 1)).astype(np.float32)
    pixels = np.clip(0.6 * (soft - 128) + colour + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
