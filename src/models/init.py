"""How kernels begin, by the name of a scheme."""

from collections.abc import Callable

import flax.linen as nn
from jax import Array

from src.models.activations import saturates

Initializer = Callable[..., Array]
INITS = ("paper", "modern")


def kernel_init(scheme: str, activation: str, std: float) -> Initializer:
    """Initializer of one layer's kernel.

    Args:
        scheme: `paper`: normal with the standard deviation that the net's source gives.
            `modern`: Glorot uniform where the activation saturates on both sides (Glorot & Bengio
            2010), else He normal (He et al. 2015).
        activation: Name of the activation that follows.
        std: The source's.
    """
    if scheme == "paper":
        return nn.initializers.normal(std)
    return (
        nn.initializers.glorot_uniform() if saturates(activation) else nn.initializers.he_normal()
    )
