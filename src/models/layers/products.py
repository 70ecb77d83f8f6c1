"""Convolution and its gradients, each as one matrix product.

That is with the pixels under every window, or, on maps of few pixels, with all pixels.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from src.models.layers.once import computed_once
from src.models.layers.windows import Windows
from src.models.layers.winograd import KERNEL_IN_CACHE


def values(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k k I O"], stride: int, padding: int
) -> Float[Array, "B P Q O"]:
    """The convolution: the pixels of each window, as the row of a matrix, times the kernel."""
    windows = Windows(len(kernel), stride, padding)
    pixels = jnp.concatenate(windows.views(x, 0.0), axis=-1)  # [B, P, Q, k k I]
    batch, rows, columns, inputs = pixels.shape
    flat = pixels.reshape(-1, inputs) @ kernel.reshape(inputs, -1)
    return flat.reshape(batch, rows, columns, -1)


def fits_whole(x: Array, kernel: Array, stride: int, padding: int) -> bool:
    """Whether an image has fewer pixels than the kernel, and the kernel at every place is small.

    Then `whole` multiplies less than `values`, and its matrix stays in the cache. With as many
    pixels and one place that matrix is the kernel itself. Only shapes matter, those of `values`.
    """
    size, _, inputs, outputs = kernel.shape
    pixels = math.prod(x.shape[1:3])
    places = math.prod(Windows(size, stride, padding).counts(x))
    if pixels == size**2:
        return places == 1
    return pixels < size**2 and pixels * places * inputs * outputs <= KERNEL_IN_CACHE


def whole(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k k I O"], stride: int, padding: int
) -> Float[Array, "B P Q O"]:
    """The convolution: each image, as the row of a matrix, times the kernel at every place."""
    matrix = _at_every_place(kernel, x, stride, padding)
    flat = x.reshape(len(x), -1) @ matrix.reshape(math.prod(matrix.shape[:3]), -1)
    return flat.reshape(len(x), *matrix.shape[3:])


def whole_kernel_grads(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "k k I O"],
    grads: Float[Array, "B P Q O"],
    stride: int,
    padding: int,
) -> Float[Array, "k k I O"]:
    """The kernel's gradient, summed over all places; only the shape of `kernel` matters."""
    pixels = computed_once(lambda x: x.reshape(len(x), -1).T, x)  # [H W I, B]
    sums = (pixels @ grads.reshape(len(grads), -1)).reshape(*x.shape[1:], *grads.shape[1:])
    place = functools.partial(_at_every_place, x=x, stride=stride, padding=padding)
    return jax.linear_transpose(place, kernel)(sums)[0]


def _at_every_place(
    kernel: Array, x: Array, stride: int, padding: int
) -> Float[Array, "H W I P Q O"]:
    """What every pixel of an image adds to every result; only the shape of `x` matters."""
    pixels, size, zero = x.shape[1:3], len(kernel), jnp.zeros((), kernel.dtype)
    counts = Windows(size, stride, padding).counts(x)
    placed = []
    for place in np.ndindex(*counts):
        starts = [at * stride - padding for at in place]
        pads = [(i, n - size - i, 0) for i, n in zip(starts, pixels, strict=True)]
        placed.append(lax.pad(kernel, zero, [*pads, (0, 0, 0), (0, 0, 0)]))
    return jnp.stack(placed, axis=3).reshape(*x.shape[1:], *counts, -1)


def input_grads(
    kernel: Float[Array, "k k I O"],
    grads: Float[Array, "B P Q O"],
    stride: int,
    padding: int,
    shape: tuple[int, ...],
) -> Float[Array, "B H W I"]:
    """The input's gradient: shares of all windows, added up; the kernel need not be transposed.

    Args:
        kernel: The kernel of the forward pass.
        grads: Gradients with respect to its values.
        stride: The stride of the forward pass.
        padding: The padding of the forward pass.
        shape: H and W.
    """
    size, _, inputs, outputs = kernel.shape
    shares = lax.dot_general(
        grads.reshape(-1, outputs), kernel.reshape(-1, outputs), (((1,), (1,)), ((), ()))
    ).reshape(*grads.shape[:3], size, size, inputs)
    zero = jnp.zeros((), grads.dtype)
    total = jnp.zeros((len(grads), *shape, inputs), grads.dtype)
    for i, j in np.ndindex(size, size):
        pads = [
            (at - padding, pixels + padding - at - (count - 1) * stride - 1, stride - 1)
            for at, pixels, count in zip((i, j), shape, grads.shape[1:3], strict=True)
        ]
        total += lax.pad(shares[:, :, :, i, j], zero, [(0, 0, 0), *pads, (0, 0, 0)])
    return total


def kernel_grads(
    x: Float[Array, "B H W I"],
    grads: Float[Array, "B P Q O"],
    size: int,
    stride: int,
    padding: int,
) -> Float[Array, "k k I O"]:
    """The kernel's gradient: the pixels under each weight, as the row of a matrix, times `grads`.

    The images are transposed first, since they have fewer numbers than that matrix.
    """
    inputs, outputs = x.shape[-1], grads.shape[-1]
    maps = computed_once(lambda x: x.reshape(-1, inputs).T, x)  # [I, B H W]
    views = Windows(size, stride, padding).views(maps.reshape(-1, *x.shape[1:3], 1), 0.0)
    pixels = jnp.stack(views).reshape(size * size * inputs, -1)  # [k k I, B P Q]
    return (pixels @ grads.reshape(-1, outputs)).reshape(size, size, inputs, outputs)
