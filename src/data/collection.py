"""Images found in a folder or in arrays, before they are written as a data set."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from src.data.dataset import DataError


class Found(NamedTuple):
    """Images with their classes, not read yet.

    Attributes:
        labels: [images] classes, from 0.
        image: Number of an image -> the bytes of its encoded file.
    """

    labels: Int[np.ndarray, " images"]
    image: Callable[[int], bytes]


class Collection(NamedTuple):
    """Splits that were found, either `train` and `test` or all images in `train`.

    Attributes:
        splits: Name of a split -> its images.
        label_names: Names of the classes, in the order of their numbers.
        shape: Height, width and channels of the images; height or width are None if they differ.
    """

    splits: dict[str, Found]
    label_names: tuple[str, ...]
    shape: tuple[int | None, int | None, int]


def common_shape(shapes: set[tuple[int, int, int]]) -> tuple[int | None, int | None, int]:
    """Height and width, None if they differ, and the largest number of channels."""
    sizes = {shape[:2] for shape in shapes}
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    return height, width, max(shape[2] for shape in shapes)


def name_fault(name: str) -> str:
    """Why a list of one name a line cannot hold the name of a class; "" if it can."""
    for letter in name:
        if not letter.isprintable():
            return f"has a character in it that cannot be seen, U+{ord(letter):04X}"
    if not name:
        return "is empty"
    return "begins or ends with a space" if name != name.strip() else ""


def refuse_special(path: Path) -> None:
    """Refuses what is there and no file, such as a pipe, of which reading may never end.

    Raises:
        DataError: If it is a pipe, a socket or a device.
    """
    if path.exists() and not path.is_file():
        raise DataError(
            f"{path} is no regular file but a pipe or a device; give a file, or move it"
        )
