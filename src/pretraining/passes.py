"""The passes up and down through one convolution: the network's own, and its transpose."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from src.models.layers import conv
from src.models.layers.folding import LANES
from src.models.layers.plain import DIMENSIONS


class Convolution(NamedTuple):
    """The stride, padding and groups of a convolution, as in the network's layer."""

    stride: int = 1
    padding: int = 0
    groups: int = 1

    def up(
        self, visible: Float[Array, "B H W I"], kernel: Float[Array, "h w J O"]
    ) -> Float[Array, "B P Q O"]:
        """The network's pass, without a bias."""
        return conv(visible, kernel, stride=self.stride, padding=self.padding, groups=self.groups)

    def down(
        self,
        hidden: Float[Array, "B P Q O"],
        kernel: Float[Array, "h w J O"],
        rows: int,
        columns: int,
    ) -> Float[Array, "B H W I"]:
        """The transpose of `up`: each hidden unit adds its kernel, times its state, to its window.

        What would fall on the padding is left out, so pixels at the border hear from fewer units.

        Args:
            hidden: States of the hidden units.
            kernel: The same as in `up`.
            rows: H; with a stride above 1 it does not follow from P.
            columns: W.
        """
        return _down(self, rows, columns, hidden, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _down(moves: Convolution, rows: int, columns: int, hidden: Array, kernel: Array) -> Array:
    pads = [
        (size - 1 - moves.padding, pixels - (places - 1) * moves.stride - 1 + moves.padding)
        for size, pixels, places in zip(
            kernel.shape, (rows, columns), hidden.shape[1:3], strict=False
        )
    ]
    spread = [(*pad, moves.stride - 1) for pad in pads]
    whole = lax.pad(hidden, jnp.zeros((), hidden.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
    towers = jnp.split(kernel[::-1, ::-1], moves.groups, axis=-1)
    turned = jnp.concatenate([tower.transpose(0, 1, 3, 2) for tower in towers], axis=-1)
    if _few_outputs(turned, moves.groups):
        return _by_rows(whole, turned)
    return conv(whole, turned, groups=moves.groups)  # With stride 1 it is fast on a CPU too.


def _few_outputs(kernel: Array, groups: int) -> bool:
    """Whether all rows of a kernel [k, k, O, I] have no more outputs than a vector has lanes."""
    size, _, _, outputs = kernel.shape
    return jax.default_backend() == "cpu" and groups == 1 and 1 < size * outputs <= LANES


def _by_rows(x: Array, kernel: Array) -> Array:
    """A convolution of stride 1: the kernel's rows are applied side by side, then added.

    With the three channels of a first layer alone, most lanes of a processor would be empty.
    """
    size, _, inputs, outputs = kernel.shape
    side_by_side = kernel.transpose(1, 2, 0, 3).reshape(1, size, inputs, size * outputs)
    full = jnp.pad(side_by_side, ((0, 0), (0, 0), (0, 0), (0, LANES - size * outputs)))
    parts = lax.conv_general_dilated(x, full, (1, 1), "VALID", dimension_numbers=DIMENSIONS)
    rows = x.shape[1] - size + 1
    shares = [
        parts[:, row : row + rows, :, row * outputs : (row + 1) * outputs] for row in range(size)
    ]
    return functools.reduce(jnp.add, shares)


def _down_forward(
    moves: Convolution, rows: int, columns: int, hidden: Array, kernel: Array
) -> tuple[Array, tuple[Array, Array]]:
    return _down(moves, rows, columns, hidden, kernel), (hidden, kernel)


def _down_backward(
    moves: Convolution, rows: int, columns: int, saved: tuple[Array, Array], grads: Array
) -> tuple[Array, Array]:
    """The gradients of the transpose: the pass up, and its kernel's gradient with images exchanged.

    JAX would derive the kernel's from `_down` as a convolution to the three channels of a first
    layer, which is far slower on a CPU.
    """
    hidden, kernel = saved
    up, pull = jax.vjp(lambda kernel: moves.up(grads, kernel), kernel)
    return up, pull(hidden)[0]


_down.defvjp(_down_forward, _down_backward)
