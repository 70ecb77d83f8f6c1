"""`.npy` files that hold a dictionary of layers, as caffe-tensorflow writes them."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from src import pickles
from src.pickles import Array
from src.weights.tensors import (
    Tensors,
    WeightsError,
    WeightsFile,
    damaged,
    make_tensor,
    read_bytes,
    unpickled,
)

KNOWN: dict[str, Any] = {**pickles.ARRAYS, "collections.OrderedDict": pickles.State}
KINDS = ("f2", "f4", "f8")
PARTS = {"weight": "weight", "weights": "weight", "bias": "bias", "biases": "bias"}


def read_npy(path: Path) -> WeightsFile:
    """Tensors `conv1/weight` [height, width, in / groups, out], `conv1/bias`, ...

    A layer is a list of two arrays, weights first, or a dictionary `weights`, `biases`.

    Raises:
        WeightsError: If the file cannot be read, is damaged, or its pickle names anything but
            arrays.
    """
    file = io.BytesIO(read_bytes(path))
    try:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, _, kind = readers[version](file)
    except Exception as error:  # The header is a Python expression, and may fail as one.
        raise damaged(path, "its header", error) from error
    if not kind.hasobject or shape != ():
        raise WeightsError(f"{path} holds an array {kind} {shape}, not a dictionary of layers")
    loaded, _ = unpickled(path, file.read(), KNOWN)
    if isinstance(loaded, Array):
        loaded = loaded.content
    if isinstance(loaded, list) and len(loaded) == 1:
        loaded = loaded[0]
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path} holds no dictionary of layers")
    tensors: Tensors = {}
    for layer, parts in loaded.items():
        for part, array in _parts(parts):
            name = f"{layer}/{part}"
            if not isinstance(array, Array):
                raise WeightsError(f"{path}: tensor {name} is no array")
            tensors[name] = _values(path, name, array)
    return WeightsFile(path, tensors)


def _parts(parts: Any) -> list[tuple[str, Any]]:
    if isinstance(parts, dict):
        return [(PARTS.get(str(name), str(name)), array) for name, array in parts.items()]
    if isinstance(parts, Array) and isinstance(parts.content, list):
        parts = parts.content  # NumPy makes one array of two of different shapes.
    if isinstance(parts, list | tuple):
        return list(zip(("weight", "bias"), parts, strict=False))
    return [("weight", parts)]


def _values(path: Path, name: str, array: Array) -> np.ndarray:
    kind, content = array.kind, array.content
    if not isinstance(content, bytes | str) or kind not in KINDS:
        raise WeightsError(f"{path}: tensor {name} is not of floating point")
    try:
        content = content.encode("latin1") if isinstance(content, str) else content  # Python 2's.
        values = np.frombuffer(content, array.order + kind)
    except ValueError as error:
        raise damaged(path, f"tensor {name}", error) from error
    tensor = make_tensor(path, name, values, array.shape)
    if array.fortran:
        return tensor.reshape(array.shape[::-1]).T.copy()
    return tensor
