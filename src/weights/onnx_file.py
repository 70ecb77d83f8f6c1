"""ONNX files: the initializers of their graph.

Field numbers: onnx/onnx, onnx/onnx.proto. What is read here is too little to need ONNX' library.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from src.weights.protobuf import fields, integer, integers, octets, text
from src.weights.tensors import (
    Tensors,
    WeightsError,
    WeightsFile,
    damaged,
    from_bfloat16,
    make_tensor,
    read_bytes,
)

GRAPH = 7  # Field of a ModelProto.
NODE, INITIALIZER = 1, 5  # Fields of a GraphProto.
BFLOAT16 = 16
FLOAT_TYPES = {1: "<f4", 10: "<f2", 11: "<f8", BFLOAT16: "<u2"}
TYPES = {"Conv": "Convolution", "Gemm": "InnerProduct", "MatMul": "InnerProduct"}
TYPES |= {"MaxPool": "Pooling", "AveragePool": "Pooling", "Relu": "ReLU"}


def read_onnx(path: Path) -> WeightsFile:
    """Tensors by the names of the initializers; types of the graph's nodes in Caffe's words.

    Raises:
        WeightsError: If the file cannot be read, is damaged, or keeps its data in other files.
    """
    tensors: Tensors = {}
    kinds: list[str] = []
    try:
        for number, graph in fields(memoryview(read_bytes(path))):
            for inner, value in fields(octets(graph)) if number == GRAPH else ():
                if inner == NODE:
                    kinds += [text(v) for field, v in fields(octets(value)) if field == 4]
                elif inner == INITIALIZER:
                    _read_initializer(path, octets(value), tensors)
    except ValueError as error:
        last = f"behind tensor {list(tensors)[-1]}" if tensors else "before the first tensor"
        raise damaged(path, last, error) from error
    if not tensors:
        raise WeightsError(f"{path} holds no initializers: it is no .onnx file with weights")
    return WeightsFile(path, tensors, tuple(TYPES.get(kind, kind) for kind in kinds))


def _read_initializer(path: Path, message: memoryview, tensors: Tensors) -> None:
    """Adds a TensorProto of floating point to `tensors`; others, such as shapes, are left out."""
    name, shape, kind, data = "", [], 0, []
    fault = ""
    for number, value in fields(message):
        if number == 1:
            shape += integers(value)
        elif number == 2:
            kind = integer(value)
        elif number in (4, 9, 10):  # float_data, raw_data, double_data
            data.append(bytes(octets(value)))
        elif number == 5:  # int32_data, of 16 bits each
            fault = "is a list of whole numbers that stand for floats; save the model in float32"
        elif number == 8:
            name = text(value)
        elif number == 14 and integer(value) == 1:
            fault = "lies in another file; save the model in one"
    if kind not in FLOAT_TYPES:
        return
    if fault:
        raise WeightsError(f"{path}: tensor {name} {fault}")
    numbers = _numbers(path, name, data, FLOAT_TYPES[kind])
    numbers = from_bfloat16(numbers) if kind == BFLOAT16 else numbers
    tensors[name] = make_tensor(path, name, numbers, shape)


def _numbers(path: Path, name: str, data: list[bytes], kind: str) -> Shaped[np.ndarray, " N"]:
    try:
        return np.frombuffer(b"".join(data), kind)
    except ValueError as error:
        raise damaged(path, f"tensor {name}", error) from error
