"""Loads CIFAR-10 from an archive, a prepared TFDS folder, or the network.

An archive is preferred to a prepared folder beside it, since it is the original, whatever the
folder holds. Streams read a prepared folder, which is made of an archive where there is none. A
downloaded archive is prepared as a TFDS folder once, and removed.

Its name in records says what was found, by the content alone: `cifar10` if images, labels and their
order are verified to be the original's, `cifar10-jpeg` if images are stored as JPEG, else
`cifar10-unverified`.
"""

import functools
from pathlib import Path

from src.data import cache, tfds_folder
from src.data import write_tfds as prepare
from src.data.cifar10 import archives as cifar10_archives
from src.data.cifar10.download import CONNECT_SECONDS, NotReached, download
from src.data.cifar10.facts import CLASSES, ORIGINAL, Original, is_original
from src.data.dataset import DataError, Dataset, Split, check_dataset, make_dataset, say
from src.data.describe import Description, describe
from src.data.stream import Stream, look_through, read_whole
from src.data.workplace import put, workplace

NAME = "cifar10"
WAYS_OUT = (
    "Three ways out: a prepared TFDS folder, by TFDS_DATA_DIR, --config.data.dir=DIR of a study or "
    "--data_dir=DIR of another command; "
    "cifar-10-binary.tar.gz or cifar-10-python.tar.gz put into {data_dir}; "
    "a study with --config.data.name=procedural, which needs no data"
)


def load_cifar10(
    data_dir: Path,
    original: Original = ORIGINAL,
    connect_seconds: float = CONNECT_SECONDS,
    *,
    version: str | None = None,
) -> Dataset:
    """Loads CIFAR-10 from `data_dir`, after downloading it if it is not there.

    Args:
        data_dir: TFDS data directory.
        original: The facts that identify the original.
        connect_seconds: How long to wait for the server.
        version: Version of the prepared folder; None: an archive, or the highest version.

    Raises:
        DataError: If it cannot be had, naming the ways out, or is damaged.
    """
    published = cifar10_archives.find_published(data_dir) if version is None else None
    if published is not None:
        read = functools.partial(_published, published, original)
        return cache.cached(published.files, read, NAME)
    return _of_prepared(_find_or_prepare(data_dir, original, connect_seconds, version), original)


def stream_cifar10(
    data_dir: Path,
    size: int,
    original: Original = ORIGINAL,
    connect_seconds: float = CONNECT_SECONDS,
    *,
    version: str | None = None,
) -> Stream:
    """The prepared folder with its images left on disk, under the name that `load_cifar10` gives.

    Args:
        data_dir: TFDS data directory.
        size: Side that the images are brought to, in pixels.
        original: The facts that identify the original.
        connect_seconds: How long to wait for the server.
        version: Version of the prepared folder; None: the highest.

    Raises:
        DataError: If it cannot be had, naming the ways out, or is damaged.
    """
    found = _find_or_prepare(data_dir, original, connect_seconds, version)
    return look_through(_of_prepared(found, original).name, found, size).stream


def _published(found: cifar10_archives.Published, original: Original) -> Dataset:
    say(f"CIFAR-10: reading {found.path}")
    train, test = cifar10_archives.read_published(found, original)
    return _dataset(train, test, str(found.path), original)


def _of_prepared(found: Description, original: Original) -> Dataset:
    return cache.cached(found.files, functools.partial(_prepared, found, original), NAME)


def _prepared(found: Description, original: Original) -> Dataset:
    stream, lossy = look_through(NAME, found, 0)
    train, test = read_whole(stream)[1:3]
    return _dataset(train, test, str(found.folder), original, lossy=lossy)


def _dataset(
    train: Split, test: Split, source: str, original: Original, *, lossy: bool = False
) -> Dataset:
    kind = "-jpeg" if lossy else "" if is_original(train, test, original) else "-unverified"
    dataset = make_dataset(NAME + kind, train, test, len(CLASSES), CLASSES)
    return check_dataset(dataset, source, original.sizes)


def _find_or_prepare(
    data_dir: Path, original: Original, connect_seconds: float, version: str | None
) -> Description:
    name = tfds_folder.Name(NAME, version)
    found = tfds_folder.find_prepared(name, data_dir)
    if found is None and version is not None:
        raise tfds_folder.not_found(name, data_dir)
    return found or describe(_prepare(data_dir, original, connect_seconds))


def _prepare(data_dir: Path, original: Original, connect_seconds: float) -> Path:
    """Prepares what is published, downloaded if it is not there.

    The finished folder is moved to its place, or nothing is left behind.
    """
    target = data_dir / prepare.NAME / prepare.VERSION
    there = cifar10_archives.find_published(data_dir)
    try:
        with workplace(target.parent / "incomplete") as place:
            found = there or _download(place, original, connect_seconds)
            train, test, *_ = _published(found, original)[1:]
            folder = place / prepare.VERSION
            folder.mkdir()
            prepare.write_prepared(folder, train, test)
            put(folder, target)
    except NotReached as error:
        raise DataError(f"{error}. {WAYS_OUT.format(data_dir=data_dir)}") from error
    except OSError as error:
        reason = f"cannot prepare {target}: {error.strerror or error}"
        if there:
            raise DataError(
                f"{reason}. Images are streamed from a prepared folder: make {data_dir} writable,"
                f" or let config.data.stream_size be 0, which {there.path} serves as it is"
            ) from error
        raise DataError(f"{reason}. {WAYS_OUT.format(data_dir=data_dir)}") from error
    say(f"CIFAR-10: prepared {target}")
    return target


def _download(
    place: Path, original: Original, connect_seconds: float
) -> cifar10_archives.Published:
    version = cifar10_archives.BINARY
    archive = place / version.archive
    download(
        original.url + version.archive,
        archive,
        original.binary_md5,
        most_bytes=original.binary_bytes,
        connect_seconds=connect_seconds,
    )
    return cifar10_archives.Published(archive, version, [archive])
