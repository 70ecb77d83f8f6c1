"""Writers of the formats that `src/weights` reads, each from the format's own description."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Arrays = Mapping[str, np.ndarray]


def varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def message(*fields: tuple[int, int | bytes | str]) -> bytes:
    """A protobuf message of numbers and bytes."""
    content = b""
    for number, value in fields:
        if isinstance(value, int):
            content += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            content += varint(number << 3 | 2) + varint(len(data)) + data
    return content


def blob(
    array: np.ndarray, *, older: bool = False, pieces: int = 1, doubles: bool = False
) -> bytes:
    """A BlobProto; the older ones have four sizes."""
    kind, number = ("<f8", 8) if doubles else ("<f4", 5)
    values = np.array_split(np.ascontiguousarray(array, kind).ravel(), pieces)
    data = [(number, part.tobytes()) for part in values]
    if older:
        sizes = (1,) * (4 - array.ndim) + array.shape
        return message(*((place + 1, size) for place, size in enumerate(sizes)), *data)
    return message(*data, (7, message((1, b"".join(map(varint, array.shape))))))


def caffemodel(
    path: Path,
    arrays: Arrays,
    *,
    older: bool = False,
    layers: Sequence[str] = (),
    **how: bool | int,
) -> Path:
    """A NetParameter: layers by the names before "/", then those of the types `layers`."""
    numbers = {"Convolution": 4, "InnerProduct": 14, "LRN": 15, "Pooling": 17}
    container, name, kind, blobs = (2, 4, 5, 6) if older else (100, 1, 2, 7)
    content = message((1, "a net"))
    for layer in dict.fromkeys(tensor.split("/")[0] for tensor in arrays):
        own = [array for tensor, array in arrays.items() if tensor.split("/")[0] == layer]
        of = "Convolution" if own[0].ndim == 4 else "InnerProduct"
        fields = [(name, layer), (kind, numbers[of] if older else of)]
        fields += [(blobs, blob(array, older=older, **how)) for array in own]
        content += message((container, message(*fields)))
    for of in layers:
        fields = [(name, of.lower()), (kind, numbers[of] if older else of)]
        content += message((container, message(*fields)))
    path.write_bytes(content)
    return path


def onnx(path: Path, arrays: Arrays, *, raw: bool = True, layers: Sequence[str] = ()) -> Path:
    """A ModelProto with initializers, and nodes of the types `layers`."""
    tensors = []
    for name, array in arrays.items():
        data = np.ascontiguousarray(array, "<f4").tobytes()
        sizes = [(1, size) for size in array.shape]
        tensors.append(message(*sizes, (2, 1), (9 if raw else 4, data), (8, name)))
    nodes = [message((3, kind.lower()), (4, kind)) for kind in layers]
    graph = message(*((1, node) for node in nodes), *((5, tensor) for tensor in tensors))
    path.write_bytes(message((1, 8), (7, graph)))
    return path


def npy(path: Path, layers: Mapping[str, object]) -> Path:
    np.save(path, layers, allow_pickle=True)
    return path


def safetensors(path: Path, arrays: Arrays) -> Path:
    """Eight bytes of length, JSON, raw numbers."""
    entries, data = [], b""
    for name, array in arrays.items():
        content = np.ascontiguousarray(array, "<f4").tobytes()
        shape = ",".join(map(str, array.shape))
        ends = f"[{len(data)},{len(data) + len(content)}]"
        entries.append(f'"{name}":{{"dtype":"F32","shape":[{shape}],"data_offsets":{ends}}}')
        data += content
    head = f"{{{','.join(entries)}}}".encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path
