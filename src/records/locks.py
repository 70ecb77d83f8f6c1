"""A lock on a folder; it is released when its holder ends, however that happens."""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from src.errors import LabError
from src.records import files
from src.records.files import RecordError

NAME = ".lock"
ASK_EVERY_SECONDS = 0.1
_HOLDER = re.compile(r"process \d+ on .*", re.DOTALL)


class InUseError(LabError):
    """Another process is at work in the folder. The message is one line."""


@contextmanager
def locked(
    folder: Path,
    wait_seconds: float = 0.0,
    meanwhile: Callable[[InUseError], None] = lambda error: None,
) -> Iterator[None]:
    """Holds a folder for this process alone.

    Nothing is written into it once it has been moved or removed, see `files.refuse_moved`.

    Args:
        folder: An existing folder; the file `.lock` in it names the holder.
        wait_seconds: How long to wait while another process holds it.
        meanwhile: Called every moment of that with the error that ends it; may raise another.

    Raises:
        InUseError: If another process still holds it after that.
        RecordError: If `.lock` cannot be written or is not a lock, or the disk has no locks.
    """
    path = folder / NAME
    handle = _open(path, os.O_RDWR | os.O_CREAT)
    try:
        _check_ours(handle, path)
        _acquire(handle, path, fcntl.LOCK_EX, time.monotonic() + wait_seconds, meanwhile)
        os.ftruncate(handle, 0)
        with suppress(OSError):  # On a full disk the lock still holds, but names nobody.
            os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        with files.held(folder, lambda: _is_at(handle, path)):
            yield
    finally:
        os.close(handle)


@contextmanager
def unchanging(folder: Path) -> Iterator[None]:
    """Keeps a folder from being written while it is read, without writing anything.

    Raises:
        InUseError: If a process is at work in it.
        RecordError: If its `.lock` cannot be read or is not a lock.
    """
    path = folder / NAME
    if not os.path.lexists(path):
        yield
        return
    handle = _open(path, os.O_RDONLY)
    try:
        _check_ours(handle, path)
        _acquire(handle, path, fcntl.LOCK_SH, time.monotonic(), lambda error: None)
        yield
    finally:
        os.close(handle)


def _open(path: Path, how: int) -> int:
    try:
        # Through a link another file would be locked; opening a pipe would wait for ever.
        return os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RecordError(
                f"{path} is a symbolic link, which no lock may be; rename it, so that a file of its"
                " own can be made"
            ) from error
        raise RecordError(f"cannot open {path}: {error.strerror or error}") from error


def _is_at(handle: int, path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _check_ours(handle: int, path: Path) -> None:
    """Refuses a `.lock` that is somebody's file, since a lock is emptied and written."""
    content = b""
    if regular := stat.S_ISREG(os.fstat(handle).st_mode):
        content = os.pread(handle, 300, 0)
    if not regular or (content and not _HOLDER.fullmatch(content.decode(errors="replace"))):
        raise RecordError(f"{path} is not one of our locks; rename it, so that one can be made")


def _acquire(
    handle: int, path: Path, how: int, give_up: float, meanwhile: Callable[[InUseError], None]
) -> None:
    while True:
        try:
            return fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace") or "another process"
            in_use = InUseError(f"{path.parent} is in use by {holder}")
            if time.monotonic() >= give_up:
                raise in_use from None
            meanwhile(in_use)
            time.sleep(ASK_EVERY_SECONDS)
        except OSError as error:
            raise RecordError(
                f"cannot lock {path}: {error.strerror or error}; this disk has no locks, as some"
                " network disks have not: write on a local one (--workdir of a study), and copy it"
            ) from error
