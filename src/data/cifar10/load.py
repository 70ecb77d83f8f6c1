"""CIFAR-10 from wherever it can be had: an archive, a prepared TFDS folder, or the network.

An archive goes before a prepared folder beside it: it is the original, whatever the folder holds.
What is downloaded is prepared as a TFDS folder once, read back and compared, and the archive
removed.
"""

import functools
import os
from pathlib import Path

from src.data import tfds_folder
from src.data import write_tfds as prepare
from src.data.cache import cached
from src.data.cifar10 import archives as cifar10_archives
from src.data.cifar10.download import CONNECT_SECONDS, NotReached, download, workplace
from src.data.cifar10.facts import CLASSES, ORIGINAL, Original, is_original
from src.data.dataset import DataError, Dataset, Split, check_dataset, digest, say

WAYS_OUT = (
    "Three ways out: a prepared TFDS folder, by --config.data.dir=DIR or TFDS_DATA_DIR; "
    "cifar-10-binary.tar.gz or cifar-10-python.tar.gz put into {data_dir}; "
    "--config.data.name=procedural, which needs no data"
)


def load_cifar10(
    data_dir: Path, original: Original = ORIGINAL, connect_seconds: float = CONNECT_SECONDS
) -> Dataset:
    """CIFAR-10 found in `data_dir`, else downloaded to it.

    The name says what it is, by its content: "cifar10" if verified to be the original,
    "cifar10-jpeg" if its images were stored as JPEG, else "cifar10-unverified".

    Args:
        data_dir: TFDS data directory.
        original: What identifies the original.
        connect_seconds: How long to wait for the server.

    Raises:
        DataError: If it cannot be had, naming the ways out, or if what was found is damaged.
    """
    found = cifar10_archives.find_published(data_dir)
    if found is not None:
        return cached(found.files, functools.partial(_published, found, original))
    folder = tfds_folder.find_prepared("cifar10", data_dir)
    if folder is None:
        folder = _download(data_dir, original, connect_seconds)
    return cached(tfds_folder.files(folder), functools.partial(_prepared, folder, original))


def _published(found: cifar10_archives.Found, original: Original) -> Dataset:
    say(f"CIFAR-10: reading {found.path}")
    train, test = cifar10_archives.read_published(found, original)
    verified = found.path.is_file() or is_original(train, test, original)
    return _dataset(train, test, "" if verified else "-unverified", str(found.path), original)


def _prepared(folder: Path, original: Original) -> Dataset:
    say(f"CIFAR-10: reading {folder}")
    train, test, _, jpeg = tfds_folder.read_prepared(folder)
    sealed = prepare.sealed_digest(folder)
    if sealed not in (None, digest(train, test)):
        raise DataError(
            f"{folder} does not hold what was prepared in it; delete it and start again"
        )
    verified = sealed is not None or is_original(train, test, original)
    kind = "-jpeg" if jpeg else "" if verified else "-unverified"
    return _dataset(train, test, kind, str(folder), original)


def _dataset(train: Split, test: Split, kind: str, source: str, original: Original) -> Dataset:
    name, sums = f"cifar10{kind}", digest(train, test)
    dataset = Dataset(name, train, test, len(CLASSES), CLASSES, sums)
    return check_dataset(dataset, source, original.sizes)


def _download(data_dir: Path, original: Original, connect_seconds: float) -> Path:
    """Downloads, prepares, puts the finished folder in its place; on any error nothing is left."""
    target = data_dir / prepare.NAME / prepare.VERSION
    version = cifar10_archives.BINARY
    try:
        with workplace(target.parent / "incomplete") as place:
            archive, folder = place / version.archive, place / prepare.VERSION
            url = original.url + version.archive
            download(url, archive, original.binary_md5, connect_seconds=connect_seconds)
            found = cifar10_archives.Found(archive, version, [archive])
            train, test, *_ = _published(found, original)[1:]
            folder.mkdir()
            prepare.write_prepared(folder, train, test)
            os.rename(folder, target)
    except NotReached as error:
        raise DataError(f"{error}. {WAYS_OUT.format(data_dir=data_dir)}") from error
    except OSError as error:
        reason = f"cannot prepare {target}: {error.strerror or error}"
        raise DataError(f"{reason}. {WAYS_OUT.format(data_dir=data_dir)}") from error
    say(f"CIFAR-10: prepared {target}")
    return target
