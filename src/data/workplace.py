"""A folder in which a data set is made, before it is moved whole to its place."""

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
    """An empty folder for one process at a time, removed at the end.

    What a killed process has left in it is removed at the beginning.

    Raises:
        DataError: If another process is at work in it, or it holds somebody's files.
        OSError: If it cannot be made.
    """
    made = [path for path in folder.parents if not path.exists()]
    refuse_foreign(folder)
    folder.mkdir(parents=True, exist_ok=True)
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


def refuse_foreign(folder: Path) -> None:
    """Refuses a folder in which nothing may be removed, before work is done for it.

    Raises:
        DataError: If it is a link, or holds somebody's files.
    """
    if folder.is_symlink():
        raise DataError(f"{folder} is a symbolic link, through which nothing is removed; rename it")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / locks.NAME).exists():
        raise DataError(f"{folder} holds files that were not left by a preparation; rename it")


def put(folder: Path, target: Path) -> None:
    """Moves a finished folder to its place, after all of it has reached the disk.

    Raises:
        OSError: If the place is taken, or the disk fails.
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
        except OSError:  # It is not empty: it holds the finished data set.
            return


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name == locks.NAME:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
