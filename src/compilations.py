"""JAX's cache of compiled programs, trusted only as far as it is as it was written.

JAX runs what it finds there: a flipped bit has given other numbers without a word. Each entry ends
in the SHA-256 of its key and content; one that does not fit is compiled again and replaced.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

_SEAL_BYTES = hashlib.sha256().digest_size


class SealedCache:
    """A cache of JAX's kind around another one, which keeps the bytes."""

    def __init__(self, cache: Any, folder: Path):
        """`folder` is where `cache` has its files."""
        self.cache, self.folder = cache, folder
        self._path = folder  # JAX asks for it

    def get(self, key: str) -> bytes | None:
        """What was put there; None where there is nothing, or not what was put."""
        content = self.cache.get(key)
        if content is None:
            return None
        body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
        if _seal(key, body) == seal:
            return body
        with suppress(OSError):
            (self.folder / f"{key}-cache").unlink()  # JAX replaces no entry that is there
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keeps `value` with its seal."""
        self.cache.put(key, value + _seal(key, value))


def _seal(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + value).digest()


def seal_cache(kind: str) -> None:
    """Has JAX keep its compilations sealed; where it cannot be made to, it keeps none.

    Args:
        kind: What they depend on and JAX's key does not say: the processor, its threads. Each has
            a folder of its own in JAX's, where other programs keep theirs.
    """
    import jax  # noqa: PLC0415

    try:
        # JAX has no public way to another cache; this is where it makes its own
        from jax._src import compilation_cache  # noqa: PLC0415

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
