"""Checkpoints; one that is not whole, or is another trial's, is never used.

`trials/<trial>/checkpoints/<iteration>/` holds `state/` (arrays, written by Orbax), `progress.json`
and `manifest.json` (the trial's identity, and the SHA-256 of every other file). The folder gets its
name only when all of it is on disk and has been read back.
"""

import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from src.errors import one_line
from src.records import files
from src.records.files import RecordError
from src.records.trial import Identity

KEEP = 2
PARTIAL = "partial-"
MANIFEST, PROGRESS, STATE = "manifest.json", "progress.json", "state"
# Why a file cannot be read that is not as it was: it is gone, or its sectors are.
LOST = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO)
# Files that file managers and network disks leave in any folder.
_FOREIGN = re.compile(r"(.*/)?(\.[^/]*|Thumbs\.db|desktop\.ini)$")
# Orbax looks for files by pattern and TensorStore takes paths for addresses: `[`, `*`, `\` and
# others mean something to them. Paths made of these characters alone mean nothing else.
_PLAIN = re.compile(r"[A-Za-z0-9/._ -]+")


class Restored(NamedTuple):
    """What a trial goes on from.

    Attributes:
        arrays: Tree of arrays as it was saved; None if there is no sound checkpoint.
        progress: What was saved beside them.
        complaints: A line about every damaged checkpoint.
    """

    arrays: PyTree | None
    progress: dict[str, Any]
    complaints: list[str]


def save(
    directory: Path, iteration: int, arrays: PyTree, progress: dict[str, Any], of: Identity
) -> None:
    """Writes one checkpoint, reads it back, and only then drops all but the newest `KEEP`.

    Args:
        directory: Folder of the checkpoints, made if need be.
        iteration: Optimizer updates done; the checkpoint's name.
        arrays: Tree of arrays.
        progress: What else must be remembered, as JSON.
        of: Identity of the trial.

    Raises:
        RecordError: If it cannot be written or does not read back, or the trial was moved;
            earlier ones are kept.
    """
    final, partial = directory / str(iteration), directory / f"{PARTIAL}{iteration}"
    host = jax.tree.map(np.asarray, jax.device_get(jax.tree.map(_stored, arrays)))
    files.refuse_link(directory)
    try:
        files.make_folder(directory)
        shutil.rmtree(partial, ignore_errors=True)
        _write(partial, host, progress, of)
        files.refuse_moved(directory)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        files.sync(directory)
    except (OSError, ValueError) as error:  # TensorStore raises ValueError on a full disk.
        shutil.rmtree(partial, ignore_errors=True)
        raise RecordError(f"cannot write checkpoint {final}: {_reason(error)}") from error
    keep_newest(directory, KEEP)


def keep_newest(directory: Path, count: int) -> None:
    """Drops all checkpoints but the newest `count`; those that were set aside stay."""
    found = _found(directory)
    for old in found[: max(0, len(found) - count)]:
        shutil.rmtree(directory / str(old), ignore_errors=True)


def _write(path: Path, host: PyTree, progress: dict[str, Any], of: Identity) -> None:
    """Writes a checkpoint and reads it back.

    Raises:
        ValueError: If what is on the disk is not what was to be written.
    """
    path.mkdir()
    with _plain(path) as plain:
        _checkpointer().save(plain / STATE, args=_orbax().args.PyTreeSave(host))
    (path / PROGRESS).write_text(json.dumps(progress), encoding="utf-8")
    content = {"of": dataclasses.asdict(of), "sha256": _digests(path)}
    files.write_sealed(path / MANIFEST, content)
    for file in [*path.rglob("*"), path]:
        files.sync(file)
    same = jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), _read_arrays(path, host), host)
    if not all(jax.tree.leaves(same)):
        raise ValueError("what is on the disk is not what was written")


def _reason(error: Exception) -> str:
    """The system's words for an error, which TensorStore hides in a text of many lines."""
    code = getattr(error, "errno", None) or re.search(r"os_error_code='(\d+)'", str(error))
    if code:
        return os.strerror(code if isinstance(code, int) else int(code[1]))
    return one_line(error)


def restore(directory: Path, like: PyTree, of: Identity) -> Restored:
    """Reads the newest sound checkpoint, to go on from.

    A damaged one is renamed `damaged-<iteration>` and complained of; the one before it is used.

    Args:
        directory: Folder of the checkpoints.
        like: Tree of arrays with the expected shapes and types; an empty array fits any shape.
        of: Identity of the trial.

    Raises:
        RecordError: If a sound checkpoint is another trial's or does not fit `like`, a damaged one
            cannot be set aside, or one cannot be read as things are.
    """
    files.refuse_link(directory)
    for partial in _folders(directory, re.escape(PARTIAL) + r"\d+"):  # A killed process left it.
        shutil.rmtree(partial, ignore_errors=True)
    found = _newest(directory, like, of, lambda path: f"; set aside as {_aside(path)}")
    if found.arrays is None and found.complaints:
        lost = f"no sound checkpoint is left in {directory}: training starts again"
        found.complaints.append(lost)
    return found


def read_newest(directory: Path, like: PyTree, of: Identity) -> Restored:
    """As `restore`, for a trial that is only looked at: nothing is renamed or removed."""
    return _newest(directory, like, of, lambda path: "")


def _newest(
    directory: Path, like: PyTree, of: Identity, put_aside: Callable[[Path], str]
) -> Restored:
    """The newest sound checkpoint; `put_aside` says what it has done with a damaged one."""
    complaints: list[str] = []
    for iteration in reversed(_found(directory)):
        path = directory / str(iteration)
        try:
            fault = _fault(path)
        except RecordError as error:
            raise RecordError("; ".join([*complaints, str(error)])) from error
        if not fault:
            return Restored(*_read(path, like, of), complaints)
        complaints.append(f"checkpoint {path} is damaged ({fault}){put_aside(path)}")
    return Restored(None, {}, complaints)


