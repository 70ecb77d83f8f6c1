"""VGG (Simonyan & Zisserman 2015, table 1): configuration A with 11 layers and D with 16."""

from typing import Annotated, Literal

import flax.linen as nn
from jaxtyping import Array, Float, Key

from src.models.activations import get_activation
from src.models.init import kernel_init
from src.models.layers import Conv
from src.models.layers.dropout import Dropout
from src.models.layers.pooling import MaxPool
from src.models.options import DROPOUT, WIDTH, check_options, scaled

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}  # Layers -> convolutions by stage.
FEATURES = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Five stages of 3 by 3 convolutions, each with a pool, and three fully connected layers.

    With 1000 classes 11 layers have 132,863,336 parameters, 16 have 138,357,544. `small` is a net
    for 32 by 32 images, which the pools shrink to one place with 512 features.

    Attributes:
        activation: Name of the function behind every layer but the last.
        init_scheme: `paper`: weights normal with variance 0.01, biases 0 (section 3.1; the paper
            begins its deeper nets with layers of the trained 11). `modern`: He or Glorot.
        num_classes: Width of fc8.
        layers: Number of layers with weights, 11 or 16.
        small: Whether the net is for 32 by 32 images.
    """

    activation: str
    init_scheme: Literal["paper", "modern"]
    num_classes: int
    layers: int = 11
    small: bool = False
    dropout: Annotated[float, DROPOUT, "rate behind fc6 and fc7"] = 0.5
    width: Annotated[float, WIDTH, "factor on the features of every hidden layer"] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self)

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W C"], *, keys: Key[Array, " B"] | None = None
    ) -> Float[Array, "B classes"]:
        act = get_activation(self.activation)
        init = kernel_init(self.init_scheme, self.activation, 0.1)
        x = images  # [B, 224, 224, 3]
        for stage, count in enumerate(CONVOLUTIONS[self.layers], start=1):
            features = scaled(FEATURES[stage - 1], self.width)
            for number in range(1, count + 1):
                name = f"conv{stage}_{number}"
                x = act(Conv(features, 3, padding=1, kernel_init=init, name=name)(x))
            x = MaxPool(2, 2, name=f"pool{stage}")(x)  # [B, 112, 112, 64] ... [B, 7, 7, 512]
        x = x.reshape(x.shape[0], -1)  # [B, 25088]
        # DEVIATION: small images leave 512 features, not 25,088; with 4096 hidden units two thirds
        # of the parameters would be here.
        hidden = scaled(512 if self.small else 4096, self.width)
        for number in (6, 7):
            x = act(nn.Dense(hidden, kernel_init=init, name=f"fc{number}")(x))
            x = Dropout(self.dropout, name=f"drop{number}")(x, keys)
        last = kernel_init(self.init_scheme, "tanh", 0.1)
        return nn.Dense(self.num_classes, kernel_init=last, name="fc8")(x)
