"""Initializers of a network's kernels, by the name of an initialization scheme."""

import flax.linen as nn

from src.models.activations import saturates
from src.models.layers.convolution import Initializer


def kernel_init(init_scheme: str, activation: str, std: float) -> Initializer:
    """Initializer of one layer's kernel.

    Args:
        init_scheme: `paper`: normal with the standard deviation that the net's source gives.
            `modern`: Glorot uniform if the activation saturates on both sides (Glorot & Bengio
            2010), else He normal (He et al. 2015).
        activation: Name of the activation that follows the layer.
        std: Standard deviation that the net's source gives.
    """
    if init_scheme == "paper":
        return nn.initializers.normal(std)
    return (
        nn.initializers.glorot_uniform() if saturates(activation) else nn.initializers.he_normal()
    )
