"""Files that are either whole or refused: written in one piece, read back against a checksum."""

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import LabError

NOT_FINITE = ("inf", "-inf", "nan")  # JSON has no such numbers; they are written as these words.
_LIKE_NUMBER = re.compile(r"\\*(inf|-inf|nan)")  # A text that is such a word, or marked as one.
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Errors of disks that cannot flush the names in a folder, such as CIFS and FUSE.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EISDIR)
# Folders that this process has locked, as all its threads know: is each still in its place?
_held: dict[Path, Callable[[], bool]] = {}


class RecordError(LabError):
    """A record cannot be written or trusted. The message is one line: file, fault, remedy."""


def write_atomic(path: Path, content: str | bytes) -> None:
    """Writes a file, and its folder, so that at any moment the old or the new file is whole.

    It is written as NAME.PID.tmp first. Such files of processes that were killed are removed;
    nothing else ever is, and no link is followed.

    Raises:
        RecordError: If the disk is full, the folder cannot be written, or another is in its place
            (see `refuse_moved`); the old file is kept.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        make_folder(path.parent)
        _remove_abandoned(path)
        try:
            with os.fdopen(os.open(partial, _NEW_FILE, 0o666), "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from error


def _remove_abandoned(path: Path) -> None:
    """Removes NAME.PID.tmp of processes that have ended."""
    ours = re.compile(re.escape(path.name) + r"\.([1-9]\d*)\.tmp")
    with os.scandir(path.parent) as entries:
        found = [(entry, ours.fullmatch(entry.name)) for entry in entries]
    for entry, match in found:
        if match and entry.is_file(follow_symlinks=False) and not _runs(int(match[1])):
            with suppress(OSError):
                os.unlink(entry.path)


def _runs(pid: int) -> bool:
    """Whether another process with this id is running."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # It belongs to another user.
        return True
    return True


@contextmanager
def held(folder: Path, is_in_place: Callable[[], bool]) -> Iterator[None]:
    """Watches a folder that is locked: see `refuse_moved`, which asks `is_in_place`."""
    place = folder.absolute()
    _held[place] = is_in_place
    try:
        yield
    finally:
        del _held[place]


def refuse_moved(folder: Path) -> None:
    """Refuses a folder if it, or one above it, has been moved or removed since it was locked.

    A lock goes with the folder that is moved, while files are written by their paths, where another
    study may have begun.

    Raises:
        RecordError: If this process holds such a folder.
    """
    place = folder.absolute()
    for above in reversed((place, *place.parents)):
        if above in _held and not _held[above]():
            raise RecordError(
                f"{above} was moved or removed while this process was at work in it, and nothing"
                " more is written there; go on with it where it is now"
            )


def refuse_link(folder: Path) -> None:
    """Refuses a folder that is a symbolic link: nothing is written or removed through one.

    Raises:
        RecordError: If `folder` is a link.
    """
    if folder.is_symlink():
        raise RecordError(
            f"{folder} is a symbolic link, and records are not written through links: put the"
            f" folder it leads to ({os.readlink(folder)}) in its place, or run the study in another"
            " --workdir"
        )


def refuse_foreign(folder: Path, mark: str, names: Iterable[str]) -> None:
    """Takes no file's place in a folder that is not known to be ours.

    Args:
        folder: Where something is to be written; it need not exist.
        mark: The file that lies in such a folder of ours, or did not yet, see `begun`.
        names: What is going to be written beside it.

    Raises:
        RecordError: If there is no such file, and another that has one of these names.
    """
    ours = any(os.path.lexists(path) for path in (folder / mark, _begun(folder, mark)))
    for name in () if ours else names:
        if os.path.lexists(folder / name):
            raise RecordError(
                f"{folder / name} lies in a folder without {mark} and would be written over;"
                " choose another --out"
            )


@contextmanager
def begun(folder: Path, mark: str) -> Iterator[None]:
    """Says that a folder is ours while files are written into it, of which `mark` is one.

    If that does not come to its end, MARK.begun stays beside them: the folder is known to be ours,
    and known to be of two commands, or of half of one, until it is written again.
    """
    sign = _begun(folder, mark)
    write_atomic(sign, "The command that wrote here has not come to its end: run it again.\n")
    yield
    sign.unlink(missing_ok=True)


def refuse_begun(folder: Path, mark: str, remedy: str) -> None:
    """Refuses what was being written when its command ended.

    Raises:
        RecordError: If it was.
    """
    if os.path.lexists(_begun(folder, mark)):
        raise RecordError(f"the command that wrote {folder} has not come to its end; {remedy}")


def _begun(folder: Path, mark: str) -> Path:
    return folder / f"{mark}.begun"


def refuse_unwritable(folder: Path, remedy: str = "choose another --out") -> None:
    """Refuses a folder that no file can be put into, before work is done for it; makes nothing.

    Raises:
        RecordError: If it, or the one that it would be made in, is a file or may not be written.
    """
    if fault := _why_unwritable(folder.absolute()):
        raise RecordError(f"cannot write {folder}: {fault}; {remedy}")


def _why_unwritable(folder: Path) -> str:
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        return f"{there} is not a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} may not be written"
    try:
        with suppress(FileNotFoundError):
            os.lstat(folder)
    except OSError as error:  # Its name is too long.
        return error.strerror or str(error)
    return ""


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, so that they are still there after a power cut.

    Raises:
        RecordError: If it would take the place of one that was moved, see `refuse_moved`.
    """
    refuse_moved(folder)
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk.

    Some disks cannot be told to do so for a folder; they do it by themselves, sooner or later.

    Raises:
        OSError: Naming the file, if its content cannot be brought to the disk.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not (path.is_dir() and error.errno in _NO_FOLDER_SYNC):
            raise OSError(error.errno, error.strerror, str(path)) from error


def read_bytes(path: Path) -> bytes:
    """Reads a file.

    Raises:
        RecordError: If it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """Reads a text file as UTF-8, whatever the locale.

    Raises:
        RecordError: If it is missing, cannot be read or is not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON whose last entry is a checksum of the others; inf and NaN become words.

    A text that is such a word has a backslash before it.
    """
    safe = json_safe(_marked(content))
    sealed = {**safe, "checksum": _checksum(safe)}
    write_atomic(path, json.dumps(sealed, indent=1, allow_nan=False) + "\n")


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """Reads what `write_sealed` wrote; inf and NaN are numbers again, and such texts are texts.

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
    """The tree in values that JSON has: string keys, plain numbers, words for inf and NaN."""
    if isinstance(tree, Mapping):
        return {str(key): json_safe(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [json_safe(value) for value in tree]
    value = tree.item() if isinstance(tree, np.generic) else tree
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _marked(tree: Any) -> Any:
    """The tree with a backslash before each text that would be read as a number."""
    if isinstance(tree, Mapping):
        return {key: _marked(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_marked(value) for value in tree]
    return "\\" + tree if isinstance(tree, str) and _LIKE_NUMBER.fullmatch(tree) else tree


def _numbers(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _numbers(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_numbers(value) for value in tree]
    if tree in NOT_FINITE:
        return float(tree)
    return tree[1:] if isinstance(tree, str) and _LIKE_NUMBER.fullmatch(tree) else tree


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
