"""Images of a prepared data set, decoded when they are asked for.

If the data set fits into memory, all images are asked for at once. If it does not, or its images
have many sizes, a batch is asked for at a time, and each image is brought to one size.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from src.data import batches, cache
from src.data.classes import number_classes
from src.data.dataset import DataError, Dataset, Split, make_dataset, say
from src.data.describe import Description
from src.data.images import decode
from src.data.records import Records, SplitFiles, Survey, survey
from src.errors import one_line


@dataclass(frozen=True, eq=False)
class Rows:
    """Images of a split on disk. Sent to another process, it opens the files there.

    Attributes:
        files: The files that hold the records.
        records: [rows] number of each row's record.
        labels: [rows] class of each row.
        size: Side of the decoded images in pixels; 0: as they are.
        channels: Channels of the decoded images, 1 or 3.
        digest: Digest of the data set.
        warped: Whether images are squeezed to a square instead of cut, as for Caffe's networks.
    """

    files: SplitFiles
    records: Int[np.ndarray, " rows"]
    labels: Int[np.ndarray, " rows"]
    size: int
    channels: int
    digest: str
    warped: bool = False

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: slice | Int[np.ndarray, " chosen"]) -> "Rows":
        """Some of these rows."""
        return replace(self, records=self.records[rows], labels=self.labels[rows])

    def num_bytes(self, rows: int) -> int:
        """Number of bytes of so many decoded images; 0 if images keep their own sizes."""
        return rows * self.size**2 * self.channels

    def load(self, rows: Int[np.ndarray, " rows"]) -> Split:
        """Decodes images; those of copies, which fill up a batch, have the label -1.

        Raises:
            DataError: If one cannot be decoded, or images keep their own sizes and these differ.
        """
        wanted, images = batches.originals(rows), None
        labels = np.where(rows < 0, -1, self.labels[wanted]).astype(np.int32)
        _, firsts, same = np.unique(wanted, return_index=True, return_inverse=True)
        places = np.sort(firsts)
        for place, image in zip(places, self._images(wanted[places]), strict=True):
            if images is None:
                self._check_memory(len(rows) * image.size)
                images = np.zeros((len(rows), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                sizes = f"{_size(image.shape)}, others are {_size(images.shape[1:])}"
                number = int(self.records[wanted[place]])
                raise DataError(f"{self.files.source}, record {number} is {sizes}; {REMEDY}")
            images[place] = image
        if images is None:
            images = np.zeros((len(rows), self.size, self.size, self.channels), np.uint8)
        return Split(images[firsts[same]] if len(firsts) < len(rows) else images, labels)

    def _images(self, rows: Int[np.ndarray, " present"]) -> Iterator[np.ndarray]:
        records, numbers = Records(self.files), self.records[rows].tolist()
        payloads = records.payloads(numbers)
        for number, payload in zip(numbers, payloads, strict=True):
            content = records.parse(number, payload).image
            try:
                yield decode(content, self.size, self.channels, warped=self.warped)
            except Exception as error:  # Pillow raises almost anything on damaged files.
                raise DataError(
                    f"{self.files.source}, record {number} cannot be decoded ({one_line(error)});"
                    " prepare the data set again, or without this image"
                ) from error

    def _check_memory(self, need: int) -> None:
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if need > have:
            raise DataError(
                f"{self.files.source}: its images take {need / 1e9:.0f} GB, and this machine has"
                f" {have / 1e9:.0f} GB of memory; {REMEDY}"
            )


REMEDY = (
    "in a study set config.data.stream_size to the side, in pixels, that all are to be brought to,"
    " and they are read from the disk as they are needed; for another command prepare them again,"
    " of one size"
)


class Stream(NamedTuple):
    """A data set that stays on disk, with the attributes of `Dataset`.

    Attributes:
        digest: SHA-256 over all records of both splits, as they are encoded, their order, the names
            of the classes, and the size that the images are brought to.
    """

    name: str
    train: Rows
    test: Rows
    num_classes: int
    label_names: tuple[str, ...]
    digest: str


class Surveyed(NamedTuple):
    """A prepared data set whose records have all been looked at.

    Attributes:
        stream: Its images, still to be decoded.
        lossy: Whether any of them is stored as JPEG.
    """

    stream: Stream
    lossy: bool


def look_through(name: str, found: Description, size: int) -> Surveyed:
    """Looks through a data set; its images stay on disk.

    The first time every record is read, for its label and for the digest; the result is cached.

    Args:
        name: Its name in records.
        found: Its description, from `describe`.
        size: Side of the decoded images in pixels; 0: as they are.

    Raises:
        DataError: If a record cannot be read, or labels are no classes.
    """
    train, test = _surveys(found)
    num_classes, names, labels = number_classes(found, train.labels, test.labels)
    identity = [size, found.shape[2], names, train.digest, test.digest]
    digest = cache.sha256(identity)
    splits = [
        Rows(files, tally.order, numbered[tally.order], size, found.shape[2], digest)
        for files, tally, numbered in zip(
            (found.train, found.test), (train, test), labels, strict=True
        )
    ]
    stream = Stream(name, splits[0], splits[1], num_classes, names, digest)
    return Surveyed(stream, train.lossy or test.lossy)


def read_whole(stream: Stream) -> Dataset:
    """Reads all images of a data set into memory.

    Raises:
        DataError: If they differ in size, do not fit, or one cannot be decoded.
    """
    say(f"{stream.name}: reading {stream.train.files.source.rpartition(',')[0]}")
    train, test = (rows.load(np.arange(len(rows))) for rows in (stream.train, stream.test))
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = f"{_size(train.images.shape[1:])}, and {_size(test.images.shape[1:])} for testing"
        raise DataError(f"{stream.train.files.source} has images of {shapes}; {REMEDY}")
    return make_dataset(stream.name, train, test, stream.num_classes, stream.label_names)


def _surveys(found: Description) -> tuple[Survey, Survey]:
    def look() -> cache.Kept:
        surveys = [survey(split) for split in (found.train, found.test)]
        head = {"lossy": [each.lossy for each in surveys], "digests": [e.digest for e in surveys]}
        return cache.Kept(head, [array for each in surveys for array in (each.labels, each.order)])

    (head, arrays) = cache.kept("survey", found.files, look)
    lossy, digests = head["lossy"], head["digests"]
    return (
        Survey(arrays[0], arrays[1], lossy[0], digests[0]),
        Survey(arrays[2], arrays[3], lossy[1], digests[1]),
    )


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape[:2]))
