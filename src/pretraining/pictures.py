"""Images reconstructed from the layers of a stack, to show how much of them each layer keeps."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree, UInt8

from src.pretraining.autoencoder import Autoencoder
from src.pretraining.layers import Layer, layer_input
from src.pretraining.rbm import RBM
from src.pretraining.source import Source

IMAGES = 10  # The first of those held out.


class Learned(NamedTuple):
    """A pre-trained layer of a stack."""

    layer: Layer
    unit: RBM | Autoencoder
    params: PyTree


def give_back(
    source: Source, network: PyTree, stack: Sequence[Learned]
) -> UInt8[np.ndarray, "n H W C"] | None:
    """The first held-out images, reconstructed from the top layer of a stack.

    First the top layer's inputs are reconstructed, then from these the inputs of the layer below,
    and so on down to the pixels. Pooling cannot be undone, so maps are enlarged by linear
    interpolation. That changes their contrast, which one factor brings back to that of the images.

    Args:
        source: Network and images.
        network: Parameters of the network, in which the layers below the top one are pre-trained.
        stack: The pre-trained layers, from the first to the top one.

    Returns:
        Grey levels; None if a layer reads anything but the maps of the one below, or the first one
        anything but the pixels, as where the network puts a border around them.
    """
    pairs = itertools.pairwise(each.layer for each in stack)
    if any(layer.channels != below.kernel_shape[-1] for below, layer in pairs):
        return None
    pixels = source.scaled(jnp.asarray(source.held_out[:IMAGES]))
    stack = [each._replace(params=jax.tree.map(jnp.asarray, each.params)) for each in stack]
    read = [layer_input(source.model, network, each.layer.name, pixels) for each in stack]
    if read[0].shape != pixels.shape:
        return None
    found = stack[-1].unit.reconstruct(stack[-1].params, read[-1])
    for each, inputs in zip(stack[-2::-1], read[-2::-1], strict=True):
        places = jax.eval_shape(each.unit.total_input, each.params, inputs).shape
        hidden = jax.image.resize(found, places, "linear")
        found = each.unit.decode(each.params, hidden, *inputs.shape[1:3])
    factor = jnp.vdot(found, pixels) / jnp.maximum(jnp.vdot(found, found), 1e-12)
    levels = factor * found * source.scale + source.shift
    return np.asarray(jnp.clip(jnp.round(levels), 0, 255).astype(jnp.uint8))
