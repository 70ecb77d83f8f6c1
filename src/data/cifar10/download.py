"""Downloads a published file whole and verified, or fails soon and leaves nothing behind."""

import hashlib
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.data.dataset import DataError, say
from src.errors import one_line

CONNECT_SECONDS = 5.0
STALL_SECONDS = 30.0
SLOWEST = 10_000  # Bytes per second, averaged over `STALL_SECONDS`.
CHUNK_BYTES = 1 << 18


class NotReached(Exception):
    """The server did not answer, or refused. The message is part of a line."""


def download(
    url: str, path: Path, md5: str, *, most_bytes: int, connect_seconds: float = CONNECT_SECONDS
) -> None:
    """Downloads `url` to `path`, with lines of progress.

    It ends in any case: a server that sends more than was published, or next to nothing, is given
    up.

    Args:
        url: http(s) address.
        path: File in a folder that exists.
        md5: The checksum that it must have.
        most_bytes: Its published size; longer answers are refused.
        connect_seconds: How long the server may take to begin its answer, name look-up included.

    Raises:
        NotReached: If the server does not answer in time, refuses, or falls silent.
        DataError: If what came is not the published file.
        OSError: If it cannot be written.
    """
    response = _connect(url, connect_seconds)
    total = _length(response.headers.get("Content-Length"))
    sums, done = hashlib.md5(), 0
    try:
        with response, open(path, "wb") as file:
            for chunk in _chunks(response, url):
                file.write(chunk)
                sums.update(chunk)
                _progress(path.name, done, done := done + len(chunk), total)
                if done > most_bytes:
                    raise DataError(f"{url} sends more than the {most_bytes} bytes published")
        if sums.hexdigest() != md5:
            found = f"{done} of {total or 'unknown'} bytes, MD5 {sums.hexdigest()}, must be {md5}"
            raise DataError(f"{url} is not what is published or broke off ({found}); try again")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _connect(url: str, seconds: float) -> Any:
    """The open response. A thread waits for it, since name look-up has no time limit of its own."""
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
        except Exception as error:  # The caller raises it.
            answer.append(NotReached(getattr(error, "reason", error)))

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answer:
        given_up.set()
        raise NotReached(f"{url} does not answer within {seconds:g} seconds")
    if isinstance(answer[0], NotReached):
        raise NotReached(f"{url} cannot be had ({one_line(answer[0])})")
    return answer[0]


def _chunks(response: Any, url: str) -> Iterator[bytes]:
    """The parts of the answer as they come, as long as they come fast enough."""
    since, received = time.monotonic(), 0
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NotReached(f"{url} broke off ({error})") from error
        if not chunk:
            return
        yield chunk
        received, seconds = received + len(chunk), time.monotonic() - since
        if seconds > STALL_SECONDS:
            if received < SLOWEST * seconds:
                raise NotReached(f"{url} sends only {received / seconds:.0f} bytes a second")
            since, received = time.monotonic(), 0


def _length(header: str | None) -> int:
    """The length that a server announces; 0 if it announces none that can be understood."""
    return int(header) if header and header.isascii() and header.isdigit() else 0


def _progress(name: str, before: int, after: int, total: int) -> None:
    """Prints a line at each tenth."""
    if total and before * 10 // total != after * 10 // total:
        say(f"{name}: {after / 1e6:.0f} of {total / 1e6:.0f} MB")
