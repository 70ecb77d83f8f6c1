"""The splits of a data set that a trial uses, in memory or on disk: train, validation, test."""

from typing import Any

from src.data.dataset import Dataset, Split
from src.data.stream import Rows, Stream

AnySplit = Split | Rows


def image_shape(dataset: Dataset | Stream) -> tuple[int, int, int]:
    """Height, width and channels of its images."""
    if isinstance(dataset, Stream):
        return dataset.train.size, dataset.train.size, 3
    return dataset.train.images.shape[1:]


def count(split: AnySplit) -> int:
    """Number of images."""
    return len(split) if isinstance(split, Rows) else len(split.labels)


def make_splits(
    dataset: Dataset | Stream, validation_images: int, train_images: int = 0
) -> dict[str, Any]:
    """Splits by name; validation is the end of the training set, and is no longer trained on.

    Of the rest the first `train_images` are trained on, or all where it is 0.

    In the order of CIFAR-10's files, the last 10,000 are its fifth file, which users of
    cuda-convnet watched. TFDS shuffles the sets that it prepares.
    """
    kept = count(dataset.train) - validation_images
    splits = {"train": _cut(dataset.train, 0, train_images or kept), "test": dataset.test}
    if validation_images:
        splits["validation"] = _cut(dataset.train, kept, kept + validation_images)
    return splits


def _cut(split: AnySplit, start: int, stop: int) -> AnySplit:
    if isinstance(split, Rows):
        return split.part(start, stop)
    return Split(split.images[start:stop], split.labels[start:stop])
