"""The convolutional restricted Boltzmann machine, trained by contrastive divergence.

Energy of visible v and hidden h, where W * v is the network's convolution and c the visible bias:

    E(v, h) = sum (v - c)^2 / 2 deviation^2 - sum h (W * v + b)

The hidden units' total input is then what the network's layer computes, whatever the deviation of
the pixels, and its kernel and bias can be copied there without a factor.
Source: Lee, Grosse, Ranganath & Ng (2009), "Convolutional deep belief networks for scalable
unsupervised learning of hierarchical representations".
"""

from typing import NamedTuple, TypedDict

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from src.pretraining.passes import Convolution
from src.pretraining.units import HiddenUnit, VisibleUnit


class Bias(TypedDict):
    """The visible units' biases, one per channel."""

    bias: Float[Array, " C"]


class Params(TypedDict):
    """Kernel and bias as in the network's layer, and the visible bias."""

    kernel: Float[Array, "h w J O"]
    bias: Float[Array, " O"]
    visible: Bias


class RBM(NamedTuple):
    """One layer, and how it is trained.

    Attributes:
        convolution: From visible to hidden units.
        hidden: Kind of the hidden units.
        visible: Kind of the visible units.
        gibbs_steps: k of CD-k.
        sparsity: Mean state that the hidden units are drawn to.
        sparsity_rate: How strongly, through their biases alone; 0: not at all.
    """

    convolution: Convolution
    hidden: HiddenUnit
    visible: VisibleUnit
    gibbs_steps: int = 1
    sparsity: float = 0.0
    sparsity_rate: float = 0.0

    def total_input(
        self, params: Params, visible: Float[Array, "B H W C"]
    ) -> Float[Array, "B P Q O"]:
        """What hidden units receive: the network's layer before its activation."""
        return self.convolution.up(visible, params["kernel"]) + params["bias"].reshape(1, 1, 1, -1)

    def free_energy(self, params: Params, visible: Float[Array, "B H W C"]) -> Float[Array, " B"]:
        """F(v) = -log sum_h e^{-E(v, h)}, of each image."""
        energy = self.visible.energy(visible, params["visible"]["bias"])
        log_sum = self.hidden.log_sum(self.total_input(params, visible))
        return energy.sum(axis=(1, 2, 3)) - log_sum.sum(axis=(1, 2, 3))

    def reconstruct(
        self, params: Params, visible: Float[Array, "B H W C"]
    ) -> Float[Array, "B H W C"]:
        """What visible units are expected to be, given the hidden units' mean."""
        above = self._above(params, self.hidden.mean(self.total_input(params, visible)), visible)
        return self.visible.mean(above, params["visible"]["bias"])

    def gibbs(
        self, params: Params, visible: Float[Array, "B H W C"], keys: Key[Array, " B"]
    ) -> Float[Array, "B H W C"]:
        """Visible units after one step: hidden units are drawn, then visible ones given them."""
        up, down = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        hidden = jax.vmap(self.hidden.sample)(up, self.total_input(params, visible))
        above = self._above(params, hidden, visible)
        draw = jax.vmap(self.visible.sample, in_axes=(0, 0, None))
        return draw(down, above, params["visible"]["bias"])

    def loss(
        self, params: Params, inputs: Float[Array, "B H W C"], keys: Key[Array, " B"]
    ) -> Float[Array, ""]:
        """Its gradient is contrastive divergence: F(v0) - F(vk), vk held fixed.

        Per hidden place, so that a learning rate does not depend on the size of the images.
        """
        fixed, chain = lax.stop_gradient(params), inputs
        for step in range(self.gibbs_steps):
            now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, step)
            chain = self.gibbs(fixed, chain, now)
        rise = self.free_energy(params, inputs) - self.free_energy(params, lax.stop_gradient(chain))
        total = self.total_input(params, inputs)
        loss = rise.mean() / (total.shape[1] * total.shape[2])
        if not self.sparsity_rate:
            return loss
        excess = lax.stop_gradient(self.hidden.mean(total)).mean(axis=(0, 1, 2)) - self.sparsity
        pull = jnp.sum(excess * params["bias"])
        return loss + self.sparsity_rate * (pull - lax.stop_gradient(pull))

    def _above(
        self, params: Params, hidden: Float[Array, "B P Q O"], visible: Float[Array, "B H W C"]
    ) -> Float[Array, "B H W C"]:
        return self.convolution.down(hidden, params["kernel"], *visible.shape[1:3])
