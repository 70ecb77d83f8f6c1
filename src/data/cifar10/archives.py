"""Reads CIFAR-10 as published: either archive, or the unpacked folder of either, in file order."""

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src import pickles
from src.data.cifar10.facts import Original
from src.data.dataset import DataError, Split
from src.errors import one_line

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


class Version(NamedTuple):
    """One of the two published forms.

    Attributes:
        archive: File name of the archive.
        folder: Folder that it unpacks to.
        batches: The five training files in order, then the test file.
        decode: (bytes of a batch, its name) -> a split.
    """

    archive: str
    folder: str
    batches: tuple[str, ...]
    decode: Callable[[bytes, str], Split]


class Published(NamedTuple):
    """An archive or an unpacked folder, and the files whose change would change the data."""

    path: Path
    version: Version
    files: list[Path]


def find_published(data_dir: Path) -> Published | None:
    """The first of both archives and both unpacked folders in `data_dir` or its `downloads`."""
    places = (data_dir, data_dir / "downloads")
    for version in (BINARY, PYTHON):
        for archive in (place / version.archive for place in places):
            if archive.is_file():
                return Published(archive, version, [archive])
    for version in (BINARY, PYTHON):
        for folder in (place / version.folder for place in places):
            if folder.is_dir():
                return Published(folder, version, [folder / name for name in version.batches])
    return None


def read_published(found: Published, original: Original) -> tuple[Split, Split]:
    """Reads training and test split, in the order of the files.

    Raises:
        DataError: If an archive's checksum is wrong, or a file is missing or damaged.
    """
    if found.path.is_file():
        known = original.binary_md5 if found.version is BINARY else original.python_md5
        check_md5(found.path, known)
        contents = _read_archive(found.path, found.version.batches)
    else:
        contents = {path.name: _read_file(path) for path in found.files}
    splits = []
    for name in found.version.batches:
        if name not in contents:
            raise DataError(f"{found.path}: {name} is missing; unpack or download it again")
        splits.append(found.version.decode(contents.pop(name), f"{found.path}: {name}"))
    train = Split(*(np.concatenate(arrays) for arrays in zip(*splits[:-1], strict=True)))
    return train, splits[-1]


def check_md5(path: Path, known: str) -> None:
    """Refuses a file that is not the published one.

    Raises:
        DataError: If the checksum differs or the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if found != known:
        message = "most often an incomplete download; delete it or download it again"
        raise DataError(f"{path}: checksum (MD5) is {found}, must be {known}: {message}")


def _read_archive(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Contents of the named files, read in one pass; nothing is unpacked to disk."""

    def members() -> Iterator[tuple[str, bytes]]:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                name = Path(member.name).name
                if name in names and (file := archive.extractfile(member)) is not None:
                    yield name, file.read()

    try:
        return dict(members())
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); download it again") from error


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; unpack it again") from error


def _decode_binary(content: bytes, source: str) -> Split:
    if len(content) % (1 + PIXELS):
        raise DataError(f"{source} has {len(content)} bytes, not a multiple of {1 + PIXELS}")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return Split(_to_images(records[:, 1:]), records[:, 0].astype(np.int32))


def _decode_python(content: bytes, source: str) -> Split:
    try:
        batch, _ = pickles.load(content, pickles.ARRAYS)
        pixels, labels = (batch.get(key) if isinstance(batch, dict) else None for key in _KEYS)
        array = _bytes_of(pixels)
    except Exception as error:  # Damaged pickles raise almost anything.
        reason = one_line(f"{type(error).__name__}: {error}")
        raise DataError(f"{source} is damaged or refused ({reason}); unpack it again") from error
    if array is None:
        raise DataError(f"{source} has no array 'data' of bytes; unpack it again")
    if array.shape[1] != PIXELS or not isinstance(labels, list) or len(labels) != len(array):
        found = f"data {array.shape}, {len(labels) if isinstance(labels, list) else 0} labels"
        raise DataError(f"{source} is not CIFAR-10: {found}, must be [N, {PIXELS}] and N")
    if not all(type(label) is int and 0 <= label < 10 for label in labels):
        raise DataError(f"{source} has labels outside 0 to 9")
    return Split(_to_images(array), np.array(labels, np.int32))


def _bytes_of(array: Any) -> np.ndarray | None:
    """The array of bytes [N, M] that was pickled; None if it was anything else."""
    if not isinstance(array, pickles.Array) or array.kind not in ("u1", "uint8", "|u1"):
        return None
    content = array.content
    if isinstance(content, str):  # Latin-1 keeps the bytes of Python 2 as they are.
        content = content.encode("latin1")
    shape = array.shape
    if len(shape) != 2 or min(shape) < 0 or not isinstance(content, bytes):
        return None
    if shape[0] * shape[1] != len(content):
        return None
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if array.fortran else "C")


def _to_images(planes: np.ndarray) -> np.ndarray:
    """[N, 3072] red, green and blue planes -> [N, 32, 32, 3]."""
    return np.ascontiguousarray(planes.reshape(-1, *SHAPE).transpose(0, 2, 3, 1))


_KEYS = ("data", "labels")
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
BINARY = Version(
    archive="cifar-10-binary.tar.gz",
    folder="cifar-10-batches-bin",
    batches=(*(f"{name}.bin" for name in _TRAIN), "test_batch.bin"),
    decode=_decode_binary,
)
PYTHON = Version(
    archive="cifar-10-python.tar.gz",
    folder="cifar-10-batches-py",
    batches=(*_TRAIN, "test_batch"),
    decode=_decode_python,
)
