"""Pooling as layers with names, so that the list of a network shows it."""

import flax.linen as nn
from jaxtyping import Array, Float

from src.models.layers import avg_pool, max_pool


class MaxPool(nn.Module):
    """`max_pool` as a layer."""

    window: int
    stride: int
    padding: int = 0
    ceil_mode: bool = False

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q C"]:
        return max_pool(x, self.window, self.stride, padding=self.padding, ceil_mode=self.ceil_mode)


class AvgPool(nn.Module):
    """`avg_pool` as a layer."""

    window: int | tuple[int, int]
    stride: int
    ceil_mode: bool = False

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q C"]:
        return avg_pool(x, self.window, self.stride, ceil_mode=self.ceil_mode)
