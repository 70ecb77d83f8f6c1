"""Fetching a published file: whole and verified, or an error soon and nothing left behind."""

import fcntl
import hashlib
import os
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.data.dataset import DataError, say

CONNECT_SECONDS = 5.0
STALL_SECONDS = 30.0
CHUNK_BYTES = 1 << 18


class NotReached(Exception):
    """The server did not answer, or refused. The message is part of a line."""


def download(url: str, path: Path, md5: str, *, connect_seconds: float = CONNECT_SECONDS) -> None:
    """Fetches `url` to `path`, with a line of progress.

    Args:
        url: http(s) address.
        path: File in a folder that exists.
        md5: What its checksum must be.
        connect_seconds: How long the server may take to begin its answer, name look-up included.

    Raises:
        NotReached: If the server does not answer in time, refuses, or falls silent.
        DataError: If what came is not the published file.
        OSError: If it cannot be written.
    """
    response = _connect(url, connect_seconds)
    total = int(response.headers.get("Content-Length") or 0)
    sums, done = hashlib.md5(), 0
    try:
        with response, open(path, "wb") as file:
            for chunk in _chunks(response, url):
                file.write(chunk)
                sums.update(chunk)
                _progress(path.name, done, done := done + len(chunk), total)
        if sums.hexdigest() != md5:
            found = f"{done} of {total or 'unknown'} bytes, MD5 {sums.hexdigest()}, must be {md5}"
            raise DataError(f"{url} is not what is published or broke off ({found}); try again")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """An empty folder for one process at a time, gone afterwards; a killed owner's is taken over.

    Raises:
        DataError: If another process is at work in it.
        OSError: If it cannot be made.
    """
    made = [path for path in folder.parents if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = "another process is at work there; start again when it is done"
            raise DataError(f"{folder}: {message}") from error
        try:
            _empty(folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _remove_empty(made)
    finally:
        os.close(lock)


def _connect(url: str, seconds: float) -> Any:
    """The open response. In a thread: name look-up and several addresses have no common limit."""
    answer: list[Any] = []
    given_up = threading.Event()

    def connect() -> None:
        try:
            answer.append(urllib.request.urlopen(url, timeout=STALL_SECONDS))
            if given_up.is_set():
                answer[0].close()
        except urllib.error.HTTPError as error:
            error.close()
            answer.append(NotReached(str(error)))
        except Exception as error:  # handed to the caller
            answer.append(NotReached(getattr(error, "reason", error)))

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answer:
        given_up.set()
        raise NotReached(f"{url} does not answer within {seconds:g} seconds")
    if isinstance(answer[0], NotReached):
        raise NotReached(f"{url} cannot be had ({' '.join(str(answer[0]).split())})")
    return answer[0]


def _chunks(response: Any, url: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(CHUNK_BYTES)
        except (OSError, ValueError) as error:
            raise NotReached(f"{url} broke off ({error})") from error
        if not chunk:
            return
        yield chunk


def _progress(name: str, before: int, after: int, total: int) -> None:
    """A line at each tenth."""
    if total and before * 10 // total != after * 10 // total:
        say(f"{name}: {after / 1e6:.0f} of {total / 1e6:.0f} MB")


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # it holds what was wanted
            return


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
