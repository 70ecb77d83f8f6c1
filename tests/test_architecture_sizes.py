"""AlexNet and the networks beside it: sizes by arithmetic, starts, activations, options."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src import models
from src.models.lenet import Subsampling
from tests import tiny

pytestmark = pytest.mark.usefixtures("compiled_alike")


@pytest.fixture(autouse=True)
def whole_operations(monkeypatch):
    """Shapes alone are asked for: each layer is one operation, as on an accelerator."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


NAMES = [name for name in models.MODEL_NAMES if not name.startswith("conv")]


def make(name: str, **options: Any) -> nn.Module:
    classes = 1000 if models.image_size(name) > 32 else 10
    options = {"activation": "relu", "init_scheme": "paper", "num_classes": classes} | options
    return models.make_model(name, **options)


def images_of(name: str, channels: int = 3) -> jax.ShapeDtypeStruct:
    size = models.image_size(name)
    return jax.ShapeDtypeStruct((2, size, size, channels), jnp.float32)


@functools.cache
def sizes(model: nn.Module, images: jax.ShapeDtypeStruct) -> dict[str, int]:
    """Parameters of each layer."""
    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    return {name: sum(math.prod(p.shape) for p in layer.values()) for name, layer in params.items()}


def conv(size: int, inputs: int, outputs: int) -> int:
    return size * size * inputs * outputs + outputs


