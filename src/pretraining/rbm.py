"""The convolutional restricted Boltzmann machine, trained by contrastive divergence.

The energy of visible v and hidden h, with the network's convolution W * v and visible bias c, is

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
        sparsity_rate: Strength of that, which acts on their biases alone; 0: none.
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
        """The input of the hidden units: the network's layer before its activation."""
        return self.convolution.up(visible, params["kernel"]) + params["bias"].reshape(1, 1, 1, -1)

    def free_energy(self, params: Params, visible: Float[Array, "B H W C"]) -> Float[Array, " B"]:
        """F(v) = -log sum_h e^{-E(v, h)} of each image."""
        return self._free_energy(params, visible, self.total_input(params, visible))

    def decode(
        self, params: Params, hidden: Float[Array, "B P Q O"], rows: int, columns: int
    ) -> Float[Array, "B H W C"]:
        """The mean of the visible units, given the hidden ones."""
        above = self.convolution.down(hidden, params["kernel"], rows, columns)
        return self.visible.mean(above, params["visible"]["bias"])

    def reconstruct(
        self, params: Params, visible: Float[Array, "B H W C"]
    ) -> Float[Array, "B H W C"]:
        """The mean of the visible units, given the hidden units' mean."""
        hidden = self.hidden.mean(self.total_input(params, visible))
        return self.decode(params, hidden, *visible.shape[1:3])

    def loss(
        self, params: Params, inputs: Float[Array, "B H W C"], keys: Key[Array, " B"]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The loss that is minimized, and the error that is recorded.

        The loss is F(v0) - F(vk) with vk held fixed, whose gradient is contrastive divergence. It
        is per hidden place, so that a learning rate does not depend on the size of the images.

        The error is the mean of (vk - v0)^2, the distance that the chain leads away from the
        images. The loss itself says less; since only its gradient is used, XLA leaves out its two
        logarithms per hidden unit, which are slow on a CPU.
        """
        total = self.total_input(params, inputs)
        chain = self._chain(lax.stop_gradient(params), inputs, lax.stop_gradient(total), keys)
        rise = self._free_energy(params, inputs, total) - self.free_energy(params, chain)
        loss, error = (
            rise.mean() / (total.shape[1] * total.shape[2]),
            jnp.mean((chain - inputs) ** 2),
        )
        if not self.sparsity_rate:
            return loss, error
        excess = lax.stop_gradient(self.hidden.mean(total)).mean(axis=(0, 1, 2)) - self.sparsity
        pull = jnp.sum(excess * params["bias"])
        return loss + self.sparsity_rate * (pull - lax.stop_gradient(pull)), error

    def _chain(
        self,
        params: Params,
        visible: Float[Array, "B H W C"],
        total: Float[Array, "B P Q O"],
        keys: Key[Array, " B"],
    ) -> Float[Array, "B H W C"]:
        """Visible units after k steps, from those whose hidden units receive `total`.

        In each step hidden units are drawn, then visible ones given them, with each image's keys.
        """
        draw_visible = jax.vmap(self.visible.sample, in_axes=(0, 0, None))
        for step in range(self.gibbs_steps):
            now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, step)
            up, down = jnp.moveaxis(jax.vmap(jax.random.split)(now), 1, 0)
            total = self.total_input(params, visible) if step else total
            hidden = jax.vmap(self.hidden.sample)(up, total)
            above = self.convolution.down(hidden, params["kernel"], *visible.shape[1:3])
            visible = draw_visible(down, above, params["visible"]["bias"])
        return visible

    def _free_energy(
        self, params: Params, visible: Float[Array, "B H W C"], total: Float[Array, "B P Q O"]
    ) -> Float[Array, " B"]:
        energy = self.visible.energy(visible, params["visible"]["bias"])
        return energy.sum(axis=(1, 2, 3)) - self.hidden.log_sum(total).sum(axis=(1, 2, 3))
