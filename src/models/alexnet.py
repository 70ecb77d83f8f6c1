"""AlexNet (Krizhevsky, Sutskever & Hinton 2012, section 3.5 and Fig. 2), also for small images."""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float, Key

from src.models.activations import get_activation
from src.models.init import kernel_init
from src.models.layers import Conv
from src.models.layers.dropout import Dropout
from src.models.layers.lrn import LocalResponseNorm
from src.models.layers.pooling import MaxPool
from src.models.options import LRN_NAMES, check_choice, check_dropout, scaled

# Features of conv1 to conv5, by the number of towers. One: Krizhevsky (2014), "One weird trick for
# parallelizing convolutional neural networks", with its layer file layers-imagenet-1gpu.cfg.
FEATURES = {2: (96, 256, 384, 384, 256), 1: (64, 192, 384, 256, 256)}
REMOVABLE = ("conv2", "conv3", "conv4", "conv5", "fc6", "fc7")


class AlexNet(nn.Module):
    """Five convolutions and three fully connected layers.

    With 1000 classes two towers have 60,965,224 parameters, one has 61,100,840. The towers are
    the paper's two GPUs: conv2, conv4 and conv5 see the channels of their own tower only.

    Images are 227 by 227. The paper says 224, but there a kernel of 11 at a stride of 4 has
    (224 - 11) / 4 + 1 = 54.25 places; at 227 it has 55, the number that the paper gives.

    `small` is a net for 32 by 32 images, which would not last until pool5:

    | layer    | the paper's        | small                         |
    |----------|--------------------|-------------------------------|
    | conv1    | 11x11, stride 4    | 5x5, stride 1, padding 2: 32  |
    | pools    | 55, 27, 13, 6      | 32, 16, 8, 4: in ceil mode    |
    | fc6, fc7 | 4096, from 9216    | 1024, from 4096               |

    Attributes:
        activation: Behind every layer but the last.
        scheme: `paper`: weights N(0, 0.01), biases 1 in conv2, conv4, conv5, fc6 and fc7 (section
            5), dropout as there. `modern`: He or Glorot weights, biases 0, inverted dropout.
        num_classes: Width of fc8.
        small: Whether for 32 by 32 images.
        towers: 2 or 1.
        lrn: Convention of the response normalization behind conv1 and conv2, or `none`.
        pooling: `overlapping` (3x3, section 3.4) or `2x2`, both at a stride of 2.
        dropout: Rate behind fc6 and fc7.
        without: Hidden layers left out, such as `conv3+conv4`; section 7 removes "any of the
            middle layers".
        width: Factor on the features of every hidden layer.
    """

    activation: str
    scheme: Literal["paper", "modern"]
    num_classes: int
    small: bool = False
    towers: int = 2
    lrn: str = "paper"
    pooling: str = "overlapping"
    dropout: float = 0.5
    without: str = ""
    width: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("towers", self.towers, (1, 2))
        check_choice("lrn", self.lrn, LRN_NAMES)
        check_choice("pooling", self.pooling, ("overlapping", "2x2"))
        check_dropout(self.dropout)
        for name in self.without.split("+") if self.without else ():
            check_choice("without", name, REMOVABLE)

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"]:
        features = [scaled(f, self.width, self.towers) for f in FEATURES[self.towers]]
        # DEVIATION: 11x11 at a stride of 4 would leave 6 of 32 pixels; the hidden layers shrink as
        # their input does.
        size, stride, padding = (5, 1, 2) if self.small else (11, 4, 0)
        hidden = scaled(1024 if self.small else 4096, self.width)
        towers = self.towers
        # fmt: off
        x = self._conv(images, "conv1", features[0], size, stride=stride, padding=padding)
        x = self._pool(self._norm(x, "norm1"), "pool1")      # [B, 55, 55, 96] -> [B, 27, 27, 96]
        x = self._conv(x, "conv2", features[1], 5, padding=2, groups=towers, bias=1)
        x = self._pool(self._norm(x, "norm2"), "pool2")      # [B, 27, 27, 256] -> [B, 13, 13, 256]
        x = self._conv(x, "conv3", features[2], 3, padding=1)                   # [B, 13, 13, 384]
        x = self._conv(x, "conv4", features[3], 3, padding=1, groups=towers, bias=1)
        x = self._conv(x, "conv5", features[4], 3, padding=1, groups=towers, bias=1)
        x = self._pool(x, "pool5").reshape(x.shape[0], -1)   # [B, 13, 13, 256] -> [B, 9216]
        x = self._full(x, "fc6", hidden, keys)               # [B, 4096]
        x = self._full(x, "fc7", hidden, keys)               # [B, 4096]
        # fmt: on
        return nn.Dense(self.num_classes, kernel_init=self._kernel("tanh"), name="fc8")(x)

    def _conv(
        self,
        x: Array,
        name: str,
        features: int,
        size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: int = 0,
    ) -> Array:
        if name in self.without.split("+"):
            return x
        layer = Conv(
            features,
            size,
            stride,
            padding,
            groups,
            self._kernel(self.activation),
            self._bias(bias),
            name=name,
        )
        return get_activation(self.activation)(layer(x))

    def _full(self, x: Array, name: str, features: int, keys: Array | None) -> Array:
        if name in self.without.split("+"):
            return x
        kernel_init, bias_init = self._kernel(self.activation), self._bias(1)
        x = nn.Dense(features, kernel_init=kernel_init, bias_init=bias_init, name=name)(x)
        drop = Dropout(self.dropout, inverted=self.scheme == "modern", name=f"drop{name[-1]}")
        return drop(get_activation(self.activation)(x), keys)

    def _norm(self, x: Array, name: str) -> Array:
        return x if self.lrn == "none" else LocalResponseNorm(self.lrn, name=name)(x)

    def _pool(self, x: Array, name: str) -> Array:
        overlapping = self.pooling == "overlapping"
        return MaxPool(3 if overlapping else 2, 2, ceil_mode=overlapping, name=name)(x)

    def _kernel(self, follows: str) -> nn.initializers.Initializer:
        return kernel_init(self.scheme, follows, 0.01)

    def _bias(self, value: int) -> nn.initializers.Initializer:
        return nn.initializers.constant(value if self.scheme == "paper" else 0)
