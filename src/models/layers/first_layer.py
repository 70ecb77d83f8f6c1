"""A first layer: few channels in, so that pooling and gradients cost more than the convolution."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from src.models.layers.convolution import DIMENSIONS, Initializer, conv, input_grads
from src.models.layers.max_pooling import max_pool


class ConvMaxPool(nn.Module):
    """A convolution, then the maximum of 3 by 3 windows at a stride of 2 with the last hanging over.

    The same parameters and values as `Conv` and `max_pool`, and on a CPU a first layer in half the time.
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

    On a CPU and for even sizes the image is folded: 2 by 2 pixels become one of four times the channels, and the
    convolution yields the four phases of its output side by side. Each pooling window reads its nine values from
    there, and its gradient is written back phase by phase, with no strided pass over the full-size output.
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
    best, winner = _computed_once(functools.partial(_pool_phases, features=features), phases)
    return best, (x, folded, kernel, winner)


def _pool_phases(phases: Array, features: int) -> tuple[Array, Array]:
    shape = (phases.shape[0], phases.shape[1] - 1, phases.shape[2] - 1, features)
    last_row, last_column = (
        lax.broadcasted_iota(jnp.int32, shape, axis) == shape[axis] - 1 for axis in (1, 2)
    )
    best, winner = jnp.full(shape, -jnp.inf, phases.dtype), jnp.zeros(shape, jnp.int8)
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
        winner = jnp.where(view > best, jnp.int8(3 * i + j), winner)
        best = jnp.maximum(best, view)
    return best, winner


def _folded_backward(saved: tuple, grads: Array) -> tuple[Array, Array]:
    x, folded, kernel, winner = saved
    rows, columns, features = grads.shape[1:]
    winner = lax.pad(
        winner.transpose(1, 2, 0, 3), jnp.int8(-1), ((1, 0, 0),) * 2 + ((0, 0, 0),) * 2
    )
    grads = jnp.pad(grads.transpose(1, 2, 0, 3), ((1, 0), (1, 0), (0, 0), (0, 0)))
    phases = []  # of the gradient at the convolution's output, each [P, Q, B, O]
    for i, j in np.ndindex(2, 2):
        windows = [
            (m, n) for m in ((0, 1) if i == 0 else (0,)) for n in ((0, 1) if j == 0 else (0,))
        ]
        shares = []
        for m, n in windows:
            here = (slice(1 - m, 1 - m + rows), slice(1 - n, 1 - n + columns))
            won = winner[here] == 3 * (i + 2 * m) + j + 2 * n
            shares.append(jnp.where(won, grads[here], 0))
        phases.append(sum(shares[1:], start=shares[0]))
    inputs = folded.transpose(3, 1, 2, 0)  # [4 I, P, Q, B]
    kernel_grads = [
        lax.conv_general_dilated(
            inputs, phase, (1, 1), ((1, 1), (1, 1)), dimension_numbers=DIMENSIONS
        )
        for phase in phases
    ]
    summed = _unfold_kernel([g.transpose(1, 2, 0, 3) for g in kernel_grads], kernel.shape)
    unused = [phase.transpose(2, 0, 1, 3) for phase in phases]
    output_grads = _unfold(jnp.concatenate(unused, axis=-1), features)
    return input_grads(x, kernel, output_grads, 1, 2), summed


_folded.defvjp(_folded_forward, _folded_backward)


def _computed_once(fn: Callable[..., Any], *arrays: Array) -> Any:
    """`fn(*arrays)`, kept in memory on a CPU, where XLA would compute it anew for each of its readers.

    XLA's CPU compiler fuses cheap operations into all that read them and drops optimization barriers
    before it does. It leaves the branches of a conditional alone, so this is one whose other branch is
    never taken: a number with its last bit set is not zero.
    """
    if jax.default_backend() != "cpu":
        return fn(*arrays)
    number = lax.bitcast_convert_type(arrays[0].ravel()[0].astype(jnp.float32), jnp.int32)
    results = jax.eval_shape(fn, *arrays)
    never = lambda *_: jax.tree.map(lambda r: jnp.zeros(r.shape, r.dtype), results)  # noqa: E731
    return lax.cond((number | 1) != 0, fn, never, *arrays)


def _fold(x: Array) -> Array:
    """[B, 2P, 2Q, I] -> [B, P, Q, (2, 2, I)]."""
    batch, height, width, channels = x.shape
    folded = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return folded.reshape(batch, height // 2, width // 2, 4 * channels)


def _unfold(folded: Array, channels: int) -> Array:
    """[B, P, Q, (2, 2, C)] -> [B, 2P, 2Q, C]."""
    batch, rows, columns, _ = folded.shape
    whole = folded.reshape(batch, rows, columns, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return whole.reshape(batch, 2 * rows, 2 * columns, channels)


def _fold_kernel(kernel: Array) -> Array:
    """The 5 by 5 kernel for folded images: [3, 3, (2, 2, I), (2, 2, O)], output phase (i, j) shifted by i and j."""
    inputs, outputs = kernel.shape[2:]
    phases = []
    for i, j in np.ndindex(2, 2):
        shifted = jnp.pad(kernel, ((i, 1 - i), (j, 1 - j), (0, 0), (0, 0)))  # [6, 6, I, O]
        blocks = shifted.reshape(3, 2, 3, 2, inputs, outputs).transpose(0, 2, 1, 3, 4, 5)
        phases.append(blocks.reshape(3, 3, 4 * inputs, outputs))
    return jnp.concatenate(phases, axis=-1)


def _unfold_kernel(grads: list[Array], shape: tuple[int, ...]) -> Array:
    """The transpose of `_fold_kernel`: the gradients of the four phases added up."""
    total = jnp.zeros(shape, grads[0].dtype)
    for (i, j), phase in zip(np.ndindex(2, 2), grads, strict=True):
        blocks = phase.reshape(3, 3, 2, 2, *shape[2:]).transpose(0, 2, 1, 3, 4, 5)
        total += blocks.reshape(6, 6, *shape[2:])[i : i + 5, j : j + 5]
    return total
