"""Dropout whose masks belong to the images, not to the devices."""

import math
import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key


class Dropout(nn.Module):
    """Sets each activity to zero with probability `rate` in training (paper, section 4.2).

    Each image has a mask of its own, drawn from its key and the layer's name, so that the mask does
    not depend on the image's place in the batch or its device.

    `inverted` says where activities are scaled. Not inverted, as in the paper, kept activities stay
    as they are in training, and all are multiplied by 1 - rate in testing. Inverted, as in Caffe
    and since, kept ones are divided by 1 - rate in training, and testing changes nothing. With the
    next layer's weights multiplied by 1 - rate the inverted net is the paper's, in training and in
    testing; from the same weights it begins and learns differently.
    """

    rate: float
    inverted: bool = True

    def __call__(
        self, x: Float[Array, " B *features"], keys: Key[Array, " B"] | None
    ) -> Float[Array, " B *features"]:
        """Activities masked by `keys`, one per image; None means testing."""
        if not self.rate:
            return x
        keep = 1 - self.rate
        if keys is None:
            return x if self.inverted else keep * x
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, self._number())
        kept = jax.vmap(lambda key: _draw(key, keep, x.shape[1:]))(keys)
        return jnp.where(kept, x / keep if self.inverted else x, 0)

    def _number(self) -> int:
        """A number that belongs to this layer, the same in every process."""
        return zlib.crc32("/".join(self.path).encode())


def _draw(key: Key[Array, ""], probability: float, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """Independent draws, true with `probability`; one of a half is one random bit."""
    if probability != 0.5:
        return jax.random.bernoulli(key, probability, shape)
    count = math.prod(shape)
    words = jax.random.bits(key, (math.ceil(count / 32), 1))
    places = jnp.arange(32, dtype=words.dtype)[None]
    return (words >> places & 1).ravel()[:count].reshape(shape) == 1
