"""Local response normalization: x / (k + alpha * (sum of squares around x)) ^ beta."""

from typing import Literal, cast

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Convention = Literal["paper", "caffe", "within"]


def local_response_norm(
    x: Float[Array, "B H W C"],
    *,
    n: int,
    k: float,
    alpha: float,
    beta: float,
    convention: Convention,
) -> Float[Array, "B H W C"]:
    """Each activity over a power of its neighbourhood's.

    The gradient is JAX's own: a sum by `reduce_window` is differentiated as fast as by hand on a
    CPU, and there beta = 0.75 by square roots takes a quarter of the time of a power.

    Args:
        x: Activities, after the activation function.
        n: Size of the neighbourhood, odd; it ends at the first and last channel, or at the border.
        k: Added to the sum.
        alpha: Factor on the sum of squares, see `convention`.
        beta: The power.
        convention: `paper`: the n channels around, at the same place, times alpha (section 3.3).
            `caffe`: the same channels, times alpha / n, as in cuda-convnet's `cmrnorm`, Caffe's
            ACROSS_CHANNELS and PyTorch's `LocalResponseNorm`. `within`: the n by n places around,
            in the same channel, times alpha / n^2, also at a border, as in cuda-convnet's `rnorm`
            and Caffe's WITHIN_CHANNEL.

    Raises:
        ValueError: If `n` is even: it would have no centre.
    """
    if n % 2 == 0:
        raise ValueError(f"n = {n} should be odd: {n // 2} neighbours on each side make {n + 1}")
    window = (1, n, n, 1) if convention == "within" else (1, 1, 1, n)
    count = {"paper": 1, "caffe": n, "within": n**2}[convention]
    pads = [(size // 2, size // 2) for size in window]
    squares = lax.reduce_window(x * x, 0.0, lax.add, window, (1, 1, 1, 1), pads)
    return x * _negative_power(k + alpha / count * squares, beta)


def _negative_power(x: Array, beta: float) -> Array:
    if beta == 0.75:
        root = lax.rsqrt(x)
        return root * jnp.sqrt(root)
    return x**-beta


class LocalResponseNorm(nn.Module):
    """`local_response_norm` with the paper's constants, but for k: 2 in the paper, 1 in Caffe."""

    convention: str
    n: int = 5
    alpha: float = 1e-4
    beta: float = 0.75

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        return local_response_norm(
            x,
            n=self.n,
            k=2.0 if self.convention == "paper" else 1.0,
            alpha=self.alpha,
            beta=self.beta,
            convention=cast(Convention, self.convention),
        )
