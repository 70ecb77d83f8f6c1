"""Convolution of stride 1 with fewer multiplications: Winograd's way.

F(4 x 4, 3 x 3) has 4 times fewer, F(4 x 4, 5 x 5) 6.25 times. Squares of pixels, which overlap,
and the kernel are mapped, by additions and a few factors, to as many numbers each. Their products,
summed over the channels, are as many products of matrices; these map to the pixels of the result.

The numbers are values of polynomials whose coefficients are the pixels: at 0, 1, -1 and infinity
for F(2 x 2, 3 x 3), which is for small maps; for F(4 x 4, 3 x 3) also at 2 and -2, for
F(4 x 4, 5 x 5) also at 1/2 and -1/2.

Source: Lavin & Gray (2016), "Fast Algorithms for Convolutional Neural Networks", equations 7 to 8
and section 4.3; its maps are Toom and Cook's, and so are those of 5 by 5. A test holds all of them
to rational numbers.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Map = tuple[np.ndarray, ...]  # a product of matrices, the last of which is applied first


class Way(NamedTuple):
    """Maps for one size of kernels, along one axis.

    Attributes:
        size: Of the kernel.
        side: Pixels of the result that are made at once.
        of_pixels: Maps side + size - 1 pixels to as many numbers.
        of_kernel: Maps the weights to as many.
        of_result: Maps the products of the two to pixels of the result.
    """

    size: int
    side: int
    of_pixels: Map
    of_kernel: Map
    of_result: Map

    @property
    def numbers(self) -> int:
        """How many numbers there are, and how many pixels they are made of."""
        return self.side + self.size - 1


def _signs(count: int) -> np.ndarray:
    """Values at p and -p from the sums of a polynomial's even and of its odd powers.

    The first and the last number, at 0 and at infinity, stay as they are.
    """
    matrix = np.eye(count)
    for even in range(1, count - 1, 2):
        matrix[even : even + 2, even : even + 2] = [[1, 1], [1, -1]]
    return matrix


# By the kernel's size.
WAYS = {
    3: Way(
        3,
        4,
        (
            _signs(6),
            np.array(
                [
                    [4, 0, -5, 0, 1, 0],
                    [0, 0, -4, 0, 1, 0],
                    [0, -4, 0, 1, 0, 0],
                    [0, 0, -1, 0, 1, 0],
                    [0, -2, 0, 2, 0, 0],
                    [0, 4, 0, -5, 0, 1],
                ]
            ),
        ),
        (
            _signs(6),
            np.diag([1 / 4, -1 / 6, -1 / 6, 1 / 24, 1 / 24, 1])
            @ [[1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 0, 4], [0, 2, 0], [0, 0, 1]],
        ),
        (
            np.array(
                [
                    [1, 1, 0, 1, 0, 0],
                    [0, 0, 1, 0, 2, 0],
                    [0, 1, 0, 4, 0, 0],
                    [0, 0, 1, 0, 8, 1],
                ]
            ),
            _signs(6),
        ),
    ),
    5: Way(
        5,
        4,
        (
            _signs(8),
            np.array(
                [
                    [1, 0, -21 / 4, 0, 21 / 4, 0, -1, 0],
                    [0, 0, 1, 0, -17 / 4, 0, 1, 0],
                    [0, 1, 0, -17 / 4, 0, 1, 0, 0],
                    [0, 0, 1 / 4, 0, -5 / 4, 0, 1, 0],
                    [0, 1 / 2, 0, -5 / 2, 0, 2, 0, 0],
                    [0, 0, 4, 0, -5, 0, 1, 0],
                    [0, 2, 0, -5 / 2, 0, 1 / 2, 0, 0],
                    [0, -1, 0, 21 / 4, 0, -21 / 4, 0, 1],
                ]
            ),
        ),
        (
            _signs(8),
            np.diag([1, -2 / 9, -2 / 9, 1 / 90, 1 / 90, 32 / 45, 32 / 45, 1])
            @ [
                [1, 0, 0, 0, 0],
                [1, 0, 1, 0, 1],
                [0, 1, 0, 1, 0],
                [1, 0, 4, 0, 16],
                [0, 2, 0, 8, 0],
                [1, 0, 1 / 4, 0, 1 / 16],
                [0, 1 / 2, 0, 1 / 8, 0],
                [0, 0, 0, 0, 1],
            ],
        ),
        (
            np.array(
                [
                    [1, 1, 0, 1, 0, 1, 0, 0],
                    [0, 0, 1, 0, 2, 0, 1 / 2, 0],
                    [0, 1, 0, 4, 0, 1 / 4, 0, 0],
                    [0, 0, 1, 0, 8, 0, 1 / 8, 1],
                ]
            ),
            _signs(8),
        ),
    ),
}
# F(2 x 2, 3 x 3): fewer numbers for the kernel, for small maps, which have few squares.
ON_SMALL_MAPS = Way(
    3,
    2,
    (np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),),
    (np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),),
    (np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),),
)
SMALL = 64  # Maps of fewer pixels are small.
KERNEL_IN_CACHE = 2**18  # Numbers of a kernel that stay in a core's own cache: 1 MB.
BATCHED = (((2,), (1,)), ((0,), (0,)))
SUMMED = (((1,), (1,)), ((0,), (0,)))
IN_CACHE = 2**21  # Numbers of pixels and results that are at work at once: 8 MB.


def values(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k k I O"], padding: int
) -> Float[Array, "B P Q O"]:
    """The convolution."""
    way = _way(kernel.shape, _shape(x.shape, len(kernel), padding))
    numbers = _kernel_numbers(kernel, way)
    return _over_groups(lambda x: _convolved(x, numbers, way, padding)[0], x, kernel, way)


def keeps_numbers(images: tuple[int, ...], kernel: tuple[int, ...], padding: int) -> bool:
    """Whether the numbers of the pixels are kept for the weights' gradient, which needs them too.

    Kept are those of F(4 x 4, 3 x 3), which are 2.25 times as many as the pixels, where all images
    are taken at once.
    """
    way = _way(kernel, _shape(images, kernel[0], padding))
    return way is WAYS[3] and _groups(images, kernel, way) == 1


def values_and_numbers(
    x: Float[Array, "B H W I"], kernel: Float[Array, "3 3 I O"], padding: int
) -> tuple[Float[Array, "B P Q O"], Float[Array, "36 squares I"]]:
    """The convolution, and the numbers of its pixels."""
    way = WAYS[3]
    return _convolved(x, _kernel_numbers(kernel, way), way, padding)


def way_of_weights(size: int, maps: tuple[int, ...]) -> Way:
    """The way for the gradient of a kernel of `size`, by the shape [B, P, Q, O] of the result's."""
    return ON_SMALL_MAPS if size == 3 and math.prod(maps[1:3]) < SMALL else WAYS[size]


