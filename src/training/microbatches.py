"""Micro-batches: equal parts of a device's share of a batch, taken in turn and summed.

On a CPU they are so small that the activations kept for the gradients stay in the caches.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

IMAGES_IN_CACHE = 16  # Largest micro-batch on a CPU; experiments/speed has the numbers.


def num_microbatches(num_images: int) -> int:
    """Number of equal micro-batches for so many images; 1 on accelerators."""
    if jax.default_backend() != "cpu":
        return 1
    most, least = IMAGES_IN_CACHE, IMAGES_IN_CACHE // 2
    sizes = [size for size in range(most, least - 1, -1) if num_images % size == 0]
    return num_images // sizes[0] if sizes else 1


def sum_over_microbatches(fn: Callable[..., PyTree], count: int, *arrays: PyTree) -> PyTree:
    """Sum of `fn` over `count` equal parts of the leading axis of all `arrays`."""
    if count == 1:
        return fn(*arrays)
    split = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), arrays)
    shapes = jax.eval_shape(fn, *jax.tree.map(lambda x: x[0], split))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    add = lambda total, part: (jax.tree.map(jnp.add, total, fn(*part)), None)  # noqa: E731
    return lax.scan(add, zeros, split)[0]
