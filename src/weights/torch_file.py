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
USUAL = ("state_dict", "model")  # Entries in which training programs keep the network.
# torchvision's files of AlexNet end in the first digits of their SHA-256. Others may end in a date.
PUBLISHED = re.compile(r"alexnet-owt-([0-9a-f]{8})")


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
    """Reads the tensors of a state dictionary, or of one inside the saved object.

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
    """Refuses a file that has the name of a published one, and another content."""
    named = PUBLISHED.fullmatch(path.stem)
    if named and not hashlib.sha256(content).hexdigest().startswith(named[1]):
        raise WeightsError(
            f"{path} is damaged or changed: the SHA-256 of the file that torchvision publishes by"
            f" this name begins with {named[1]}; download it again, or rename it"
        )


def _state_dictionary(path: Path, saved: Any) -> dict:
    """Name -> tensor; training programs keep it in an entry, and other tensors beside it."""
    entries = saved if isinstance(saved, dict) else {}
    usual = [entries[name] for name in USUAL if name in entries]
    for among in (usual, [entries, *entries.values()]):
        fullest: dict = max(among, key=_count_tensors, default={})
        if _count_tensors(fullest):
            return fullest
    raise WeightsError(
        f"{path} is no dictionary of tensors, and holds none beside others; save the network's"
        " state_dict()"
    )


def _count_tensors(entry: Any) -> int:
    values = entry.values() if isinstance(entry, dict) else ()
    return sum(isinstance(value, Tensor) for value in values)


def _values(path: Path, name: str, tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    """The tensor's window of its storage."""
    shape, strides = tensor.shape, tensor.strides
    sound = len(shape) == len(strides) and min((*shape, *strides, tensor.offset)) >= 0
    reach = sum((n - 1) * step for n, step in zip(shape, strides, strict=False))
    empty = 0 in shape  # Some layers keep such a tensor until they are used.
    if not sound or (not empty and tensor.offset + reach >= numbers.size):
        raise WeightsError(f"{path}: tensor {name} reaches beyond its numbers; the file is damaged")
    if math.prod(shape) > numbers.size:
        raise WeightsError(f"{path}: tensor {name} uses numbers twice; the file is damaged")
    # An axis of one has any stride, and none is taken.
    steps = [
        step * numbers.itemsize if n > 1 else 0 for n, step in zip(shape, strides, strict=True)
    ]
    try:
        window = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], shape, steps)
    except (ValueError, OverflowError) as error:  # No array can have such axes.
        raise damaged(path, f"tensor {name}", error) from error
    return make_tensor(path, name, window, shape)


def _storage(pid: Any) -> Storage:
    """A storage by its persistent id: ("storage", type, key, device, size)."""
    word, kind, key, _, size, *_ = pid
    named = kind() if word == "storage" and isinstance(kind, pickles.Known) else None
    if named not in STORAGES or not 0 <= int(size) < 2**63:
        raise ValueError("it refers to something that is no storage")
    return Storage(str(key), named, int(size))


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
    saved, _ = unpickled(path, read("data.pkl"), _KNOWN, _storage)

    def numbers_of(storage: Storage) -> np.ndarray:
        return _numbers(path, storage, read(f"data/{storage.key}"))

    return saved, numbers_of


def _read_stream(path: Path, content: bytes) -> tuple[Any, Callable[[Storage], np.ndarray]]:
    """Four pickles: a number, a version, the machine, the object; then keys and their numbers."""
    rest = content
    objects: list[Any] = []
    storages: dict[str, Storage] = {}  # Of all tensors, however deep they lie in the object.

    def keep(pid: Any) -> Storage:
        storage = _storage(pid)
        return storages.setdefault(storage.key, storage)

    for _ in range(5):
        found, size = unpickled(path, rest, _KNOWN, keep)
        if not objects and found != MAGIC:
            raise WeightsError(f"{path} is not a file of PyTorch")
        objects.append(found)
        rest = rest[size:]
    saved, keys = objects[3:]
    if not isinstance(keys, list):
        raise WeightsError(f"{path} lists no storages; the file is damaged")
    numbers = {}
    for key in map(str, keys):
        if key not in storages:
            raise WeightsError(f"{path} lists a storage {key!r} of no tensor; it is damaged")
        storage = storages[key]
        length = 8 + storage.size * np.dtype(STORAGES[storage.kind]).itemsize
        if rest[:8] != storage.size.to_bytes(8, "little", signed=True):
            raise WeightsError(f"{path}: storage {key} is truncated or damaged")
        numbers[key] = rest[8:length]
        rest = rest[length:]
    return saved, lambda storage: _numbers(path, storage, numbers.get(storage.key, b""))


def _numbers(path: Path, storage: Storage, content: bytes) -> np.ndarray:
    kind = np.dtype(STORAGES[storage.kind])
    if len(content) != storage.size * kind.itemsize:
        raise WeightsError(
            f"{path}: storage {storage.key} has {len(content)} bytes,"
            f" {storage.size * kind.itemsize} belong to it; the file is truncated or damaged"
        )
    numbers = np.frombuffer(content, kind)
    return from_bfloat16(numbers) if storage.kind == "BFloat16" else numbers
