"""Reads pickles of strangers with an unpickler that knows nothing but tensors.

A pickle is a program that may call any function of Python. Here every function that it names is
replaced by one of ours or refused, and a program too long for a list of tensors is not run at all.
"""

import io
import operator
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

MOST_OPERATIONS = 100_000  # AlexNet's weights take some hundreds, a batch of CIFAR-10 30,000.


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
            raise pickle.UnpicklingError(
                f"it names {full!r}, which is no tensor; nothing was run; save the tensors alone"
            )
        return Known(self._known[full])

    def persistent_load(self, pid: Any) -> Any:
        """Finds what lies outside the pickle, such as PyTorch's storages."""
        if self._persistent is None:
            raise pickle.UnpicklingError("it refers to something outside itself")
        return self._persistent(pid)


def load(
    content: bytes,
    known: Mapping[str, Callable[..., Any]],
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """The object of the pickle at the beginning of `content`, and how many bytes it takes.

    Args:
        content: Bytes that begin with a pickle.
        known: "module.name" -> its stand-in.
        persistent: Persistent id -> what it refers to.

    Raises:
        Exception: Of any kind, if the pickle is damaged, too long or names anything else.
    """
    size = _check_operations(content)
    return Unpickler(content[:size], known, persistent).load(), size


def _check_operations(content: bytes) -> int:
    """Reads the first pickle without running it, and returns its length.

    Few operations bound its depth and time; a slot of its memory that is far away, its space.
    """
    position = 0
    for count, (operation, argument, at) in enumerate(pickletools.genops(content)):
        far = "PUT" in operation.name and int(argument or 0) > MOST_OPERATIONS
        if count >= MOST_OPERATIONS or far:
            raise pickle.UnpicklingError("it is longer than any list of tensors or labels")
        position = at or 0
    return position + 1


class Kind:
    """Stands in for `numpy.dtype`."""

    def __init__(self, name: Any = "", *rest: Any):
        del rest
        self.name, self.order = str(name), "<"

    def __setstate__(self, state: Any) -> None:
        """Keeps the order of the bytes, the second entry: `<`, `>`, or `|` if there is none."""
        self.order = ">" if state[1] == ">" else "<"


class Array:
    """Stands in for `numpy.ndarray`: holds the state that an array can be made of."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.kind, self.order, self.fortran = "", "<", False
        self.content: Any = None

    def __setstate__(self, state: Any) -> None:
        """Keeps version, shape, dtype, whether columns come first, and the bytes."""
        _, shape, kind, fortran, content = state
        self.shape = tuple(map(operator.index, shape))
        self.kind, self.order = kind.name, kind.order
        self.fortran, self.content = bool(fortran), content


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for `_codecs.encode`, by which Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


# All that pickles of NumPy's arrays name has a stand-in here.
ARRAYS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": Kind,
    "numpy.ndarray": Array,
    "_codecs.encode": _encode,
    # NumPy has it in one place before version 2, and in another since.
    "numpy.core.multiarray._reconstruct": lambda *rest: Array(),
    "numpy._core.multiarray._reconstruct": lambda *rest: Array(),
}
