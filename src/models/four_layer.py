"""The four-layer networks of cuda-convnet, candidates for the net behind the paper's Fig. 1.

The paper says only "a four-layer convolutional neural network" (section 3.1). Its author's code of
that time had three for CIFAR-10; shapes, initial standard deviations and the order of pooling and
activation follow its layer files: `conv3` is "19pct", `conv3_fc64` is "80sec", `conv2_local2` is
"13pct".
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float, Key

from src.models.activations import get_activation
from src.models.init import kernel_init
from src.models.layers import Conv, ConvMaxPool, LocallyConnected, avg_pool, max_pool


class Conv3(nn.Module):
    """Three convolutions and one or, with `hidden=64`, two fully connected layers.

    89,578 or 145,578 parameters for three channels and ten classes.
    """

    activation: str
    scheme: Literal["paper", "modern"]
    num_classes: int
    hidden: int = 0

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"]:
        del keys  # trained and tested alike
        act = get_activation(self.activation)
        std = 0.1 if self.hidden else 0.01  # of the fully connected layers

        def conv(features: int, init_std: float, name: str) -> Conv:
            init = kernel_init(self.scheme, self.activation, init_std)
            return Conv(features, 5, padding=2, kernel_init=init, name=name)

        # fmt: off
        init = kernel_init(self.scheme, self.activation, 1e-4)
        x = ConvMaxPool(32, 5, kernel_init=init, name="conv1")(images)
        x = act(x)                                      # [B, 32, 32, C] -> [B, 16, 16, 32]
        x = act(conv(32, 0.01, "conv2")(x))
        x = avg_pool(x, 3, 2, ceil_mode=True)           # [B, 8, 8, 32]
        x = act(conv(64, 0.01, "conv3")(x))
        x = avg_pool(x, 3, 2, ceil_mode=True)           # [B, 4, 4, 64]
        x = x.reshape(x.shape[0], -1)                   # [B, 1024]
        # fmt: on
        if self.hidden:
            init = kernel_init(self.scheme, self.activation, std)
            x = act(nn.Dense(self.hidden, kernel_init=init, name="fc64")(x))
        return nn.Dense(self.num_classes, kernel_init=self._last_init(std), name="fc10")(x)

    def _last_init(self, std: float) -> nn.initializers.Initializer:
        """No activation follows the logits: Glorot, where the scheme is modern."""
        return kernel_init(self.scheme, "tanh", std)


class Conv2Local2(nn.Module):
    """Two convolutions, two locally connected layers and one fully connected."""

    activation: str
    scheme: Literal["paper", "modern"]
    num_classes: int

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"]:
        del keys
        act = get_activation(self.activation)

        def init(std: float, follows: str = self.activation) -> nn.initializers.Initializer:
            return kernel_init(self.scheme, follows, std)

        # fmt: off
        x = act(Conv(64, 5, padding=2, kernel_init=init(1e-4), name="conv1")(images))
        x = max_pool(x, 3, 2, ceil_mode=True)  # [B, 32, 32, 64] -> [B, 16, 16, 64]
        x = act(Conv(64, 5, padding=2, kernel_init=init(0.01), name="conv2")(x))
        x = max_pool(x, 3, 2, ceil_mode=True)  # [B, 8, 8, 64]
        x = act(LocallyConnected(32, 3, padding=1, kernel_init=init(0.04), name="local3")(x))
        x = act(LocallyConnected(32, 3, padding=1, kernel_init=init(0.04), name="local4")(x))
        x = x.reshape(x.shape[0], -1)          # [B, 2048]
        # fmt: on
        return nn.Dense(self.num_classes, kernel_init=init(0.01, "tanh"), name="fc10")(x)
