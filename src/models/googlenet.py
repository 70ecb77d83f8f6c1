"""GoogLeNet (Szegedy et al. 2015, table 1 and Fig. 3)."""

from typing import Annotated, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from src.models.activations import get_activation
from src.models.init import kernel_init
from src.models.layers import Conv
from src.models.layers.dropout import Dropout
from src.models.layers.lrn import LocalResponseNorm
from src.models.layers.pooling import AvgPool, MaxPool
from src.models.options import DROPOUT, LRN, WIDTH, check_options, scaled

# Features of table 1: 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection.
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
AUXILIARY = {"4a": "auxiliary1", "4d": "auxiliary2"}  # Block -> the classifier behind it.


class GoogLeNet(nn.Module):
    """Two convolutions, nine inception blocks and one fully connected layer.

    With 1000 classes it has 6,998,552 parameters, with the auxiliary classifiers 13,378,280.
    `small` is a net for 32 by 32 images with the same inception blocks:

    | layer        | the paper's                 | small                      |
    |--------------|-----------------------------|----------------------------|
    | conv1        | 7x7, stride 2: 224 -> 112   | 3x3, stride 1: 32          |
    | pool1, pool2 | 112 -> 56 -> 28             | 32 -> 16, no pool2         |
    | pool3, pool4 | 28 -> 14 -> 7               | 16 -> 8 -> 4               |

    Attributes:
        activation: Name of the function behind every layer but the classifiers.
        init_scheme: `paper`: the article does not say; as in Caffe's reference, weights uniform
            with variance 1 / inputs, biases 0.2. `modern`: He or Glorot, biases 0.
        num_classes: Width of the classifiers.
        small: Whether the net is for 32 by 32 images.
    """

    activation: str
    init_scheme: Literal["paper", "modern"]
    num_classes: int
    small: bool = False
    auxiliary: Annotated[
        bool, "train two more classifiers, behind blocks 4a and 4d (section 5)"
    ] = False
    lrn: Annotated[str, LRN, "response normalization around conv2"] = "caffe"
    dropout: Annotated[
        float, DROPOUT, "rate before the classifier; before the auxiliary ones it is 0.7"
    ] = 0.4
    width: Annotated[float, WIDTH, "factor on the features of every layer"] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self)

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"] | tuple[Float[Array, "B classes"], ...]:
        """Logits; in training with `auxiliary`, a tuple with those of the auxiliary classifiers."""
        x = self._stem(images)  # [B, 28, 28, 192]
        others = []
        trains_auxiliary = self.auxiliary and (keys is not None or self.is_initializing())
        for block in INCEPTION:
            if block in ("4a", "5a"):
                x = MaxPool(3, 2, ceil_mode=True, name=f"pool{int(block[0]) - 1}")(x)
            x = self._inception(x, block)  # [B, 28, 28, 256] ... [B, 7, 7, 1024]
            if trains_auxiliary and block in AUXILIARY:
                others.append(self._auxiliary(x, AUXILIARY[block], keys))
        x = AvgPool((x.shape[1], x.shape[2]), 1, name="pool5")(x)  # [B, 1, 1, 1024]
        x = Dropout(self.dropout, name="drop5")(x.reshape(x.shape[0], -1), keys)
        logits = self._classifier(x, "classifier")
        return (logits, *others) if others else logits

    def _stem(self, images: Array) -> Array:
        # DEVIATION: the small net keeps its 32 pixels at conv1 and has no pool2.
        size, stride = (3, 1) if self.small else (7, 2)
        # fmt: off
        x = self._conv(images, "conv1", 64, size, stride)        # [B, 112, 112, 64]
        x = self._norm(self._pool(x, "pool1"), "norm1")          # [B, 56, 56, 64]
        x = self._conv(x, "conv2_reduce", 64, 1)
        x = self._norm(self._conv(x, "conv2", 192, 3), "norm2")  # [B, 56, 56, 192]
        # fmt: on
        return x if self.small else self._pool(x, "pool2")

    def _inception(self, x: Array, block: str) -> Array:
        """Four ways side by side, their features joined."""
        one, reduce3, three, reduce5, five, project = INCEPTION[block]
        name = f"inception_{block}"
        ways = (
            self._conv(x, f"{name}_1x1", one, 1),
            self._conv(self._conv(x, f"{name}_3x3_reduce", reduce3, 1), f"{name}_3x3", three, 3),
            self._conv(self._conv(x, f"{name}_5x5_reduce", reduce5, 1), f"{name}_5x5", five, 5),
            self._conv(
                MaxPool(3, 1, padding=1, name=f"{name}_pool")(x), f"{name}_project", project, 1
            ),
        )
        return jnp.concatenate(ways, axis=-1)

    def _auxiliary(self, x: Array, name: str, keys: Array | None) -> Array:
        x = AvgPool(5, 3, name=f"{name}_pool")(x)  # [B, 4, 4, 512 or 528]
        x = self._conv(x, f"{name}_conv", 128, 1).reshape(x.shape[0], -1)  # [B, 2048]
        init, bias = self._kernel(self.activation), self._bias()
        hidden = nn.Dense(
            scaled(1024, self.width), kernel_init=init, bias_init=bias, name=f"{name}_fc"
        )
        x = get_activation(self.activation)(hidden(x))
        x = Dropout(0.7, name=f"{name}_drop")(x, keys)
        return self._classifier(x, f"{name}_classifier")

    def _conv(self, x: Array, name: str, features: int, size: int, stride: int = 1) -> Array:
        layer = Conv(
            scaled(features, self.width),
            size,
            stride,
            padding=size // 2,
            kernel_init=self._kernel(self.activation),
            bias_init=self._bias(),
            name=name,
        )
        return get_activation(self.activation)(layer(x))

    def _classifier(self, x: Array, name: str) -> Array:
        return nn.Dense(self.num_classes, kernel_init=self._kernel("tanh"), name=name)(x)

    def _pool(self, x: Array, name: str) -> Array:
        return MaxPool(3, 2, ceil_mode=True, name=name)(x)

    def _norm(self, x: Array, name: str) -> Array:
        return x if self.lrn == "none" else LocalResponseNorm(self.lrn, name=name)(x)

    def _kernel(self, follows: str) -> nn.initializers.Initializer:
        if self.init_scheme == "paper":
            return nn.initializers.lecun_uniform()
        return kernel_init(self.init_scheme, follows, 0.0)

    def _bias(self) -> nn.initializers.Initializer:
        return nn.initializers.constant(0.2 if self.init_scheme == "paper" else 0.0)
