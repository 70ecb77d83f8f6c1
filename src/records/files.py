"""Files that are either whole or refused: written in one piece, read back against a checksum."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

PARTIAL = ".tmp"  # ends the name of a file that is being written
NOT_FINITE = ("inf", "-inf", "nan")  # JSON has no such numbers: they are written as these words


class RecordError(Exception):
    """A record that cannot be written or trusted. The message is one line: file, fault, remedy."""


def write_atomic(path: Path, content: str | bytes) -> None:
    """Puts `content` at `path`, making its folder: at any moment the old or the new file is whole.

    Raises:
        RecordError: If the disk is full or the folder cannot be written; the old file then stands.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        make_folder(path.parent)
        try:
            with open(partial, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, so that they are still there after a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_abandoned(folder: Path) -> None:
    """Removes what a killed `write_atomic` left half written; nobody else may be writing there."""
    for partial in folder.glob(f"*{PARTIAL}"):
        partial.unlink(missing_ok=True)


def read_bytes(path: Path) -> bytes:
    """All of a file.

    Raises:
        RecordError: If it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON with a checksum of itself as its last entry; infinities and NaN become words."""
    safe = json_safe(content)
    sealed = {**safe, "checksum": _checksum(safe)}
    write_atomic(path, json.dumps(sealed, indent=1, allow_nan=False) + "\n")


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """What `write_sealed` wrote, infinities and NaN as numbers again.

    Args:
        path: The file.
        remedy: What the message of an error says after the fault.

    Raises:
        RecordError: If the file is not as it was written.
    """
    try:
        content = json.loads(read_bytes(path))
        checksum = content.pop("checksum")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RecordError(f"{path} is damaged ({type(error).__name__}); {remedy}") from error
    if checksum != _checksum(content):
        raise RecordError(f"{path} is damaged (its checksum differs); {remedy}")
    return _numbers(content)


def json_safe(tree: Any) -> Any:
    """The same tree in what JSON can hold: string keys, plain numbers, words for inf and NaN."""
    if isinstance(tree, Mapping):
        return {str(key): json_safe(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [json_safe(value) for value in tree]
    value = tree.item() if isinstance(tree, np.generic) else tree
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _numbers(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _numbers(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_numbers(value) for value in tree]
    return float(tree) if tree in NOT_FINITE else tree


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
