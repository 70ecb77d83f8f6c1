"""Pickles of arrays, read without running what they name.

A pickle can name any function and have it called. Here NumPy's names give stand-ins that hold shape
and bytes and do nothing, and any other name is refused. NumPy's own classes would not do: a pickle
may tell a dtype that raw bytes are objects, and NumPy would follow them as pointers.
"""

import io
import pickle
from typing import Any

import numpy as np

from src.data.dataset import DataError


def load_pickle(content: bytes) -> Any:
    """Lists, dicts, strings, numbers and `PickledArray`.

    Raises:
        DataError: If it names anything else.
        Exception: Whatever a damaged pickle raises.
    """
    return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()


class _Type:
    """Stands for numpy.dtype in a pickle: it holds the name that was given, and does nothing."""

    def __init__(self, name: Any = "", *others: Any):
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like: a byte has none."""


class PickledArray:
    """Stands for numpy.ndarray in a pickle: it holds what was given, and does nothing with it."""

    def __init__(self, *shape_and_type: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def as_bytes(self) -> np.ndarray | None:
        """The array of bytes [N, M] that was pickled; None if it was anything else."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            return None
        _, shape, kind, by_columns, content = self.state
        if isinstance(content, str):  # Python 2's bytes, which Latin-1 keeps as they are
            try:
                content = content.encode("latin1")
            except UnicodeError:
                return None
        if not isinstance(kind, _Type) or kind.name not in ("u1", "uint8", "|u1"):
            return None
        if not isinstance(shape, tuple) or len(shape) != 2 or not isinstance(content, bytes):
            return None
        if not all(type(n) is int and n >= 0 for n in shape) or shape[0] * shape[1] != len(content):
            return None
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _ArrayUnpickler(pickle.Unpickler):
    """Builds what `load_pickle` returns, and refuses to look up anything else."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": PickledArray, "ndarray": PickledArray, "dtype": _Type}
        modules = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
        if module in modules and name in known:
            return known[name]
        raise DataError(f"asks to run {module}.{name}, which CIFAR-10 never does: refused")
