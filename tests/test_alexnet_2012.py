"""AlexNet as it was run, and the paper's other nets: sizes by arithmetic, values by PyTorch.

The numbers of the layer files are those of computerhistory/AlexNet-Source-Code, layers/.
"""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src import models
from src.models.summary import Layer, summarize
from tests import tiny

SMALLEST = 64  # pixels that last until pool5


def make(**options: Any) -> nn.Module:
    defaults = {"activation": "relu", "init_scheme": "paper", "num_classes": 1000}
    return models.make_model("alexnet_2012", **(defaults | options))


@functools.cache
def layers_of(model: nn.Module, size: int = 224) -> list[Layer]:
    return summarize(model, size)


def outputs(model: nn.Module, size: int = 224) -> dict[str, tuple[int, ...]]:
    return {layer.name: layer.output for layer in layers_of(model, size)}


def parameters(model: nn.Module) -> int:
    return sum(layer.parameters for layer in layers_of(model))


def conv(size: int, inputs: int, outputs: int) -> int:
    return size * size * inputs * outputs + outputs


def full(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


# --- Sizes, tower by tower as the layer files count them. ---


@pytest.mark.slow
def test_layers_145():
    """224 pixels and 55 places: 1 + ceil((224 - 11) / 4), the last kernel hanging over by 3."""
    assert 1 + math.ceil((224 - 11) / 4) == 55 == 1 + (224 + 3 - 11) / 4
    tower = conv(11, 3, 48) + conv(5, 48, 128) + conv(3, 256, 192)
    tower += conv(3, 192, 192) + conv(3, 192, 128) + full(6 * 6 * 256, 2048) + full(4096, 2048)
    assert 2 * tower + full(4096, 1000) == parameters(make()) == 60_965_224
    found = outputs(make())
    assert [found[name] for name in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [
        (55, 55, 96),
        (27, 27, 96),
        (27, 27, 256),
        (13, 13, 256),
        (13, 13, 256),
        (6, 6, 256),
    ]


@pytest.mark.slow
def test_the_table_beside_the_layer_file_is_what_the_network_is():
    """Parameters there are kernels times what each reads, and biases, in both towers."""
    readme = Path(__file__).parents[1] / "experiments" / "networks" / "README.md"
    table = readme.read_text(encoding="utf-8").split("### Layer by layer")[1].split("\n\n")[2]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    layers = {layer.name: layer for layer in layers_of(make())}
    total = 0
    for name, source, kernels, places, _, _, there, here, output in rows[2:-1]:
        layer = layers[name]
        assert " x ".join(map(str, layer.output)) == output
        assert not places or layer.output[0] == int(places)
        if " of " in kernels:
            count, inputs = kernels.split(" of ")
            one = int(count) * (math.prod(map(int, inputs.split(" x "))) + 1)
            assert int(there.replace(",", "")) == (1 if "only one" in source else 2) * one
            assert int(here.replace(",", "")) == layer.parameters
            total += layer.parameters
    assert {row[0] for row in rows[2:-1]} | {"drop6", "drop7"} == layers.keys()
    assert rows[-1][6:8] == [f"{total:,}"] * 2


def test_layers_145_half_is_the_net_on_one_gpu():
    """Section 3.2: "about the same number of parameters"; conv5 is kept whole."""
    sizes = conv(11, 3, 48) + conv(5, 48, 128) + conv(3, 128, 192) + conv(3, 192, 192)
    sizes += conv(3, 192, 256) + full(6 * 6 * 256, 4096) + full(4096, 4096) + full(4096, 1000)
    assert sizes == parameters(make(towers=1, one_gpu=True)) == 59_798_312


@pytest.mark.slow
def test_layers_150_do_not_cross():
    tower = conv(11, 3, 48) + conv(5, 48, 160) + conv(3, 160, 192) + conv(3, 192, 192)
    tower += conv(3, 192, 128) + full(6 * 6 * 128, 4096) + full(4096, 2048)
    assert 2 * tower + full(4096, 1000) == parameters(make(crossing=False))


@pytest.mark.slow
def test_layers_147_pool_2x2_with_other_paddings():
    """55 -> 28 -> 26 -> 13 -> 13 -> 11 -> 6: the last windows hang over."""
    found = outputs(make(pooling="2x2_as_run"))
    sides = {name: shape[0] for name, shape in found.items() if name[:4] in ("conv", "pool")}
    assert sides == {
        **{"conv1": 55, "pool1": 28, "conv2": 26, "pool2": 13},
        **{"conv3": 13, "conv4": 13, "conv5": 11, "pool5": 6},
    }
    assert parameters(make(pooling="2x2_as_run")) == 60_965_224


@pytest.mark.slow
def test_layers_148_have_no_normalization_at_all():
    assert {"norm1", "norm2", "within2"} <= outputs(make()).keys()
    assert not {"norm1", "norm2", "within2"} & outputs(make(lrn="none")).keys()


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fast")
def test_it_begins_with_wider_weights_in_conv3_to_conv5():
    params = jax.jit(make(width=0.25).init)(
        jax.random.key(0), jnp.zeros((1, SMALLEST, SMALLEST, 3))
    )
    for name, layer in params["params"].items():
        kernel = np.asarray(layer["kernel"])
        std = 0.03 if name in ("conv3", "conv4", "conv5") else 0.01
        np.testing.assert_allclose(kernel.std(), std, rtol=5 / math.sqrt(2 * kernel.size))
        ones = name in ("conv2", "conv4", "conv5", "fc6", "fc7")
        np.testing.assert_array_equal(layer["bias"], 1.0 if ones else 0.0)


# --- Values. ---


def in_torch(images: np.ndarray, params: Mapping, *, crossing: bool, pooling: str) -> np.ndarray:
    """layers-145.cfg line by line: tower a, tower b, and where they are read together."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    w = jax.tree.map(lambda p: torch.tensor(np.asarray(p)), params)
    as_run = pooling == "2x2_as_run"

    def conv(x, name, tower, **options):
        """One tower's share of the kernels."""
        kernel = w[name]["kernel"].permute(3, 2, 0, 1).chunk(2)[tower]
        return F.conv2d(x, kernel, w[name]["bias"].chunk(2)[tower], **options)

    def cmrnorm(x):  # PyTorch divides alpha by the size, as the program did
        return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=2.0)

    def rnorm(x):
        return x / (1 + 1e-3 * F.avg_pool2d(x * x, 5, 1, padding=2)) ** 0.75

    def pool(x):
        return F.max_pool2d(x, 2 if as_run else 3, 2, ceil_mode=True)

    def fc(xs, name, tower):
        """A tower's units, of both towers' maps or of its own."""
        x = torch.cat(xs, dim=1) if crossing else xs[tower]
        if name == "fc6":
            x = x.permute(0, 2, 3, 1)
        kernel = w[name]["kernel"].reshape(-1, w[name]["kernel"].shape[-1]).T.chunk(2)[tower]
        return torch.relu(F.linear(x.flatten(1), kernel, w[name]["bias"].chunk(2)[tower])) / 2

    x = torch.tensor(images.transpose(0, 3, 1, 2))
    x = F.pad(x, (0, 3, 0, 3))  # right and below
    pool1 = [torch.relu(pool(cmrnorm(conv(x, "conv1", t, stride=4)))) for t in (0, 1)]
    pad2, pad5 = (1, 0) if as_run else (2, 1)
    conv2 = [torch.relu(conv(pool1[t], "conv2", t, padding=pad2)) for t in (0, 1)]
    pool2 = [pool(rnorm(cmrnorm(conv2[t]))) for t in (0, 1)]
    both = torch.cat(pool2, dim=1)
    seen = [both, both] if crossing else pool2
    conv3 = [torch.relu(conv(seen[t], "conv3", t, padding=1)) for t in (0, 1)]
    conv4 = [torch.relu(conv(conv3[t], "conv4", t, padding=1)) for t in (0, 1)]
    pool3 = [torch.relu(pool(conv(conv4[t], "conv5", t, padding=pad5))) for t in (0, 1)]
    fc6 = [fc(pool3, "fc6", t) for t in (0, 1)]
    fc7 = [fc(fc6, "fc7", t) for t in (0, 1)]
    return F.linear(torch.cat(fc7, dim=1), w["fc8"]["kernel"].T, w["fc8"]["bias"]).numpy()


def images(size: int) -> np.ndarray:
    return (60 * np.random.default_rng(0).normal(size=(2, size, size, 3))).astype(np.float32)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fast")
@pytest.mark.parametrize(
    "options",
    [
        {"crossing": True, "pooling": "overlapping"},
        {"crossing": False, "pooling": "overlapping"},
        {"crossing": True, "pooling": "2x2_as_run"},
    ],
)
def test_pytorch_gives_the_same_logits(options):
    pytest.importorskip("torch")
    model = make(width=0.125, num_classes=5, dropout_scale="testing", **options)
    params = tiny.draw_params(model, 224)
    expected = in_torch(images(224), params, **options)
    assert np.abs(expected).max() > 0.1
    ours = jax.jit(model.apply)({"params": params}, images(224))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * max(1, scale))


