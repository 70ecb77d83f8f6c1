"""The convolutional auto-encoder: a layer that reconstructs inputs from which parts are missing.

Its decoder has the encoder's weights, its loss is the mean squared error, and it has no bias.

Sources: Masci, Meier, Ciresan & Schmidhuber (2011), "Stacked convolutional auto-encoders"; Vincent
et al. (2010), "Stacked denoising autoencoders", for the masking; Paine, Khorrami, Han & Huang
(2014), "An analysis of unsupervised pre-training in light of recent advances", for the missing
bias.
"""

from collections.abc import Callable
from typing import NamedTuple, TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from src.pretraining.passes import Convolution
from src.pretraining.units import draw_binary, from_blocks, in_blocks


class Params(TypedDict):
    """Its parameters: the kernel of the network's layer."""

    kernel: Float[Array, "h w I O"]


class Autoencoder(NamedTuple):
    """One layer, and how it is trained.

    Attributes:
        convolution: From input to code.
        activation: The network's activation.
        deviation: Standard deviation of the inputs; errors are in this unit.
        noise: Share of the inputs that are set to zero in training; the others are scaled up for
            it.
        competition: Whether only the largest code of each 2 by 2 block is decoded, which is Masci's
            maximum pooling.
    """

    convolution: Convolution
    activation: Callable[[Array], Array]
    deviation: float = 1.0
    noise: float = 0.25
    competition: bool = False

    def total_input(
        self, params: Params, inputs: Float[Array, "B H W I"]
    ) -> Float[Array, "B P Q O"]:
        """The output of the network's layer before its activation."""
        return self.convolution.up(inputs, params["kernel"])

    def reconstruct(
        self, params: Params, inputs: Float[Array, "B H W I"]
    ) -> Float[Array, "B H W I"]:
        """The inputs as their code gives them back."""
        code = self.activation(self.total_input(params, inputs))
        if self.competition:
            code = keep_winners(code)
        return self.decode(params, code, *inputs.shape[1:3])

    def decode(
        self, params: Params, code: Float[Array, "B P Q O"], rows: int, columns: int
    ) -> Float[Array, "B H W I"]:
        """The inputs that a code stands for."""
        return self.convolution.down(code, params["kernel"], rows, columns)

    def loss(
        self, params: Params, inputs: Float[Array, "B H W I"], keys: Key[Array, " B"]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean squared error of whole inputs reconstructed from masked ones.

        The same number is minimized and recorded.
        """
        masked = inputs
        if self.noise:
            # DEVIATION: Vincent et al. leave the others as they are. The layer then learns to make
            # up for what is missing, and whole inputs come back too large by 1 / (1 - noise).
            share = jnp.full(inputs.shape[1:], 1 - self.noise, inputs.dtype)
            kept = jax.vmap(draw_binary, in_axes=(0, None))(keys, share)
            masked = inputs * kept / (1 - self.noise)
        errors = self.reconstruct(params, masked) - inputs
        loss = jnp.mean(errors**2) / self.deviation**2
        return loss, loss


def keep_winners(code: Float[Array, "B P Q O"]) -> Float[Array, "B P Q O"]:
    """Codes that are the largest of their 2 by 2 block; the others become zero."""
    blocks = in_blocks(code, -jnp.inf)
    won = jnp.where(blocks == blocks.max(axis=-2, keepdims=True), blocks, 0)
    return from_blocks(won, *code.shape[1:3])
