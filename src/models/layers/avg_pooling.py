"""Average pooling over the real pixels of each window, with a gradient by matrix products."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from src.models.layers.windows import Windows

SMALL = 256  # Up to so many pixels one matrix for both axes is faster than one for each axis.


def avg_pool(
    x: Float[Array, "B H W C"],
    window: int | tuple[int, int],
    stride: int,
    *,
    padding: int = 0,
    ceil_mode: bool = False,
) -> Float[Array, "B P Q C"]:
    """Mean over the real pixels under each window; at a border it divides as cuda-convnet does.

    Arguments are those of `max_pool`; `window` may be a height and a width.
    """
    height, width = window if isinstance(window, tuple) else (window, window)
    return _avg_pool(x, Windows(height, stride, padding, ceil_mode, width))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _avg_pool(x: Array, windows: Windows) -> Array:
    by_row, by_column = _under(x.shape, windows.counts(x), windows)
    pixels = np.outer(by_row.sum(axis=1), by_column.sum(axis=1))  # [P, Q]
    return sum(windows.views(x, 0.0)) / jnp.asarray(pixels, x.dtype)[None, :, :, None]


def _forward(x: Array, windows: Windows) -> tuple[Array, tuple[int, ...]]:
    return _avg_pool(x, windows), x.shape


def _backward(windows: Windows, shape: tuple[int, ...], grads: Array) -> tuple[Array]:
    batch, rows, columns, channels = grads.shape
    averages = [
        jnp.asarray(under / under.sum(axis=1, keepdims=True), grads.dtype)
        for under in _under(shape, (rows, columns), windows)
    ]  # [P, H], [Q, W]
    if shape[1] * shape[2] > SMALL:
        return (jnp.einsum("bpqc,ph,qw->bhwc", grads, *averages),)
    flat = grads.reshape(batch, rows * columns, channels)
    spread = lax.dot_general(jnp.kron(*averages), flat, (((0,), (1,)), ((), ())))  # [H W, B, C]
    return (spread.transpose(1, 0, 2).reshape(shape),)


_avg_pool.defvjp(_forward, _backward)


def _under(shape: tuple[int, ...], counts: tuple[int, int], windows: Windows) -> list[np.ndarray]:
    """For each axis whether a pixel is under a window: booleans [P, H] and [Q, W]."""
    found = []
    for pixels, count, side in zip(shape[1:3], counts, windows.sides, strict=True):
        starts = (np.arange(count) * windows.stride - windows.padding)[:, None]
        places = np.arange(pixels)
        found.append((places >= starts) & (places < starts + side))
    return found
