"""The source of a stack: a network, and images without labels."""

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
        init: Seed of a trial -> the network's parameters before training.
        images: Unlabelled images in grey levels.
        held_out: Further images, on which reconstruction is measured.
        shift: What is subtracted from the images for the network's input, as in `DeviceSplit`.
        scale: What the difference is divided by.
        devices: The devices that a step is spread over.
        parallel: How it is spread over them.
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
        """Makes the function scaled pixels [B, H, W, C] -> inputs of a layer [B, P, Q, I].

        Args:
            layer: Name of the layer.
            below: Parameters of the network, in which the layers below are pre-trained; frozen.
        """
        fixed = jax.device_get(below)

        def inputs_fn(pixels: Array) -> Array:
            return layer_input(self.model, jax.tree.map(jnp.asarray, fixed), layer, pixels)

        return inputs_fn

    def scaled(self, images: Array) -> Float[Array, "B H W C"]:
        """The network's input for images in grey levels."""
        return (images.astype(jnp.float32) - self.shift) / self.scale
