"""LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998, section II.B), as published and as built today."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from src.models.activations import get_activation
from src.models.init import Initializer, kernel_init
from src.models.layers import Conv, avg_pool, conv
from src.models.layers.pooling import MaxPool

# Table I of the paper: for each map of C3 the maps of S2 that it reads, three, four or all six.
C3_INPUTS = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *(tuple((i + j) % 6 for j in range(4)) for i in range(6)),
    *((i, (i + 1) % 6, (i + 3) % 6, (i + 4) % 6) for i in range(3)),
    tuple(range(6)),
)


class LeNet5(nn.Module):
    """The net of 1998: subsampling with trained factors, and a C3 whose maps see only some of S2's.

    For grey images it has 60,000 parameters up to F6, as the paper says, and 850 in the last layer.

    With the scheme `paper` weights begin uniform within 2.4 / (inputs of the unit); the paper's
    activation is `scaled_tanh` (both in appendix A).
    """

    activation: str
    init_scheme: Literal["paper", "modern"]
    num_classes: int

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"]:
        del keys  # Nothing in it is random.
        act = get_activation(self.activation)
        init = _init(self.init_scheme, self.activation)
        # fmt: off
        x = act(Conv(6, 5, kernel_init=init, name="c1")(images))         # [B, 28, 28, 6]
        x = act(Subsampling(kernel_init=init, name="s2")(x))             # [B, 14, 14, 6]
        x = act(PartialConv(C3_INPUTS, kernel_init=init, name="c3")(x))  # [B, 10, 10, 16]
        x = act(Subsampling(kernel_init=init, name="s4")(x))             # [B, 5, 5, 16]
        x = act(Conv(120, 5, kernel_init=init, name="c5")(x))            # [B, 1, 1, 120]
        x = x.reshape(x.shape[0], -1)
        x = act(nn.Dense(84, kernel_init=init, name="f6")(x))            # [B, 84]
        # fmt: on
        # DEVIATION: the paper's output is the distance of F6 to hand-drawn bitmaps of the digits.
        # Other classes have no such bitmaps, so here a layer of weights gives logits.
        last = _init(self.init_scheme, "tanh")
        return nn.Dense(self.num_classes, kernel_init=last, name="output")(x)


class LeNet5Modern(nn.Module):
    """The net as it is usually built today: max pooling, and maps connected to all maps below.

    For grey images and ten classes it has 61,706 parameters.
    """

    activation: str
    init_scheme: Literal["paper", "modern"]
    num_classes: int

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"]:
        del keys
        act = get_activation(self.activation)
        init = _init(self.init_scheme, self.activation)
        # fmt: off
        x = act(Conv(6, 5, kernel_init=init, name="conv1")(images))  # [B, 28, 28, 6]
        x = MaxPool(2, 2, name="pool1")(x)                           # [B, 14, 14, 6]
        x = act(Conv(16, 5, kernel_init=init, name="conv2")(x))      # [B, 10, 10, 16]
        x = MaxPool(2, 2, name="pool2")(x)                           # [B, 5, 5, 16]
        x = x.reshape(x.shape[0], -1)                                # [B, 400]
        x = act(nn.Dense(120, kernel_init=init, name="fc3")(x))
        x = act(nn.Dense(84, kernel_init=init, name="fc4")(x))
        # fmt: on
        last = _init(self.init_scheme, "tanh")
        return nn.Dense(self.num_classes, kernel_init=last, name="fc5")(x)


class Subsampling(nn.Module):
    """The sum of 2 by 2 pixels, times one trained number per map, plus a bias."""

    kernel_init: Initializer

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q C"]:
        kernel = self.param("kernel", self._init_kernel, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],))
        return 4 * avg_pool(x, 2, 2) * kernel.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)

    def _init_kernel(self, key: Array, shape: tuple[int]) -> Array:
        """[C] factors, each drawn as for a unit with four inputs and one output."""
        keys = jax.random.split(key, shape[0])
        return jax.vmap(lambda key: self.kernel_init(key, (4, 1))[0, 0])(keys)


class PartialConv(nn.Module):
    """A 5 by 5 convolution in which map o reads the maps `inputs[o]` alone."""

    inputs: tuple[tuple[int, ...], ...]
    kernel_init: Initializer
    kernel_size: int = 5

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B P Q O"]:
        kernel = self.param("kernel", self._init_kernels)
        bias = self.param("bias", nn.initializers.zeros_init(), (len(self.inputs),))
        outputs = [o for o, inputs in enumerate(self.inputs) for _ in inputs]
        whole = jnp.zeros((*kernel.shape[:2], x.shape[-1], len(self.inputs)))
        whole = whole.at[:, :, np.concatenate(self.inputs), outputs].set(kernel)
        return conv(x, whole) + bias.reshape(1, 1, 1, -1)

    def _init_kernels(self, key: Array) -> Array:
        """[5, 5, connections], drawn for each output map as for a layer of its inputs alone."""
        size = self.kernel_size
        keys = jax.random.split(key, len(self.inputs))
        kernels = [
            self.kernel_init(k, (size, size, len(inputs), 1))[..., 0]
            for k, inputs in zip(keys, self.inputs, strict=True)
        ]
        return jnp.concatenate(kernels, axis=-1)


def _init(init_scheme: str, follows: str) -> Initializer:
    return _within_inputs if init_scheme == "paper" else kernel_init(init_scheme, follows, 0.0)


def _within_inputs(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Uniform within 2.4 / (inputs of the unit)."""
    limit = 2.4 / np.prod(shape[:-1])
    return jax.random.uniform(key, shape, dtype, -limit, limit)
