"""Reads pickles of strangers with an unpickler that knows nothing but tensors.

A pickle is a program that may call any function of Python. Here every function that it names is
replaced by one of ours or refused, and a program too long for a list of tensors is not run at all.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from src.weights.tensors import WeightsError, damaged

MOST_OPERATIONS = 100_000  # AlexNet's weights take some hundreds.


class State(dict):
    """A dictionary whose attributes are dropped: PyTorch's has some."""

    def __setstate__(self, state: Any) -> None:
        """Keeps nothing."""


class Known:
    """A function that a pickle may call. It cannot be changed from within the pickle."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        """Calls the stand-in with the pickle's arguments."""
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class Unpickler(pickle.Unpickler):
    """Resolves the names in `known`, of each module and function, and no others."""

    def __init__(
        self,
        content: bytes,
        known: Mapping[str, Callable[..., Any]],
        persistent: Callable[[Any], Any] | None = None,
    ):
        super().__init__(io.BytesIO(content), encoding="latin1")  # the strings of Python 2
        self._known, self._persistent = known, persistent

    def find_class(self, module: str, name: str, /) -> Any:
        """The stand-in for a name."""
        full = f"{module}.{name}"
        if full not in self._known:
            raise pickle.UnpicklingError(f"it names {full!r}, which is no tensor; nothing was run")
        return Known(self._known[full])

    def persistent_load(self, pid: Any) -> Any:
        """Finds what lies outside the pickle, such as PyTorch's storages."""
        if self._persistent is None:
            raise pickle.UnpicklingError("it refers to something outside itself")
        return self._persistent(pid)


def load(
    path: Path,
    content: bytes,
    known: Mapping[str, Callable[..., Any]],
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """The object of the pickle at the beginning of `content`, and how many bytes it takes.

    Args:
        path: The file, for the message.
        content: Bytes that begin with a pickle.
        known: "module.name" -> its stand-in.
        persistent: Persistent id -> what it refers to.

    Raises:
        WeightsError: If the pickle is damaged, too long or names anything else.
    """
    try:
        size = _check_operations(content)
        return Unpickler(content[:size], known, persistent).load(), size
    except WeightsError:
        raise
    except Exception as error:  # A damaged pickle may fail anywhere, in any way.
        raise damaged(path, "its pickle is refused", error) from error


def _check_operations(content: bytes) -> int:
    """Reads the first pickle without running it, and returns its length.

    Few operations bound its depth and time; a slot of its memory that is far away, its space.
    """
    position = 0
    for count, (operation, argument, at) in enumerate(pickletools.genops(content)):
        far = "PUT" in operation.name and int(argument or 0) > MOST_OPERATIONS
        if count >= MOST_OPERATIONS or far:
            raise pickle.UnpicklingError("it is longer than any list of tensors")
        position = at or 0
    return position + 1
