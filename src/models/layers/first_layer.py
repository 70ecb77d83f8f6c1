"""A first layer: few channels in, so that pooling and gradients cost more than the convolution."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from src.models.layers.convolution import DIMENSIONS, Initializer, conv, input_grads
from src.models.layers.max_pooling import max_pool
from src.models.layers.once import computed_once


class ConvMaxPool(nn.Module):
    """A convolution, then the maximum of 3 by 3 windows at a stride of 2, the last hanging over.

    The same parameters and values as `Conv` and `max_pool`, and faster on a CPU.
    """

    features: int
    kernel_size: int = 5
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B P Q O"]:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", self.bias_init, (self.features,)).reshape(1, 1, 1, -1)
        return conv_max_pool(x, kernel) + bias


def conv_max_pool(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k k I O"]
) -> Float[Array, "B P Q O"]:
    """`max_pool(conv(x, kernel, padding=2), 3, 2, ceil_mode=True)` for 5 by 5 kernels.

    On a CPU and for even sizes the image is folded: 2 by 2 pixels become one of four times the
    channels, and the convolution yields the four phases of its output side by side. Each pooling
    window reads its nine values from there, with no strided pass over the full-size output.
    """
    folds = x.shape[1] % 2 == x.shape[2] % 2 == 0 and kernel.shape[0] == 5
    if jax.default_backend() == "cpu" and folds:
        return _folded(x, kernel)
    return max_pool(conv(x, kernel, padding=2), 3, 2, ceil_mode=True)


@jax.custom_vjp
def _folded(x: Array, kernel: Array) -> Array:
    return _folded_forward(x, kernel)[0]


def _folded_forward(x: Array, kernel: Array) -> tuple[Array, tuple]:
    folded, features = _fold(x), kernel.shape[-1]
    phases = lax.conv_general_dilated(
        folded, _fold_kernel(kernel), (1, 1), ((1, 2), (1, 2)), dimension_numbers=DIMENSIONS
    )  # [B, P + 1, Q + 1, 4 O]; the last row and column only complete the windows' slices
    best, winner = computed_once(functools.partial(_pool_phases, features=features), phases)
    return best, (x, kernel, winner)


def _pool_phases(phases: Array, features: int) -> tuple[Array, Array]:
    shape = (phases.shape[0], phases.shape[1] - 1, phases.shape[2] - 1, features)
    last_row, last_column = (
        lax.broadcasted_iota(jnp.int32, shape, axis) == shape[axis] - 1 for axis in (1, 2)
    )
    best = jnp.full(shape, -jnp.inf, phases.dtype)
    winner = jnp.zeros(shape)  # float: a narrower type halves the speed of the comparisons
    for i, j in np.ndindex(3, 3):
        phase = 2 * (i % 2) + j % 2
        view = phases[
            :,
            i // 2 : i // 2 + shape[1],
            j // 2 : j // 2 + shape[2],
            phase * features : (phase + 1) * features,
        ]
        view = jnp.where(last_row, -jnp.inf, view) if i == 2 else view
        view = jnp.where(last_column, -jnp.inf, view) if j == 2 else view
        winner = jnp.where(view > best, 3.0 * i + j, winner)
        best = jnp.maximum(best, view)
    return best, winner.astype(jnp.int8)


def _folded_backward(saved: tuple, grads: Array) -> tuple[Array, Array]:
    x, kernel, winner = saved
    whole = _spread(winner.transpose(1, 2, 0, 3), grads.transpose(1, 2, 0, 3))  # [H, W, B, O]
    inputs = x.transpose(3, 1, 2, 0)  # [I, H, W, B]
    sums = lax.conv_general_dilated(
        inputs, whole, (1, 1), ((2, 2), (2, 2)), dimension_numbers=DIMENSIONS
    )  # [I, 5, 5, O]
    output_grads = whole.transpose(2, 0, 1, 3)
    return input_grads(x, kernel, output_grads, 1, 2), sums.transpose(1, 2, 0, 3)


def _spread(winner: Array, grads: Array) -> Array:
    """Gradients of the windows [P, Q, B, O], each added where its maximum was: [2P, 2Q, B, O]."""
    rows, columns, batch, features = grads.shape
    winner = lax.pad(winner, jnp.int8(-1), ((1, 0, 0),) * 2 + ((0, 0, 0),) * 2)
    grads = jnp.pad(grads, ((1, 0), (1, 0), (0, 0), (0, 0)))
    phases = []
    for i, j in np.ndindex(2, 2):
        shares = []
        for m, n in np.ndindex(2 - i, 2 - j):  # the window itself, and those above and to the left
            here = (slice(1 - m, 1 - m + rows), slice(1 - n, 1 - n + columns))
            won = winner[here] == 3 * (i + 2 * m) + j + 2 * n
            shares.append(jnp.where(won, grads[here], 0))
        phases.append(sum(shares[1:], start=shares[0]))
    grid = jnp.stack(phases).reshape(2, 2, rows, columns, batch, features)
    return grid.transpose(2, 0, 3, 1, 4, 5).reshape(2 * rows, 2 * columns, batch, features)


_folded.defvjp(_folded_forward, _folded_backward)


def _fold(x: Array) -> Array:
    """[B, 2P, 2Q, I] -> [B, P, Q, (2, 2, I)]."""
    batch, height, width, channels = x.shape
    folded = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return folded.reshape(batch, height // 2, width // 2, 4 * channels)


def _fold_kernel(kernel: Array) -> Array:
    """The 5 by 5 kernel for folded images: [3, 3, (2, 2, I), (2, 2, O)].

    Output phase (i, j) is shifted by i and j.
    """
    inputs, outputs = kernel.shape[2:]
    phases = []
    for i, j in np.ndindex(2, 2):
        shifted = jnp.pad(kernel, ((i, 1 - i), (j, 1 - j), (0, 0), (0, 0)))  # [6, 6, I, O]
        blocks = shifted.reshape(3, 2, 3, 2, inputs, outputs).transpose(0, 2, 1, 3, 4, 5)
        phases.append(blocks.reshape(3, 3, 4 * inputs, outputs))
    return jnp.concatenate(phases, axis=-1)
