"""Locally connected layers: convolutions with a different kernel at every place."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from src.models.layers.convolution import Initializer


class LocallyConnected(nn.Module):
    """A convolution of stride 1 with a different kernel at every place (cuda-convnet's `local`)."""

    features: int
    kernel_size: int
    padding: int = 0
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B P Q O"]:
        size, pad = self.kernel_size, self.padding
        x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
        patches = jnp.concatenate(
            [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)], axis=-1
        )  # [B, P, Q, h w I]
        shape = (height, width, patches.shape[-1], self.features)
        kernel = self.param("kernel", self._init_kernels, shape)
        bias = self.param("bias", self.bias_init, (height, width, self.features))
        return jnp.einsum("bpqi,pqio->bpqo", patches, kernel) + bias[None]

    def _init_kernels(self, key: Array, shape: tuple[int, int, int, int]) -> Array:
        """Draws each place as a layer of its own, so that initializers count its inputs alone."""
        height, width, *kernel = shape
        keys = jax.random.split(key, (height, width))
        return jax.vmap(jax.vmap(lambda k: self.kernel_init(k, tuple(kernel))))(keys)
