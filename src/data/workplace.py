"""A folder to make a data set in, before it is put where it belongs whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.data.dataset import DataError
from src.records import locks
from src.records.files import RecordError, sync


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """An empty folder for one process at a time, gone afterwards; a killed owner's is taken over.

    Raises:
        DataError: If another process is at work in it.
        OSError: If it cannot be made.
    """
    made = [path for path in folder.parents if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink():
        raise DataError(f"{folder} is a symbolic link, through which nothing is removed; rename it")
    if any(folder.iterdir()) and not (folder / locks.NAME).exists():
        raise DataError(f"{folder} holds files that were not left by a preparation; rename it")
    try:
        with locks.locked(folder):
            try:
                _empty(folder)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                _remove_empty(made)
    except locks.InUseError as error:
        raise DataError(f"{error}; start again when it is done") from error
    except RecordError as error:
        raise DataError(str(error)) from error


def put(folder: Path, target: Path) -> None:
    """Moves a finished folder to its place, once all that it holds is on the disk.

    Raises:
        OSError: If something is in its place, or the disk fails.
    """
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)
    os.rename(folder, target)
    sync(target.parent)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # It holds what was wanted.
            return


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name == locks.NAME:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
