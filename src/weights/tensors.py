"""The content of a file of weights, and the checks that every format needs."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt

from src import pickles
from src.errors import LabError, one_line

Tensors = dict[str, Float[np.ndarray, "..."]]


# How a file begins that was put where another was expected, and what it is.
STAND_INS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file; git lfs pull gets it",
    b"<!doctype": "is a web page, not the file; download it again",
    b"<html": "is a web page, not the file; download it again",
}


class WeightsError(LabError):
    """Weights cannot be read or do not fit. The message is one line: file, tensor, fault."""

    def __init__(self, message: str):
        # The message holds names from the file, whatever they are.
        super().__init__("".join(c if c.isprintable() else "?" for c in message))


class WeightsFile(NamedTuple):
    """A file as it was read; `layouts` recognizes its network.

    Attributes:
        path: The file.
        tensors: Name -> float32 tensor, in the file's own order of axes.
        layers: Types of its layers in order, such as "Convolution", "Pooling", "LRN"; empty if the
            format does not tell.
    """

    path: Path
    tensors: Tensors
    layers: tuple[str, ...] = ()


def read_bytes(path: Path) -> bytes:
    """Reads a file.

    Raises:
        WeightsError: If it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error


def refuse_stand_in(path: Path) -> None:
    """Refuses what downloads and clones leave in a file's place; a missing file is left to others.

    Raises:
        WeightsError: If it is a pointer of Git LFS or a web page.
    """
    with suppress(OSError), path.open("rb") as file:
        head = file.read(64).lstrip().lower()
        for start, what in STAND_INS.items():
            if head.startswith(start):
                raise WeightsError(f"{path} {what}")


def make_tensor(
    path: Path, name: str, values: np.ndarray, shape: Sequence[int]
) -> Float[np.ndarray, "..."]:
    """Makes a float32 tensor of the given shape, and checks it.

    Raises:
        WeightsError: If there are more or fewer values than the shape says, or one is not finite.
    """
    if min(shape, default=1) < 0 or math.prod(shape) != values.size:
        raise WeightsError(
            f"{path}: tensor {name} has {values.size} values, its shape {tuple(shape)} says"
            f" {math.prod(shape)}; the file is damaged"
        )
    with np.errstate(over="ignore"):  # Overflow is refused below.
        tensor = values.astype(np.float32).reshape(shape)
    if not np.isfinite(tensor).all():
        raise WeightsError(
            f"{path}: tensor {name} holds infinity or NaN; the file is damaged, or its training"
            " has diverged"
        )
    return tensor


def from_bfloat16(bits: UInt[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """float32 numbers, of which bfloat16 keeps the upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def unpickled(
    path: Path,
    content: bytes,
    known: Mapping[str, Callable[..., Any]],
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """The object of the pickle at the beginning of `content`, and its size; see `pickles.load`.

    Raises:
        WeightsError: If the pickle is damaged, too long or names anything else.
    """
    try:
        return pickles.load(content, known, persistent)
    except Exception as error:  # A damaged pickle may fail anywhere, in any way.
        raise damaged(path, "its pickle is refused", error) from error


def damaged(path: Path, where: str, error: Exception) -> WeightsError:
    """The error of a file that does not follow its own format; of `error` one line."""
    return WeightsError(f"{path}: {where}: {one_line(error) or type(error).__name__}")
