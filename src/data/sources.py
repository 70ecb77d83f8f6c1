"""Where batches come from: row numbers of a data set on the devices, or pixels streamed to them.

Both give the same images for the same iteration, so a trial does not know which of them it has.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from src import environment
from src.data import Split, batches
from src.data.loader import read_batches
from src.data.stream import Rows
from src.training.step import Images, Pixels

# (first iteration, iterations) -> the rows of each batch that this host trains on.
DrawFn = Callable[[int, int], Int[np.ndarray, "iterations batch"]]

SAMPLE = 1000  # images of a stream from which its mean and colours are estimated
MANY_CORES = 8  # from here on, threads wait for the interpreter and processes decode faster


class Resident:
    """Splits in memory: they go whole onto every device."""

    def __init__(self, parts: Mapping[str, Split]):
        """Nothing is placed yet, see `images`."""
        self.parts = parts
        self.sizes = {name: len(part.labels) for name, part in parts.items()}
        self.sample = parts["train"].images

    def images(self, part: str, shift: np.ndarray, scale: np.ndarray) -> Images:
        """What lies on every device for this part."""
        images, labels = self.parts[part]
        return Images(images, labels.astype(np.int32), shift, scale)

    def steps_at_once(self, steps: int) -> int:
        """Of `steps` between two records, how many are dispatched together: all."""
        return steps

    def placeholder(self, steps: int, batch: int) -> np.ndarray:
        """A batch of the right shape and type, to compile with."""
        return np.zeros((steps, batch), np.int32)

    def training(self, draw: DrawFn, first: int, steps: int) -> Iterator[np.ndarray]:
        """From iteration `first` on, `steps` batches at a time, without end."""
        for iteration in itertools.count(first, steps):
            yield draw(iteration, steps)

    def testing(self, part: str, batch: int) -> Iterator[np.ndarray]:
        """Every image once."""
        yield batches.test_indices(self.sizes[part], batch)


class Streamed:
    """Splits on disk: each batch brings its pixels, decoded while the step before it runs."""

    def __init__(self, parts: Mapping[str, Rows]):
        """Decodes a sample of the training images, spread evenly."""
        self.parts = parts
        self.sizes = {name: len(part) for name, part in parts.items()}
        total = self.sizes["train"]
        spread = np.linspace(0, total - 1, min(SAMPLE, total)).astype(np.int64)
        self.sample = parts["train"].load(spread).images

    def images(self, part: str, shift: np.ndarray, scale: np.ndarray) -> Images:
        """Nothing but the scaling lies on the devices."""
        none = np.zeros((0, *self.sample.shape[1:]), np.uint8)
        return Images(none, np.zeros(0, np.int32), shift, scale)

    def steps_at_once(self, steps: int) -> int:
        """One: so many batches of large images need not fit on a device."""
        return 1

    def placeholder(self, steps: int, batch: int) -> Pixels:
        """A batch of the right shape and type, to compile with."""
        shape = (steps, batch, *self.sample.shape[1:])
        return Pixels(np.zeros(shape, np.uint8), np.zeros((steps, batch), np.int32))

    def training(self, draw: DrawFn, first: int, steps: int) -> Iterator[Pixels]:
        """From iteration `first` on, one batch at a time, without end."""
        yield from _read(self.parts["train"], lambda number: draw(number, 1)[0], first, 2**62)

    def testing(self, part: str, batch: int) -> Iterator[Pixels]:
        """Every image once."""
        indices = batches.test_indices(self.sizes[part], batch)
        yield from _read(self.parts[part], lambda number: indices[number], 0, len(indices))


def _read(rows: Rows, rows_of_batch: Any, first: int, last: int) -> Iterator[Pixels]:
    cores = environment.usable_cores()
    processes = cores - 1 if cores >= MANY_CORES else 0
    for split in read_batches(rows, rows_of_batch, first, last, processes=processes, threads=cores):
        yield Pixels(split.images[None], split.labels[None])
