"""Local paths as a person types them, and the folders of this machine."""

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path

from src.errors import LabError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # gs://, s3://, file:///, also with one slash lost


class PathError(LabError):
    """A path cannot be meant as it was typed. The message is one line."""


def local_path(text: str | os.PathLike[str], name: str = "path", what: str = "folder") -> Path:
    """The local path that `text` means, with `~` and `~user` expanded; it need not exist.

    No shell expands the `~` of `--workdir=~/runs`, and `Path` takes a URL for a folder of that
    name. Both are seen to here, before anything is made or trained.

    Args:
        text: The path as it was typed.
        name: The flag or field whose value it is, for the message.
        what: What it should lead to, for the message.

    Raises:
        PathError: If it is empty, a URL or not UTF-8, or names a home folder that does not exist.
    """
    typed = os.fspath(text)
    said = f"{name} = {typed!r}"
    if not typed.strip():
        raise PathError(f"{said} is empty; give a {what} or leave it out")
    if _URL.match(typed):
        raise PathError(
            f"{said} is a URL; only local folders can be read and written: copy it to this machine,"
            f" or mount it, and give that {what}"
        )
    if "\0" in typed or "\n" in typed or "\r" in typed:
        raise PathError(f"{said} has a line break or a zero byte in it; give a name without")
    path = _expanded(typed, said)
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise PathError(
            f"{name} = {str(path.absolute())!a} is not UTF-8; give a {what} whose whole path is"
        ) from error
    return path


def local_path_of(name: str, what: str = "folder") -> Callable[[str], Path]:
    """The `type` of a flag of argparse whose value is a path; its messages name the flag."""
    return functools.partial(local_path, name=name, what=what)


def home_folder() -> Path | None:
    """The home folder; None for a user without one, such as a bare user id in a container."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def cache_folder() -> Path | None:
    """The folder for files that can be made again; None without a home folder.

    It is `$XDG_CACHE_HOME/alexnet-claims`, else `~/.cache/alexnet-claims`.
    """
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(chosen):  # The standard says to ignore relative ones.
        return Path(chosen) / "alexnet-claims"
    home = home_folder()
    return home / ".cache" / "alexnet-claims" if home else None


def _expanded(typed: str, said: str) -> Path:
    try:
        return Path(typed).expanduser()
    except RuntimeError as error:
        user = Path(typed).parts[0]
        raise PathError(f"{said}: {user} has no home folder here; give the whole path") from error
