"""The images of each batch, as a pure function of seed and iteration.

A trial can therefore go on from any iteration.

A batch with fewer images than the others is filled up with copies of its own: ~r, which is below 0,
stands for a copy of row r that counts for nothing. What a layer makes of a whole batch, such as the
mean of BatchNorm, is then made of that batch's images alone.
"""

import functools
from typing import Literal

import numpy as np
from jaxtyping import Int

# These keep the orders of the images apart from every other use of a trial's seed.
SHUFFLE_STREAM, FILE_STREAM = 1, 2
Order = Literal["shuffled", "permuted", "file"]


def batch_indices(
    first_iteration: int,
    iterations: int,
    *,
    batch_size: int,
    num_images: int,
    seed: int,
    order: Order = "shuffled",
    file_size: int = 0,
) -> Int[np.ndarray, "iterations batch"]:
    """Rows of the training set in each batch.

    Batches run through an endless sequence of epochs. If the batch size does not divide the number
    of images, no image is left out: a batch may end one epoch and begin the next.

    With `file_size` batches do not cross from one file to the next, as in cuda-convnet: the last
    batch of a file holds its remaining images, and copies of them in the other places.

    Args:
        first_iteration: Number of the first batch; earlier ones are skipped without being drawn.
        iterations: Number of batches.
        batch_size: Images per batch.
        num_images: Images in the training set.
        seed: The trial's seed; the orders `shuffled` and `permuted` derive from it.
        order: `shuffled`: each epoch in an order of its own. `file`: the order of the file in every
            epoch, as in cuda-convnet. `permuted`: one order drawn from the seed for all epochs.
        file_size: Images per file, 10,000 in CIFAR-10; 0: batches run on from file to file.

    Source: cuda-convnet's data.cu and worker.cu (Krizhevsky 2011).
    """
    if file_size:
        layout = _file_layout(num_images, batch_size, file_size)  # [iterations of an epoch, batch]
        epochs, batches = np.divmod(np.arange(iterations) + first_iteration, len(layout))
        places = layout[batches]
        epochs = np.broadcast_to(epochs[:, None], places.shape)
    else:
        numbers = np.arange(
            first_iteration * batch_size, (first_iteration + iterations) * batch_size
        )
        epochs, places = np.divmod(numbers.reshape(iterations, batch_size), num_images)
    if order == "file":
        return places
    rows = np.empty_like(places)
    for epoch in range(epochs[0, 0], epochs[-1, -1] + 1):
        key = (FILE_STREAM, seed) if order == "permuted" else (SHUFFLE_STREAM, seed, epoch)
        here = epochs == epoch
        rows[here] = _order(key, num_images)[originals(places[here])]
    return np.where(places < 0, ~rows, rows)


def originals(rows: Int[np.ndarray, "*rows"]) -> Int[np.ndarray, "*rows"]:
    """The rows themselves, and for copies the rows that they are of."""
    return np.where(rows < 0, ~rows, rows)


def iterations_per_epoch(num_images: int, batch_size: int, file_size: int = 0) -> float:
    """Number of batches in an epoch: 390.6 for CIFAR-10 in batches of 128, or 395 by files."""
    if file_size:
        return float(len(_file_layout(num_images, batch_size, file_size)))
    return num_images / batch_size


@functools.lru_cache(maxsize=2)  # A stream asks batch by batch.
def _order(key: tuple[int, ...], num_images: int) -> Int[np.ndarray, " images"]:
    return np.random.default_rng(key).permutation(num_images)


@functools.lru_cache(maxsize=2)
def _file_layout(
    num_images: int, batch_size: int, file_size: int
) -> Int[np.ndarray, "iterations batch"]:
    """The places of one epoch's batches, file by file; the last file may be shorter."""
    starts = range(0, num_images, file_size)
    files = (np.arange(start, min(start + file_size, num_images)) for start in starts)
    return np.concatenate([_padded(places, batch_size) for places in files])


def evaluation_rows(num_images: int, batch_size: int) -> Int[np.ndarray, "batches batch"]:
    """Every row once, in order; the last batch is filled up with copies."""
    return _padded(np.arange(num_images), batch_size)


def _padded(rows: Int[np.ndarray, " rows"], batch_size: int) -> Int[np.ndarray, "batches batch"]:
    missing = -len(rows) % batch_size
    last = rows[len(rows) // batch_size * batch_size :]
    return np.concatenate([rows, ~np.resize(last, missing)]).reshape(-1, batch_size)
