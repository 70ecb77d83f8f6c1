"""Tables of networks: what each layer makes, holds, costs and sees, by arithmetic."""

import flax.linen as nn
import jax.numpy as jnp
import pytest

from src import models, own
from src.errors import LabError
from src.models.summary import size_of, summarize
from src.networks import main

pytestmark = pytest.mark.usefixtures("compiled_alike")


def layers_of(name: str, **options):
    size = models.image_size(name)
    model = models.make_model(
        name, activation="relu", init_scheme="paper", num_classes=10, **options
    )
    return {layer.name: layer for layer in summarize(model, size)}


@pytest.mark.slow
def test_alexnet_costs_each_weight_once_per_place():
    layers = layers_of("alexnet")
    found = {name: layer.multiply_adds for name, layer in layers.items() if layer.multiply_adds}
    assert found == {
        "conv1": 55 * 55 * 96 * 11 * 11 * 3,
        "conv2": 27 * 27 * 256 * 5 * 5 * 48,
        "conv3": 13 * 13 * 384 * 3 * 3 * 256,
        "conv4": 13 * 13 * 384 * 3 * 3 * 192,
        "conv5": 13 * 13 * 256 * 3 * 3 * 192,
        "fc6": 9216 * 4096,
        "fc7": 4096 * 4096,
        "fc8": 4096 * 10,
    }
    assert [layers[name].output for name in ("conv1", "pool1", "pool2", "pool5", "fc7")] == [
        (55, 55, 96),
        (27, 27, 96),
        (13, 13, 256),
        (6, 6, 256),
        (4096,),
    ]


class Several(nn.Module):
    """Layers of kinds that are not known, and a parameter of the network itself."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, images, keys=None):
        x = jnp.tanh(nn.Conv(4, (3, 3), kernel_dilation=(2, 2), name="conv1")(images))
        x = nn.ConvTranspose(2, (2, 2), name="up")(x) * self.param(
            "scale", nn.initializers.ones, (1, 1, 1, 2)
        )
        return nn.Dense(self.num_classes, name="fc")(x.reshape(len(x), -1))


def test_of_a_network_of_ones_own_every_layer_is_counted_and_what_it_sees_is_not_told():
    layers = summarize(Several(), 4, ours=False)
    parameters = {
        "conv1": 3 * 3 * 3 * 4 + 4,
        "up": 2 * 2 * 4 * 2 + 2,
        "fc": 4 * 4 * 2 * 10 + 10,
        "the network itself": 2,
    }
    assert {layer.name: layer.parameters for layer in layers} == parameters
    assert {layer.receptive_field for layer in layers} == {None}


class Tied(nn.Module):
    """A table that is used by a method, and so not called as a layer is."""

    num_classes: int

    @nn.compact
    def __call__(self, images, keys=None):
        x = nn.Dense(8, name="fc1")(images.reshape(len(images), -1))
        return nn.Embed(self.num_classes, 8, name="table").attend(x)


@pytest.mark.slow
def test_the_total_holds_parameters_of_what_is_not_called_as_a_layer(monkeypatch, capsys):
    monkeypatch.setattr(own, "find", {"configs.of_mine.Tied": Tied}.__getitem__)
    assert main(["configs.of_mine.Tied"]) == 0
    *_, others, total = capsys.readouterr().out.strip().splitlines()
    assert others.split() == ["other", "parameters", "80", "0"]
    assert total.split()[:2] == ["total", f"{8 * (32 * 32 * 3 + 1) + 80:,}"]


class WithTowers(nn.Module):
    """No AlexNet, whatever its options are called."""

    num_classes: int
    towers: int = 3

    @nn.compact
    def __call__(self, images, keys=None):
        return nn.Dense(self.num_classes)(images.reshape(len(images), -1))


@pytest.mark.slow
def test_a_network_of_ones_own_with_towers_is_no_alexnet(monkeypatch, tmp_path):
    name = "configs.of_mine.WithTowers"
    monkeypatch.setattr(own, "find", {name: WithTowers}.__getitem__)
    with pytest.raises(
        LabError, match=r"WithTowers cannot be drawn as in Fig\. 2: only an AlexNet"
    ):
        main([name, f"--draw={tmp_path}"])


@pytest.mark.slow
def test_what_alexnet_sees_grows_by_the_strides_before():
    layers = layers_of("alexnet")
    sees, apart = 1, 1  # pixels seen, and pixels between two neighbours
    for name, size, stride in [
        ("conv1", 11, 4),
        ("pool1", 3, 2),
        ("conv2", 5, 1),
        ("pool2", 3, 2),
        ("conv3", 3, 1),
        ("conv4", 3, 1),
        ("conv5", 3, 1),
        ("pool5", 3, 2),
    ]:
        sees, apart = sees + (size - 1) * apart, apart * stride
        assert layers[name].receptive_field == sees
    assert sees == 195
    assert layers["norm1"].receptive_field == layers["conv1"].receptive_field
    assert layers["fc6"].receptive_field == 227  # no more than the image


def test_normalization_within_a_map_sees_its_neighbours():
    layers = layers_of("alexnet", lrn="within")
    assert layers["norm1"].receptive_field == 11 + 4 * 4


@pytest.mark.slow
def test_branches_side_by_side_are_joined_by_the_widest():
    layers = layers_of("googlenet")
    before = layers["pool2"].receptive_field
    apart = 2 * 2 * 2  # conv1, pool1, pool2
    assert layers["inception_3a_1x1"].receptive_field == before
    assert layers["inception_3a_3x3"].receptive_field == before + 2 * apart
    assert layers["inception_3a_5x5"].receptive_field == before + 4 * apart
    assert layers["inception_3b_1x1"].receptive_field == before + 4 * apart


@pytest.mark.slow
def test_layers_of_other_kinds():
    lenet = layers_of("lenet5")
    assert lenet["c3"].multiply_adds == 10 * 10 * 25 * 60
    assert lenet["s2"].receptive_field == 5 + 1
    assert lenet["c3"].receptive_field == 6 + 4 * 2
    conv3 = layers_of("conv3")
    assert conv3["conv1"].multiply_adds == 32 * 32 * 32 * 75
    assert conv3["pool1"].output == (16, 16, 32)
    assert conv3["pool1"].receptive_field == 5 + 2
    local = layers_of("conv2_local2")["local3"]
    assert local.multiply_adds == 64 * 9 * 64 * 32
    assert local.parameters == local.multiply_adds + 64 * 32


def test_the_table_ends_with_the_totals(capsys):
    assert main(["lenet5_modern"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lenet5_modern: 32 x 32 x 3 pixels, 10 classes"
    assert lines[4].split() == ["conv1", "Conv", "28", "x", "28", "x", "6", "456", "352,800", "5"]
    assert lines[-1].split() == ["total", "62,006", "651,720"]


def test_a_name_that_is_none_is_refused(capsys):
    with pytest.raises(LabError, match=r"unknown model 'alexnt'; did you mean 'alexnet'\?"):
        main(["alexnt"])


@pytest.mark.parametrize(("place", "fault"), [("", "is empty"), ("s3://x", "is a URL")])
def test_a_place_for_drawings_that_cannot_be_meant_is_refused_by_its_flag(place, fault):
    with pytest.raises(LabError, match=f"^--draw = '{place}' {fault}"):
        main(["alexnet", "--draw", place])


def test_help_names_the_networks(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "alexnet_cifar" in capsys.readouterr().out


def test_images_need_not_be_square():
    """A convolution of 3 by 3 pixels to 4 maps, at 8 by 24 places."""
    expected = {"parameters": 3 * 3 * 3 * 4 + 4, "multiply_adds": 108 * 8 * 24}
    assert size_of(nn.Sequential([nn.Conv(4, (3, 3))]), (8, 24, 3)) == expected


class Mine(nn.Module):
    """A fully connected layer that is not flax's."""

    @nn.compact
    def __call__(self, x):
        return x @ self.param("kernel", nn.initializers.ones, (x.shape[-1], 5))


