"""A cache of decoded data sets, so that a second start need not decode them again.

It is never needed and never trusted: it is bound to the files that it was made from, and its
checksum is compared on every read. If it is damaged or cannot be written, the work is done again.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.data.dataset import DataError, Dataset, Split, say
from src.paths import cache_folder
from src.records.files import RecordError, write_atomic

FORMAT = 2  # Raise it when the same files come to be read differently.


class Kept(NamedTuple):
    """What the cache can hold: a head of values that JSON has, and arrays."""

    head: dict[str, Any]
    arrays: list[np.ndarray]


def cached(sources: Sequence[Path], read: Callable[[], Dataset], kind: str = "images") -> Dataset:
    """What `read` returns, taken from the cache if `sources` have not changed since.

    Args:
        sources: Files whose change would change the result.
        read: Reads the data set.
        kind: A word for how it is read; who reads the same files in another way has another one.

    Raises:
        DataError: If a source is missing, or `read` raises it.
    """

    def work() -> Kept:
        name, train, test, num_classes, label_names, digest = read()
        head = {"name": name, "num_classes": num_classes, "names": label_names, "digest": digest}
        return Kept(head, [*train, *test])

    head, arrays = kept(kind, sources, work)
    train, test = Split(*arrays[:2]), Split(*arrays[2:])
    names = tuple(head["names"])
    return Dataset(head["name"], train, test, head["num_classes"], names, head["digest"])


def kept(kind: str, sources: Sequence[Path | str], work: Callable[[], Kept]) -> Kept:
    """What `work` returns, taken from the cache if `sources` have not changed since.

    Args:
        kind: A word for the result; several kinds may be kept of the same sources.
        sources: Files whose change would change the result, or words that decide it.
        work: Computes the result.

    Raises:
        DataError: If a source is missing, or `work` raises it.
    """
    folder = cache_folder()
    stamp = [FORMAT, kind, *(_stamp(source) for source in sources)]
    if folder is None:
        return work()
    names = [str(source.resolve() if isinstance(source, Path) else source) for source in sources]
    path = folder / "data" / f"{kind}-{sha256(names)[:16]}"
    try:
        return _read(path, stamp)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        if str(error) != "stale":
            say(f"{path} is damaged or of another version and will be replaced")
    result = work()
    _write(path, stamp, result)
    return result


def sha256(content: Any) -> str:
    """SHA-256 of a value, written as JSON, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _stamp(source: Path | str) -> Any:
    """Tells a file from any that takes its place; a copy cannot keep the time of its change."""
    if isinstance(source, str):
        return source
    try:
        status = source.stat()
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}") from error
    times = [status.st_mtime_ns, status.st_ctime_ns]
    return [str(source.resolve()), status.st_size, status.st_ino, *times]


def _read(path: Path, stamp: list[Any]) -> Kept:
    """Reads an entry: a line with a checksum, a line of JSON and the arrays, both covered by it.

    Raises:
        ValueError: With "stale" if the sources have changed, with anything else if it is damaged.
    """
    with open(path, "rb") as file:
        checksum, line = file.readline().strip().decode(), file.readline()
        head = json.loads(line)
        if head["stamp"] != stamp:
            raise ValueError("stale")
        arrays = [np.load(file, allow_pickle=False) for _ in range(head["arrays"])]
    if _checksum(line, arrays) != checksum:
        raise ValueError("checksum differs")
    return Kept(head["head"], arrays)


def _write(path: Path, stamp: list[Any], result: Kept) -> None:
    """Writes an entry whole or not at all; if the disk refuses, the next start takes longer."""
    head = {"stamp": stamp, "head": result.head, "arrays": len(result.arrays)}
    line = json.dumps(head).encode() + b"\n"
    content = io.BytesIO()
    content.write(_checksum(line, result.arrays).encode() + b"\n" + line)
    for array in result.arrays:
        np.save(content, array)
    try:
        write_atomic(path, content.getvalue())
    except RecordError as error:
        say(f"what was read is not kept for the next start: {error}")


def _checksum(line: bytes, arrays: Sequence[np.ndarray]) -> str:
    sums = hashlib.sha256(line)
    for array in arrays:
        sums.update(f"{array.dtype.str} {array.shape}".encode())
        sums.update(np.ascontiguousarray(array).data)
    return sums.hexdigest()
