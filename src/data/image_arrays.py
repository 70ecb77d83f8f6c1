"""Images and labels in a .npz file of NumPy's."""

import functools
import zipfile
from pathlib import Path

import numpy as np

from src.data.collection import Collection, Found, common_shape
from src.data.dataset import DataError
from src.data.write_tfds import png
from src.errors import one_line

# Names of the arrays: training images, labels, test images, labels.
ARRAY_NAMES = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("images", "labels"),
)


def read_arrays(path: Path) -> Collection:
    """Reads images and labels from a .npz file, see `ARRAY_NAMES`.

    Raises:
        DataError: If it is not such a file, or arrays are missing or of the wrong type or shape.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = next((each for each in ARRAY_NAMES if set(each) <= set(file.files)), None)
            if names is None:
                wanted = "; or ".join(", ".join(each) for each in ARRAY_NAMES)
                raise DataError(f"{path} has arrays {', '.join(file.files)}; wanted are {wanted}")
            arrays = [file[name] for name in names]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} is neither a folder nor a .npz file of arrays ({one_line(error)})"
        ) from error
    pairs = [
        (
            _image_array(path, names[at], arrays[at]),
            _label_array(path, names[at + 1], arrays[at + 1]),
        )
        for at in range(0, len(names), 2)
    ]
    ids = np.unique(pairs[0][1])
    splits = {}
    for split, (images, labels) in zip(("train", "test"), pairs, strict=False):
        if len(images) != len(labels):
            raise DataError(f"{path}: {len(images)} images and {len(labels)} labels for {split}")
        if len(np.setdiff1d(labels, ids)):
            raise DataError(f"{path}: a label of {split} does not occur among those of train")
        places = np.searchsorted(ids, labels).astype(np.int32)
        splits[split] = Found(places, functools.partial(_from_array, images))
    shapes = {(*images.shape[1:3], images.shape[3]) for images, _ in pairs}
    return Collection(splits, tuple(map(str, ids)), common_shape(shapes))


def _from_array(images: np.ndarray, number: int) -> bytes:
    return png(images[number])


def _image_array(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    images = array[..., None] if array.ndim == 3 else array
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise DataError(
            f"{path}: {name} is {array.dtype} {array.shape}; images are uint8 [N, height, width] or"
            " [N, height, width, 3], from 0 to 255"
        )
    if not len(images):
        raise DataError(f"{path}: {name} is empty")
    return images


def _label_array(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: {name} is {array.dtype} {array.shape}; labels are whole numbers [N]"
        )
    return labels.astype(np.int64)
