"""The parts of a data set that a trial uses, in memory or on disk: train, validation, test."""

from typing import Any

from src.data.dataset import Dataset, Split
from src.data.stream import Rows, Stream

Part = Split | Rows


def image_shape(dataset: Dataset | Stream) -> tuple[int, int, int]:
    """Height, width and channels of its images."""
    if isinstance(dataset, Stream):
        return dataset.train.size, dataset.train.size, 3
    return dataset.train.images.shape[1:]


def count(part: Part) -> int:
    """Number of images."""
    return len(part) if isinstance(part, Rows) else len(part.labels)


def split_parts(
    dataset: Dataset | Stream, validation_images: int, train_images: int = 0
) -> dict[str, Any]:
    """Parts by name; validation is the end of the training set, and is no longer trained on.

    Of the rest the first `train_images` are trained on, or all where it is 0.

    In the order of CIFAR-10's files, the last 10,000 are its fifth file, which users of
    cuda-convnet watched. TFDS shuffles the sets that it prepares.
    """
    kept = count(dataset.train) - validation_images
    parts = {"train": _cut(dataset.train, 0, train_images or kept), "test": dataset.test}
    if validation_images:
        parts["validation"] = _cut(dataset.train, kept, kept + validation_images)
    return parts


def _cut(part: Part, start: int, stop: int) -> Part:
    if isinstance(part, Rows):
        return part.part(start, stop)
    return Split(part.images[start:stop], part.labels[start:stop])
