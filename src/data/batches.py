"""Which images are in which batch: a pure function of seed and iteration, so any iteration can be
returned to.
"""

import functools

import numpy as np
from jaxtyping import Int

SHUFFLE_STREAM = 1  # keeps the order of the images apart from every other use of a trial's seed


def batch_indices(
    first_iteration: int, iterations: int, *, batch_size: int, images: int, seed: int, shuffle: bool
) -> Int[np.ndarray, "iterations batch"]:
    """Rows of the training set in each batch.

    Batches follow one another through an endless row of epochs, each a whole pass in an order
    of its own, so that no image is left out where the batch size does not divide their number:
    such a batch ends one epoch and begins the next.

    Args:
        first_iteration: Batches before it are passed over without being drawn.
        iterations: Number of batches.
        batch_size: Images per batch.
        images: Images in the training set.
        seed: The trial's; the order of an epoch derives from it and the epoch's number.
        shuffle: False keeps the order of the file, as cuda-convnet did.
    """
    positions = np.arange(first_iteration * batch_size, (first_iteration + iterations) * batch_size)
    epochs, places = np.divmod(positions, images)
    if not shuffle:
        return places.reshape(iterations, batch_size)
    indices = np.empty_like(places)
    for epoch in range(epochs[0], epochs[-1] + 1):
        order = _order(seed, epoch, images)
        here = epochs == epoch
        indices[here] = order[places[here]]
    return indices.reshape(iterations, batch_size)


@functools.lru_cache(maxsize=2)  # a stream asks batch by batch
def _order(seed: int, epoch: int, images: int) -> Int[np.ndarray, " images"]:
    return np.random.default_rng([SHUFFLE_STREAM, seed, epoch]).permutation(images)


def test_indices(images: int, batch_size: int) -> Int[np.ndarray, "batches batch"]:
    """Every row once, in order; the last batch is filled up with -1."""
    batches = -(-images // batch_size)
    indices = np.full(batches * batch_size, -1)
    indices[:images] = np.arange(images)
    return indices.reshape(batches, batch_size)
