"""Writes a user's own images, from a folder or from arrays, as a data set in TFDS' form."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from src.data.collection import Collection, Found
from src.data.dataset import DataError
from src.data.image_arrays import read_arrays
from src.data.image_folder import read_folder
from src.data.write_tfds import DatasetInfo, Example, put_dataset, record_id, refuse_existing
from src.records import files

ORDER_STREAM, SPLIT_STREAM = 0, 1


def write_own(
    name: str, version: str, source: Path, data_dir: Path, test_fraction: float, seed: int
) -> Path:
    """Writes the images of a folder or a .npz file as the data set `name`.

    Args:
        name: Its name in studies.
        version: Its version, such as 1.0.0.
        source: A folder with a subfolder of images per class, or with `train` and `test`, each of
            which has such subfolders; or a .npz file, see `image_arrays`.
        data_dir: TFDS data directory.
        test_fraction: Share of each class that becomes the test split if there is none.
        seed: Decides the order in which images are written, and which ones are tested on.

    Returns:
        The folder of the data set.

    Raises:
        DataError: If the folder exists already, or naming an image that cannot be used.
        RecordError: If the folder cannot be made.
    """
    target = data_dir / name / version
    refuse_existing(target)  # Now and when it is written: to read all images may take long.
    files.refuse_unwritable(target, "choose another --data_dir")
    found = read_folder(source) if source.is_dir() else read_arrays(source)
    if len(found.label_names) < 2:
        raise DataError(f"{source} has only one class: there is nothing to tell apart")
    splits = found.splits if "test" in found.splits else _divide(found, test_fraction, seed)
    description = DatasetInfo(
        name, version, f"From {source.name}.", "", found.shape, found.label_names
    )
    rng = np.random.default_rng([ORDER_STREAM, seed])
    examples = {
        split: _examples(split, images, rng.permutation(len(images.labels)))
        for split, images in splits.items()
    }
    put_dataset(target, description, examples)
    return target


def _examples(split: str, found: Found, order: np.ndarray) -> Iterator[Example]:
    return (
        Example(record_id(split, place), found.image(int(row)), int(found.labels[row]))
        for place, row in enumerate(order)
    )


def _divide(found: Collection, fraction: float, seed: int) -> dict[str, Found]:
    """Sets a share of each class apart for testing, at least one image of each."""
    (labels, image), rng = found.splits["train"], np.random.default_rng([SPLIT_STREAM, seed])
    test: list[int] = []
    for label, name in enumerate(found.label_names):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) < 2:
            raise DataError(f"class {name!r} has one image; to train and to test on it takes two")
        test.extend(rows[: min(max(1, round(fraction * len(rows))), len(rows) - 1)].tolist())
    chosen = np.sort(np.array(test))
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return {
        split: Found(labels[rows], functools.partial(_of, image, rows))
        for split, rows in (("train", rest), ("test", chosen))
    }


def _of(image: Callable[[int], bytes], rows: np.ndarray, number: int) -> bytes:
    return image(int(rows[number]))
