"""Max pooling. XLA's own gradient, select-and-scatter, is far slower on a CPU."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from src.models.layers.once import computed_once
from src.models.layers.windows import Windows


def max_pool(
    x: Float[Array, "B H W C"],
    window: int,
    stride: int,
    *,
    padding: int = 0,
    ceil_mode: bool = False,
) -> Float[Array, "B P Q C"]:
    """Maximum over windows; the gradient goes to the first maximum of a window, row by row.

    Args:
        x: Images.
        window: Height and width of a window in pixels.
        stride: Pixels from one window to the next.
        padding: Pixels added on each side; they are never a maximum.
        ceil_mode: Whether the last window may hang over the border, as in Caffe and cuda-convnet:
            with windows of 3 and a stride of 2, 32 pixels then become 16.
    """
    return _max_pool(x, Windows(window, stride, padding, ceil_mode))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: Array, windows: Windows) -> Array:
    return _forward(x, windows)[0]


def _forward(x: Array, windows: Windows) -> tuple[Array, tuple]:
    best, winner = computed_once(functools.partial(_best, windows=windows), x)
    return best, (winner, x.shape[1:3])


def _best(x: Array, windows: Windows) -> tuple[Array, Array]:
    """The maximum of each window, and the number of its pixel in the window."""
    best, *others = windows.views(x, -jnp.inf)
    number_type = jnp.uint8 if windows.size**2 <= 256 else jnp.uint32
    winner = jnp.zeros(best.shape, number_type)
    for number, view in enumerate(others, start=1):
        winner = jnp.where(view > best, number_type(number), winner)
        best = jnp.maximum(best, view)
    return best, winner


def _backward(windows: Windows, saved: tuple, grads: Array) -> tuple[Array]:
    winner, shape = saved
    spread = functools.partial(_spread, windows=windows, shape=shape)
    return (computed_once(spread, grads, winner),)


def _spread(grads: Array, winner: Array, windows: Windows, shape: tuple[int, int]) -> Array:
    """The input's gradient: pixels with equal remainders by the stride at a time, interleaved."""
    height, width = shape
    stride, pad = windows.stride, windows.padding
    phases = [_phase(windows, winner, grads, i, j) for i, j in np.ndindex(stride, stride)]
    batch, rows, columns, channels = phases[0].shape
    grid = jnp.stack(phases).reshape(stride, stride, batch, rows, columns, channels)
    whole = grid.transpose(2, 3, 0, 4, 1, 5)
    whole = whole.reshape(batch, rows * stride, columns * stride, channels)
    missing = (max(0, pad + height - rows * stride), max(0, pad + width - columns * stride))
    whole = jnp.pad(whole, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    return whole[:, pad : pad + height, pad : pad + width]


def _phase(windows: Windows, winner: Array, grads: Array, i: int, j: int) -> Array:
    """Gradient of the pixels at row i and column j of every square of stride by stride."""
    reach = -(-windows.size // windows.stride)  # squares under one window, per axis
    batch, rows, columns, channels = grads.shape
    total = jnp.zeros((batch, rows + reach - 1, columns + reach - 1, channels), grads.dtype)
    for m, n in np.ndindex(reach, reach):
        y, z = i + m * windows.stride, j + n * windows.stride  # The pixel's place in its window.
        if y < windows.size and z < windows.size:
            won = jnp.where(winner == y * windows.size + z, grads, 0)
            total += jnp.pad(won, ((0, 0), (m, reach - 1 - m), (n, reach - 1 - n), (0, 0)))
    return total


_max_pool.defvjp(_forward, _backward)
