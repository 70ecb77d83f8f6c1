"""Numbers the classes of a data set 0, 1, 2 ..., whatever its records call them."""

import numpy as np
from jaxtyping import Int

from src.data.dataset import DataError
from src.data.describe import Description

FEW_A_CLASS = 2  # A label with fewer images per value is not a class.
MOST_CLASSES = 100_000  # A longer list with more entries than images is one of ids.


def number_classes(
    found: Description, train: Int[np.ndarray, " train"], test: Int[np.ndarray, " test"]
) -> tuple[int, tuple[str, ...], tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]]:
    """Number of classes, their names, and the labels of both splits from 0 as int32.

    If the folder lists no classes, the numbers that occur in training are the classes, in ascending
    order; if they are not 0, 1, 2 ..., they are the classes' names as well.

    Args:
        found: The data set.
        train: Labels of the training split, as they are written.
        test: Labels of the test split, as they are written.

    Raises:
        DataError: If labels are ids or numbers to predict, all of one class, or not in the list; in
            the last case naming the record.
    """
    ids = _ids(found, train)
    numbered = (_numbered(found, found.train.source, ids, train),
                _numbered(found, found.test.source, ids, test))  # fmt: skip
    counted = np.array_equal(ids, np.arange(len(ids)))
    names = found.label_names if counted else tuple(str(number) for number in ids)
    return len(ids), names, numbered


def _ids(found: Description, train: np.ndarray) -> np.ndarray:
    """The numbers of the classes in the records, in ascending order."""
    where = f"{found.train.source}: feature {found.train.label_key!r}"
    listed = found.num_classes
    if listed > max(MOST_CLASSES, len(train)):
        raise DataError(
            f"{where} lists {listed} classes for {len(train)} images: these are ids; prepare the"
            " data set with a ClassLabel of the classes that occur"
        )
    ids = np.arange(listed) if listed else np.unique(train)
    if not listed and len(train) < FEW_A_CLASS * len(ids):
        raise DataError(
            f"{where} has {len(ids)} values in {len(train)} images: it is no class; prepare the"
            " data set with a ClassLabel"
        )
    if len(ids) == 1:
        raise DataError(f"{where} has only one class: there is nothing to tell apart")
    return ids


def _numbered(found: Description, source: str, ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    places = np.searchsorted(ids, labels).clip(max=len(ids) - 1)
    (strange,) = np.nonzero(ids[places] != labels)
    if len(strange):
        known = f"{found.num_classes} classes" if found.num_classes else "training images"
        raise DataError(
            f"{source}, record {strange[0]} has label {labels[strange[0]]}, which is not among"
            f" those of the {known}"
        )
    return places.astype(np.int32)
