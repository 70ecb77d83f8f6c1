"""What a stack is made from: a network, and images without labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from src.pretraining.layers import layer_input
from src.training.step import Parallel

InputsFn = Callable[[Array], Array]


@dataclass(frozen=True)
class Source:
    """A network, and images without labels.

    Attributes:
        model: The network.
        activation: Name of the function behind its convolutions.
        init: Seed of a trial -> parameters as they begin.
        images: Unlabelled images, grey levels.
        held_out: Further ones, on which reconstruction is measured.
        shift: Taken off the images for the network's input, as in `DeviceSplit`.
        scale: What they are then divided by.
        devices: The step is spread over them.
        parallel: How it is spread.
    """

    model: nn.Module
    activation: str
    init: Callable[[int], PyTree]
    images: UInt8[np.ndarray, "N H W C"]
    held_out: UInt8[np.ndarray, "M H W C"]
    shift: Float[np.ndarray, "1 #H #W C"]
    scale: Float[np.ndarray, "1 #H #W C"]
    devices: Sequence[jax.Device]
    parallel: Parallel = "pmap"

    def make_inputs_fn(self, layer: str, below: PyTree) -> InputsFn:
        """pixels [B, H, W, C], scaled -> what a layer reads [B, P, Q, I], those below it frozen.

        Args:
            layer: Its name.
            below: Parameters of the network, the layers below pre-trained.
        """
        fixed = jax.device_get(below)

        def inputs_fn(pixels: Array) -> Array:
            return layer_input(self.model, jax.tree.map(jnp.asarray, fixed), layer, pixels)

        return inputs_fn

    def scaled(self, images: Array) -> Float[Array, "B H W C"]:
        """Images in grey levels as the network's input."""
        return (images.astype(jnp.float32) - self.shift) / self.scale
