"""Convolution of few channels: adjacent columns become channels, and the kernel sees them all.

A processor multiplies 16 numbers at once. Where a net has 3 or 6 channels, most of its lanes would
stay empty; two or four columns side by side fill them, at the price of some zeros in the kernel.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

LANES = 16  # float32 numbers in a vector of AVX-512


def columns_to_fold(kernel: tuple[int, ...]) -> int:
    """How many columns are folded into one for a kernel [k, k, I, O]; 1 where there is no need."""
    size, _, inputs, outputs = kernel
    if size == 1 or max(inputs, outputs) > LANES:
        return 1
    return 4 if inputs + outputs <= LANES else 2


def folded(
    conv_fn: Callable[[Array, Array], Array],
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "k k I O"],
    padding: int,
    count: int,
) -> Float[Array, "B P Q O"]:
    """A convolution of stride 1, by `conv_fn(x, kernel)`, which does not pad.

    `count` columns of the result come from a window of `blocks` times as many of the images. The
    folded kernel is [k, blocks, count I, count O]: each of its outputs has the kernel further to
    the right by one.
    """
    batch, _, width, inputs = x.shape
    size, _, _, outputs = kernel.shape
    columns = width + 2 * padding - size + 1
    blocks = 1 + -(-(size - 1) // count)
    groups = -(-columns // count)
    right = (groups + blocks - 1) * count - width - padding
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, right), (0, 0)))
    images = padded.reshape(batch, padded.shape[1], -1, count * inputs)
    moved = [
        jnp.pad(kernel, ((0, 0), (i, blocks * count - size - i), (0, 0), (0, 0)))
        for i in range(count)
    ]
    wide = jnp.stack(moved, axis=3).reshape(size, blocks, count * inputs, count * outputs)
    y = conv_fn(images, wide)
    return y.reshape(batch, y.shape[1], -1, outputs)[:, :, :columns]
