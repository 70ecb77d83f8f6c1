"""The networks, by name. They know shapes and activations, never configs."""

import dataclasses
import difflib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from src.models.activations import ACTIVATION_NAMES, get_activation, own_source
from src.models.alexnet import AlexNet, AlexNet2012
from src.models.four_layer import Conv2Local2, Conv3
from src.models.googlenet import GoogLeNet
from src.models.init import INITS
from src.models.lenet import LeNet5, LeNet5Modern
from src.models.vgg import VGG

__all__ = [
    "ACTIVATION_NAMES",
    "INITS",
    "MODEL_NAMES",
    "get_activation",
    "image_size",
    "make_model",
    "model_options",
    "own_source",
    "takes",
]

_MODELS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "conv3": (Conv3, {"hidden": 0, "linear": False}),
    "conv3_fc64": (Conv3, {"hidden": 64, "linear": False}),
    "quick": (Conv3, {"hidden": 64, "linear": True}),
    "conv2_local2": (Conv2Local2, {}),
    "lenet5": (LeNet5, {}),
    "lenet5_modern": (LeNet5Modern, {}),
    "alexnet": (AlexNet, {"small": False}),
    "alexnet_2012": (AlexNet2012, {"small": False}),
    "alexnet_cifar": (AlexNet, {"small": True}),
    "vgg11": (VGG, {"layers": 11, "small": False}),
    "vgg11_cifar": (VGG, {"layers": 11, "small": True}),
    "vgg16": (VGG, {"layers": 16, "small": False}),
    "vgg16_cifar": (VGG, {"layers": 16, "small": True}),
    "googlenet": (GoogLeNet, {"small": False}),
    "googlenet_cifar": (GoogLeNet, {"small": True}),
}
MODEL_NAMES = tuple(_MODELS)
_IMAGE_SIZES = {"alexnet": 227, "alexnet_2012": 224, "vgg11": 224, "vgg16": 224, "googlenet": 224}
_COMMON = ("activation", "scheme", "num_classes", "parent", "name")


def make_model(
    name: str, *, activation: str, init: str, num_classes: int, **options: Any
) -> nn.Module:
    """A network: images [B, H, W, C] -> logits [B, num_classes].

    Args:
        name: One of `MODEL_NAMES`.
        activation: Name of the function behind every hidden layer, see `get_activation`.
        init: One of `INITS`, see `kernel_init`.
        num_classes: Width of the last layer.
        **options: Of that network, see `model_options`.

    Raises:
        ValueError: If there is no such model, activation or option.
    """
    if name not in _MODELS:
        near = difflib.get_close_matches(name, MODEL_NAMES, n=1)
        raise ValueError(
            f"unknown model {name!r}; " + (f"did you mean {near[0]!r}?" if near else "")
        )
    get_activation(activation)
    unknown = options.keys() - model_options(name).keys()
    if unknown:
        raise ValueError(f"{name} has no option {sorted(unknown)[0]!r}")
    module, fixed = _MODELS[name]
    return module(activation=activation, scheme=init, num_classes=num_classes, **fixed, **options)


def model_options(name: str) -> dict[str, Any]:
    """Options of a model with their defaults."""
    module, fixed = _MODELS[name]
    return {
        field.name: field.default
        for field in dataclasses.fields(module)
        if field.name not in (*_COMMON, *fixed)
    }


def takes(model: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether images of that height, width and channels are large enough for every layer.

    Nothing is computed.
    """
    try:
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)))
    except (TypeError, ValueError, IndexError, ZeroDivisionError):  # a layer left without a pixel
        return False
    return True


def image_size(name: str) -> int:
    """Height and width in pixels of the images that a model is made for."""
    return _IMAGE_SIZES.get(name, 32)