@functools.cache
def logits(**options: Any) -> np.ndarray:
    """Its parameters are the same whatever the options, which change no size."""
    model = make(width=0.125, num_classes=5, **options)
    params = tiny.draw_params(make(width=0.125, num_classes=5), SMALLEST)
    return np.asarray(jax.jit(model.apply)({"params": params}, images(SMALLEST)))


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fast")
@pytest.mark.parametrize(
    "change",
    [
        {"lrn": "paper"},
        {"lrn": "caffe"},
        {"lrn_per_tower": False},
        {"within_map": False},
        {"order": "norm_pool"},
        {"order": "pool_norm"},
        {"dropout_scale": "training"},
    ],
)
def test_each_difference_from_the_text_changes_the_logits(change):
    before, after = logits(), logits(**change)
    assert np.abs(before - after).max() > 1e-3 * np.abs(before).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"one_gpu": True}, "one_gpu = True is a net of one tower: towers = 1"),
        ({"towers": 1, "crossing": False}, "crossing = False keeps two towers apart: towers = 2"),
        ({"order": "first"}, "order = 'first' is not one of 'norm_pool', 'pool_norm', 'as_run'"),
        ({"border": "same"}, "border = 'same' is not one of 'none', 'overhang', 'padded'"),
        ({"dropout_scale": "both"}, "dropout_scale = 'both' is not one of 'by_init', 'testing'"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
