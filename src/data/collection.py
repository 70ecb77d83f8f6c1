"""Images found in a folder or in arrays, before they are written as a data set."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int


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
