"""Decoded arrays kept between runs: a second start reads them instead of decoding again.

The cache is never needed and never trusted: it is bound to path, size and time of the files it was
decoded from, its digest is checked on every read, and where it is damaged or cannot be written the
images are decoded again.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from src.data.dataset import DataError, Dataset, Split, digest, say

FORMAT = 1  # raise it when the same files come to be read differently
ABANDONED_SECONDS = 600


def cached(sources: Sequence[Path], read: Callable[[], Dataset]) -> Dataset:
    """What `read` returns, from the cache when `sources` have not changed since.

    Args:
        sources: The files that `read` reads, without which the result could not be the same.
        read: Decodes them.

    Raises:
        DataError: If a source is missing, or from `read`.
    """
    path, stamp = _path(sources), [FORMAT, *(_stamp(source) for source in sources)]
    try:
        return _read(path, stamp)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        if str(error) != "stale":
            say(f"{path} is damaged or of another version and will be replaced; decoding again")
    dataset = read()
    _write(path, stamp, dataset)
    return dataset


def _stamp(source: Path) -> list[str | int]:
    try:
        status = source.stat()
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}") from error
    return [str(source.resolve()), status.st_size, status.st_mtime_ns]


def _path(sources: Sequence[Path]) -> Path:
    """One file per set of sources, so that a changed source replaces its old cache."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    names = "\n".join(str(source.resolve()) for source in sources)
    return root / "alexnet-claims" / "data" / (hashlib.sha256(names.encode()).hexdigest()[:16])


def _read(path: Path, stamp: list) -> Dataset:
    """One line of JSON, then four arrays.

    Raises:
        ValueError: With "stale" if the sources have changed, with anything else if it is damaged.
    """
    with open(path, "rb") as file:
        head = json.loads(file.readline())
        if head["stamp"] != stamp:
            raise ValueError("stale")
        arrays = [np.load(file, allow_pickle=False) for _ in range(4)]
    train, test = Split(*arrays[:2]), Split(*arrays[2:])
    if digest(train, test) != head["digest"]:
        raise ValueError("digest differs")
    names = tuple(head["label_names"])
    return Dataset(head["name"], train, test, head["num_classes"], names, head["digest"])


def _write(path: Path, stamp: list, dataset: Dataset) -> None:
    """Whole or not at all; a full disk or a read-only home only costs time at the next start."""
    head = {"stamp": stamp, "name": dataset.name, "num_classes": dataset.num_classes}
    head |= {"label_names": dataset.label_names, "digest": dataset.digest}
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        try:
            with open(partial, "wb") as file:
                file.write(json.dumps(head).encode() + b"\n")
                for array in (*dataset.train, *dataset.test):
                    np.save(file, array)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        say(f"decoded images are not kept for the next start ({error.strerror or error}): {path}")


def _remove_abandoned(folder: Path) -> None:
    """What a killed process left half written."""
    for partial in folder.glob("*.tmp"):
        if time.time() - partial.stat().st_mtime > ABANDONED_SECONDS:
            partial.unlink(missing_ok=True)
