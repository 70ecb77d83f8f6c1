"""Average pooling over the real pixels of each window."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from src.models.layers import windows


def avg_pool(
    x: Float[Array, "B H W C"],
    window: int,
    stride: int,
    *,
    padding: int = 0,
    ceil_mode: bool = False,
) -> Float[Array, "B P Q C"]:
    """Mean over windows, of the real pixels under each (cuda-convnet's division at a border)."""
    return _avg_pool(x, window, stride, padding, ceil_mode)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _avg_pool(x: Array, window: int, stride: int, padding: int, ceil_mode: bool) -> Array:
    sizes = windows.out_sizes(x, window, stride, padding, ceil_mode)
    padded = windows.pad(x, window, stride, padding, sizes, 0.0)
    total = sum(windows.views(padded, window, stride, sizes))
    counts = [
        _real_pixels(size, n, window, stride, padding)
        for size, n in zip(x.shape[1:3], sizes, strict=True)
    ]
    return total / jnp.asarray(np.outer(*counts), x.dtype)[None, :, :, None]


def _avg_pool_forward(x: Array, *window: Any) -> tuple[Array, tuple[int, ...]]:
    return _avg_pool(x, *window), x.shape


def _avg_pool_backward(
    window: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    shape: tuple[int, ...],
    grads: Array,
) -> tuple[Array]:
    """By matrix: one along the rows, one along the columns, or both at once where that is small."""
    del ceil_mode
    weights = [
        _averaging(size, n, window, stride, padding)
        for size, n in zip(shape[1:3], grads.shape[1:3], strict=True)
    ]
    batch, rows, columns, channels = grads.shape
    if np.prod(shape[1:3]) <= 256:
        whole = jnp.asarray(np.kron(*weights), grads.dtype)  # [P Q, H W]
        flat = grads.reshape(batch, rows * columns, channels)
        spread = lax.dot_general(whole, flat, (((0,), (1,)), ((), ())))  # [H W, B, C]
        return (spread.transpose(1, 0, 2).reshape(shape),)
    by_row, by_column = (jnp.asarray(w, grads.dtype) for w in weights)
    return (jnp.einsum("bpqc,ph,qw->bhwc", grads, by_row, by_column),)


_avg_pool.defvjp(_avg_pool_forward, _avg_pool_backward)


def _averaging(
    size: int, windows: int, window: int, stride: int, padding: int
) -> Float[np.ndarray, "P H"]:
    """The matrix whose rows average the real pixels of each window."""
    starts = (np.arange(windows) * stride - padding)[:, None]
    under = (np.arange(size) >= starts) & (np.arange(size) < starts + window)
    return under / under.sum(axis=1, keepdims=True)


def _real_pixels(
    size: int, windows: int, window: int, stride: int, padding: int
) -> Int[np.ndarray, " P"]:
    starts = np.arange(windows) * stride - padding
    return np.minimum(starts + window, size) - np.maximum(starts, 0)
