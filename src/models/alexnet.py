"""AlexNet (Krizhevsky, Sutskever & Hinton 2012, section 3.5 and Fig. 2), also for small images.

`AlexNet` is the net of the paper's text; `AlexNet2012` is that net as its program ran it, which
differs (experiments/networks/README.md has both side by side). Numbers such as 145 are names of
layer files in the author's program of 2012 (computerhistory/AlexNet-Source-Code, layers/).
"""

from typing import Annotated, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from src.fields import OneOf, Within
from src.models.activations import get_activation
from src.models.init import kernel_init
from src.models.layers import Conv
from src.models.layers.dropout import Dropout
from src.models.layers.lrn import LocalResponseNorm
from src.models.layers.pooling import MaxPool
from src.models.options import DROPOUT, LRN, WIDTH, check_choice, check_options, decided, scaled

# Number of towers -> features of conv1 to conv5. With one they are those of Krizhevsky (2014), "One
# weird trick for parallelizing convolutional neural networks", layers-imagenet-1gpu.cfg.
FEATURES = {2: (96, 256, 384, 384, 256), 1: (64, 192, 384, 256, 256)}
ONE_GPU = (48, 128, 192, 192, 256)  # Section 3.2; layers-145-half.cfg.
NO_CROSSING = (96, 320, 384, 384, 256)  # layers-150.cfg
# These options have one default in the paper's text and another in its program.
Lrn = Annotated[str, LRN, "response normalization behind conv1 and conv2"]
LrnPerTower = Annotated[bool, "keep the other tower's channels out of its sum"]
WithinMap = Annotated[
    bool, "normalize behind conv2 once more, over 5 x 5 places; gone where lrn is none (148)"
]
Order = Annotated[
    str,
    OneOf("norm_pool", "pool_norm", "as_run"),
    "normalization before pooling (section 3.5); after it (CaffeNet); in conv1 normalization,"
    " pooling, activation (145)",
]
Border = Annotated[
    str,
    OneOf("none", "overhang", "padded"),
    "where conv1's kernels do not fit: leave pixels out; let the last hang over the right and"
    " lower border; put two zeros around the image",
]
DeepStd = Annotated[
    float, Within(0, 10), "deviation of conv3's to conv5's first weights; 0.03 in 145"
]
REMOVABLE = ("conv2", "conv3", "conv4", "conv5", "fc6", "fc7")


