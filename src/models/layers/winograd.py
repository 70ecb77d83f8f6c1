"""3 by 3 convolution, stride 1, with 2.25 times fewer multiplications: Winograd's F(2 x 2, 3 x 3).

Four by four pixels and the kernel are mapped, by additions, to sixteen numbers each. Their
products, summed over the channels, are sixteen products of matrices; these map to two by two pixels
of the result.

Source: Lavin & Gray (2016), "Fast Algorithms for Convolutional Neural Networks", equations 7 to 8.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from src.models.layers.once import computed_once

OF_PIXELS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
OF_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
OF_RESULT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
BATCHED = (((2,), (1,)), ((0,), (0,)))
BATCHED_TRANSPOSED = (((2,), (2,)), ((0,), (0,)))
IN_CACHE = 2**21  # Numbers of pixels and results that are at work at once: 8 MB.


def values(
    x: Float[Array, "B H W I"], kernel: Float[Array, "3 3 I O"], padding: int
) -> Float[Array, "B P Q O"]:
    """The convolution."""
    numbers = _kernel_numbers(kernel)
    return _over_groups(lambda x: _convolved(x, numbers, BATCHED, padding), x, kernel)


def input_grads(
    kernel: Float[Array, "3 3 I O"], grads: Float[Array, "B P Q O"], padding: int
) -> Float[Array, "B H W I"]:
    """The input's gradient: the convolution of `grads` with the kernel turned around."""
    numbers = _kernel_numbers(kernel[::-1, ::-1])
    return _over_groups(
        lambda g: _convolved(g, numbers, BATCHED_TRANSPOSED, 2 - padding), grads, kernel
    )


def kernel_grads(
    x: Float[Array, "B H W I"], grads: Float[Array, "B P Q O"], padding: int
) -> Float[Array, "3 3 I O"]:
    """The kernel's gradient: the three maps in reverse order, their matrices transposed."""
    shape = (3, 3, x.shape[-1], grads.shape[-1])
    groups = _groups(grads.shape, shape)
    if groups == 1:
        return _kernel_grads(x, grads, padding)
    parts = tuple(a.reshape(groups, -1, *a.shape[1:]) for a in (x, grads))
    add = lambda total, part: (  # noqa: E731
        total + _kernel_grads(part[0], part[1], padding),
        None,
    )
    return lax.scan(add, jnp.zeros(shape, x.dtype), parts)[0]


def _kernel_grads(x: Array, grads: Array, padding: int) -> Array:
    """As `kernel_grads`; images are the innermost axis, so that pixels are copied in long runs."""
    rows, columns, outputs = grads.shape[1:]
    pixels = computed_once(lambda x: x.transpose(3, 1, 2, 0), x)  # [I, H, W, B]
    summed = _pixel_numbers(pixels, (rows, columns), padding).reshape(16, len(pixels), -1)
    even = ((0, rows % 2), (0, columns % 2), (0, 0), (0, 0))
    placed = jnp.pad(grads.transpose(1, 2, 0, 3), even)  # [P, Q, B, O]
    tiles = [[placed[i::2, j::2].reshape(-1, outputs) for j in range(2)] for i in range(2)]
    spread = jnp.stack(_both_axes(OF_RESULT.T, tiles))  # [16, P Q B / 4, O]
    products = lax.dot_general(summed, spread, BATCHED)  # [16, I, O]
    numbers = [[products[4 * i + j] for j in range(4)] for i in range(4)]
    return jnp.stack(_both_axes(OF_KERNEL.T, numbers)).reshape(3, 3, *products.shape[1:])


def _over_groups(fn: Callable[[Array], Array], x: Array, kernel: Array) -> Array:
    """`fn` applied to as many images at a time as fit into the caches."""
    groups = _groups(x.shape, kernel.shape)
    if groups == 1:
        return fn(x)
    parts = lax.map(fn, x.reshape(groups, -1, *x.shape[1:]))
    return parts.reshape(len(x), *parts.shape[2:])


def _groups(images: tuple[int, ...], kernel: tuple[int, ...]) -> int:
    """Number of equal groups in which images [B, H, W, C] are taken, one after another."""
    batch, rows, columns, _ = images
    numbers = 4 * batch * rows * columns * (kernel[2] + kernel[3])
    least = min(batch, -(-numbers // IN_CACHE))
    return next(count for count in range(least, batch + 1) if batch % count == 0)


def _convolved(x: Array, numbers: Array, dimensions: Any, padding: int) -> Array:
    shape = (x.shape[1] + 2 * padding - 2, x.shape[2] + 2 * padding - 2)
    products = lax.dot_general(_pixel_numbers(x, shape, padding), numbers, dimensions)
    return _result(products, len(x), shape)


def _kernel_numbers(kernel: Array) -> Array:
    """[3, 3, I, O] -> [16, I, O]."""
    rows = [[kernel[i, j] for j in range(3)] for i in range(3)]
    return jnp.stack(_both_axes(OF_KERNEL, rows))


def _pixel_numbers(x: Array, shape: tuple[int, int], padding: int) -> Array:
    """[B, H, W, I] -> [16, B P Q / 4, I], from squares of 4 x 4 pixels that overlap by two."""
    squares = [-(-n // 2) for n in shape]
    ends = [2 * n + 2 - m - padding for n, m in zip(squares, x.shape[1:3], strict=True)]
    padded = jnp.pad(x, ((0, 0), *((padding, end) for end in ends), (0, 0)))
    rows, columns = (2 * n for n in squares)
    parts = [[padded[:, i : i + rows : 2, j : j + columns : 2] for j in range(4)] for i in range(4)]
    return jnp.stack(_both_axes(OF_PIXELS, parts)).reshape(16, -1, x.shape[-1])


def _result(products: Array, batch: int, shape: tuple[int, int]) -> Array:
    """[16, B P Q / 4, O] -> [B, P, Q, O]."""
    rows, columns = (-(-n // 2) for n in shape)
    each = products.reshape(4, 4, batch, rows, columns, -1)
    parts = [[each[i, j] for j in range(4)] for i in range(4)]
    pixels = jnp.stack(_both_axes(OF_RESULT, parts)).reshape(2, 2, *each.shape[2:])
    whole = pixels.transpose(2, 3, 0, 4, 1, 5).reshape(batch, 2 * rows, 2 * columns, -1)
    return whole[:, : shape[0], : shape[1]]


def _both_axes(matrix: np.ndarray, parts: Sequence[Sequence[Array]]) -> list[Array]:
    """matrix @ parts @ matrix.T, row by row, with arrays for numbers."""
    columns = [_combined(matrix, column) for column in zip(*parts, strict=True)]
    rows = zip(*columns, strict=True)
    return [number for row in rows for number in _combined(matrix, row)]


def _combined(matrix: np.ndarray, parts: Sequence[Array]) -> list[Array]:
    """matrix @ parts, without products by 0 and 1."""
    found = []
    for row in matrix:
        terms = [(w, part) for w, part in zip(row, parts, strict=True) if w]
        (weight, total), *others = terms
        total = total if weight == 1 else weight * total
        for weight, part in others:
            total = total + part if weight == 1 else total + weight * part
        found.append(total)
    return found
