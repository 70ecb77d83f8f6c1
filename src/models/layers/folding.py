"""Convolution with few channels: several columns are made at once, as further channels.

A processor multiplies 16 numbers at once. Where a net has 8 or 16 channels, most of its lanes would
stay empty; two or four columns side by side fill them, at the price of some zeros in the kernel.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from src.models.layers import plain
from src.models.layers.once import computed_once

LANES = 16  # float32 numbers in a vector of AVX-512


def columns_at_once(kernel: tuple[int, ...], columns: int, stride: int) -> int:
    """Number of columns of a result that are made at once, a power of two.

    It is 1 if there are channels enough, or with a stride. Two vectors of results proved fastest.

    Args:
        kernel: Shape [k, k, I, O] of the kernel.
        columns: Number of columns of the result.
        stride: Stride of the convolution.
    """
    size, _, inputs, outputs = kernel
    if size == 1 or stride > 1 or max(inputs, outputs) > LANES:
        return 1
    count = 2
    while count * outputs < 2 * LANES and 2 * count <= columns:
        count *= 2
    return count


def values(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k k I O"], padding: int, count: int
) -> Float[Array, "B P Q O"]:
    """A convolution of stride 1, its kernel widened to make `count` columns at once."""
    columns = x.shape[2] + 2 * padding - len(kernel) + 1
    pads = _pads(x, kernel, padding, columns, count)
    y = plain.values(x, _widened(kernel, count), (1, count), pads)
    return y.reshape(*y.shape[:2], -1, kernel.shape[-1])[:, :, :columns]


def kernel_grads(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "k k I O"],
    grads: Float[Array, "B P Q O"],
    padding: int,
    count: int,
) -> Float[Array, "k k I O"]:
    """The kernel's gradient, summed up from that of the widened kernel.

    Only the shape of `kernel` matters. If two columns fill a vector, it is a product of matrices.
    """
    paired = kernel.shape[2] == LANES // 2
    count = 2 if paired else count
    side_by_side = _folded(grads, count)
    pads = _pads(x, kernel, padding, grads.shape[2], count)
    if paired:
        wide = _products_of_pairs(jnp.pad(x, ((0, 0), *pads, (0, 0))), side_by_side, len(kernel))
    else:
        size = (len(kernel), len(kernel) + count - 1)
        wide = plain.kernel_grads(x, side_by_side, size, (1, count), pads)
    return jax.linear_transpose(lambda k: _widened(k, count), kernel)(wide)[0]


def _products_of_pairs(x: Array, grads: Array, size: int) -> Array:
    """The gradients [k, k + 1, I, 2 O] from padded images and from gradients in pairs of columns.

    The pixels under a window lie side by side, in pairs that are copied whole.
    """
    rows, columns, outputs = grads.shape[1:]
    pairs = _folded(x, 2)
    blocks = size // 2 + 1
    windows = jnp.concatenate(
        [pairs[:, i : i + rows, j : j + columns] for i, j in np.ndindex(size, blocks)], axis=-1
    )  # [B, P, Q, k blocks 2 I]
    turned = computed_once(lambda g: g.reshape(-1, outputs).T, grads)
    sums = turned @ windows.reshape(-1, windows.shape[-1])
    wide = sums.reshape(outputs, size, 2 * blocks, x.shape[-1])[:, :, : size + 1]
    return wide.transpose(1, 2, 3, 0)


def _folded(x: Array, count: int) -> Array:
    """[B, H, W, C] -> [B, H, W / count, count C]; zeros fill up the last ones."""
    side_by_side = jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % count), (0, 0)))
    return side_by_side.reshape(*x.shape[:2], -1, count * x.shape[-1])


def _pads(x: Array, kernel: Array, padding: int, columns: int, count: int) -> plain.Pads:
    """Numbers of zeros around the images; on the right there are more, as far as windows reach."""
    reached = columns + -columns % count + len(kernel) - 1
    return (padding, padding), (padding, reached - x.shape[2] - padding)


def _widened(kernel: Array, count: int) -> Array:
    """[k, k, I, O] -> [k, k + count - 1, I, count O]; each column's kernel lies one pixel on."""
    moved = [jnp.pad(kernel, ((0, 0), (i, count - 1 - i), (0, 0), (0, 0))) for i in range(count)]
    wide = jnp.stack(moved, axis=3)  # [k, k + count - 1, I, count, O]
    return wide.reshape(*wide.shape[:3], -1)
