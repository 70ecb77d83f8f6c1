"""Data sets too large for memory: images of any size, decoded row by row as they are asked for.

Each image is brought to one size as in the paper (section 2): the shorter side to 256 pixels, then
the central 256 x 256 cut out.
"""

import functools
import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from src.data import tfds_folder
from src.data.dataset import DataError, Split

TEST_SPLITS = ("validation", "test")  # the first there is; ImageNet's "test" has no labels


@dataclass(frozen=True)
class Rows:
    """Consecutive images of a split on disk. It can be sent to a process, which opens the files."""

    folder: Path
    split: str
    size: int  # side of the decoded images, pixels
    num_classes: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def part(self, start: int, stop: int) -> "Rows":
        """Some of these rows."""
        return replace(self, start=self.start + start, stop=self.start + stop)

    def load(self, rows: Int[np.ndarray, " rows"]) -> Split:
        """Decodes images; a row of -1, which fills up a batch, gives a black one of label -1.

        Raises:
            DataError: If one cannot be decoded, or its label is out of range.
        """
        images = np.zeros((len(rows), self.size, self.size, 3), np.uint8)
        labels = np.full(len(rows), -1, np.int32)
        source, image_key, label_key = _open(self.folder, self.split)
        for place in np.flatnonzero(rows >= 0):
            row = self.start + int(rows[place])
            where = f"{self.folder}, split {self.split}, record {row}"
            try:
                record = source[row]
                images[place] = decode(record[image_key], self.size)
            except Exception as error:  # whatever ArrayRecord or Pillow make of damaged files
                raise DataError(f"{where} cannot be decoded ({error})") from error
            labels[place] = record[label_key]
            if not 0 <= labels[place] < self.num_classes:
                raise DataError(f"{where} has label {labels[place]} of {self.num_classes} classes")
        return Split(images, labels)


class Stream(NamedTuple):
    """A data set that stays on disk; otherwise as `Dataset`.

    Attributes:
        digest: SHA-256 of what describes it: image size, TFDS' descriptions, names and lengths of
            the record files. Their content, hundreds of gigabytes, is not read for it.
    """

    name: str
    train: Rows
    test: Rows
    num_classes: int
    label_names: tuple[str, ...]
    digest: str


def open_stream(name: str, folder: Path, size: int) -> Stream:
    """The prepared data set in `folder`.

    Args:
        name: For the records.
        folder: Of a version, with TFDS' dataset_info.json.
        size: Side of the decoded images, pixels.

    Raises:
        DataError: If it has no image, no label, no training or no labelled test split.
    """
    tfds_folder.check_format(folder)
    info = _builder(folder).info
    image_key, label_key = _keys(folder)
    if not {image_key, label_key} <= set(info.features):
        found = ", ".join(info.features)
        raise DataError(f"{folder} has no features 'image' and 'label', but {found}")
    test = next((split for split in TEST_SPLITS if split in info.splits), None)
    if "train" not in info.splits or test is None:
        raise DataError(f"{folder} has splits {', '.join(info.splits)}; train and test are needed")
    classes = info.features[label_key].num_classes
    splits = [
        Rows(folder, split, size, classes, 0, info.splits[split].num_examples)
        for split in ("train", test)
    ]
    names = tuple(info.features[label_key].names or ())
    return Stream(name, splits[0], splits[1], classes, names, _digest(folder, size))


def decode(content: bytes, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The central square of an image, `size` pixels wide.

    A JPEG that is at least twice too large is decoded at a half, a quarter or an eighth of its
    size, which costs a fraction; the rest is done by a bilinear filter over all pixels concerned.
    """
    from PIL import Image  # noqa: PLC0415

    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
        image.draft("RGB", (size, size))
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        square = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box)
        return np.asarray(square)


def _digest(folder: Path, size: int) -> str:
    described = [
        (path.name, path.read_text() if path.suffix == ".json" else path.stat().st_size)
        for path in tfds_folder.files(folder)
    ]
    return hashlib.sha256(json.dumps([size, described]).encode()).hexdigest()


@functools.cache
def _builder(folder: Path) -> Any:
    import tensorflow_datasets as tfds  # noqa: PLC0415

    return tfds.builder_from_directory(folder)


def _keys(folder: Path) -> tuple[str, str]:
    keys = _builder(folder).info.supervised_keys or ("image", "label")
    return str(keys[0]), str(keys[1])


@functools.cache
def _open(folder: Path, split: str) -> tuple[Any, str, str]:
    """A split's data source, its images left encoded; one for each process."""
    import tensorflow_datasets as tfds  # noqa: PLC0415

    image_key, label_key = _keys(folder)
    skip = {image_key: tfds.decode.SkipDecoding()}
    source = _builder(folder).as_data_source(split, decoders=skip)
    return source, image_key, label_key