def full(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


# --- Sizes. ---


def test_alexnet_layer_by_layer():
    assert (227 - 11) / 4 + 1 == 55  # and at the paper's 224 pixels it is no whole number
    expected = {
        "conv1": conv(11, 3, 96),
        "conv2": conv(5, 96 // 2, 256),  # each kernel sees its own tower
        "conv3": conv(3, 256, 384),
        "conv4": conv(3, 384 // 2, 384),
        "conv5": conv(3, 384 // 2, 256),
        "fc6": full(6 * 6 * 256, 4096),
        "fc7": full(4096, 4096),
        "fc8": full(4096, 1000),
    }
    assert sizes(make("alexnet"), images_of("alexnet")) == expected
    assert sum(expected.values()) == 60_965_224


def test_alexnet_in_one_tower_layer_by_layer():
    expected = {
        "conv1": conv(11, 3, 64),
        "conv2": conv(5, 64, 192),
        "conv3": conv(3, 192, 384),
        "conv4": conv(3, 384, 256),
        "conv5": conv(3, 256, 256),
        "fc6": full(6 * 6 * 256, 4096),
        "fc7": full(4096, 4096),
        "fc8": full(4096, 1000),
    }
    assert sizes(make("alexnet", towers=1), images_of("alexnet")) == expected
    assert sum(expected.values()) == 61_100_840


def test_alexnet_for_small_images_differs_in_its_first_and_its_hidden_layers():
    small, paper = (sizes(make(n), images_of(n)) for n in ("alexnet_cifar", "alexnet"))
    changed = {
        "conv1": conv(5, 3, 96),
        "fc6": full(4 * 4 * 256, 1024),
        "fc7": full(1024, 1024),
        "fc8": full(1024, 10),
    }
    assert small == paper | changed


@pytest.mark.parametrize("pooling", ["overlapping", "2x2"])
@pytest.mark.parametrize("name", ["alexnet", "alexnet_cifar"])
def test_both_kinds_of_pooling_leave_as_many_places(name, pooling):
    """Paper, section 3.4: "which produces output of equivalent dimensions"."""
    assert sizes(make(name, pooling=pooling), images_of(name)) == sizes(make(name), images_of(name))


@pytest.mark.parametrize(
    ("without", "changed"),
    [
        ("conv3", {"conv4": conv(3, 256 // 2, 384)}),
        ("conv3+conv4", {"conv5": conv(3, 256 // 2, 256)}),
        ("conv2", {"conv3": conv(3, 96, 384)}),
        ("fc7", {}),
        ("fc6+fc7", {"fc8": full(9216, 1000)}),
    ],
)
def test_alexnet_without_middle_layers(without, changed):
    whole = sizes(make("alexnet"), images_of("alexnet"))
    kept = {name: size for name, size in whole.items() if name not in without.split("+")}
    assert sizes(make("alexnet", without=without), images_of("alexnet")) == kept | changed


def test_lenet5_for_grey_images_has_the_papers_60000_parameters():
    expected = {
        "c1": conv(5, 1, 6),
        "s2": 12,
        "c3": 25 * (6 * 3 + 9 * 4 + 6) + 16,  # six maps of 3 inputs, nine of 4, one of 6
        "s4": 32,
        "c5": conv(5, 16, 120),
        "f6": full(120, 84),
        "output": full(84, 10),
    }
    found = sizes(make("lenet5"), images_of("lenet5", channels=1))
    assert found == expected
    assert sum(found.values()) - found["output"] == 60_000


def test_lenet5_today():
    expected = {
        "conv1": conv(5, 1, 6),
        "conv2": conv(5, 6, 16),
        "fc3": full(400, 120),
        "fc4": full(120, 84),
        "fc5": full(84, 10),
    }
    found = sizes(make("lenet5_modern"), images_of("lenet5_modern", channels=1))
    assert found == expected
    assert sum(found.values()) == 61_706


@pytest.mark.parametrize(("layers", "total"), [(11, 132_863_336), (16, 138_357_544)])
def test_vgg_layer_by_layer(layers, total):
    kernels = {
        11: [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512)] + 3 * [(512, 512)],
        16: [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *2 * [(256, 256)], (256, 512)]
        + 5 * [(512, 512)],
    }[layers]
    expected = [conv(3, *kernel) for kernel in kernels]
    assert len(expected) + 3 == layers
    hidden = [full(7 * 7 * 512, 4096), full(4096, 4096), full(4096, 1000)]
    found = sizes(make(f"vgg{layers}"), images_of(f"vgg{layers}"))
    assert sorted(found.values()) == sorted(expected + hidden)
    assert sum(found.values()) == total
    small = sizes(make(f"vgg{layers}_cifar"), images_of(f"vgg{layers}_cifar"))
    hidden = [full(512, 512), full(512, 512), full(512, 10)]
    assert sorted(small.values()) == sorted(expected + hidden)


@pytest.mark.slow
def test_googlenet_block_by_block():
    inputs = 192
    blocks = {}
    for name, (one, reduce3, three, reduce5, five, project) in {
        "3a": (64, 96, 128, 16, 32, 32),
        "3b": (128, 128, 192, 32, 96, 64),
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
        "5a": (256, 160, 320, 32, 128, 128),
        "5b": (384, 192, 384, 48, 128, 128),
    }.items():
        blocks[name] = conv(1, inputs, one) + conv(1, inputs, project)
        blocks[name] += conv(1, inputs, reduce3) + conv(3, reduce3, three)
        blocks[name] += conv(1, inputs, reduce5) + conv(5, reduce5, five)
        inputs = one + three + five + project
    found = sizes(make("googlenet"), images_of("googlenet"))
    for name, size in blocks.items():
        assert sum(n for layer, n in found.items() if f"_{name}_" in layer) == size
    stem = conv(7, 3, 64) + conv(1, 64, 64) + conv(3, 64, 192)
    assert inputs == 1024
    assert sum(found.values()) == stem + sum(blocks.values()) + full(1024, 1000) == 6_998_552
    small = sizes(make("googlenet_cifar"), images_of("googlenet_cifar"))
    assert small == found | {"conv1": conv(3, 3, 64), "classifier": full(1024, 10)}
    both = sizes(make("googlenet", auxiliary=True), images_of("googlenet"))
    behind = [conv(1, 512, 128), conv(1, 528, 128)]
    behind += 2 * [full(4 * 4 * 128, 1024), full(1024, 1000)]
    assert sum(both.values()) - sum(found.values()) == sum(behind)


# --- Starts. ---


@pytest.mark.slow
def test_alexnet_begins_as_the_paper_says():
    params = jax.jit(make("alexnet_cifar").init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    for name, layer in params["params"].items():
        kernel = np.asarray(layer["kernel"])
        np.testing.assert_allclose(kernel.std(), 0.01, rtol=5 / math.sqrt(2 * kernel.size))
        ones = name in ("conv2", "conv4", "conv5", "fc6", "fc7")
        np.testing.assert_array_equal(layer["bias"], 1.0 if ones else 0.0)


def test_factors_of_subsampling_begin_as_units_of_four_inputs_and_one_output():
    """Of Glorot's uniform weights with a variance of 2 / (4 + 1)."""
    init = jax.nn.initializers.glorot_uniform()
    images = jnp.zeros((1, 2, 2, 16))
    keys = jax.random.split(jax.random.key(0), 300)
    draw = jax.jit(jax.vmap(lambda key: Subsampling(init).init(key, images)["params"]["kernel"]))
    assert float(jnp.std(draw(keys))) == pytest.approx(math.sqrt(2 / 5), rel=0.02)


@pytest.mark.slow
def test_lenet5_begins_within_2_4_over_its_inputs():
    params = jax.jit(make("lenet5").init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    inputs = {"c1": 75, "s2": 4, "s4": 4, "c5": 400, "f6": 120, "output": 84}
    for name, count in inputs.items():
        largest = np.abs(params[name]["kernel"]).max()
        assert 0.5 * 2.4 / count < largest <= 2.4 / count
    c3 = np.asarray(params["c3"]["kernel"])  # its first maps have three inputs, its last has six
    assert 0.9 * 2.4 / 75 < np.abs(c3[..., :3]).max() <= 2.4 / 75
    assert 0.9 * 2.4 / 150 < np.abs(c3[..., -6:]).max() <= 2.4 / 150


# --- Activations. ---

HIDDEN = {  # layers with an activation behind them
    "lenet5": 6,  # as in 1998, subsampling too
    "lenet5_modern": 4,
    "quick": 3,  # none between its fully connected layers
    "alexnet": 7,
    "alexnet_2012": 7,
    "vgg11": 10,
    "vgg16": 15,
    "googlenet": 3 + 9 * 6 + 2 * 2,  # with its auxiliary classifiers
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_activation_reaches_every_layer_and_there_is_no_other(name):
    options = {"auxiliary": True} if "googlenet" in name else {}
    model = make(name, activation="tanh", **options)
    images = images_of(name)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    params = jax.eval_shape(model.init, jax.random.key(0), images)
    text = str(jax.make_jaxpr(model.apply)(params, images, keys=keys))
    assert text.count(" tanh ") == HIDDEN[name.removesuffix("_cifar")]
    for other in ("= logistic ", "= exp ", "= erf ", "relu"):  # a variable may be called erf
        assert other not in text


# --- Options. ---


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("alexnet", {"towers": 3}, "towers = 3 is not one of 1, 2"),
        ("alexnet", {"lrn": "pytorch"}, "lrn = 'pytorch' is not one of 'paper', 'caffe', 'within'"),
        ("alexnet", {"pooling": "3x3"}, "pooling = '3x3' is not one of 'overlapping', '2x2'"),
        ("alexnet", {"without": "conv3+conv6"}, "without = 'conv6' is not one of 'conv2'"),
        ("alexnet", {"without": "conv1"}, "without = 'conv1' is not one of"),
        ("vgg11", {"dropout": 50.0}, "dropout = 50.0 should be a fraction"),
        ("googlenet", {"lrn": "off"}, "lrn = 'off' is not one of"),
        ("conv2_local2", {"lrn": "on"}, "lrn = 'on' is not one of"),
        ("vgg11", {"layers": 13}, "vgg11 has no option 'layers'"),
        ("alexnet_cifar", {"small": False}, "alexnet_cifar has no option 'small'"),
    ],
)
def test_options_that_do_not_exist_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **options)


@pytest.mark.parametrize(("width", "features"), [(0.5, 48), (2.0, 192), (1e-9, 2)])
def test_a_width_scales_features_and_leaves_one_to_each_tower(width, features):
    found = sizes(make("alexnet", width=width), images_of("alexnet"))
    assert found["conv1"] == conv(11, 3, features)


@pytest.mark.slow
def test_normalization_in_conv2_local2_is_an_option_without_parameters():
    plain, normalized = make("conv2_local2"), make("conv2_local2", lrn="caffe")
    images = images_of("conv2_local2")
    assert sizes(plain, images) == sizes(normalized, images)
    values = 50 * jax.random.normal(jax.random.key(1), images.shape)
    params = {"params": tiny.draw_params(plain, images.shape[1])}
    params = jax.tree.map(lambda p: 30 * p, params)
    logits = [jax.jit(model.apply)(params, values) for model in (plain, normalized)]
    assert not np.allclose(*logits)