class AlexNet(nn.Module):
    """Five convolutions and three fully connected layers.

    With 1000 classes two towers have 60,965,224 parameters, one has 61,100,840. The towers are
    the paper's two GPUs: conv2, conv4 and conv5 see the channels of their own tower only.

    Images are 227 by 227. The paper says 224, but there a kernel of 11 at a stride of 4 has
    (224 - 11) / 4 + 1 = 54.25 places; at 227 it has 55, the number that the paper gives. Its
    program rounded up: `border=overhang`.

    `small` is a net for 32 by 32 images, which would shrink to nothing before pool5:

    | layer    | the paper's        | small                         |
    |----------|--------------------|-------------------------------|
    | conv1    | 11x11, stride 4    | 5x5, stride 1, padding 2: 32  |
    | pools    | 55, 27, 13, 6      | 32, 16, 8, 4: in ceil mode    |
    | fc6, fc7 | 4096, from 9216    | 1024, from 4096               |

    Attributes:
        activation: Name of the function behind every layer but the last.
        init_scheme: `paper`: weights N(0, 0.01), biases 1 in conv2, conv4, conv5, fc6 and fc7
            (section 5), dropout as there. `modern`: He or Glorot weights, biases 0, inverted
            dropout.
        num_classes: Width of fc8.
        small: Whether the net is for 32 by 32 images.
    """

    activation: str
    init_scheme: Literal["paper", "modern"]
    num_classes: int
    small: bool = False
    towers: Annotated[int, OneOf(1, 2), "the paper's GPUs; 1: the net of 'One weird trick'"] = 2
    one_gpu: Annotated[
        bool, "with towers = 1 the paper's net on one GPU (145-half): one tower, conv5 whole"
    ] = False
    crossing: Annotated[
        bool,
        "whether conv3, fc6 and fc7 see both towers; without, conv2 has 160 features a tower and"
        " fc6 4096 (150)",
    ] = True
    lrn: Lrn = "paper"
    lrn_per_tower: LrnPerTower = False
    within_map: WithinMap = False
    order: Order = "norm_pool"
    border: Border = "none"
    pooling: Annotated[
        str,
        OneOf("overlapping", "2x2", "2x2_as_run"),
        "3x3 (section 3.4) or 2x2 at a stride of 2; as run: the last window hanging over, conv2"
        " padded by 1, conv5 by 0 (147)",
    ] = "overlapping"
    deep_std: DeepStd = 0.01
    ones: Annotated[
        str,
        OneOf("by_init", "yes", "no"),
        "whether some biases begin at 1 (section 5): with the init paper, always, never",
    ] = "by_init"
    dropout: Annotated[float, DROPOUT, "rate behind fc6 and fc7"] = 0.5
    dropout_scale: Annotated[
        str,
        OneOf("by_init", "testing", "training"),
        "scale activities in testing (section 4.2), in training (Caffe, PyTorch), or by the"
        " recipe's init: paper, modern",
    ] = "by_init"
    without: Annotated[str, "hidden layers left out, as conv3+conv4 (section 7)"] = ""
    width: Annotated[float, WIDTH, "factor on the features of every hidden layer"] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self)
        for name in self.without.split("+") if self.without else ():
            check_choice("without", name, REMOVABLE)
        if self.one_gpu and self.towers != 1:
            raise ValueError("one_gpu = True is a net of one tower: towers = 1")
        if not self.crossing and self.towers != 2:
            raise ValueError("crossing = False keeps two towers apart: towers = 2")

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"]:
        features = [scaled(f, self.width, self.towers) for f in self._features()]
        # DEVIATION: 11x11 at a stride of 4 would leave 6 of 32 pixels; the hidden layers shrink as
        # their input does.
        size, stride, padding = (5, 1, 2) if self.small else (11, 4, 0)
        hidden = scaled(1024 if self.small else 4096, self.width, self.towers)
        towers, joined = self.towers, 1 if self.crossing else 2
        pad2, pad5 = (1, 0) if self.pooling == "2x2_as_run" else (2, 1)
        # fmt: off
        x = self._bordered(images, size, stride)
        x = self._conv(x, "conv1", features[0], size, stride=stride, padding=padding)
        x = self._norm_and_pool(x, "1")                      # [B, 55, 55, 96] -> [B, 27, 27, 96]
        x = self._conv(x, "conv2", features[1], 5, padding=pad2, groups=towers, bias=1)
        x = self._norm_and_pool(x, "2")                      # [B, 27, 27, 256] -> [B, 13, 13, 256]
        x = self._conv(x, "conv3", features[2], 3, padding=1, groups=joined)    # [B, 13, 13, 384]
        x = self._conv(x, "conv4", features[3], 3, padding=1, groups=towers, bias=1)
        x = self._conv(x, "conv5", features[4], 3, padding=pad5, groups=towers, bias=1)
        x = self._pool(x, "pool5")                           # [B, 13, 13, 256] -> [B, 6, 6, 256]
        x = self._full(x, "fc6", hidden * joined, keys)      # [B, 4096]
        x = self._full(x, "fc7", hidden, keys)               # [B, 4096]
        # fmt: on
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(self.num_classes, kernel_init=self._kernel("tanh"), name="fc8")(x)

    def _features(self) -> tuple[int, ...]:
        if self.one_gpu:
            return ONE_GPU
        return FEATURES[self.towers] if self.crossing else NO_CROSSING

    def _bordered(self, images: Array, size: int, stride: int) -> Array:
        if self.border == "padded":
            return jnp.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
        if self.border == "overhang":
            hanging = [(0, -(pixels - size) % stride) for pixels in images.shape[1:3]]
            return jnp.pad(images, ((0, 0), *hanging, (0, 0)))
        return images

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
        std = self.deep_std if name in ("conv3", "conv4", "conv5") else 0.01
        layer = Conv(
            features,
            size,
            stride,
            padding,
            groups,
            self._kernel(self.activation, std),
            self._bias(bias),
            name=name,
        )
        return layer(x) if self._acts_late(name) else self._act(layer(x))

    def _full(self, x: Array, name: str, features: int, keys: Array | None) -> Array:
        if name in self.without.split("+"):
            return x
        kernel, bias = self._kernel(self.activation), self._bias(1)
        if self.crossing:
            layer: nn.Module = nn.Dense(features, kernel_init=kernel, bias_init=bias, name=name)
            x = layer(x.reshape(x.shape[0], -1))
        else:  # With a kernel as large as the map, groups are fully connected layers side by side.
            x = x if x.ndim == 4 else x[:, None, None]
            size = (x.shape[1], x.shape[2])
            layer = Conv(features, size, 1, 0, self.towers, kernel, bias, name=name)
            x = layer(x)
        inverted = decided("dropout_scale", self.dropout_scale, self.init_scheme) == "training"
        return Dropout(self.dropout, inverted=inverted, name=f"drop{name[-1]}")(self._act(x), keys)

    def _norm_and_pool(self, x: Array, number: str) -> Array:
        """What follows conv1 and conv2; it includes the activation if that comes last."""
        pool = f"pool{number}"
        if self.order == "pool_norm":
            return self._norm(self._pool(x, pool), number)
        x = self._pool(self._norm(x, number), pool)
        return self._act(x) if self._acts_late(f"conv{number}") else x

    def _norm(self, x: Array, number: str) -> Array:
        if self.lrn == "none":
            return x
        towers = self.towers if self.lrn_per_tower else 1
        x = LocalResponseNorm(self.lrn, towers=towers, name=f"norm{number}")(x)
        if self.within_map and number == "2":
            x = LocalResponseNorm("within", alpha=1e-3, name="within2")(x)
        return x

    def _pool(self, x: Array, name: str) -> Array:
        window = 3 if self.pooling == "overlapping" else 2
        return MaxPool(window, 2, ceil_mode=self.pooling != "2x2", name=name)(x)

    def _acts_late(self, name: str) -> bool:
        """Whether the activation of this layer comes after its pooling."""
        return self.order == "as_run" and name == "conv1"

    def _act(self, x: Array) -> Array:
        return get_activation(self.activation)(x)

    def _kernel(self, follows: str, std: float = 0.01) -> nn.initializers.Initializer:
        return kernel_init(self.init_scheme, follows, std)

    def _bias(self, value: int) -> nn.initializers.Initializer:
        begin = decided("ones", self.ones, self.init_scheme)
        return nn.initializers.constant(value if begin == "yes" else 0)


class AlexNet2012(AlexNet):
    """The net of the paper's Table 2 as it was run: layers-145.cfg with layer-params-145.cfg.

    Images are 224 by 224 pixels; conv1 has 55 by 55 places, the net 60,965,224 parameters.
    """

    lrn: Lrn = "paper_net"
    lrn_per_tower: LrnPerTower = True
    within_map: WithinMap = True
    order: Order = "as_run"
    border: Border = "overhang"
    deep_std: DeepStd = 0.03
