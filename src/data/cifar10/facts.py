"""Facts about the original CIFAR-10, by which a copy is told by its content, not by its name.

The binary version of a batch can be rebuilt from the decoded images, whatever file they came from,
and its SHA-1 compared with the published one: the same check serves archives, unpacked folders and
prepared TFDS folders.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from src.data.dataset import Split

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class Original(NamedTuple):
    """The address at which the data set is published, and the sums that identify it.

    Attributes:
        url: Folder of the two archives.
        sizes: Numbers of training and test images.
        batch_size: Number of images in a file of an archive.
        binary_bytes: Size of cifar-10-binary.tar.gz.
        binary_md5: MD5 of cifar-10-binary.tar.gz.
        python_md5: MD5 of cifar-10-python.tar.gz.
        batch_sha1: SHA-1 of data_batch_1.bin to data_batch_5.bin and test_batch.bin.
    """

    url: str
    sizes: tuple[int, int]
    batch_size: int
    binary_bytes: int
    binary_md5: str
    python_md5: str
    batch_sha1: tuple[str, ...]


# MD5 from https://www.cs.toronto.edu/~kriz/cifar.html, SHA-1 as checked by MXNet's class CIFAR10.
ORIGINAL = Original(
    url="https://www.cs.toronto.edu/~kriz/",
    sizes=(50_000, 10_000),
    batch_size=10_000,
    binary_bytes=170_052_171,
    binary_md5="c32a1d4ab5d03f1284b67883e8d87530",
    python_md5="c58f30108f718f92721af3b95e74349a",
    batch_sha1=(
        "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "26e2849e66a845b7f1e4614ae70f4889ae604628",
        "67eb016db431130d61cd03c7ad570b013799c88c",
    ),
)


def is_original(train: Split, test: Split, original: Original) -> bool:
    """Whether images, labels and their order are those of the published files, bit for bit."""
    if (len(train.labels), len(test.labels)) != original.sizes:
        return False
    size = original.batch_size
    batches = [
        Split(split.images[start : start + size], split.labels[start : start + size])
        for split in (train, test)
        for start in range(0, len(split.labels), size)
    ]
    found = tuple(hashlib.sha1(binary_records(batch)).hexdigest() for batch in batches)
    return found == original.batch_sha1


def binary_records(split: Split) -> bytes:
    """The split in the binary version: per image a label byte, then red, green and blue rows."""
    planes = split.images.transpose(0, 3, 1, 2).reshape(len(split.images), -1)
    return np.concatenate([split.labels[:, None].astype(np.uint8), planes], axis=1).tobytes()
