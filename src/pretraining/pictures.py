"""Images as the layers of a stack give them back: how much of them each layer still knows."""

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

IMAGES = 10  # the first held-out ones


class Learned(NamedTuple):
    """A layer of a stack, pre-trained."""

    layer: Layer
    unit: RBM | Autoencoder
    params: PyTree


def give_back(
    source: Source, network: PyTree, stack: Sequence[Learned]
) -> UInt8[np.ndarray, "n H W C"] | None:
    """The first held-out images as the top layer of a stack gives them back.

    What the top layer reads is reconstructed, then, from that, what the layer below reads, and so
    on down to the pixels. Pooling cannot be undone: maps are made as large as they were, by linear
    interpolation. That changes their contrast, so the result is set to the images' by one factor.

    Args:
        source: Network and images.
        network: Its parameters, those of the layers below the top one pre-trained.
        stack: From the first layer to the top one.

    Returns:
        Grey levels; None where a layer reads anything but the maps of the one below.
    """
    pairs = itertools.pairwise(each.layer for each in stack)
    if any(layer.channels != below.kernel_shape[-1] for below, layer in pairs):
        return None
    pixels = source.scaled(jnp.asarray(source.held_out[:IMAGES]))
    stack = [each._replace(params=jax.tree.map(jnp.asarray, each.params)) for each in stack]
    read = [layer_input(source.model, network, each.layer.name, pixels) for each in stack]
    found = stack[-1].unit.reconstruct(stack[-1].params, read[-1])
    for each, inputs in zip(stack[-2::-1], read[-2::-1], strict=True):
        places = jax.eval_shape(each.unit.total_input, each.params, inputs).shape
        hidden = jax.image.resize(found, places, "linear")
        found = each.unit.decode(each.params, hidden, *inputs.shape[1:3])
    factor = jnp.vdot(found, pixels) / jnp.maximum(jnp.vdot(found, found), 1e-12)
    levels = factor * found * source.scale + source.shift
    return np.asarray(jnp.clip(jnp.round(levels), 0, 255).astype(jnp.uint8))
