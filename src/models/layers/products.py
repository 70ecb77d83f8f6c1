"""Convolution and its gradients, each as one matrix product with the pixels under every window."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from src.models.layers.once import computed_once
from src.models.layers.windows import Windows


def values(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k k I O"], stride: int, padding: int
) -> Float[Array, "B P Q O"]:
    """The convolution: the pixels of each window, as the row of a matrix, times the kernel."""
    windows = Windows(len(kernel), stride, padding)
    pixels = jnp.concatenate(windows.views(x, 0.0), axis=-1)  # [B, P, Q, k k I]
    batch, rows, columns, inputs = pixels.shape
    flat = pixels.reshape(-1, inputs) @ kernel.reshape(inputs, -1)
    return flat.reshape(batch, rows, columns, -1)


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
