"""A folder of images, in subfolders named after their classes."""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from src.data.collection import Collection, Found, common_shape, name_fault, refuse_special
from src.data.dataset import DataError
from src.data.describe import TEST_SPLITS
from src.data.images import turned, upright
from src.data.write_tfds import png
from src.errors import one_line
from src.wording import counted

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
# Endings of images that are not read: in no folder of a class, they are refused as those are.
OTHER_ENDINGS = (
    *(".arw", ".avif", ".cr2", ".dng", ".exr", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".jpe"),
    *(".jxl", ".nef", ".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga", ".tif", ".tiff"),
    *(".webp",),
)
# Endings of what may lie beside the images of a class; any other file there might be an image, and
# is refused, since otherwise it would be left out. A system makes Thumbs.db and desktop.ini.
BESIDE = (
    *(".csv", ".db", ".htm", ".html", ".ini", ".json", ".md", ".pdf", ".tsv", ".txt", ".xml"),
    *(".yaml", ".yml"),
)
AS_THEY_ARE = (b"\x89PNG", b"\xff\xd8")  # PNG and JPEG files are kept, others become PNG.
HIDDEN = (".", "__MACOSX")  # Names that a system has given begin with these.
# What people call splits; within a folder `train`, classes may be called so too.
LIKE_SPLIT = re.compile(
    r"(train(ing)?|test(ing)?|val(id(ation)?)?)([-_ ]?(set|data|images?))?", re.IGNORECASE
)


def read_folder(folder: Path) -> Collection:
    """Finds images in subfolders named after their classes, and looks at each.

    Raises:
        DataError: If there are none, a class lacks training images, one cannot be decoded, or an
            image or a folder would be left out.
    """
    parts = _parts(folder)
    found = {split: _classes(part) for split, part in parts.items()}
    names = tuple(found["train"])
    _check_names(parts["train"], names)
    _refuse_twice(path for classes in found.values() for each in classes.values() for path in each)
    splits, shapes = {}, set()
    for split, classes in found.items():
        if strange := classes.keys() - set(names):
            raise DataError(
                f"{parts[split]} has a class {min(strange)!r} that is not among those of train"
            )
        files = [
            (path, label) for label, name in enumerate(names) for path in classes.get(name, ())
        ]
        if not files:
            raise DataError(f"{parts[split]} has no images ({', '.join(ENDINGS)})")
        shapes |= {_shape(path) for path, _ in files}
        labels = np.array([label for _, label in files], np.int32)
        splits[split] = Found(labels, functools.partial(_encoded, [path for path, _ in files]))
    return Collection(splits, names, common_shape(shapes))


def _parts(folder: Path) -> dict[str, Path]:
    """The folder of each split: `train` and one of `TEST_SPLITS`, or one for all images.

    Raises:
        DataError: If another folder lies beside them, or one looks like a split and is none.
    """
    names = {path.name for path in _subfolders(folder)}
    divided = "train" in names
    strange = names - {"train", *TEST_SPLITS}
    if not divided:
        strange = {name for name in names if LIKE_SPLIT.fullmatch(name)}
    if strange:
        raise DataError(
            f"{folder / min(strange)} is in the way: where images are split, the folders are train"
            f" and one of {', '.join(TEST_SPLITS)}, with no class beside them; rename or move"
            " it, or put all classes into a folder named train"
        )
    if not divided:
        return {"train": folder}
    tests = [folder / name for name in TEST_SPLITS if name in names]
    if len(tests) > 1:
        raise DataError(
            f"{folder} has {' and '.join(path.name for path in tests)}; keep one of them to test"
            " on, and move the others away"
        )
    return {"train": folder / "train"} | ({"test": tests[0]} if tests else {})


def _classes(part: Path) -> dict[str, list[Path]]:
    """The images of each class, by its subfolder's name; in numerical order if all are numbers.

    Raises:
        DataError: If a subfolder has no image, a file that may be one of another kind, or a folder
            named as a split is.
    """
    found, kinds = {}, ", ".join(ENDINGS)
    for folder in _subfolders(part):
        files = sorted(_files(folder))
        others = [path for path in files if path.suffix.lower() not in ENDINGS + BESIDE]
        _refuse_files(others, f"is none of {kinds}, which are read; convert it, or move it away")
        found[folder.name] = [path for path in files if path.suffix.lower() in ENDINGS]
        if not found[folder.name]:
            raise DataError(
                f"{folder} has no image ({kinds}); put those of its class into it, or move it away"
            )
    numbers = all(name.isascii() and name.isdigit() for name in found)
    return {name: found[name] for name in sorted(found, key=int if numbers else str)}


def _check_names(train: Path, names: Sequence[str]) -> None:
    """Refuses fewer than two classes, and names that a list of one name a line cannot hold."""
    if len(names) < 2:
        raise DataError(
            f"{train} has {counted(len(names), 'folder')} with images; there must be at least two,"
            " one for each class and named after it"
        )
    for name in names:
        if fault := name_fault(name):
            raise DataError(f"{train} has a class {name!r}, whose name {fault}; rename the folder")


def _subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that holds nothing but these: no image, which would be left out."""
    inside = _visible(folder)
    files = [path for path in inside if not path.is_dir()]
    loose = [path for path in files if path.suffix.lower() in ENDINGS + OTHER_ENDINGS]
    _refuse_files(loose, "lies in no folder of a class; move it into one, or away")
    return [path for path in inside if path.is_dir()]


def _refuse_files(files: Sequence[Path], fault: str) -> None:
    """Refuses files, naming the first and how many there are."""
    if files:
        raise DataError(f"{files[0]} {fault} ({counted(len(files), 'such file')} here)")


def _files(folder: Path) -> Iterator[Path]:
    """Files in a folder and its subfolders, through links too, hidden ones left out.

    Raises:
        DataError: If a link leads around in a circle, a subfolder is named as a split is, or
            something is neither a file nor a folder.
    """
    for path in _visible(folder):
        if not path.is_dir():
            refuse_special(path)
            yield path
        elif LIKE_SPLIT.fullmatch(path.name):
            raise DataError(
                f"{path} looks like a split within a class, whose images would be mixed; put the"
                " classes into the folders of the splits, as in train/CLASS, or rename it"
            )
        elif path.is_symlink() and path.resolve() in map(Path.resolve, path.absolute().parents):
            raise DataError(f"{path} is a link to a folder that it lies in; remove it")
        else:
            yield from _files(path)


def _refuse_twice(images: Iterable[Path]) -> None:
    """Refuses a folder that is reached in two ways: in two classes, splits or places of a class."""
    seen: dict[Path, Path] = {}
    for folder in dict.fromkeys(path.parent for path in images):
        first = seen.setdefault(folder.resolve(), folder)
        if first != folder:
            raise DataError(
                f"{folder} is the same folder as {first}, and its images would be there twice;"
                " remove one of the two"
            )


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(HIDDEN))


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
