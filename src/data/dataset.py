"""The data set in memory, and the checks that it must pass before anything is trained on it."""

import hashlib
import json
import multiprocessing
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from src.errors import LabError


class DataError(LabError):
    """Data that cannot be had or trusted. The message is one line: what, where, remedy."""


class Split(NamedTuple):
    """Images and their labels, in the order of the file.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: int32 [N], from 0.
    """

    images: np.ndarray
    labels: np.ndarray


class Dataset(NamedTuple):
    """A data set with its splits.

    Attributes:
        name: Its name in records: "cifar10", "cifar10-jpeg", "procedural", "cifar100", ...
        train: The images to train on.
        test: The images to test on.
        num_classes: Number of classes.
        label_names: Names of the classes in the order of their numbers, or none.
        digest: SHA-256 over both splits and the names, see `digest`.
    """

    name: str
    train: Split
    test: Split
    num_classes: int
    label_names: tuple[str, ...]
    digest: str


def digest(train: Split, test: Split, label_names: Sequence[str] = ()) -> str:
    """SHA-256 over images and labels of both splits, in order, and the names of the classes.

    Labels count as little-endian int32, names as a list in JSON.
    """
    sums = hashlib.sha256()
    for split in (train, test):
        sums.update(np.ascontiguousarray(split.images).data)
        sums.update(split.labels.astype("<i4").data)
    sums.update(json.dumps(list(label_names)).encode())
    return sums.hexdigest()


def make_dataset(
    name: str, train: Split, test: Split, num_classes: int, label_names: Sequence[str] = ()
) -> Dataset:
    """Makes a data set, with its digest; `check_dataset` says what it must fulfil."""
    names = tuple(label_names)
    return Dataset(name, train, test, num_classes, names, digest(train, test, names))


def check_dataset(dataset: Dataset, source: str, sizes: tuple[int, int] | None = None) -> Dataset:
    """Returns the data set if it can be trained on, and refuses it otherwise.

    Args:
        dataset: The data set as it was read.
        source: The file or folder it came from, for the message.
        sizes: Required numbers of training and test images; None: at least one each.

    Raises:
        DataError: If a split is empty, short or long, an array has the wrong shape or type, or a
            label is out of range.
    """
    classes, names = dataset.num_classes, len(dataset.label_names)
    if type(classes) is not int or classes < 2:
        raise DataError(
            f"{source}: it has {classes!r} classes; a whole number is needed, 2 or more"
        )
    if not all(isinstance(name, str) for name in dataset.label_names):
        raise DataError(f"{source}: names of classes are {dataset.label_names[:3]}, not strings")
    if names not in (0, dataset.num_classes):
        raise DataError(f"{source}: there are {names} names for {dataset.num_classes} classes")
    _check_split(dataset.train, "train", dataset.num_classes, source, sizes and sizes[0])
    _check_split(dataset.test, "test", dataset.num_classes, source, sizes and sizes[1])
    shapes = [split.images.shape[1:] for split in (dataset.train, dataset.test)]
    if shapes[0] != shapes[1]:
        raise DataError(f"{source}: train images are {shapes[0]}, test images {shapes[1]}")
    return dataset


def say(line: str) -> None:
    """Prints a line about the data, to standard error.

    The workers of a study print nothing: the study's own process has read the same data before.
    """
    if multiprocessing.parent_process() is None:
        print(line, file=sys.stderr, flush=True)


def _check_split(split: Split, name: str, num_classes: int, source: str, size: int | None) -> None:
    images, labels = split
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape[1:]:
        found = f"{images.dtype} {images.shape}"
        raise DataError(f"{source}: {name} images must be uint8 [N, H, W, C], they are {found}")
    if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
        found = f"{labels.dtype} {labels.shape} for {len(images)} images"
        raise DataError(f"{source}: {name} labels must be int32, one per image; they are {found}")
    if not len(images):
        raise DataError(f"{source}: split {name} is empty")
    if size is not None and len(images) != size:
        raise DataError(f"{source}: split {name} has {len(images)} images, it must have {size}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        worst = low if low < 0 else high
        raise DataError(f"{source}: split {name} has label {worst}, outside 0 to {num_classes - 1}")
