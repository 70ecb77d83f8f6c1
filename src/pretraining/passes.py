"""Up and down through one convolution: the network's own pass, and its transpose."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from src.models.layers import conv


class Convolution(NamedTuple):
    """How a convolution moves over its input, as the network's layer does."""

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
        """Its transpose: each hidden unit lays its kernel, times its state, over what it reads.

        What would fall on the padding is left out: at the border a pixel hears from fewer units.

        Args:
            hidden: States.
            kernel: The same as in `up`.
            rows: H; several heights may have the same P where the stride is above 1.
            columns: W.
        """
        pads = [
            (size - 1 - self.padding, pixels - (places - 1) * self.stride - 1 + self.padding)
            for size, pixels, places in zip(
                kernel.shape, (rows, columns), hidden.shape[1:3], strict=False
            )
        ]
        spread = [(*pad, self.stride - 1) for pad in pads]
        whole = lax.pad(hidden, jnp.zeros((), hidden.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
        towers = jnp.split(kernel[::-1, ::-1], self.groups, axis=-1)
        turned = jnp.concatenate([tower.transpose(0, 1, 3, 2) for tower in towers], axis=-1)
        return conv(whole, turned, groups=self.groups)  # stride 1: fast on a CPU too
