"""A small CIFAR-10 of random images, and its published archives written by hand."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from src.data.cifar10 import archives as cifar10_archives
from src.data.cifar10.facts import Original
from src.data.dataset import Split

BATCH = 20  # Images per file; the published ones have 10,000.


def make_batches(seed: int = 0) -> list[Split]:
    rng = np.random.default_rng(seed)
    return [
        Split(
            rng.integers(0, 256, (BATCH, 32, 32, 3), np.uint8),
            rng.integers(0, 10, BATCH).astype(np.int32),
        )
        for _ in range(6)
    ]


def binary_bytes(batch: Split) -> bytes:
    """Written out record by record, as the data set's page describes it."""
    return b"".join(
        bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
        for image, label in zip(*batch, strict=True)
    )


class Python2Pickler(pickle._Pickler):
    """Protocol 2 as Python 2 wrote it: byte strings, NumPy's modules under their old names."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        content = text if isinstance(text, bytes) else text.encode("latin1")
        self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)
        self.memoize(text)

    def save_global(self, obj, name=None):
        module = "numpy.core.multiarray" if obj.__name__ == "_reconstruct" else obj.__module__
        self.write(pickle.GLOBAL + f"{module}\n{obj.__name__}\n".encode())
        self.memoize(obj)

    dispatch[bytes] = dispatch[str] = save_string
    dispatch[type] = dispatch[type(make_batches)] = save_global


def python_bytes(batch: Split) -> bytes:
    planes = batch.images.transpose(0, 3, 1, 2).reshape(BATCH, 3072)
    buffer = io.BytesIO()
    content = {"batch_label": "batch", "labels": batch.labels.tolist(), "data": planes}
    Python2Pickler(buffer, 2).dump(content)
    return buffer.getvalue()


def write_archive(folder: Path, version: cifar10_archives.Version, batches: list[Split]) -> Path:
    encode = binary_bytes if version is cifar10_archives.BINARY else python_bytes
    path = folder / version.archive
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        # the published archives are not in order either
        for name, batch in reversed(list(zip(version.batches, batches, strict=True))):
            content = encode(batch)
            member = tarfile.TarInfo(f"{version.folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def original_of(batches: list[Split], **known: str) -> Original:
    facts = {"url": "http://127.0.0.1:9/", "binary_md5": "", "python_md5": ""} | known
    facts |= {"binary_bytes": 10**7}
    sums = tuple(hashlib.sha1(binary_bytes(batch)).hexdigest() for batch in batches)
    return Original(sizes=(5 * BATCH, BATCH), batch_size=BATCH, batch_sha1=sums, **facts)


def assert_same(dataset, batches: list[Split]) -> None:
    for split, expected in ((dataset.train, batches[:5]), (dataset.test, batches[5:])):
        images, labels = (np.concatenate(arrays) for arrays in zip(*expected, strict=True))
        np.testing.assert_array_equal(split.images, images)
        np.testing.assert_array_equal(split.labels, labels)
        assert split.labels.dtype == np.int32


def joined(batches: list[Split]) -> Split:
    return Split(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