def flat(x):
    return x.reshape(len(x), -1)


def by_column(x):
    """[B, 4, 6, 2] -> [B, 6, 8]."""
    return x.swapaxes(1, 2).reshape(len(x), 6, 8)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([flat, nn.Dense(5)], 48 * 5),
        ([flat, Mine()], 48 * 5),
        ([nn.DenseGeneral(5, axis=(1, 2, 3))], 48 * 5),
        ([by_column, nn.Dense(5)], 6 * 8 * 5),
        ([by_column, Mine()], 6 * 8 * 5),
        ([by_column, nn.DenseGeneral((3, 5))], 6 * 8 * 15),
        ([by_column, nn.DenseGeneral(5, axis=(1, 2))], 48 * 5),
        ([nn.Conv(8, (3, 3), feature_group_count=2)], 24 * 9 * 1 * 8),
        ([nn.Conv(8, (3, 3), strides=2)], 2 * 3 * 9 * 2 * 8),
        ([by_column, nn.Conv(5, (3,))], 6 * 3 * 8 * 5),
        ([nn.ConvLocal(5, (3, 3))], 24 * 9 * 2 * 5),
    ],
    ids=range(11),
)
def test_each_weight_counts_once_per_place_whatever_the_layer(layers, expected):
    """On images of 4 by 6 pixels and two channels, 48 numbers."""
    assert size_of(nn.Sequential(layers), (4, 6, 2))["multiply_adds"] == expected


def test_the_size_of_a_network_is_written_down_by_arithmetic():
    """LeNet: 5x5x3x6 at 28x28, 5x5x6x16 at 10x10, then 400x120, 120x84 and 84x10."""
    model = models.make_model(
        "lenet5_modern", activation="tanh", init_scheme="modern", num_classes=10
    )
    adds = 450 * 784 + 2400 * 100 + 48_000 + 10_080 + 840
    parameters = 456 + 2416 + 48_120 + 10_164 + 850
    assert size_of(model, (32, 32, 3)) == {"parameters": parameters, "multiply_adds": adds}
