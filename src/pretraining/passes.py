"""The passes up and down through one convolution: the network's own, and its transpose."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from src.models.layers import conv
from src.models.layers.folding import LANES


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
    if _few_visible(moves, kernel):
        return _by_shares(hidden, kernel, pads)
    spread = [(*pad, moves.stride - 1) for pad in pads]
    whole = lax.pad(hidden, jnp.zeros((), hidden.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
    towers = jnp.split(kernel[::-1, ::-1], moves.groups, axis=-1)
    turned = jnp.concatenate([tower.transpose(0, 1, 3, 2) for tower in towers], axis=-1)
    return conv(whole, turned, groups=moves.groups)  # With stride 1 it is fast on a CPU too.


def _few_visible(moves: Convolution, kernel: Array) -> bool:
    """Whether the channels of a kernel's row are no more than the lanes of a processor's vector."""
    size, _, inputs, _ = kernel.shape
    one_by_one = moves.stride == moves.groups == 1 < size
    return jax.default_backend() == "cpu" and one_by_one and size * inputs <= LANES


def _by_shares(hidden: Array, kernel: Array, pads: list[tuple[int, int]]) -> Array:
    """What each hidden unit adds to every pixel of its window, as one matrix product, then added.

    With the three channels of a first layer a convolution would leave most lanes empty. Here pixels
    lie side by side, one image of shares for each weight.
    """
    outputs, inner = kernel.shape[-1], (((1,), (1,)), ((), ()))
    shares = lax.dot_general(kernel.reshape(-1, outputs), hidden.reshape(-1, outputs), inner)
    apart = shares.reshape(*kernel.shape[:3], *hidden.shape[:3])  # [k, l, I, B, P, Q]
    around = [(0, 0, 0)] * 4 + [(*pad, 0) for pad in pads]
    whole = lax.pad(apart, jnp.zeros((), apart.dtype), around)
    height, width = kernel.shape[:2]
    rows, columns = whole.shape[-2] - height + 1, whole.shape[-1] - width + 1
    moved = [
        whole[i, j, :, :, height - 1 - i :, width - 1 - j :][..., :rows, :columns]
        for i, j in np.ndindex(height, width)
    ]
    return functools.reduce(jnp.add, moved).transpose(1, 2, 3, 0)


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
