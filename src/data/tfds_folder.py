"""Data sets prepared by TensorFlow Datasets as ArrayRecord, read without TensorFlow.

A data set lies in `<data_dir>/<name>/<version>`; `<name>` may hold a config, as in
`cifar10_corrupted/fog_1`.
"""

import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.data.dataset import DataError, Split

JPEG_START = b"\xff\xd8"
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's word for 8 bits in so many channels
CHUNK = 1000
_ID = re.compile(rb"[a-z]+_(\d+)")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class Prepared(NamedTuple):
    """A prepared data set; `jpeg` tells whether any of its images was stored with loss."""

    train: Split
    test: Split
    label_names: tuple[str, ...]
    jpeg: bool


def default_data_dir(data_dir: str) -> Path:
    """The folder of data sets: the one given, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


def find_prepared(name: str, data_dir: Path) -> Path | None:
    """The folder of the highest prepared version of a data set."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    versions = [
        path.parent
        for path in (data_dir / name).glob("*/dataset_info.json")
        if _VERSION.fullmatch(path.parent.name)
    ]
    return max(versions, key=lambda path: [int(n) for n in path.name.split(".")], default=None)


def prepared_names(data_dir: Path) -> list[str]:
    """Names of all data sets that `find_prepared` would find."""
    files = [
        *data_dir.glob("*/*/dataset_info.json"),
        *data_dir.glob("*/*/*/dataset_info.json"),
    ]
    return sorted({str(file.parent.parent.relative_to(data_dir)) for file in files})


def files(folder: Path) -> list[Path]:
    """All files of a prepared data set, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def read_prepared(folder: Path) -> Prepared:
    """Both splits, decoded.

    Records whose ids end in a number (`train_00017`, as TFDS gives CIFAR-10) are put in the order
    of these numbers, which is the order of the original files before TFDS shuffled them. Other
    records stay in the order of the record files: of the JPEG copy, with ids like
    `train_cat_2970`, the original order is lost.

    Raises:
        DataError: If the folder is no image data set of one size with labels, or is damaged.
    """
    check_format(folder)
    try:
        return _read(folder)
    except DataError:
        raise
    except Exception as error:  # whatever TFDS, ArrayRecord or Pillow make of damaged files
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(f"{folder} cannot be read as a TFDS data set ({reason})") from error


def check_format(folder: Path) -> None:
    """Refuses a folder that cannot be read without TensorFlow.

    Raises:
        DataError: If it is not prepared as ArrayRecord, or does not say how it is.
    """
    try:
        info = json.loads((folder / "dataset_info.json").read_bytes())
        found = info.get("fileFormat", "tfrecord")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{folder / 'dataset_info.json'} cannot be read: {error}") from error
    if found != "array_record":
        remedy = "prepare it with TFDS' file_format='array_record'"
        raise DataError(f"{folder} is prepared as {found}, which needs TensorFlow; {remedy}")


def _read(folder: Path) -> Prepared:
    import tensorflow_datasets as tfds  # noqa: PLC0415  # takes longer than reading a cache

    builder = tfds.builder_from_directory(folder)
    keys = builder.info.supervised_keys or ("image", "label")
    image_key, label_key = str(keys[0]), str(keys[1])
    features = builder.info.features
    if not {image_key, label_key} <= set(features):
        raise DataError(f"{folder} has no features 'image' and 'label', but {', '.join(features)}")
    shape = features[image_key].shape
    if features[image_key].np_dtype != np.uint8 or len(shape) != 3 or None in shape:
        found = f"{features[image_key].np_dtype.__name__} {shape}"
        raise DataError(f"{folder}: images must be uint8 and of one size, they are {found}")
    skip = {image_key: tfds.decode.SkipDecoding()}
    splits, jpeg = [], False
    for name in ("train", "test"):
        if name not in builder.info.splits:
            raise DataError(f"{folder} has no split {name!r}; both train and test are needed")
        records = builder.as_data_source(name, decoders=skip)
        split, lossy = read_split(records, image_key, label_key, f"{folder}, split {name}", shape)
        splits.append(split)
        jpeg |= lossy
    names = getattr(features[label_key], "names", None) or ()
    return Prepared(splits[0], splits[1], tuple(names), jpeg)


def read_split(
    records: Any, image_key: str, label_key: str, source: str, shape: tuple[int, ...]
) -> tuple[Split, bool]:
    """Decodes the records of a data source, and tells whether any image was stored as JPEG.

    Args:
        records: A TFDS data source that leaves images encoded.
        image_key: Feature that holds the image.
        label_key: Feature that holds the label.
        source: Where the records are, for messages.
        shape: Height, width and channels of every image.
    """
    images = np.empty((len(records), *shape), np.uint8)
    labels = np.empty(len(records), np.int32)
    ids: list[bytes] = []
    jpeg = False
    for start in range(0, len(records), CHUNK):
        indices = range(start, min(start + CHUNK, len(records)))
        for index, record in zip(indices, records.__getitems__(list(indices)), strict=True):
            images[index] = _decode(record[image_key], shape, f"{source}, record {index}")
            jpeg |= record[image_key].startswith(JPEG_START)
            labels[index] = record[label_key]
            ids.append(record.get("id", b""))
    order = _file_order(ids)
    return Split(images[order], labels[order]), jpeg


def _decode(content: bytes, shape: tuple[int, ...], source: str) -> np.ndarray:
    from PIL import Image  # noqa: PLC0415

    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
        found = (image.height, image.width, image.mode)
        if found != (*shape[:2], MODES.get(shape[2])):
            raise DataError(f"{source} is {found}, must be {shape} of 8 bits")
        return np.asarray(image).reshape(shape)


def _file_order(ids: Sequence[bytes]) -> np.ndarray:
    """The order of the numbers at the end of the ids, if all have one and no two the same."""
    matches = [_ID.fullmatch(name) for name in ids]
    numbers = [int(match[1]) for match in matches if match]
    if len(set(numbers)) != len(ids):
        return np.arange(len(ids))
    return np.argsort(numbers)
