"""A folder of images, in subfolders named after their classes."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.data.collection import Collection, Found, common_shape
from src.data.dataset import DataError
from src.data.describe import TEST_SPLITS
from src.data.images import turned, upright
from src.data.write_tfds import png
from src.errors import one_line

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
AS_THEY_ARE = (b"\x89PNG", b"\xff\xd8")  # PNG and JPEG files are kept, others become PNG.


def read_folder(folder: Path) -> Collection:
    """Finds images in subfolders named after their classes, and looks at each.

    Raises:
        DataError: If there are none, a class lacks training images, or one cannot be decoded.
    """
    tests = [name for name in TEST_SPLITS if (folder / name).is_dir()]
    parts = {"train": folder}
    if (folder / "train").is_dir():
        parts = {"train": folder / "train"} | ({"test": folder / tests[0]} if tests else {})
    names = _class_names(parts["train"])
    if len(names) < 2:
        raise DataError(
            f"{parts['train']} has {len(names)} folders with images; there must be at least"
            " two, one for each class and named after it"
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
    return Collection(splits, tuple(names), common_shape(shapes))


def _class_names(folder: Path) -> list[str]:
    """Names of the subfolders that hold images; in numerical order if all are numbers."""
    names = [path.name for path in folder.iterdir() if path.is_dir() and _images(path)]
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=int) if numbers else sorted(names)


def _images(folder: Path) -> list[Path]:
    """Images in a folder and its subfolders, hidden files left out."""
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
    except Exception as error:  # Pillow raises almost anything on damaged files.
        raise DataError(f"{path} cannot be used as an image ({one_line(error)})") from error
    grey = bool(np.all(pixels == pixels[..., :1]))
    return pixels.shape[0], pixels.shape[1], 1 if grey else 3


def _encoded(paths: Sequence[Path], number: int) -> bytes:
    """The file as it is, or as PNG if it has another format or must be turned upright."""
    content = paths[number].read_bytes()
    kept = content.startswith(AS_THEY_ARE) and not turned(content)
    return content if kept else png(upright(content))
