"""Images of one's own, from a folder or from arrays, as examples to be written in TFDS' form."""

import functools
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from src.data.dataset import DataError
from src.data.images import turned, upright
from src.data.write_tfds import Description, Example, png, put_dataset, record_id

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
AS_THEY_ARE = (b"\x89PNG", b"\xff\xd8")  # PNG and JPEG are kept, others become PNG
TEST_FOLDERS = ("test", "validation", "valid", "val")
# Names of the arrays in a .npz file: training images, labels, test images, labels.
ARRAY_NAMES = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("images", "labels"),
)
ORDER_STREAM, SPLIT_STREAM = 0, 1


class Found(NamedTuple):
    """Images with their classes, not read yet.

    Attributes:
        labels: Class of each, from 0.
        image: Number of an image -> its file, encoded.
    """

    labels: Int[np.ndarray, " images"]
    image: Callable[[int], bytes]


class Collection(NamedTuple):
    """Splits that were found, either `train` and `test` or all images in `train`.

    Attributes:
        shape: Of the images, None where they differ.
    """

    splits: dict[str, Found]
    label_names: tuple[str, ...]
    shape: tuple[int | None, int | None, int]


def write_own(
    name: str, version: str, source: Path, data_dir: Path, test_fraction: float, seed: int
) -> Path:
    """Writes the images of a folder or a .npz file as data set `name`; where it is then.

    Args:
        name: What studies will call it.
        version: Such as 1.0.0.
        source: A folder with a folder of images per class, or with `train` and `test`, which hold
            these; or a .npz file, see `ARRAY_NAMES`.
        data_dir: TFDS data directory.
        test_fraction: Share of each class that becomes the test split, where there is none.
        seed: Of the order in which images are written, and of what is tested on.

    Raises:
        DataError: If something is there already, or an image cannot be used: which.
    """
    found = read_folder(source) if source.is_dir() else read_arrays(source)
    splits = found.splits if "test" in found.splits else _divide(found, test_fraction, seed)
    description = Description(
        name, version, f"From {source.name}.", "", found.shape, found.label_names
    )
    target = data_dir / name / version
    rng = np.random.default_rng([ORDER_STREAM, seed])
    examples = {
        split: _examples(split, images, rng.permutation(len(images.labels)))
        for split, images in splits.items()
    }
    put_dataset(target, description, examples)
    return target


def read_folder(folder: Path) -> Collection:
    """Images in folders named after their classes, looked at one by one.

    Raises:
        DataError: If there are none, a class lacks training images, or one cannot be decoded.
    """
    tests = [name for name in TEST_FOLDERS if (folder / name).is_dir()]
    parts = {"train": folder}
    if (folder / "train").is_dir():
        parts = {"train": folder / "train"} | ({"test": folder / tests[0]} if tests else {})
    names = _class_names(parts["train"])
    if len(names) < 2:
        raise DataError(
            f"{parts['train']} has {len(names)} folders with images; there must be one for each"
            " class, two at least, named after it"
        )
    unfit = [name for name in names if name != name.strip() or not name.isprintable()]
    if unfit:
        raise DataError(
            f"{parts['train']} has a class {unfit[0]!r}, whose name begins or ends with a space or"
            " has a line break in it; rename the folder"
        )
    splits, shapes = {}, set()
    for split, part in parts.items():
        strange = set(_class_names(part)) - set(names)
        if strange:
            raise DataError(f"{part} has a class {min(strange)!r} that is not among those of train")
        files = [(path, label) for label, name in enumerate(names) for path in _images(part / name)]
        if not files:
            raise DataError(f"{part} has no images ({', '.join(ENDINGS)})")
        shapes |= {_shape(path) for path, _ in files}
        labels = np.array([label for _, label in files], np.int32)
        splits[split] = Found(labels, functools.partial(_encoded, [path for path, _ in files]))
    return Collection(splits, tuple(names), _common(shapes))


def read_arrays(path: Path) -> Collection:
    """Images and labels from a .npz file.

    Raises:
        DataError: If it is no such file, or arrays are missing or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = next((each for each in ARRAY_NAMES if set(each) <= set(file.files)), None)
            if names is None:
                wanted = "; or ".join(", ".join(each) for each in ARRAY_NAMES)
                raise DataError(f"{path} has arrays {', '.join(file.files)}; wanted are {wanted}")
            arrays = [file[name] for name in names]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} is neither a folder nor a .npz file of arrays ({reason})"
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
    return Collection(splits, tuple(map(str, ids)), _common(shapes))


def _examples(split: str, found: Found, order: np.ndarray) -> Iterator[Example]:
    return (
        Example(record_id(split, place), found.image(int(row)), int(found.labels[row]))
        for place, row in enumerate(order)
    )


def _divide(found: Collection, fraction: float, seed: int) -> dict[str, Found]:
    """A share of each class for testing, at least one image of each."""
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


def _class_names(folder: Path) -> list[str]:
    """Folders that hold images; numbers in the order of numbers."""
    names = [path.name for path in folder.iterdir() if path.is_dir() and _images(path)]
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=int) if numbers else sorted(names)


def _images(folder: Path) -> list[Path]:
    """Images in a folder and those in it; hidden files are none."""
    found = folder.rglob("*") if folder.is_dir() else ()
    return sorted(
        path
        for path in found
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def _shape(path: Path) -> tuple[int, int, int]:
    """Height, width and channels; a grey image has one."""
    try:
        pixels = upright(path.read_bytes())
    except Exception as error:  # whatever Pillow makes of damaged files
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be used as an image ({reason})") from error
    grey = bool(np.all(pixels == pixels[..., :1]))
    return pixels.shape[0], pixels.shape[1], 1 if grey else 3


def _common(shapes: set[tuple[int, int, int]]) -> tuple[int | None, int | None, int]:
    sizes = {shape[:2] for shape in shapes}
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    return height, width, max(shape[2] for shape in shapes)


def _encoded(paths: Sequence[Path], number: int) -> bytes:
    """The file as it is; as PNG if it is of another format, or a camera's to be turned upright."""
    content = paths[number].read_bytes()
    kept = content.startswith(AS_THEY_ARE) and not turned(content)
    return content if kept else png(upright(content))


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