def _shape(images: tuple[int, ...], size: int, padding: int) -> tuple[int, ...]:
    """P and Q, of the result for images [B, H, W, C] and a kernel of `size`."""
    return tuple(n + 2 * padding - size + 1 for n in images[1:3])


def _way(kernel: tuple[int, ...], pixels: Sequence[int]) -> Way:
    """The way for P by Q values of a kernel of this shape."""
    size, _, inputs, outputs = kernel
    kept = WAYS[size].numbers ** 2 * inputs * outputs <= KERNEL_IN_CACHE
    return WAYS[size] if size != 3 or kept or math.prod(pixels) >= SMALL else ON_SMALL_MAPS


def kernel_grads(
    x: Float[Array, "B H W I"], grads: Float[Array, "B P Q O"], way: Way, padding: int
) -> Float[Array, "k k I O"]:
    """The gradient of a kernel: the maps in reverse order, their matrices transposed."""
    shape = (way.size, way.size, x.shape[-1], grads.shape[-1])
    groups = _groups(grads.shape, shape, way)

    def of_some(x: Array, grads: Array) -> Array:
        return _kernel_grads(_pixel_numbers(x, grads.shape[1:3], way, padding), grads, way)

    if groups == 1:
        return of_some(x, grads)
    parts = tuple(a.reshape(groups, -1, *a.shape[1:]) for a in (x, grads))
    add = lambda total, part: (total + of_some(*part), None)  # noqa: E731
    return lax.scan(add, jnp.zeros(shape, x.dtype), parts)[0]


def kernel_grads_of_numbers(
    pixels: Float[Array, "36 squares I"], grads: Float[Array, "B P Q O"]
) -> Float[Array, "3 3 I O"]:
    """The same from the numbers that `values_and_numbers` kept."""
    return _kernel_grads(pixels, grads, WAYS[3])


def _kernel_grads(pixels: Array, grads: Array, way: Way) -> Array:
    even = tuple((0, -n % way.side) for n in grads.shape[1:3])
    placed = jnp.pad(grads, ((0, 0), *even, (0, 0)))  # [B, P, Q, O]
    spread = _both_axes(
        _transposed(way.of_result),
        [placed[:, i :: way.side] for i in range(way.side)],
        lambda first: [first[:, :, :, j :: way.side] for j in range(way.side)],
    ).reshape(len(pixels), -1, grads.shape[-1])
    products = lax.dot_general(pixels, spread, SUMMED)  # [N, I, O]
    matrix = functools.reduce(np.matmul, _transposed(way.of_kernel))
    both = np.einsum("ib,ja->ijab", matrix, matrix).reshape(-1, len(pixels)).astype(np.float32)
    # A product of matrices; as sums they would be computed anew, slowly, by who reads them.
    found = jnp.asarray(both) @ products.reshape(len(pixels), -1)
    return found.reshape(way.size, way.size, *products.shape[1:])


