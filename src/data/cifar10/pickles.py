"""Reads pickles of arrays without running what they name.

A pickle can name any function and have it called. Here NumPy's names give stand-ins that hold shape
and bytes and do nothing; any other name is refused. NumPy's own classes would not be safe: a pickle
may tell a dtype that raw bytes are objects, and NumPy would follow them as pointers.
"""

import io
import pickle
from typing import Any

import numpy as np

from src.data.dataset import DataError


def load_pickle(content: bytes) -> Any:
    """Reads a pickle of lists, dicts, strings, numbers and arrays, which become `PickledArray`.

    Raises:
        DataError: If it names anything else.
        Exception: Whatever a damaged pickle raises.
    """
    return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()


class _Type:
    """Stands in for numpy.dtype: holds the name that the pickle gives, and does nothing."""

    def __init__(self, name: Any = "", *others: Any):
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Ignores byte order and the like, which bytes do not have."""


class PickledArray:
    """Stands in for numpy.ndarray: holds what the pickle gives, and does nothing with it."""

    def __init__(self, *shape_and_type: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def as_bytes(self) -> np.ndarray | None:
        """The array of bytes [N, M] that was pickled; None if it was anything else."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            return None
        _, shape, kind, by_columns, content = self.state
        if isinstance(content, str):  # Latin-1 keeps the bytes of Python 2 as they are.
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
