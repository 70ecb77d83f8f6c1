"""The splits of a data set that a trial uses, in memory or on disk: train, validation, test."""

from typing import Any

import numpy as np
from jaxtyping import Int

from src.data.dataset import DataError, Dataset, Split
from src.data.stream import Rows, Stream

AnySplit = Split | Rows


def image_shape(dataset: Dataset | Stream) -> tuple[int, int, int]:
    """Height, width and channels of its images."""
    if isinstance(dataset, Stream):
        return dataset.train.size, dataset.train.size, dataset.train.channels
    return dataset.train.images.shape[1:]


def count(split: AnySplit) -> int:
    """Number of images."""
    return len(split.labels)


def make_splits(
    dataset: Dataset | Stream, validation_images: int, train_images: int = 0
) -> dict[str, Any]:
    """Splits by name; validation images are no longer trained on.

    Validation is the end of the training set, and of the rest the first `train_images` are trained
    on, or all where it is 0. In the order of CIFAR-10's files, the last 10,000 are its fifth file,
    which users of cuda-convnet watched.

    If the training set is sorted by class, both are the last and the first images of *each* class
    instead, as many of one class as of another.

    Raises:
        DataError: If there are fewer images than are asked for.
    """
    labels, total = dataset.train.labels, count(dataset.train)
    if validation_images + train_images > total or validation_images >= total:
        raise DataError(
            f"{dataset.name} has {total} training images: config.validation_images ="
            f" {validation_images} and config.train_images = {train_images} ask for more"
        )
    rows, by_class = np.arange(total), is_grouped(labels)
    splits: dict[str, Any] = {"test": dataset.test}
    if validation_images:
        chosen = last_rows(labels, validation_images, by_class)
        splits["validation"] = take(dataset.train, chosen)
        rows = np.delete(rows, chosen)
    if train_images:
        rows = rows[first_rows(labels[rows], train_images, by_class)]
    return {"train": take(dataset.train, rows), **splits}


def with_labels(split: AnySplit, labels: int) -> AnySplit:
    """The first images of each class, as many of one class as of another.

    Args:
        split: The images that are trained on.
        labels: Number of images in all; 0: the whole split.

    Raises:
        DataError: If there are fewer images.
    """
    if not labels:
        return split
    if labels > count(split):
        raise DataError(f"config.labels = {labels}: only {count(split)} images are trained on")
    return take(split, first_of_each(split.labels, labels))


def is_grouped(labels: Int[np.ndarray, " images"]) -> bool:
    """Whether images of a class stand together: neighbours differ half as often as by chance."""
    shares = np.bincount(labels) / len(labels)
    by_chance = (1 - np.sum(shares**2)) * (len(labels) - 1)
    return bool(np.sum(labels[1:] != labels[:-1]) < by_chance / 2)


def first_rows(
    labels: Int[np.ndarray, " images"], number: int, by_class: bool
) -> Int[np.ndarray, " chosen"]:
    """The first `number` rows, or the first of each class, see `first_of_each`."""
    return first_of_each(labels, number) if by_class else np.arange(min(number, len(labels)))


def last_rows(
    labels: Int[np.ndarray, " images"], number: int, by_class: bool
) -> Int[np.ndarray, " chosen"]:
    """The last `number` rows, or the last of each class."""
    return np.sort(len(labels) - 1 - first_rows(labels[::-1], number, by_class))


def first_of_each(labels: Int[np.ndarray, " images"], number: int) -> Int[np.ndarray, " chosen"]:
    """Rows of the first images of each class, `number` in all, in the order of the file.

    Each class gives equally many, or all that it has. If they do not come out even, the classes
    whose next image comes first in the file give one more.
    """
    order = np.argsort(labels, kind="stable")  # Class by class.
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))])[labels[order]]
    ranks = np.empty(len(labels), np.int64)  # An image's place among those of its class.
    ranks[order] = np.arange(len(labels)) - starts
    return np.sort(np.lexsort((np.arange(len(labels)), ranks))[:number])


def take(split: AnySplit, rows: Int[np.ndarray, " chosen"]) -> AnySplit:
    """Some images of a split, in the order of `rows`."""
    cut = slice(rows[0], rows[-1] + 1) if _consecutive(rows) else rows
    if isinstance(split, Rows):
        return split.take(cut)
    return Split(split.images[cut], split.labels[cut])


def remarks(
    dataset: Dataset | Stream,
    validation_images: int,
    train_images: int,
    labels: int = 0,
    *,
    in_file_order: bool,
) -> list[str]:
    """What a person should know about the images before they are trained on, a line each.

    Args:
        dataset: The data set before it is split.
        validation_images: As for `make_splits`.
        train_images: As for `make_splits`.
        labels: As for `with_labels`.
        in_file_order: Whether images are trained on in the order of the file.
    """
    every, lines = dataset.train.labels, []
    if is_grouped(every) and in_file_order:
        lines.append(
            f"{dataset.name}: its training images are sorted by class, and the recipe keeps their"
            " order: it trains on one class after the other; let its order be 'permuted' or"
            " 'shuffled'"
        )
    split = make_splits(dataset, validation_images, train_images)["train"]
    trained = with_labels(split, labels).labels
    missing = np.setdiff1d(every, trained)
    if len(missing):
        names = [dataset.label_names[n] if dataset.label_names else str(n) for n in missing[:10]]
        lines.append(
            f"{dataset.name}: of its {len(np.unique(every))} classes, {len(missing)} have no image"
            f" among the {len(trained)} that are trained on: {', '.join(names)}"
            f"{', ...' if len(missing) > 10 else ''}"
        )
    return lines


def _consecutive(rows: Int[np.ndarray, " chosen"]) -> bool:
    return len(rows) > 0 and bool(np.all(np.diff(rows) == 1))
