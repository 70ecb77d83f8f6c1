"""Convolution with few channels: several columns are made at once, as further channels.

A processor multiplies 16 numbers at once. Where a net has 8 or 16 channels, most of its lanes would
stay empty; two or more columns side by side fill them, at the price of some zeros in the kernel.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from src.models.layers import plain
from src.models.layers.once import computed_once

LANES = 16  # float32 numbers in a vector of AVX-512
NO_PADS = ((0, 0), (0, 0))


def columns_at_once(
    kernel: tuple[int, ...], maps: tuple[int, ...], stride: int, padding: int
) -> int:
    """Number of columns of a result that are made at once, a power of two.

    It is 1 if there are channels enough, or with a stride. More than one vector of results proved
    fastest; and XLA loops naively over a kernel with more pixels than a map, so a widened one has
    no more.

    Args:
        kernel: Shape [k, k, I, O] of the kernel.
        maps: Shape [B, H, W, I] of the images.
        stride: Stride of the convolution.
        padding: Padding of the convolution.
    """
    size, _, inputs, outputs = kernel
    if size == 1 or stride > 1 or max(inputs, outputs) > LANES:
        return 1
    columns = maps[2] + 2 * padding - size + 1
    fits = lambda count: (  # noqa: E731
        count <= columns and size * (size + count - 1) <= maps[1] * maps[2]
    )
    count = 1
    while fits(2 * count) and (count == 1 or count * outputs <= LANES):
        count *= 2
    return count


def multiply_adds(kernel: tuple[int, ...], maps: tuple[int, ...], padding: int, count: int) -> int:
    """Number of them for one image, those with the zeros of the widened kernel included.

    Arguments are those of `columns_at_once`, whose stride is 1, and its result.
    """
    size, _, inputs, outputs = kernel
    rows, columns = (n + 2 * padding - size + 1 for n in maps[1:3])
    lanes = -(-count * outputs // LANES) * LANES
    return rows * -(-columns // count) * lanes * size * (size + count - 1) * inputs


def values(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k k I O"], padding: int, count: int
) -> Float[Array, "B P Q O"]:
    """A convolution of stride 1, its kernel widened to make `count` columns at once."""
    columns = x.shape[2] + 2 * padding - len(kernel) + 1
    if in_blocks(x.shape, len(kernel), padding, count):
        wide = _widened(kernel, count)
        blocks = wide.reshape(len(wide), -1, count * x.shape[-1], wide.shape[-1])
        y = plain.values(_folded(x, count), blocks, (1, 1), NO_PADS)
        return y.reshape(*y.shape[:2], columns, -1)
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

    Only the shape of `kernel` matters. For small kernels and very few channels it is a product of
    matrices.
    """
    if in_blocks(x.shape, len(kernel), padding, count):
        size = (len(kernel), (len(kernel) - 1) // count + 1)
        blocks = plain.kernel_grads(_folded(x, count), _folded(grads, count), size, (1, 1), NO_PADS)
        wide = blocks.reshape(size[0], -1, x.shape[-1], blocks.shape[-1])
        return _narrowed(wide, kernel, count)
    in_pairs = len(kernel) <= 3 and kernel.shape[2] <= LANES // 2
    count = 2 if in_pairs else count
    side_by_side = _folded(grads, count)
    pads = _pads(x, kernel, padding, grads.shape[2], count)
    if in_pairs:
        wide = _products_of_pairs(jnp.pad(x, ((0, 0), *pads, (0, 0))), side_by_side, len(kernel))
    else:
        size = (len(kernel), len(kernel) + count - 1)
        wide = plain.kernel_grads(x, side_by_side, size, (1, count), pads)
    return _narrowed(wide, kernel, count)


def _products_of_pairs(x: Array, grads: Array, size: int) -> Array:
    """The gradients [k, k + 1, I, 2 O] from padded images and from gradients in pairs of columns.

    The pixels under each weight, in pairs too, are the row of a matrix; images are transposed
    first, since they have fewer numbers.
    """
    rows, columns, outputs = grads.shape[1:]
    pairs = computed_once(lambda x: _folded(x, 2).transpose(3, 0, 1, 2), x)  # [2 I, B, H, W / 2]
    blocks = size // 2 + 1
    pixels = jnp.stack(
        [pairs[:, :, i : i + rows, j : j + columns] for i, j in np.ndindex(size, blocks)]
    )  # [k blocks, 2 I, B, P, Q]
    sums = pixels.reshape(size * blocks * len(pairs), -1) @ grads.reshape(-1, outputs)
    return sums.reshape(size, 2 * blocks, x.shape[-1], outputs)[:, : size + 1]


def in_blocks(maps: tuple[int, ...], size: int, padding: int, count: int) -> bool:
    """Whether blocks of `count` columns, side by side as channels, make up images and windows.

    Then nothing is copied, and an odd number of channels costs no zeros.
    """
    return padding == 0 and maps[2] % count == 0 and (size - 1) % count == 0


def _folded(x: Array, count: int) -> Array:
    """[B, H, W, C] -> [B, H, W / count, count C]; zeros fill up the last ones."""
    side_by_side = jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % count), (0, 0)))
    return side_by_side.reshape(*x.shape[:2], -1, count * x.shape[-1])


def _pads(x: Array, kernel: Array, padding: int, columns: int, count: int) -> plain.Pads:
    """Numbers of zeros around the images; on the right there are more, as far as windows reach."""
    reached = columns + -columns % count + len(kernel) - 1
    return (padding, padding), (padding, reached - x.shape[2] - padding)


def _narrowed(wide: Array, kernel: Array, count: int) -> Array:
    """The gradient of a kernel, whose shape matters alone, from that of the widened one."""
    return jax.linear_transpose(lambda k: _widened(k, count), kernel)(wide)[0]


def _widened(kernel: Array, count: int) -> Array:
    """[k, k, I, O] -> [k, k + count - 1, I, count O]; each column's kernel lies one pixel on."""
    moved = [jnp.pad(kernel, ((0, 0), (i, count - 1 - i), (0, 0), (0, 0))) for i in range(count)]
    wide = jnp.stack(moved, axis=3)  # [k, k + count - 1, I, count, O]
    return wide.reshape(*wide.shape[:3], -1)
