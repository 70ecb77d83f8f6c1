"""Local response normalization: x / (k + alpha * (sum of squares around x)) ^ beta."""

import functools
from typing import Literal, cast

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Convention = Literal["paper", "caffe", "within", "paper_net", "constant"]
K = {"paper": 2.0, "caffe": 1.0, "within": 1.0, "paper_net": 2.0, "constant": 2.0}


def local_response_norm(
    x: Float[Array, "B H W C"],
    *,
    n: int,
    k: float,
    alpha: float,
    beta: float,
    convention: Convention,
    towers: int = 1,
) -> Float[Array, "B H W C"]:
    """Divides each activity by a power of the sum of squares in its neighbourhood.

    The gradient is JAX's own: on a CPU that of `reduce_window` is as fast as one written by hand.
    There beta = 0.75 by square roots is faster than a power.

    Args:
        x: Activities, after the activation function.
        n: Size of the neighbourhood, odd; it ends at the first and last channel, or at the border.
        k: Constant that is added to the sum.
        alpha: Factor on the sum of squares, see `convention`.
        beta: The power.
        convention: `paper`: the n channels around, at the same place, times alpha (section 3.3).
            `caffe`: the same channels, times alpha / n, as in cuda-convnet's `cmrnorm`, Caffe's
            ACROSS_CHANNELS and PyTorch's `LocalResponseNorm`. `within`: the n by n places around,
            in the same channel, times alpha / n^2, also at a border, as in cuda-convnet's `rnorm`
            and Caffe's WITHIN_CHANNEL. `paper_net`: as `caffe`, for the paper's net as it was run,
            with its k of 2 and its towers. `constant`: no neighbourhood, only the factor k^-beta.
            `paper` and `paper_net` amount to it if activities are small, so it is their control;
            `caffe` and `within`, whose k is 1, amount to no normalization.
        towers: Number of equal parts of the channels that do not see one another; the paper's GPUs.

    Raises:
        ValueError: If `n` is even, so that there is no centre.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.3.
    """
    if n % 2 == 0:
        raise ValueError(f"n = {n} should be odd: {n // 2} neighbours on each side make {n + 1}")
    if convention == "constant":
        return x * k**-beta
    if towers > 1:
        parts = jnp.split(x, towers, axis=-1)
        norm = functools.partial(
            local_response_norm, n=n, k=k, alpha=alpha, beta=beta, convention=convention
        )
        return jnp.concatenate([norm(part) for part in parts], axis=-1)
    window = (1, n, n, 1) if convention == "within" else (1, 1, 1, n)
    count = {"paper": 1, "caffe": n, "within": n**2, "paper_net": n}[convention]
    pads = [(size // 2, size // 2) for size in window]
    squares = lax.reduce_window(x * x, 0.0, lax.add, window, (1, 1, 1, 1), pads)
    return x * _negative_power(k + alpha / count * squares, beta)


def _negative_power(x: Array, beta: float) -> Array:
    if beta == 0.75:
        root = lax.rsqrt(x)
        return root * jnp.sqrt(root)
    return x**-beta


class LocalResponseNorm(nn.Module):
    """`local_response_norm` with the paper's constants, and with the k of each convention."""

    convention: str
    n: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    towers: int = 1

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        return local_response_norm(
            x,
            n=self.n,
            k=K[self.convention],
            alpha=self.alpha,
            beta=self.beta,
            convention=cast(Convention, self.convention),
            towers=self.towers,
        )
