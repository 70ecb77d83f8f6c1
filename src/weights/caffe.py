"""Caffe's files: `.caffemodel` of both generations, `.binaryproto`.

Field numbers: BVLC/caffe, src/caffe/proto/caffe.proto.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from src.weights.protobuf import fields, integer, integers, octets, text
from src.weights.tensors import (
    Tensors,
    WeightsError,
    WeightsFile,
    damaged,
    make_tensor,
    read_bytes,
    refuse_stand_in,
)

V1_LAYER, LAYER = 2, 100  # Fields of a NetParameter, by generation.
V1_TYPES = {4: "Convolution", 14: "InnerProduct", 15: "LRN", 17: "Pooling", 18: "ReLU"}
BLOB_NAMES = ("weight", "bias")


class Numbers(NamedTuple):
    """Numbers of the fields in which a generation keeps what is read of a layer."""

    name: int
    kind: int
    blobs: int


NUMBERS = {V1_LAYER: Numbers(name=4, kind=5, blobs=6), LAYER: Numbers(name=1, kind=2, blobs=7)}


def read_caffemodel(path: Path) -> WeightsFile:
    """Tensors `conv1/weight` [out, in / groups, height, width], `conv1/bias`, ...; types of layers.

    Raises:
        WeightsError: If the file cannot be read, is damaged or holds no weights.
    """
    tensors: Tensors = {}
    kinds: list[str] = []
    try:
        for number, value in fields(memoryview(read_bytes(path))):
            if number in NUMBERS:
                where = f"layer {len(kinds) + 1}, behind {kinds[-1] if kinds else 'none'}"
                kind = _read_layer(path, where, octets(value), NUMBERS[number], tensors)
                kinds.append(kind)
    except ValueError as error:
        last = f"behind tensor {list(tensors)[-1]}" if tensors else "before the first tensor"
        raise damaged(path, last, error) from error
    if not tensors:
        raise WeightsError(f"{path} holds no weights of layers: it is no .caffemodel")
    return WeightsFile(path, tensors, tuple(kinds))


def read_binaryproto(path: Path) -> Float[np.ndarray, "C H W"]:
    """A mean image, channels in the file's order: blue, green, red in Caffe's.

    Raises:
        WeightsError: If the file cannot be read or is damaged.
    """
    refuse_stand_in(path)
    image = _read_blob(path, "mean", memoryview(read_bytes(path)))
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.ndim != 3:
        raise WeightsError(f"{path}: a mean image has three axes, this one has {image.shape}")
    return image


def _read_layer(
    path: Path, where: str, layer: memoryview, numbers: Numbers, tensors: Tensors
) -> str:
    """Adds a layer's blobs to `tensors`; the type of the layer."""
    name, kind, blobs = "", "", []
    try:
        for number, value in fields(layer):
            if number == numbers.name:
                name = text(value)
            elif number == numbers.kind:
                kind = V1_TYPES.get(value, str(value)) if isinstance(value, int) else text(value)
            elif number == numbers.blobs:
                blobs.append(octets(value))
    except ValueError as error:
        raise damaged(path, f"layer {name}" if name else where, error) from error
    for place, blob in enumerate(blobs):
        tensor = f"{name}/{BLOB_NAMES[place] if place < len(BLOB_NAMES) else place}"
        tensors[tensor] = _read_blob(path, tensor, blob)
    return kind


def _read_blob(path: Path, name: str, blob: memoryview) -> Float[np.ndarray, "..."]:
    """The values of a BlobProto.

    The data may come in pieces, the shape as `shape` or as the older num, channels, height, width.
    """
    older, shape, floats, doubles = [1, 1, 1, 1], None, [], []
    try:
        for number, value in fields(blob):
            if 1 <= number <= 4:
                older[number - 1] = integer(value)
            elif number == 5:
                floats.append(np.frombuffer(octets(value), "<f4"))
            elif number == 7:
                shape = [size for _, sizes in fields(octets(value)) for size in integers(sizes)]
            elif number == 8:
                doubles.append(np.frombuffer(octets(value), "<f8"))
    except ValueError as error:
        raise damaged(path, f"tensor {name}", error) from error
    values = np.concatenate(floats or doubles or [np.zeros(0, np.float32)])
    return make_tensor(path, name, values, older if shape is None else shape)