def _over_groups(fn: Callable[[Array], Array], x: Array, kernel: Array, way: Way) -> Array:
    """`fn` applied to as many images at a time as fit into the caches."""
    groups = _groups(x.shape, kernel.shape, way)
    if groups == 1:
        return fn(x)
    parts = lax.map(fn, x.reshape(groups, -1, *x.shape[1:]))
    return parts.reshape(len(x), *parts.shape[2:])


def _groups(images: tuple[int, ...], kernel: tuple[int, ...], way: Way) -> int:
    """Number of equal groups in which images [B, H, W, C] are taken, one after another."""
    batch, rows, columns, _ = images
    squares = batch * rows * columns / way.side**2
    numbers = squares * way.numbers**2 * (kernel[2] + kernel[3])
    least = min(batch, math.ceil(numbers / IN_CACHE))
    return next(count for count in range(least, batch + 1) if batch % count == 0)


def _convolved(x: Array, numbers: Array, way: Way, padding: int) -> tuple[Array, Array]:
    shape = _shape(x.shape, way.size, padding)
    pixels = _pixel_numbers(x, shape, way, padding)
    return _result(lax.dot_general(pixels, numbers, BATCHED), len(x), shape, way), pixels


def _kernel_numbers(kernel: Array, way: Way) -> Array:
    """[k, k, I, O] -> [N, I, O]."""
    found = _both_axes(way.of_kernel, list(kernel), _second_axis)
    return found.reshape(-1, *kernel.shape[2:])


def _pixel_numbers(x: Array, shape: tuple[int, ...], way: Way, padding: int) -> Array:
    """[B, H, W, I] -> [N, B P Q / side^2, I], from squares that overlap by the kernel's size - 1.

    Args:
        x: Images.
        shape: P and Q, of the result.
        way: The maps.
        padding: Of the convolution.
    """
    count, side = way.numbers, way.side
    wholes = [n + -n % side for n in shape]
    ends = [n + way.size - 1 - m - padding for n, m in zip(wholes, x.shape[1:3], strict=True)]
    padded = jnp.pad(x, ((0, 0), *((padding, end) for end in ends), (0, 0)))
    rows, columns = wholes
    found = _both_axes(
        way.of_pixels,
        [padded[:, i : i + rows : side] for i in range(count)],
        lambda first: [first[:, :, :, j : j + columns : side] for j in range(count)],
    )
    return found.reshape(count**2, -1, x.shape[-1])


def _result(products: Array, batch: int, shape: tuple[int, ...], way: Way) -> Array:
    """[N, B P Q / side^2, O] -> [B, P, Q, O]."""
    tiles = [-(-n // way.side) for n in shape]
    each = products.reshape(len(products), batch, *tiles, -1)
    found = _both_axes(way.of_result, *_split(each, way.numbers))
    whole = found.transpose(2, 3, 1, 4, 0, 5)  # [B, P / side, side, Q / side, side, O]
    whole = whole.reshape(batch, *(way.side * n for n in tiles), -1)
    return whole[:, : shape[0], : shape[1]]


def _split(products: Array, count: int) -> tuple[list[Array], Callable[[Array], list[Array]]]:
    """The parts of count^2 numbers along both axes, the second of which comes first."""
    each = products.reshape(count, count, *products.shape[1:])
    return [each[:, i] for i in range(count)], _second_axis


def _second_axis(first: Array) -> list[Array]:
    return [first[:, j] for j in range(first.shape[1])]


def _both_axes(
    matrices: Map, parts: Sequence[Array], split: Callable[[Array], Sequence[Array]]
) -> Array:
    """A map along the first axis, whose parts are given, then along the second, as `split` says.

    The first is one expression with the zeros of the matrix, which takes as long as sums of the
    others and compiles sooner; along both axes XLA would compute the first anew for the second.

    Returns:
        [numbers of the second axis, numbers of the first axis, ...].
    """
    matrix = functools.reduce(np.matmul, matrices).astype(np.float32)
    columns = (each.reshape(-1, *[1] * parts[0].ndim) for each in matrix.T)
    first = sum(column * part[None] for column, part in zip(columns, parts, strict=True))
    return jnp.stack(_mapped(matrices, split(first)))


def _transposed(matrices: Map) -> Map:
    return tuple(matrix.T for matrix in reversed(matrices))


def _mapped(matrices: Map, parts: Sequence[Array]) -> list[Array]:
    """The product of the matrices with arrays for numbers, without products by 0 and 1."""
    found = list(parts)
    for matrix in reversed(matrices):
        found = [_combined(row, found) for row in matrix]
    return found


def _combined(weights: np.ndarray, parts: Sequence[Array]) -> Array:
    terms = [(float(w), part) for w, part in zip(weights, parts, strict=True) if w]
    (weight, total), *others = terms
    total = total if weight == 1 else weight * total
    for weight, part in others:
        total = total + part if weight == 1 else total + weight * part
    return total
