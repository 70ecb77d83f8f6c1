"""A checksum on JAX's cache of compiled programs.

JAX runs whatever it finds there: a flipped bit has been seen to change numbers in silence. Here
each entry ends in the SHA-256 of its key and content; one that does not fit is compiled again and
replaced.

Of several processes that train one trial, JAX lets process 0 alone keep what it compiles. On CPUs
the others have programs of their own; here they keep them, too.

Workers that begin together need the same programs at the same moment. On a CPU one of them compiles
a program, and the others wait until it is kept.
"""

import fcntl
import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

_SEAL_BYTES = hashlib.sha256().digest_size
ASK_EVERY_SECONDS, WAIT_SECONDS = 0.02, 600.0


class SealedCache:
    """A cache in JAX's sense, around another one that keeps the bytes."""

    def __init__(self, cache: Any, folder: Path, turn: "Turn | None" = None):
        """Wraps `cache`, whose files lie in `folder`; with `turn` one process makes a value."""
        self.cache, self.folder, self.turn = cache, folder, turn
        self._path = folder  # JAX reads this attribute.

    def get(self, key: str) -> bytes | None:
        """The value that was put under `key`; None if there is none or it has changed."""
        found = self._read(key)
        if found is not None or not self.turn:
            return found
        self.turn.take(self.folder / f"{key}-turn")
        return self._read(key)  # Another process may have made it meanwhile.

    def _read(self, key: str) -> bytes | None:
        content = self.cache.get(key)
        if content is None:
            return None
        body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
        if _seal(key, body) == seal:
            return body
        with suppress(OSError):
            (self.folder / f"{key}-cache").unlink()  # JAX does not replace an existing entry.
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keeps `value` with its seal."""
        self.cache.put(key, value + _seal(key, value))


class Turn(threading.local):
    """A thread's lock on one file, which ends with its process, however that ends.

    Where a disk has no locks, it is everybody's turn.
    """

    def __init__(self) -> None:
        self._handle, self._path = -1, Path()

    def take(self, path: Path) -> None:
        """Waits until nobody else has the file."""
        self.end()
        give_up = time.monotonic() + WAIT_SECONDS
        with suppress(OSError):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._path = path
            while time.monotonic() < give_up:
                try:
                    return fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(ASK_EVERY_SECONDS)

    def end(self) -> None:
        """Lets somebody else have the file, which is removed; who waits for it has it open."""
        if self._handle >= 0:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._handle)
            self._handle = -1

    def during(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """`fn`, at whose end a turn that was taken in it ends."""

        @functools.wraps(fn)
        def call(*args: Any, **options: Any) -> Any:
            try:
                return fn(*args, **options)
            finally:
                self.end()

        return call


def _seal(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + value).digest()


def seal_cache(kind: str) -> None:
    """Makes JAX keep its compilations with a checksum; if that is not possible, it keeps none.

    Args:
        kind: What they depend on and JAX's key does not say: the processor, its threads. Each has
            a folder of its own in JAX's, where other programs keep theirs.
    """
    import jax  # noqa: PLC0415

    try:
        # JAX has no public way to set a cache; these are the modules that make and fill its own.
        from jax._src import compilation_cache, compiler  # noqa: PLC0415

        make = compilation_cache.get_file_cache
    except (ImportError, AttributeError):
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if getattr(make, "seals", False):
        return
    turn = None
    if hasattr(compiler, "compile_or_get_cached"):
        turn = Turn()
        compiler.compile_or_get_cached = turn.during(compiler.compile_or_get_cached)
    folder = f"sealed-{hashlib.sha256(kind.encode()).hexdigest()[:16]}"

    def get_file_cache(path: str) -> tuple[Any, str] | None:
        try:
            made = make(str(Path(path) / folder))
        except OSError:  # A folder that cannot be made costs time, and nothing else.
            return None
        # Processes with an accelerator may compile one program together, and must not wait.
        own = turn if jax.default_backend() == "cpu" else None
        return made and (SealedCache(made[0], Path(made[1]), own), made[1])

    get_file_cache.seals = True  # type: ignore[attr-defined]
    compilation_cache.get_file_cache = get_file_cache
    if write := getattr(compiler, "_cache_write", None):
        # The same function, for which every process is the first one.
        first = SimpleNamespace(global_state=SimpleNamespace(process_id=0))
        names = {**vars(compiler), "distributed": first}
        compiler._cache_write = FunctionType(write.__code__, names, argdefs=write.__defaults__)
