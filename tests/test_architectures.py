"""AlexNet and the networks beside it: values and gradients of the same networks in PyTorch."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src import models
from src.models.layers.dropout import Dropout

pytest.importorskip("torch")
from tests import tiny, torch_nets

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_alike")]


def make(name: str, **options: Any) -> nn.Module:
    options = {"activation": "relu", "init_scheme": "modern", "num_classes": 5} | options
    return models.make_model(name, **options)


def images_of(size: int, deviation: float = 1.0) -> np.ndarray:
    images = np.random.default_rng(0).normal(0, deviation, (2, size, size, 3))
    return images.astype(np.float32)


@pytest.mark.parametrize(
    ("name", "size", "towers", "lrn"),
    [  # the smallest image that lasts until pool5 is of 67 pixels
        ("alexnet", 67, 2, "paper"),
        ("alexnet", 67, 2, "caffe"),
        ("alexnet", 67, 1, "none"),
        ("alexnet_cifar", 32, 2, "paper"),
    ],
)
def test_alexnet(name, size, towers, lrn):
    model = make(name, towers=towers, lrn=lrn, width=0.25)
    forward = functools.partial(
        torch_nets.alexnet, towers=towers, lrn=lrn, small=size == 32, scale=1.0
    )
    images = images_of(size, deviation=60.0)  # so that response normalization matters
    torch_nets.check_same(model, tiny.draw_params(model, size), images, forward)


def test_alexnet_as_the_paper_begins_it_halves_hidden_layers_at_testing():
    model = make("alexnet", init_scheme="paper", width=0.25)
    forward = functools.partial(torch_nets.alexnet, towers=2, lrn="paper", small=False, scale=0.5)
    torch_nets.check_same(model, tiny.draw_params(model, 67), images_of(67, 60.0), forward)


@pytest.mark.parametrize(
    ("name", "activation", "forward"),
    [
        ("lenet5", "tanh", torch_nets.lenet5),
        ("lenet5_modern", "relu", torch_nets.lenet5_modern),
        ("vgg11_cifar", "relu", torch_nets.vgg11),
    ],
)
def test_lenet_and_vgg(name, activation, forward):
    model = make(name, activation=activation, **({"width": 0.25} if "vgg" in name else {}))
    torch_nets.check_same(model, tiny.draw_params(model, 32), images_of(32), forward)


@pytest.mark.parametrize(("name", "size"), [("googlenet_cifar", 32), ("googlenet", 64)])
def test_googlenet(name, size):
    model = make(name, width=0.125)
    forward = lambda x, w: torch_nets.googlenet(x, w, small=size == 32)[0]  # noqa: E731
    torch_nets.check_same(model, tiny.draw_params(model, size), images_of(size), forward)


def test_the_auxiliary_classifiers_of_googlenet():
    model = make("googlenet_cifar", width=0.125, auxiliary=True, dropout=0.0)
    params, images = tiny.draw_params(model, 32), images_of(32)
    keys = jax.random.split(jax.random.key(0), 2)

    def keep_all(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        return args[0] if isinstance(context.module, Dropout) else call(*args, **kwargs)

    with nn.intercept_methods(keep_all):
        ours = jax.jit(model.apply)({"params": params}, jnp.asarray(images), keys=keys)
    weights = jax.tree.map(torch_nets._to_torch, params)
    theirs = torch_nets.googlenet(
        torch_nets.torch.tensor(images.transpose(0, 3, 1, 2)), weights, small=True
    )
    assert len(ours) == len(theirs) == 3
    for logits, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(logits, expected.detach(), rtol=1e-4, atol=1e-4)
    tested = jax.jit(model.apply)({"params": params}, jnp.asarray(images))
    np.testing.assert_allclose(tested, ours[0], rtol=1e-5, atol=1e-6)
