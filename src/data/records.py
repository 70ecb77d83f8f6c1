"""Reads the records of a prepared data set without TensorFlow, and surveys them in one pass.

A record is a TensorFlow Example: named lists of bytes and numbers. Only the image, the label and,
if there is one, the `id` are looked at.
"""

import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from src.data.dataset import DataError, say
from src.data.features import AGAIN
from src.errors import one_line

CHUNK = 256  # Records read at a time.
LOSSY_STARTS = (b"\xff\xd8",)  # Files of JPEG begin with this.
_ID = re.compile(rb"[a-z]+_(\d+)")


class SplitFiles(NamedTuple):
    """The record files of a split, and the features that hold image and label.

    Attributes:
        source: Folder and split, for messages.
        files: Paths, in order.
        sizes: Number of records in each file.
        image_key: Feature that holds the encoded image.
        label_key: Feature that holds the label.
    """

    source: str
    files: tuple[str, ...]
    sizes: tuple[int, ...]
    image_key: str
    label_key: str


class Record(NamedTuple):
    """An encoded image, its label, and the name that TFDS gave it, empty if it gave none."""

    image: bytes
    label: int
    id: bytes


class Survey(NamedTuple):
    """The result of a pass over the records of a split, in which no image is decoded.

    Attributes:
        labels: Labels as they are written.
        order: Numbers of the records in the order of the original files, see `file_order`.
        lossy: Whether any image is stored as JPEG.
        digest: SHA-256 of all records, in the order in which they lie.
    """

    labels: Int[np.ndarray, " records"]
    order: Int[np.ndarray, " records"]
    lossy: bool
    digest: str


class Records:
    """The records of a split, in the order of their files. Threads may share it."""

    def __init__(self, split: SplitFiles):
        """Opens nothing yet."""
        self.split = split

    def __len__(self) -> int:
        return sum(self.split.sizes)

    def read(self, number: int) -> Record:
        """Reads one record.

        Raises:
            DataError: If it cannot be read, or lacks the image or the label.
        """
        return self.parse(number, self._payload(number))

    def payloads(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """Reads the bytes of some records, in the order of `numbers`.

        Raises:
            DataError: Naming the first record that cannot be read.
        """
        for start in range(0, len(numbers), CHUNK):
            wanted = numbers[start : start + CHUNK]
            try:
                yield from map(bytes, _source(self.split).__getitems__(wanted))
            except Exception:  # Reading one by one finds the record at fault.
                yield from map(self._payload, wanted)

    def _payload(self, number: int) -> bytes:
        try:
            return bytes(_source(self.split)[number])
        except Exception as error:  # ArrayRecord has no error of its own for damaged files.
            raise self.fault(number, error) from error

    def parse(self, number: int, payload: bytes) -> Record:
        """Parses the bytes of a record.

        Args:
            number: Number of the record, for the message.
            payload: Its bytes.

        Raises:
            DataError: If it lacks the image or the label.
        """
        from tensorflow_datasets.proto import tf_example_pb2  # noqa: PLC0415

        try:
            features = tf_example_pb2.Example.FromString(payload).features.feature
            (image,) = features[self.split.image_key].bytes_list.value
            (label,) = features[self.split.label_key].int64_list.value
            name = features["id"].bytes_list.value if "id" in features else ()
        except Exception as error:  # protobuf raises its own; other numbers of values ValueError.
            raise self.fault(number, error) from error
        return Record(image, label, b"".join(name))

    def fault(self, number: int, error: Exception) -> DataError:
        """The error that says that a record cannot be read."""
        reason = one_line(f"{type(error).__name__}: {error}")
        return DataError(f"{self.split.source}, record {number} cannot be read ({reason}); {AGAIN}")

    def check_sizes(self) -> None:
        """Refuses files that do not hold the number of records that the folder says.

        Raises:
            DataError: Naming the file.
        """
        from array_record.python import array_record_module  # noqa: PLC0415

        for path, size in zip(self.split.files, self.split.sizes, strict=True):
            try:
                reader = array_record_module.ArrayRecordReader(path)
                found = reader.num_records()
                reader.close()
            except Exception as error:  # The file is not an ArrayRecord, or not all of one.
                raise DataError(
                    f"{self.split.source}: {path} is damaged"
                    f" ({one_line(error) or 'cut short'}); {AGAIN}"
                ) from error
            if found != size:
                raise DataError(
                    f"{self.split.source}: {path} holds {found} records, and should hold {size};"
                    f" {AGAIN}"
                )


def survey(split: SplitFiles) -> Survey:
    """Reads every record of a split once; nothing is decoded.

    Raises:
        DataError: Naming the first record or file that cannot be read.
    """
    records, sums, lossy = Records(split), hashlib.sha256(), False
    records.check_sizes()
    labels, names = np.empty(len(records), np.int64), []
    for number, payload in enumerate(records.payloads(range(len(records)))):
        record = records.parse(number, payload)
        sums.update(len(payload).to_bytes(8, "little") + payload)
        labels[number] = record.label
        lossy |= record.image.startswith(LOSSY_STARTS)
        names.append(record.id)
        if number and number % 100_000 == 0:
            say(f"{split.source}: looked at {number:,} of {len(records):,} records, once")
    return Survey(labels, file_order(names), lossy, sums.hexdigest())


def file_order(names: Sequence[bytes]) -> Int[np.ndarray, " records"]:
    """Numbers of the records in the order of the original files, which TFDS has shuffled.

    If all ids are a word and a number (`train_00017`, as TFDS names CIFAR-10's), no two with the
    same number, records are put in the order of these numbers. Otherwise they stay as they lie: the
    ids of the JPEG copy of CIFAR-10, such as `train_cat_2970`, do not tell the original order.
    """
    matches = [_ID.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in matches if match]
    if len(set(numbers)) != len(names):
        return np.arange(len(names))
    return np.argsort(numbers)


class _Shard(NamedTuple):
    """The records of one file, in the form that ArrayRecord's reader wants."""

    filename: str
    skip: int
    take: int
    examples_in_shard: int


@functools.lru_cache(maxsize=16)  # Each process opens the files once.
def _source(split: SplitFiles) -> Any:
    from array_record.python import array_record_data_source  # noqa: PLC0415

    shards = zip(split.files, split.sizes, strict=True)
    instructions = [_Shard(path, 0, size, size) for path, size in shards if size]
    return array_record_data_source.ArrayRecordDataSource(instructions)
