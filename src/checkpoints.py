"""Checkpoints that are either whole or not used.

`trials/<trial>/checkpoints/<iteration>/` holds `state/` (arrays, written by Orbax),
`progress.json` and `manifest.json`, the SHA-256 of every other file. The folder gets its name
only when all of it is on disk.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

KEEP = 2
MANIFEST = "manifest.json"


def save(directory: Path, iteration: int, arrays: PyTree, progress: dict[str, Any]) -> None:
    """Writes one checkpoint and drops all but the newest `KEEP`.

    Args:
        directory: Folder of the checkpoints, made if need be.
        iteration: Optimizer updates done; the checkpoint's name.
        arrays: Tree of arrays.
        progress: What else must be remembered, as JSON.
    """
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"partial-{iteration}"
    shutil.rmtree(partial, ignore_errors=True)
    host = jax.tree.map(np.asarray, jax.device_get(arrays))
    _checkpointer().save((partial / "state").absolute(), args=_orbax().args.PyTreeSave(host))
    (partial / "progress.json").write_text(json.dumps(progress))
    (partial / MANIFEST).write_text(json.dumps(_digests(partial), indent=1))
    _sync(partial)
    final = directory / str(iteration)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    for old in _found(directory)[:-KEEP]:
        shutil.rmtree(directory / str(old), ignore_errors=True)


def restore(directory: Path, like: PyTree) -> tuple[PyTree | None, dict[str, Any], list[str]]:
    """The newest sound checkpoint: (arrays as in `like`, progress, complaints); None if there is
    none.

    A damaged one is renamed `damaged-<iteration>`, complained of, and the one before it is used.
    """
    complaints: list[str] = []
    for iteration in reversed(_found(directory)):
        path = directory / str(iteration)
        fault = _fault(path)
        if not fault:
            arrays = _checkpointer().restore((path / "state").absolute(), args=_restore_args(like))
            return arrays, json.loads((path / "progress.json").read_text()), complaints
        aside = directory / f"damaged-{iteration}"
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(path, aside)
        complaints.append(f"checkpoint {path} is damaged ({fault}); set aside as {aside.name}")
    return None, {}, complaints


def _restore_args(like: PyTree) -> Any:
    args = _orbax().args
    each = jax.tree.map(lambda _: _orbax().RestoreArgs(restore_type=np.ndarray), like)
    return args.PyTreeRestore(item=like, restore_args=each)


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
    found = _digests(path)
    wrong = sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )
    return f"{wrong[0]} is not as written" if wrong else ""


def _digests(path: Path) -> dict[str, str]:
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != MANIFEST]
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def _sync(path: Path) -> None:
    for file in [*path.rglob("*"), path]:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