def _aside(path: Path) -> str:
    """Renames a damaged checkpoint to a name that nothing else has, and returns that name."""
    names = (f"damaged-{path.name}{more}" for more in ("", *(f"-{n}" for n in range(2, 1000))))
    aside = next(path.with_name(name) for name in names if not (path.with_name(name)).exists())
    try:
        os.replace(path, aside)
    except OSError as error:
        raise RecordError(f"cannot set {path} aside, which is damaged: {error.strerror}") from error
    return aside.name


def _read(path: Path, like: PyTree, of: Identity) -> tuple[PyTree, dict[str, Any]]:
    """Arrays and progress of a sound checkpoint."""
    owner = files.read_sealed(path / MANIFEST, "")["of"]
    if differing := of.differences(owner):
        raise RecordError(
            f"checkpoint {path} is another trial's: {differing}; put this trial's own back, or move"
            f" {path.parent} out of the study to train it from the beginning"
        )
    try:
        stored = jax.tree.map(_stored, like)
        arrays = _read_arrays(path, stored)
        jax.tree.map(_check_fits, arrays, stored)
        arrays = jax.tree.map(_as_used, arrays, like)
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"checkpoint {path} is whole, but of other code: its arrays are not those of this"
            f" trial; go on with that code, or move {path.parent} out of the study to train it from"
            " the beginning"
        ) from error
    return arrays, json.loads((path / PROGRESS).read_text(encoding="utf-8"))


def _read_arrays(path: Path, like: PyTree) -> PyTree:
    args = jax.tree.map(lambda _: _orbax().RestoreArgs(restore_type=np.ndarray), like)
    with _plain(path) as plain:
        return _checkpointer().restore(
            plain / STATE, args=_orbax().args.PyTreeRestore(item=like, restore_args=args)
        )


def _stored(leaf: Any) -> Any:
    """What is written of a leaf: of a random key the numbers that it is made of."""
    if not _is_key(leaf):
        return leaf
    data = jax.random.key_data
    return data(leaf) if isinstance(leaf, jax.Array) else jax.eval_shape(data, leaf)


def _as_used(array: np.ndarray, like: Any) -> Any:
    """A leaf as it was saved, a random key as one of its kind."""
    if not _is_key(like):
        return array
    kind = jax.random.key_impl(jnp.empty((), like.dtype))  # `like` may be no more than a shape.
    return jax.random.wrap_key_data(jnp.asarray(array), impl=kind)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _check_fits(array: np.ndarray, like: Any) -> None:
    if array.dtype != like.dtype or (like.size and array.shape != like.shape):  # Empty: any.
        raise ValueError(f"{array.dtype} {array.shape}, not {like.dtype} {like.shape}")


@contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """The same folder by a path that nobody can take for a pattern or an address."""
    if _PLAIN.fullmatch(str(path.absolute())):
        yield path.absolute()
        return
    with tempfile.TemporaryDirectory(dir=_plain_folder()) as folder:
        link = Path(folder) / "checkpoint"
        link.symlink_to(path.absolute(), target_is_directory=True)
        yield link


def _plain_folder() -> str:
    chosen = tempfile.gettempdir()
    return chosen if _PLAIN.fullmatch(chosen) else "/tmp"


def _checkpointer() -> Any:
    if jax.process_count() == 1:
        return _orbax().Checkpointer(_orbax().PyTreeCheckpointHandler())
    # One process alone saves: Orbax would wait for the others, which compute.
    alone = _orbax().options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"process{jax.process_index()}",
    )
    handler = _orbax().PyTreeCheckpointHandler(multiprocessing_options=alone)
    return _orbax().Checkpointer(handler, multiprocessing_options=alone)


def _orbax() -> Any:
    """Orbax, imported at the first checkpoint because that takes half a second."""
    import orbax.checkpoint  # noqa: PLC0415

    return orbax.checkpoint


def _found(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in _folders(directory, r"\d+"))


def _folders(directory: Path, pattern: str) -> list[Path]:
    """Folders whose whole name fits the pattern; links are left out, since we make none."""
    if not directory.is_dir():
        return []
    with os.scandir(directory) as entries:
        return [
            directory / entry.name
            for entry in entries
            if re.fullmatch(pattern, entry.name, re.ASCII) and entry.is_dir(follow_symlinks=False)
        ]


def _fault(path: Path) -> str:
    """What is wrong with a checkpoint, or an empty string.

    Raises:
        RecordError: If it cannot be read as things are, which says nothing of what is in it.
    """
    try:
        wanted = files.read_sealed(path / MANIFEST, "")["sha256"]
        found = _digests(path)
    except (RecordError, KeyError, OSError) as error:
        reason = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(reason, OSError):
            return f"{MANIFEST} is not as written"
        if reason.errno not in LOST:
            raise RecordError(
                f"cannot read {reason.filename or path}: {reason.strerror}; it is not set aside:"
                " see that it can be read, and run the same command again"
            ) from error
        return f"{reason.filename or path} cannot be read: {reason.strerror}"
    wrong = sorted(
        name
        for name in wanted.keys() | found.keys()
        if wanted.get(name) != found.get(name) and not (name not in wanted and _FOREIGN.match(name))
    )
    return f"{wrong[0]} is not as written" if wrong else ""


def _digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest, by its path in the checkpoint."""
    paths = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(path, onerror=_raise)
        for name in names
        if name != MANIFEST and _is_file(Path(folder, name))
    )
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if error.errno not in LOST:
            raise
        return False


def _raise(error: OSError) -> None:
    raise error
