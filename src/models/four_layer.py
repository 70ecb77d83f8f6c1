"""The four-layer networks of cuda-convnet, candidates for the net behind the paper's Fig. 1.

The paper says only "a four-layer convolutional neural network" (section 3.1). Its author's code of
that time had three for CIFAR-10; shapes, initial standard deviations and the order of pooling and
activation follow its layer files: `conv3` is "19pct", `conv3_fc64` is "80sec", `conv2_local2` is
"13pct". With `lrn=within` conv3 is "18pct", which Caffe calls cifar10_full; `quick` is Caffe's
cifar10_quick.
"""

from typing import Annotated, Literal

import flax.linen as nn
from jaxtyping import Array, Float, Key

from src.models.activations import get_activation
from src.models.init import kernel_init
from src.models.layers import Conv, LocallyConnected
from src.models.layers.lrn import LocalResponseNorm
from src.models.layers.pooling import AvgPool, MaxPool
from src.models.options import LRN, check_options


class Conv3(nn.Module):
    """Three convolutions and one or, with `hidden=64`, two fully connected layers.

    For three channels and ten classes it has 89,578 or 145,578 parameters.

    `lrn` normalizes behind pool1 and pool2 over 3 neighbours, as the layer file "18pct" does, where
    it is `within`. `linear` leaves out the activation between the fully connected layers.
    """

    activation: str
    init_scheme: Literal["paper", "modern"]
    num_classes: int
    hidden: int = 0
    linear: bool = False
    lrn: Annotated[str, LRN, "response normalization behind pool1 and pool2"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self)

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"]:
        del keys  # Nothing in it is random.
        act = get_activation(self.activation)
        std = 0.1 if self.hidden else 0.01  # Of the fully connected layers' first weights.

        def conv(features: int, init_std: float, name: str) -> Conv:
            init = kernel_init(self.init_scheme, self.activation, init_std)
            return Conv(features, 5, padding=2, kernel_init=init, name=name)

        # fmt: off
        x = conv(32, 1e-4, "conv1")(images)                     # [B, 32, 32, C] -> [B, 32, 32, 32]
        x = act(MaxPool(3, 2, ceil_mode=True, name="pool1")(x)) # [B, 16, 16, 32]
        x = _norm(x, self.lrn, "norm1", n=3, alpha=5e-5)
        x = act(conv(32, 0.01, "conv2")(x))
        x = AvgPool(3, 2, ceil_mode=True, name="pool2")(x)      # [B, 8, 8, 32]
        x = _norm(x, self.lrn, "norm2", n=3, alpha=5e-5)
        x = act(conv(64, 0.01, "conv3")(x))
        x = AvgPool(3, 2, ceil_mode=True, name="pool3")(x)      # [B, 4, 4, 64]
        x = x.reshape(x.shape[0], -1)                           # [B, 1024]
        # fmt: on
        if self.hidden:
            init = kernel_init(self.init_scheme, "tanh" if self.linear else self.activation, std)
            x = nn.Dense(self.hidden, kernel_init=init, name="fc64")(x)
            x = x if self.linear else act(x)
        return nn.Dense(self.num_classes, kernel_init=self._last_init(std), name="fc10")(x)

    def _last_init(self, std: float) -> nn.initializers.Initializer:
        """Of the last layer, which no activation follows; the scheme `modern` uses Glorot there."""
        return kernel_init(self.init_scheme, "tanh", std)


class Conv2Local2(nn.Module):
    """Two convolutions, two locally connected layers and one fully connected.

    `lrn` normalizes behind pool1 and conv2 over 9 neighbours, as the layer file "11pct" does, where
    it is `caffe`; that net has 64 filters in local3, and this one has 32.
    """

    activation: str
    init_scheme: Literal["paper", "modern"]
    num_classes: int
    lrn: Annotated[str, LRN, "response normalization behind pool1 and conv2"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self)

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"]:
        del keys
        act = get_activation(self.activation)

        def init(std: float, follows: str = self.activation) -> nn.initializers.Initializer:
            return kernel_init(self.init_scheme, follows, std)

        # fmt: off
        x = act(Conv(64, 5, padding=2, kernel_init=init(1e-4), name="conv1")(images))
        x = MaxPool(3, 2, ceil_mode=True, name="pool1")(x)  # [B, 32, 32, 64] -> [B, 16, 16, 64]
        x = _norm(x, self.lrn, "norm1", n=9, alpha=1e-3)
        x = act(Conv(64, 5, padding=2, kernel_init=init(0.01), name="conv2")(x))
        x = _norm(x, self.lrn, "norm2", n=9, alpha=1e-3)
        x = MaxPool(3, 2, ceil_mode=True, name="pool2")(x)  # [B, 8, 8, 64]
        x = act(LocallyConnected(32, 3, padding=1, kernel_init=init(0.04), name="local3")(x))
        x = act(LocallyConnected(32, 3, padding=1, kernel_init=init(0.04), name="local4")(x))
        x = x.reshape(x.shape[0], -1)                       # [B, 2048]
        # fmt: on
        return nn.Dense(self.num_classes, kernel_init=init(0.01, "tanh"), name="fc10")(x)


def _norm(x: Array, convention: str, name: str, *, n: int, alpha: float) -> Array:
    """Response normalization as a layer of the calling network; `none` changes nothing."""
    return x if convention == "none" else LocalResponseNorm(convention, n, alpha, name=name)(x)
