"""Images and labels in a .npz file of NumPy's."""

import functools
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from src.data.collection import Collection, Found, common_shape, name_fault, refuse_special
from src.data.dataset import DataError
from src.data.write_tfds import png
from src.errors import one_line
from src.wording import counted

# Names of the arrays: training images, labels, test images, labels.
ARRAY_NAMES = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("images", "labels"),
)
CLASS_NAMES = "class_names"  # The names of classes 0, 1, ..., if there is such an array.


def read_arrays(path: Path) -> Collection:
    """Reads images, labels and names of classes from a .npz file, see `ARRAY_NAMES`.

    Raises:
        DataError: If it is not such a file, or arrays are missing, too many or of the wrong type
            or shape, or classes are named that cannot be.
    """
    refuse_special(path)
    arrays, names = _load(path)
    for labels in arrays[1::2]:
        if len(labels) and labels.max() > np.iinfo(np.int64).max:
            raise DataError(f"{path} has the label {labels.max()}; the largest is {2**63 - 1}")
    pairs = [
        (images[..., None] if images.ndim == 3 else images, labels.reshape(-1).astype(np.int64))
        for images, labels in zip(arrays[::2], arrays[1::2], strict=True)
    ]
    ids = np.unique(pairs[0][1])
    splits = {}
    for split, (images, labels) in zip(("train", "test"), pairs, strict=False):
        if len(images) != len(labels):
            found = f"{counted(len(images), 'image')} and {counted(len(labels), 'label')}"
            raise DataError(f"{path}: {found} for {split}; give each image one")
        if len(np.setdiff1d(labels, ids)):
            raise DataError(f"{path}: a label of {split} does not occur among those of train")
        places = np.searchsorted(ids, labels).astype(np.int32)
        splits[split] = Found(places, functools.partial(_from_array, images))
    shapes = {(*images.shape[1:3], images.shape[3]) for images, _ in pairs}
    return Collection(splits, _names_of(path, names, ids.tolist()), common_shape(shapes))


def _names_of(path: Path, names: Sequence[str], ids: Sequence[int]) -> tuple[str, ...]:
    """The names of the classes with these labels: the labels themselves if there are none."""
    if not names:
        return tuple(map(str, ids))
    for name in names:
        if fault := name_fault(name) or ("" if names.count(name) == 1 else "is there twice"):
            raise DataError(f"{path}: {CLASS_NAMES} has {name!r}, which {fault}; name it otherwise")
    if strange := [label for label in ids if not 0 <= label < len(names)]:
        raise DataError(
            f"{path}: {CLASS_NAMES} names labels 0 to {len(names) - 1}, and there is a label"
            f" {strange[0]}; name all, or leave {CLASS_NAMES} out"
        )
    return tuple(names[label] for label in ids)


def _from_array(images: np.ndarray, number: int) -> bytes:
    return png(images[number])


def _load(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Images, labels and so on, and names; no memory is taken before all types are right."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = _names(path, file.files)
            arrays = (n.removesuffix(".npy") for n in file.zip.namelist() if n.endswith(".npy"))
            others = [name for name in arrays if name not in names and "/" not in name]
            _refuse_more(path, {each: _header(file.zip, f"{each}.npy") for each in others})
            for place, name in enumerate(names):
                check = _check_labels if place % 2 else _check_images
                check(f"{path}: {name}", *_header(file.zip, f"{name}.npy"))
            named = CLASS_NAMES in others
            if named:
                where = f"{path}: {CLASS_NAMES}"
                _check_class_names(where, *_header(file.zip, f"{CLASS_NAMES}.npy"))
            return [file[n] for n in names], file[CLASS_NAMES].tolist() if named else []
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(
            f"{path} has more numbers than the memory holds; write its images as files into"
            " folders, one for each class"
        ) from error
    except Exception as error:  # NumPy and zipfile raise almost anything on damaged files.
        reason = one_line(f"{type(error).__name__}: {error}")
        raise DataError(
            f"{path} is neither a folder nor a .npz file of arrays ({reason}); give one that"
            " numpy.savez has written"
        ) from error


def _names(path: Path, have: Sequence[str]) -> tuple[str, ...]:
    for names in ARRAY_NAMES:
        if set(names) <= set(have):
            return names
    wanted = "; or ".join(", ".join(each) for each in ARRAY_NAMES)
    raise DataError(f"{path} has arrays {', '.join(have)}; wanted are {wanted}")


def _refuse_more(path: Path, others: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
    """Refuses further images, which would be left out: those of a third split, say."""
    for name, (dtype, shape) in others.items():
        of_labels = others.get(_labels_for(name), (dtype, ()))[1]
        labelled = len(shape) > 1 and of_labels[:1] == shape[:1]
        if _are_images(dtype, shape) or labelled:
            raise DataError(
                f"{path} has images {name} as well, which would be left out; save it without them,"
                " or with them among the others"
            )


def _labels_for(images: str) -> str:
    """What the labels would be called if that were the name of images, as in `ARRAY_NAMES`."""
    if images[:2] in ("x_", "X_"):
        return {"x": "y", "X": "Y"}[images[0]] + images[1:]
    return images.replace("images", "labels") if "images" in images else ""


def _header(archive: zipfile.ZipFile, name: str) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of an array, without its numbers.

    Raises:
        ValueError: If it is no array, or has not as many numbers as it says.
    """
    with zipfile.Path(archive, name).open("rb") as entry:
        first = np.lib.format.read_magic(entry) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(entry)
        size = archive.getinfo(name).file_size - entry.tell()
    if size != math.prod(shape) * dtype.itemsize and not dtype.hasobject:
        raise ValueError(f"{name} says that it is {dtype} {shape}, and has {size} bytes")
    return dtype, shape


def _are_images(dtype: np.dtype, shape: tuple[int, ...]) -> bool:
    return dtype == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3)))


def _check_images(where: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if not _are_images(dtype, shape):
        raise DataError(
            f"{where} is {dtype} {shape}; images are uint8 [N, height, width] or"
            " [N, height, width, 3], from 0 to 255"
        )
    if 0 in shape:
        raise DataError(f"{where} is empty, its shape is {shape}; images have a pixel or more")


def _check_class_names(where: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if dtype.kind != "U" or len(shape) != 1:
        raise DataError(
            f"{where} is {dtype} {shape}; names are text [classes], as numpy.array(['cat', 'dog'])"
        )


def _check_labels(where: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if dtype.kind not in "iu" or not shape or shape[1:] not in ((), (1,)):
        raise DataError(f"{where} is {dtype} {shape}; labels are whole numbers [N]")
