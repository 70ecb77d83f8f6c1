"""Checkpoints that are either whole or not used.

`trials/<trial>/checkpoints/<iteration>/` holds `state/` (arrays, written by Orbax), `progress.json`
and `manifest.json`, the SHA-256 of every other file. The folder gets its name only when all of it
is on disk.
"""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from src.records import files
from src.records.files import RecordError

KEEP = 2
PARTIAL = "partial-"
MANIFEST = "manifest.json"


def save(directory: Path, iteration: int, arrays: PyTree, progress: dict[str, Any]) -> None:
    """Writes one checkpoint and drops all but the newest `KEEP`.

    Args:
        directory: Folder of the checkpoints, made if need be.
        iteration: Optimizer updates done; the checkpoint's name.
        arrays: Tree of arrays.
        progress: What else must be remembered, as JSON.

    Raises:
        RecordError: If the disk is full or the folder cannot be written; those before it stand.
    """
    final, partial = directory / str(iteration), directory / f"{PARTIAL}{iteration}"
    host = jax.tree.map(np.asarray, jax.device_get(arrays))
    try:
        files.make_folder(directory)
        shutil.rmtree(partial, ignore_errors=True)
        _write(partial, host, progress)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        files.sync(directory)
    except (OSError, ValueError) as error:  # TensorStore has no type of its own for a full disk
        shutil.rmtree(partial, ignore_errors=True)
        raise RecordError(f"cannot write checkpoint {final}: {_reason(error)}") from error
    for old in _found(directory)[:-KEEP]:
        shutil.rmtree(directory / str(old), ignore_errors=True)


def _write(path: Path, host: PyTree, progress: dict[str, Any]) -> None:
    _checkpointer().save((path / "state").absolute(), args=_orbax().args.PyTreeSave(host))
    (path / "progress.json").write_text(json.dumps(progress))
    (path / MANIFEST).write_text(json.dumps(_digests(path), indent=1))
    for file in [*path.rglob("*"), path]:
        files.sync(file)


def _reason(error: Exception) -> str:
    """The system's word for it, which TensorStore hides in a text of many lines."""
    code = getattr(error, "errno", None) or re.search(r"os_error_code='(\d+)'", str(error))
    if code:
        return os.strerror(code if isinstance(code, int) else int(code[1]))
    return " ".join(str(error).split())[:300]


def restore(directory: Path, like: PyTree) -> tuple[PyTree | None, dict[str, Any], list[str]]:
    """The newest sound checkpoint: arrays as in `like` or None, progress, complaints.

    A damaged one is renamed `damaged-<iteration>`, complained of, and the one before it is used.

    Raises:
        RecordError: If a sound one does not fit `like`, or a damaged one cannot be set aside.
    """
    complaints: list[str] = []
    for partial in directory.glob(f"{PARTIAL}*"):  # of a process that was killed
        shutil.rmtree(partial, ignore_errors=True)
    for iteration in reversed(_found(directory)):
        path = directory / str(iteration)
        fault = _fault(path)
        if not fault:
            return _read(path, like), json.loads((path / "progress.json").read_text()), complaints
        complaints.append(f"checkpoint {path} is damaged ({fault}); set aside as {_aside(path)}")
    if complaints:
        complaints.append(f"no sound checkpoint is left in {directory}: the trial starts again")
    return None, {}, complaints


def _aside(path: Path) -> str:
    """Renames a damaged checkpoint; its new name."""
    aside = path.with_name(f"damaged-{path.name}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(path, aside)
    except OSError as error:
        raise RecordError(f"cannot set {path} aside, which is damaged: {error.strerror}") from error
    return aside.name


def _read(path: Path, like: PyTree) -> PyTree:
    args = jax.tree.map(lambda _: _orbax().RestoreArgs(restore_type=np.ndarray), like)
    try:
        arrays = _checkpointer().restore(
            (path / "state").absolute(),
            args=_orbax().args.PyTreeRestore(item=like, restore_args=args),
        )
        jax.tree.map(_check_fits, arrays, like)
        return arrays
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"checkpoint {path} is whole, but of other code: its arrays are not those of this"
            f" trial; go on with that code, or remove {path.parent.parent} to repeat the trial"
        ) from error


def _check_fits(array: np.ndarray, like: Any) -> None:
    if array.dtype != like.dtype or (like.size and array.shape != like.shape):  # empty: any
        raise ValueError(f"{array.dtype} {array.shape}, not {like.dtype} {like.shape}")


def _checkpointer() -> Any:
    return _orbax().Checkpointer(_orbax().PyTreeCheckpointHandler())


def _orbax() -> Any:
    """Imported at the first checkpoint: it takes half a second."""
    import orbax.checkpoint  # noqa: PLC0415

    return orbax.checkpoint


def _found(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in directory.glob("*") if path.name.isdigit())


def _fault(path: Path) -> str:
    """What is wrong with a checkpoint, or an empty string."""
    try:
        wanted = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        return f"{MANIFEST}: {type(error).__name__}"
    if not isinstance(wanted, dict):
        return f"{MANIFEST} is not as written"
    try:
        found = _digests(path)
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    wrong = sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )
    return f"{wrong[0]} is not as written" if wrong else ""


def _digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest, by its path in the checkpoint."""
    paths = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != MANIFEST]
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
