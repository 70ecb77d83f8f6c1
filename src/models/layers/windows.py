"""The windows of a pooling layer: how many there are, and the pixels under each."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array


def out_sizes(x: Array, window: int, stride: int, padding: int, ceil_mode: bool) -> tuple[int, ...]:
    """Windows per axis; one that would start beyond the last pixel is left out, as in Caffe and PyTorch."""
    sizes = []
    for size in x.shape[1:3]:
        room = size + 2 * padding - window
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        sizes.append(count - (ceil_mode and (count - 1) * stride >= size + padding))
    return tuple(sizes)


def pad(
    x: Array, window: int, stride: int, padding: int, sizes: tuple[int, ...], value: float
) -> Array:
    ends = [
        (n - 1) * stride + window - size - padding
        for n, size in zip(sizes, x.shape[1:3], strict=True)
    ]
    pads = [(0, 0, 0), *((padding, end, 0) for end in ends), (0, 0, 0)]
    return lax.pad(x, jnp.asarray(value, x.dtype), pads)


def views(padded: Array, window: int, stride: int, sizes: tuple[int, ...]) -> list[Array]:
    """The pixel that each window has at (i, j), for every (i, j) row by row: window^2 of [B, P, Q, C]."""
    batch, _, _, channels = padded.shape
    return [
        lax.slice(
            padded,
            (0, i, j, 0),
            (batch, i + (sizes[0] - 1) * stride + 1, j + (sizes[1] - 1) * stride + 1, channels),
            (1, stride, stride, 1),
        )
        for i, j in np.ndindex(window, window)
    ]
