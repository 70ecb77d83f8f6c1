"""Copies a stack into the network that is fine-tuned, or puts a control in its place."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from src.models.params import get_layer, with_layer
from src.pretraining.settings import Control

CONTROL_STREAM = 3  # Keeps what a control draws apart from every other use of a trial's seed.
LayerParams = Mapping[str, Float[Array | np.ndarray, "..."]]


def transfer(
    params: PyTree, layers: Mapping[str, LayerParams], control: Control, seed: int
) -> PyTree:
    """A network's parameters, in which those of a stack replace its own.

    A layer that was trained without a bias, as auto-encoders are, gets biases of zero.

    Args:
        params: The parameters with which the network would begin otherwise.
        layers: Name of a layer -> what was learned: `kernel` and, for an RBM, `bias`.
        control: `shuffled` puts each kernel's weights in a random order, `scale` draws normal ones
            of the same norm; biases stay as they are.
        seed: The trial's seed, for the draws of a control.

    Source: Erhan et al. (2010), "Why does unsupervised pre-training help deep learning?", section
    6.4, whose control is weights drawn from the pre-trained ones' histogram.
    """
    for number, (name, learned) in enumerate(layers.items()):
        rng = np.random.default_rng([CONTROL_STREAM, seed, number])
        kernel = controlled(np.asarray(learned["kernel"]), control, rng)
        bias = learned.get("bias", np.zeros_like(get_layer(params, name)["bias"]))
        both = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
        params = with_layer(params, name, both)
    return params


def controlled(
    kernel: Float[np.ndarray, "h w J O"], control: Control, rng: np.random.Generator
) -> Float[np.ndarray, "h w J O"]:
    """The kernel as a control changes it."""
    if control == "shuffled":
        return rng.permutation(kernel.ravel()).reshape(kernel.shape)
    if control == "scale":
        drawn = rng.normal(size=kernel.shape)
        return (drawn * np.linalg.norm(kernel) / np.linalg.norm(drawn)).astype(kernel.dtype)
    return kernel
