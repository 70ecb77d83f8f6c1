"""XLA's convolution and its kernel's gradient, as they are."""

from collections.abc import Sequence

from jax import lax
from jaxtyping import Array, Float

from src.models.layers.once import computed_once

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
Pads = Sequence[tuple[int, int]]  # Zeros before and behind, for rows and for columns.


def values(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "k l J O"],
    strides: tuple[int, int],
    pads: Pads,
    groups: int = 1,
) -> Float[Array, "B P Q O"]:
    """The convolution; `J` is I / groups."""
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=DIMENSIONS, feature_group_count=groups
    )


def kernel_grads(
    x: Float[Array, "B H W I"],
    grads: Float[Array, "B P Q O"],
    size: tuple[int, int],
    strides: tuple[int, int],
    pads: Pads,
) -> Float[Array, "k l I O"]:
    """The kernel's gradient: a convolution in canonical layout that sums over the images."""
    sums = lax.conv_general_dilated(
        computed_once(lambda x: x.transpose(3, 1, 2, 0), x),  # [I, H, W, B]
        grads.transpose(1, 2, 0, 3),  # [P, Q, B, O]
        (1, 1),
        pads,
        rhs_dilation=strides,
        dimension_numbers=DIMENSIONS,
    )  # [I, k + rest, l + rest, O]; strides do not reach the rest.
    return sums[:, : size[0], : size[1]].transpose(1, 2, 0, 3)
