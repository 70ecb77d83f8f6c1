"""Reads PyTorch's files without PyTorch: the present zip, and the stream in use before 2020.

Both hold a pickle that names tensors, and apart from it their numbers.
"""

import hashlib
import io
import math
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src import pickles
from src.weights.tensors import (
    Tensors,
    WeightsError,
    WeightsFile,
    damaged,
    from_bfloat16,
    make_tensor,
    read_bytes,
    unpickled,
)

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older stream
STORAGES = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4"}
STORAGES |= {"Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?", "BFloat16": "<u2"}
FLOATS = ("Float", "Double", "Half", "BFloat16")


class Storage(NamedTuple):
    """A row of numbers; tensors are windows of it."""

    key: str
    kind: str  # such as "Float"
    size: int


class Tensor(NamedTuple):
    """A window of a storage, whose numbers are not read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: Path) -> WeightsFile:
    """Reads the tensors of a state dictionary, or of the first one inside the saved object.

    Raises:
        WeightsError: If the file cannot be read, is damaged, or its pickle names anything but
            tensors.
    """
    content = read_bytes(path)
    _check_name(path, content)
    read = _read_zip if content[:2] == b"PK" else _read_stream
    saved, numbers_of = read(path, content)
    tensors: Tensors = {}
    for name, tensor in _state_dictionary(path, saved).items():
        if isinstance(tensor, Tensor) and tensor.storage.kind in FLOATS:
            tensors[str(name)] = _values(path, str(name), tensor, numbers_of(tensor.storage))
    if not tensors:
        raise WeightsError(f"{path} holds no tensors of floating point by name")
    return WeightsFile(path, tensors)


def _check_name(path: Path, content: bytes) -> None:
    """PyTorch's own files end in the first eight digits of their SHA-256: NAME-7be5be79.pth."""
    named = re.fullmatch(r".*-([0-9a-f]{8})", path.stem)
    if named and not hashlib.sha256(content).hexdigest().startswith(named[1]):
        raise WeightsError(
            f"{path} is damaged: its name says that its SHA-256 begins with {named[1]}, and it does"
            " not; download it again"
        )


def _state_dictionary(path: Path, saved: Any) -> dict:
    """Name -> tensor; training programs keep it in an entry beside others."""
    if isinstance(saved, dict):
        for entry in (saved, *saved.values()):
            if isinstance(entry, dict) and any(isinstance(v, Tensor) for v in entry.values()):
                return entry
    raise WeightsError(f"{path} holds no dictionary of tensors")


def _values(path: Path, name: str, tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    """The tensor's window of its storage."""
    shape, strides = tensor.shape, tensor.strides
    sound = len(shape) == len(strides) and min((*shape, *strides, tensor.offset)) >= 0
    reach = sum((n - 1) * step for n, step in zip(shape, strides, strict=False))
    if not sound or 0 in shape or tensor.offset + reach >= numbers.size:
        raise WeightsError(f"{path}: tensor {name} reaches beyond its numbers; the file is damaged")
    if math.prod(shape) > numbers.size:
        raise WeightsError(f"{path}: tensor {name} uses numbers twice; the file is damaged")
    # An axis of one has any stride, and none is taken.
    steps = [
        step * numbers.itemsize if n > 1 else 0 for n, step in zip(shape, strides, strict=True)
    ]
    try:
        window = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], shape, steps)
    except ValueError as error:  # It has more axes than an array can have.
        raise damaged(path, f"tensor {name}", error) from error
    return make_tensor(path, name, window, shape)


def _unpickle(path: Path, content: bytes) -> tuple[Any, int]:
    return unpickled(path, content, _KNOWN, _storage)


def _storage(pid: Any) -> Storage:
    """A storage by its persistent id: ("storage", type, key, device, size)."""
    word, kind, key, _, size, *_ = pid
    if word != "storage" or not isinstance(kind, pickles.Known):
        raise ValueError("it refers to something that is no storage")
    return Storage(str(key), kind(), int(size))


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    """Stands in for `torch._utils._rebuild_tensor_v2`."""
    del rest  # Whether it is trained, and its hooks.
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without storage")
    return Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _named(kind: str) -> Callable[[], str]:
    return lambda: kind


_KNOWN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": pickles.State,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_parameter": lambda tensor, *rest: tensor,
    **{f"torch.{kind}Storage": _named(kind) for kind in STORAGES},
}


def _read_zip(path: Path, content: bytes) -> tuple[Any, Callable[[Storage], np.ndarray]]:
    """`NAME/data.pkl`, and `NAME/data/KEY` for each storage; nothing in it is compressed."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise WeightsError(f"{path} is truncated or damaged ({error})") from error

    def read(name: str) -> bytes:
        info = entries.get(name)
        if info is None or info.file_size > len(content):
            raise WeightsError(f"{path} has no sound entry {name}; the file is damaged")
        try:
            return archive.read(info)
        except Exception as error:  # zipfile and zlib have many errors for damage.
            raise WeightsError(f"{path}: entry {name} is damaged ({error})") from error

    if "byteorder" in entries and read("byteorder") != b"little":
        raise WeightsError(f"{path} was written on a big-endian machine; save it on another")
    saved, _ = _unpickle(path, read("data.pkl"))

    def numbers_of(storage: Storage) -> np.ndarray:
        return _numbers(path, storage, read(f"data/{storage.key}"))

    return saved, numbers_of


def _read_stream(path: Path, content: bytes) -> tuple[Any, Callable[[Storage], np.ndarray]]:
    """Four pickles: a number, a version, the machine, the object; then keys and their numbers."""
    rest = content
    objects: list[Any] = []
    for _ in range(5):
        found, size = _unpickle(path, rest)
        if not objects and found != MAGIC:
            raise WeightsError(f"{path} is not a file of PyTorch")
        objects.append(found)
        rest = rest[size:]
    saved, keys = objects[3:]
    if not isinstance(keys, list):
        raise WeightsError(f"{path} lists no storages; the file is damaged")
    sizes = {t.storage.key: t.storage for t in _tensors_in(saved)}
    numbers = {}
    for key in map(str, keys):
        if key not in sizes:
            raise WeightsError(f"{path} lists a storage {key!r} of no tensor; it is damaged")
        storage = sizes[key]
        length = 8 + storage.size * np.dtype(STORAGES[storage.kind]).itemsize
        if rest[:8] != storage.size.to_bytes(8, "little", signed=True):
            raise WeightsError(f"{path}: storage {key} is truncated or damaged")
        numbers[key] = rest[8:length]
        rest = rest[length:]
    return saved, lambda storage: _numbers(path, storage, numbers.get(storage.key, b""))


def _tensors_in(saved: Any) -> list[Tensor]:
    entries = list(saved.values()) if isinstance(saved, dict) else []
    inner = [value for entry in entries if isinstance(entry, dict) for value in entry.values()]
    return [value for value in (*entries, *inner) if isinstance(value, Tensor)]


def _numbers(path: Path, storage: Storage, content: bytes) -> np.ndarray:
    kind = np.dtype(STORAGES[storage.kind])
    if len(content) != storage.size * kind.itemsize:
        raise WeightsError(
            f"{path}: storage {storage.key} has {len(content)} bytes,"
            f" {storage.size * kind.itemsize} belong to it; the file is truncated or damaged"
        )
    numbers = np.frombuffer(content, kind)
    return from_bfloat16(numbers) if storage.kind == "BFloat16" else numbers
