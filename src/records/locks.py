"""Who is at work in a folder: a lock that dies with its holder, however that ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = ".lock"
ASK_EVERY_SECONDS = 0.1


class InUseError(Exception):
    """Another process is at work in the folder. The message is one line."""


@contextmanager
def locked(folder: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds a folder for this process alone.

    Args:
        folder: It exists; a file `.lock` in it says who holds it.
        wait_seconds: How long to wait for the one who has it.

    Raises:
        InUseError: If another process holds it still.
        OSError: If the folder cannot be written.
    """
    handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(handle, folder, time.monotonic() + wait_seconds)
        os.ftruncate(handle, 0)
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, folder: Path, give_up: float) -> None:
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                holder = os.pread(handle, 200, 0).decode(errors="replace") or "another process"
                raise InUseError(f"{folder} is in use by {holder}") from None
            time.sleep(ASK_EVERY_SECONDS)
