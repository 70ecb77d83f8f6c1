"""Settings of pre-training."""

from dataclasses import dataclass
from typing import Annotated, Literal

from src.fields import AtLeast, ConfigError, Rule, Within, require

Method = Literal["none", "conv_autoencoder", "conv_rbm"]
Control = Literal["", "shuffled", "scale"]
# Gaussian visible units want smaller steps: their statistics are sums over all hidden units.
LEARNING_RATES = {
    "conv_autoencoder": (0.003, 0.01, 0.03),
    "conv_rbm": (0.0001, 0.0003, 0.001, 0.003),
}
RBM_ACTIVATIONS = ("sigmoid", "tanh", "relu")  # The means of the existing units.
COUNT = AtLeast(1, "a whole number of at least 1", most=10**6)
SHARE = Rule(lambda x: 0 <= x < 1, "a fraction in [0, 1)")


@dataclass(frozen=True)
class Pretraining:
    """Unsupervised pre-training of a network's convolutions, one after another."""

    method: Annotated[Method, "what its layers are trained as"] = "none"
    control: Annotated[
        Control,
        "what replaces the weights: the same shuffled, or normal ones of the same norm",
    ] = ""
    layers: Annotated[tuple[str, ...], "convolutions, in this order; empty: all of them"] = ()
    images: Annotated[
        int, AtLeast(0), "the first so many training images are used, without labels; 0: all"
    ] = 0
    held_out: Annotated[int, COUNT, "the last so many of these measure reconstruction"] = 1000
    steps: Annotated[int, COUNT, "updates of each layer"] = 2000
    batch_size: Annotated[int, COUNT, "images per update, summed over all devices"] = 128
    learning_rates: Annotated[
        tuple[float, ...],
        Rule(lambda rate: 1e-12 <= rate <= 1e6, "positive numbers, 1e-12 to 1e6"),
        "each layer has the one that reconstructs held-out images best; empty: the method's grid",
    ] = ()
    rate_seed: Annotated[
        int, Within(0, 2**31 - 1), "the seed whose stack chooses the rates for all seeds"
    ] = 0
    momentum: Annotated[float, SHARE, "share of the velocity kept"] = 0.9
    init_deviation: Annotated[
        float, Within(1e-6, 10), "deviation of the normal kernels that a layer begins with"
    ] = 0.01
    noise: Annotated[float, SHARE, "share of an auto-encoder's inputs that is set to zero"] = 0.25
    competition: Annotated[
        Literal["none", "2x2"],
        "2x2: at most one unit of each block is on (Masci's and Lee's maximum pooling)",
    ] = "none"
    gibbs_steps: Annotated[int, Within(1, 1000), "k of an RBM's CD-k"] = 1
    sparsity: Annotated[
        float, Within(-10, 10), "mean state that an RBM's hidden units are drawn to"
    ] = 0.0
    sparsity_rate: Annotated[float, Within(0, 1000), "strength of that; 0: none"] = 0.0

    def check(self, activation: str) -> None:
        """Refuses settings that do not fit a network with this activation, or each other.

        Raises:
            ConfigError: Naming the field.
        """
        known = ("sigmoid",) if self.competition == "2x2" else RBM_ACTIVATIONS
        if self.method == "conv_rbm" and activation not in known:
            raise ConfigError(
                f"config.model.activation = {activation!r}: no unit of an RBM with"
                f" config.pretraining.competition = {self.competition!r} has it as its mean; there"
                f" are units for {', '.join(known)}, and conv_autoencoder takes any"
            )
        if self.control and self.method == "none":
            raise ConfigError(
                f"config.pretraining.control = {self.control!r} needs pre-trained weights: say by"
                " config.pretraining.method how they are made"
            )

    def check_images(self, number: int) -> None:
        """Refuses to use more images than are trained on, or to hold out nearly all of them.

        Args:
            number: Number of images to train on, with or without labels.

        Raises:
            ConfigError: Naming the field.
        """
        expected = f"0 (all) or at most {number}, the images there are to train on"
        require("pretraining.images", self.images, lambda n: n <= number, expected)
        used = self.images or number
        if used < self.held_out + self.batch_size:
            raise ConfigError(
                f"config.pretraining.held_out = {self.held_out}: of {used} images fewer than one"
                f" batch of {self.batch_size} are left; hold out fewer, or let"
                " config.pretraining.batch_size be smaller"
            )
