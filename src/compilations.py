"""A checksum on JAX's cache of compiled programs.

JAX runs whatever it finds there: a flipped bit has been seen to change numbers in silence. Here
each entry ends in the SHA-256 of its key and content; one that does not fit is compiled again and
replaced.

Of several processes that train one trial, JAX lets process 0 alone keep what it compiles. On CPUs
the others have programs of their own; here they keep them, too.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

_SEAL_BYTES = hashlib.sha256().digest_size


class SealedCache:
    """A cache in JAX's sense, around another one that keeps the bytes."""

    def __init__(self, cache: Any, folder: Path):
        """Wraps `cache`, whose files lie in `folder`."""
        self.cache, self.folder = cache, folder
        self._path = folder  # JAX reads this attribute.

    def get(self, key: str) -> bytes | None:
        """The value that was put under `key`; None if there is none or it has changed."""
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
    folder = f"sealed-{hashlib.sha256(kind.encode()).hexdigest()[:16]}"

    def get_file_cache(path: str) -> tuple[Any, str] | None:
        try:
            made = make(str(Path(path) / folder))
        except OSError:  # A folder that cannot be made costs time, and nothing else.
            return None
        return made and (SealedCache(made[0], Path(made[1])), made[1])

    get_file_cache.seals = True  # type: ignore[attr-defined]
    compilation_cache.get_file_cache = get_file_cache
    if write := getattr(compiler, "_cache_write", None):
        # The same function, for which every process is the first one.
        first = SimpleNamespace(global_state=SimpleNamespace(process_id=0))
        names = {**vars(compiler), "distributed": first}
        compiler._cache_write = FunctionType(write.__code__, names, argdefs=write.__defaults__)
