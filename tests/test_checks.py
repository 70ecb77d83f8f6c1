"""What no trial could do is refused with the data set at hand, before a study begins."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from src import own
from src.config.checks import check_arms, check_data
from src.fields import ConfigError
from src.models.layers import Conv
from tests import tiny

PRETRAINED = {"pretraining__method": "conv_autoencoder", "pretraining__held_out": 16}
PRETRAINED |= {"pretraining__batch_size": 16}


class Normalized(nn.Module):
    num_classes: int
    activation: str = "relu"

    @nn.compact
    def __call__(self, images, keys=None):
        x = Conv(4, 3, padding=1, name="conv1")(images)
        x = nn.BatchNorm(use_running_average=keys is None)(x)
        return nn.Dense(self.num_classes, name="fc")(x.reshape(len(x), -1))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Conv(4, 3, padding=1, name="conv1")(2 * x)


class Transformed(nn.Module):
    num_classes: int
    activation: str = "relu"

    @nn.compact
    def __call__(self, images, keys=None):
        x = nn.remat(Block)(name="block")(images)
        x = Conv(4, 3, padding=1, name="conv2")(x)
        return nn.Dense(self.num_classes, name="fc")(x.reshape(len(x), -1))


def by_mean(x: jax.Array) -> jax.Array:
    return jax.nn.relu(x - jnp.mean(x, axis=-1, keepdims=True))


def in_fours(x: jax.Array) -> jax.Array:
    return jnp.tanh(x.reshape(*x.shape[:-1], -1, 4)).reshape(x.shape)


class Linear(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images, keys=None):
        return nn.Dense(self.num_classes)(images.reshape(len(images), -1))


MINE = (Normalized, Transformed, Linear, by_mean, in_fours)


@pytest.fixture
def of_mine(monkeypatch):
    """Networks and functions of this file by the names that a config would give them."""
    found = {f"configs.mine.{each.__name__}": each for each in MINE}
    monkeypatch.setattr(own, "find", found.__getitem__)
    return SimpleNamespace(**{name.rpartition(".")[2]: name for name in found})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": 65}, r"labels = 65 should be 0 \(all\) or at most 64"),
        ({"augment__translation": 8}, "augment.translation = 8 should be less than 8, the side of"),
        ({"augment__translation": 6, "augment__crop": 6}, "augment.translation = 6 .* less than 6"),
        ({"labels": 31, "train_images": 30}, r"labels = 31 should be .* at most 30"),
        ({"sweep": {"labels": (60, 61)}, "validation_images": 4,
          "compare": {"field": "labels", "baseline": 60}}, "labels = 61 should be .* at most 60"),
        ({"recipes__modern__layer_rates": {"conv9": 0.1}},
         r"recipes.modern.layer_rates.conv9: the network has no such layer"),
        ({"schedule__frozen": {"conv9": 1.0}}, "schedule.frozen.conv9: the network has no such"),
        ({"schedule__slowed": {"conv9": 1.0}}, "schedule.slowed.conv9: the network has no such"),
        ({**PRETRAINED, "pretraining__layers": ("conv9",)},
         r"pretraining.layers = \('conv9',\): this network has no convolution 'conv9'"),
    ],
)  # fmt: skip
def test_what_an_arm_names_must_be_there(changes, message):
    with pytest.raises(ConfigError, match=f"^config.{message}"):
        check_data(tiny.make_config(**changes).arms, (8, 8, 3), 64)


def test_as_many_labels_as_images_and_layers_that_are_there_are_not_refused():
    named = {"conv1": 0.5, "fc10/kernel": 2.0}
    config = tiny.make_config(
        **PRETRAINED, labels=64, pretraining__layers=("conv2",),
        recipes__modern__layer_rates=named, schedule__frozen=named, schedule__slowed=named,
    )  # fmt: skip
    check_data(config.arms, (8, 8, 3), 64)


@pytest.mark.slow
def test_a_later_arm_is_checked_too():
    sweep = {"model": {"name": ("conv3", "lenet5_modern")}}
    config = tiny.make_config(
        sweep=sweep,
        compare={"field": "model", "baseline": "conv3"},
        recipes__modern__layer_rates={"conv3": 0.5},
    )
    with pytest.raises(ConfigError, match=r"layer_rates.conv3: .* it has conv1, conv2, fc3"):
        check_data(config.arms, (32, 32, 3), 64)


def test_two_arms_of_one_name_are_refused():
    """Texts that are swept may join to the same name, and one folder would be both's."""
    config = tiny.make_config()
    (arm,) = config.arms
    with pytest.raises(ConfigError, match=r"makes two arms of one name, 'conv3-modern-relu'; let"):
        check_arms(config.tree, config.study, [arm, arm])


def test_streamed_images_are_not_pretrained_on():
    arms = tiny.make_config(**PRETRAINED).arms
    check_data(arms, (8, 8, 3), 64)
    with pytest.raises(ConfigError, match=r"^config.pretraining.method = 'conv_autoencoder' needs"):
        check_data(arms, (8, 8, 3), 64, streamed=True)
    check_data(tiny.make_config().arms, (8, 8, 3), 64, streamed=True)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fast")
def test_a_network_that_keeps_more_than_parameters_is_not_pretrained(of_mine):
    check_data(tiny.make_config(model__name=of_mine.Normalized).arms, (8, 8, 3), 64)
    config = tiny.make_config(model__name=of_mine.Normalized, **PRETRAINED)
    with pytest.raises(ConfigError, match=r"Normalized' keeps batch_stats beside its parameters"):
        check_data(config.arms, (8, 8, 3), 64)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fast")
def test_a_layer_inside_a_transformation_is_not_pretrained(of_mine):
    """Its input cannot be taken out; that of a layer behind it can."""
    changes = {"model__name": of_mine.Transformed, **PRETRAINED, "layer_images": 8}
    check_data(tiny.make_config(**changes, pretraining__layers=("conv2",)).arms, (8, 8, 3), 64)
    with pytest.raises(
        ConfigError, match=r"^config.pretraining.layers: block/conv1 .* nn.remat; take"
    ):
        check_data(tiny.make_config(**changes).arms, (8, 8, 3), 64)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fast")
def test_a_network_without_a_hidden_layer_is_not_measured(of_mine):
    check_data(tiny.make_config(model__name=of_mine.Linear).arms, (8, 8, 3), 64)
    config = tiny.make_config(model__name=of_mine.Linear, layer_images=8)
    with pytest.raises(ConfigError, match=r"layer_images = 8: but for the last layer, none of"):
        check_data(config.arms, (8, 8, 3), 64)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["modern", "cuda_convnet"])
def test_an_activation_may_mix_channels(of_mine, recipe):
    config = tiny.make_config(recipe=recipe, model__activation=of_mine.by_mean, layer_images=8)
    check_data(config.arms, (8, 8, 3), 64)


@pytest.mark.slow
def test_an_activation_that_a_network_has_not_the_channels_for_is_refused_by_name(of_mine):
    """conv1 of LeNet-5 has six maps; on smaller images any activation fails."""
    arms = tiny.make_config(model__name="lenet5", model__activation=of_mine.in_fours).arms
    with pytest.raises(ConfigError, match=r"^config.model.activation = .*in_fours' fails in lenet"):
        check_data(arms, (32, 32, 3), 64)
    with pytest.raises(ConfigError, match=r"those of 8 x 8 are too small"):
        check_data(arms, (8, 8, 3), 64)
