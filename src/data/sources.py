"""Sources of batches: row numbers of a data set on the devices, or pixels streamed to them.

Both give the same images for the same iteration, so a trial does not know which of them it has.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from src import environment
from src.data import Split, batches, cache
from src.data.loader import read_batches
from src.data.scaling import ImageSums, in_chunks, sum_images
from src.data.stream import Rows

# (first iteration, number of iterations) -> the rows of each batch that this host trains on.
DrawFn = Callable[[int, int], Int[np.ndarray, "iterations batch"]]
# Rows of global batches -> those that this host takes.
ShareFn = Callable[[Int[np.ndarray, "*batches batch"]], Int[np.ndarray, "*batches share"]]
# Number of the next iterations -> their batches, some or all of them together.
TakeFn = Callable[[int], Iterator[Any]]

DECODED_AT_ONCE = 64  # Images of a stream in a chunk when all of them are summed.
MANY_CORES = 8  # With so many cores threads wait for the interpreter, and processes are faster.


class DeviceSplit(NamedTuple):
    """A split on every device, and the scaling of the network's input: (images - shift) / scale.

    Attributes:
        images: Grey levels; empty if images are streamed.
        labels: Classes, from 0; empty if images are streamed.
        shift: What is subtracted from the grey levels.
        scale: What the difference is divided by.
    """

    images: UInt8[Array | np.ndarray, "N H W C"]
    labels: Int[Array | np.ndarray, " N"]
    shift: Float[Array | np.ndarray, "1 #H #W C"]
    scale: Float[Array | np.ndarray, "1 #H #W C"]


class ImageBatch(NamedTuple):
    """A batch with its images; other batches are the numbers of rows in a `DeviceSplit`."""

    images: UInt8[Array | np.ndarray, "*batch H W C"]
    labels: Int[Array | np.ndarray, "*batch"]


class Resident:
    """Splits in memory: they go whole onto every device."""

    def __init__(self, splits: Mapping[str, Split], unlabelled: Split | None = None):
        """Nothing is placed yet, see `device_split`.

        Args:
            splits: Name -> split; `train` holds the images that are trained on with their labels.
            unlabelled: All images that may be looked at, labelled or not; the scaling derives from
                them. None: those of `train`.
        """
        self.splits = splits
        self.unlabelled = splits["train"] if unlabelled is None else unlabelled
        self.sizes = {name: len(split.labels) for name, split in splits.items()}

    @functools.cached_property
    def sums(self) -> ImageSums:
        """Sums over the training images, with or without labels."""
        return sum_images(in_chunks(self.unlabelled.images))

    def device_split(self, split: str, shift: np.ndarray, scale: np.ndarray) -> DeviceSplit:
        """What every device holds of this split."""
        images, labels = self.splits[split]
        return DeviceSplit(images, labels.astype(np.int32), shift, scale)

    def steps_at_once(self, steps: int) -> int:
        """Number of the `steps` between two points that are dispatched together: all of them."""
        return steps

    def placeholder(self, steps: int, batch: int) -> np.ndarray:
        """A batch of the right shape and type, to compile with."""
        return np.zeros((steps, batch), np.int32)

    def training(self, draw: DrawFn, first: int) -> TakeFn:
        """Batches from iteration `first` on; as many as are asked for come together."""
        done = first

        def take(steps: int) -> Iterator[np.ndarray]:
            nonlocal done
            rows = draw(done, steps)
            done += steps
            yield rows

        return take

    def testing(self, split: str, batch: int, share: ShareFn = lambda rows: rows) -> Iterator[Any]:
        """Every image of a split once, shared between the hosts."""
        yield share(batches.evaluation_rows(self.sizes[split], batch))


class Streamed:
    """Splits on disk: each batch brings its pixels, decoded while the step before it runs."""

    def __init__(self, splits: Mapping[str, Rows], unlabelled: Rows | None = None):
        """Nothing is decoded yet; see `Resident`."""
        self.splits = splits
        self.unlabelled = splits["train"] if unlabelled is None else unlabelled
        self.sizes = {name: len(split) for name, split in splits.items()}
        train = splits["train"]
        self.shape = (train.size, train.size, train.channels)

    @functools.cached_property
    def sums(self) -> ImageSums:
        """Sums over the training images, which are all decoded for this once; the sums are kept."""
        train = self.unlabelled
        identity = [train.digest, cache.sha256([train.records.tolist(), train.warped])]
        head, arrays = cache.kept("image_sums", identity, self._sum)
        return ImageSums(head["num_images"], *arrays)

    def _sum(self) -> cache.Kept:
        rows = batches.evaluation_rows(len(self.unlabelled), DECODED_AT_ONCE)
        chunks = _read(self.unlabelled, lambda number: rows[number], 0, len(rows))
        num_images, *arrays = sum_images(
            np.asarray(chunk.images[0])[np.asarray(chunk.labels[0]) >= 0] for chunk in chunks
        )
        return cache.Kept({"num_images": num_images}, arrays)

    def device_split(self, split: str, shift: np.ndarray, scale: np.ndarray) -> DeviceSplit:
        """What every device holds of this split: the scaling alone."""
        none = np.zeros((0, *self.shape), np.uint8)
        return DeviceSplit(none, np.zeros(0, np.int32), shift, scale)

    def steps_at_once(self, steps: int) -> int:
        """Number of steps dispatched together: one, so that one batch must fit on a device."""
        return 1

    def placeholder(self, steps: int, batch: int) -> ImageBatch:
        """A batch of the right shape and type, to compile with."""
        shape = (steps, batch, *self.shape)
        return ImageBatch(np.zeros(shape, np.uint8), np.zeros((steps, batch), np.int32))

    def training(self, draw: DrawFn, first: int) -> TakeFn:
        """Batches from iteration `first` on; as many as are asked for come one by one."""
        endless = _read(self.splits["train"], lambda number: draw(number, 1)[0], first, 2**62)
        return lambda steps: itertools.islice(endless, steps)

    def testing(self, split: str, batch: int, share: ShareFn = lambda rows: rows) -> Iterator[Any]:
        """Every image of a split once, shared between the hosts."""
        rows = share(batches.evaluation_rows(self.sizes[split], batch))
        yield from _read(self.splits[split], lambda number: rows[number], 0, len(rows))


def _read(rows: Rows, rows_of_batch: Any, first: int, last: int) -> Iterator[ImageBatch]:
    cores = environment.usable_cores()
    processes = cores - 1 if cores >= MANY_CORES else 0
    for split in read_batches(rows, rows_of_batch, first, last, processes=processes, threads=cores):
        yield ImageBatch(split.images[None], split.labels[None])
