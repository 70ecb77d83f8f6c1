"""Max pooling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from src.models.layers import windows


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
        window: Its height and width.
        stride: From one window to the next.
        padding: On each side; never a maximum.
        ceil_mode: Whether a last window may hang over the border (Caffe, cuda-convnet): 32 -> 16 for 3 by 2.
    """
    return _max_pool(x, window, stride, padding, ceil_mode)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _max_pool(x: Array, window: int, stride: int, padding: int, ceil_mode: bool) -> Array:
    return _max_pool_forward(x, window, stride, padding, ceil_mode)[0]


def _max_pool_forward(x: Array, window: int, stride: int, padding: int, ceil_mode: bool) -> tuple:
    sizes = windows.out_sizes(x, window, stride, padding, ceil_mode)
    padded = windows.pad(x, window, stride, padding, sizes, -jnp.inf)
    best, winner = None, None
    for number, view in enumerate(windows.views(padded, window, stride, sizes)):
        if best is None or winner is None:
            best, winner = view, jnp.zeros(view.shape, jnp.uint8)
            continue
        winner = jnp.where(view > best, jnp.uint8(number), winner)
        best = jnp.maximum(best, view)
    return best, (winner, x.shape[1:3])


def _max_pool_backward(
    window: int, stride: int, padding: int, ceil_mode: bool, saved: tuple, grads: Array
) -> tuple[Array]:
    del ceil_mode
    winner, (height, width) = saved
    reach = -(-window // stride)
    rows, columns = (n + reach - 1 for n in grads.shape[1:3])
    phases = []
    for i in range(stride):
        for j in range(stride):
            total = jnp.zeros((grads.shape[0], rows, columns, grads.shape[3]), grads.dtype)
            for m, n in np.ndindex(reach, reach):
                y, z = i + m * stride, j + n * stride
                if y < window and z < window:
                    won = jnp.where(winner == y * window + z, grads, 0)
                    total += jnp.pad(won, ((0, 0), (m, reach - 1 - m), (n, reach - 1 - n), (0, 0)))
            phases.append(total)
    grid = jnp.stack(phases).reshape(stride, stride, *phases[0].shape)
    whole = grid.transpose(2, 3, 0, 4, 1, 5).reshape(
        grads.shape[0], rows * stride, columns * stride, grads.shape[3]
    )
    missing = [
        max(0, padding + n - w) for n, w in zip((height, width), whole.shape[1:3], strict=True)
    ]
    whole = jnp.pad(whole, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    return (whole[:, padding : padding + height, padding : padding + width],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)
