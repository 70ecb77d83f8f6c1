"""The convolutions of a network, and their inputs."""

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import tracers
from jaxtyping import Array, Float, PyTree

from src.fields import ConfigError
from src.models.layers import Conv
from src.pretraining.passes import Convolution
from src.pretraining.settings import Pretraining


class Layer(NamedTuple):
    """A convolution as it stands in its network.

    Attributes:
        name: Its path among the parameters, `conv1` or, inside another module, `inner/conv1`.
        convolution: Its stride, padding and groups.
        kernel_shape: [h, w, J, O]; J are the input channels of one group.
        channels: Number of channels of its input.
    """

    name: str
    convolution: Convolution
    kernel_shape: tuple[int, int, int, int]
    channels: int


class _Reached(Exception):
    """Raised to leave a network at one of its layers."""

    def __init__(self, inputs: Array):
        super().__init__()
        self.inputs = inputs


def find_layers(model: nn.Module, image_shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Every convolution of a network, in the order in which an image passes them while testing.

    A `PartialConv` is left out, because its kernel lacks connections; so are the convolutions of
    auxiliary classifiers, which no image passes then.
    """
    found: list[Layer] = []

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, Conv) and context.method_name == "__call__":
            channels = args[0].shape[-1]
            moves = Convolution(module.stride, module.padding, module.groups)
            shape = module.kernel_shape(channels)
            found.append(Layer("/".join(module.path), moves, shape, channels))
        return call(*args, **kwargs)

    def trace(
        variables: PyTree, images: Array
    ) -> Any:  # A new function, since JAX keeps traces by function.
        return model.apply(variables, images, keys=None)

    images = jnp.zeros((1, *image_shape))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    with nn.intercept_methods(note):
        jax.eval_shape(trace, variables, images)
    return tuple(found)


def layers_to_train(
    model: nn.Module, image_shape: tuple[int, int, int], settings: Pretraining
) -> tuple[Layer, ...]:
    """The convolutions that the settings name, in the order of the names, or all of them.

    Raises:
        ConfigError: If the network has no convolution, or lacks one that is named.
    """
    by_name = {layer.name: layer for layer in find_layers(model, image_shape)}
    if not by_name:
        raise ConfigError(
            f"config.pretraining.method = {settings.method!r}: the network has no convolution"
            " of src.models.layers, the only layers that are pre-trained; use its Conv, or let"
            " the method be 'none'"
        )
    for name in settings.layers:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"config.pretraining.layers = {settings.layers}: this network has no convolution"
                f" {name!r}; did you mean {near!r}?"
            )
    return tuple(by_name[name] for name in settings.layers or by_name)


def check_crops(layers: Sequence[Layer], model: nn.Module, crop: tuple[int, int, int]) -> None:
    """Refuses layers whose kernels are as large as their maps, and so other ones on crops.

    Args:
        layers: Layers to pre-train, as they are on the whole images that they are pre-trained on.
        model: Their network.
        crop: Height, width and channels of the crops that it is trained on.

    Raises:
        ConfigError: Naming the first such layer.
    """
    of_crops = {layer.name: layer.kernel_shape for layer in find_layers(model, crop)}
    for layer in layers:
        if layer.kernel_shape != of_crops[layer.name]:
            raise ConfigError(
                f"config.augment.crop = {crop[0]}: the kernel of {layer.name} would be"
                f" {layer.kernel_shape} on whole images, on crops it is {of_crops[layer.name]}; let"
                " config.pretraining.layers name layers without it"
            )


def layer_input(
    model: nn.Module, params: PyTree, name: str, pixels: Float[Array, "B H W C"]
) -> Float[Array, "B P Q I"]:
    """The input of a layer, dropout off; layers behind it are not computed.

    Raises:
        ValueError: If the network has no layer of that name.
        ConfigError: If the layer stands where no array may be taken out.
    """
    outside = tracers.current_trace()

    def leave(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name == "__call__" and "/".join(module.path) == name:
            if tracers.current_trace() != outside:
                raise ConfigError(
                    f"config.pretraining.layers: {name} cannot be pre-trained, for it stands inside"
                    " a transformation such as nn.remat; take that away, or name other layers"
                )
            raise _Reached(args[0])
        return call(*args, **kwargs)

    try:
        with nn.intercept_methods(leave):
            model.apply({"params": params}, pixels, keys=None)
    except _Reached as reached:
        return reached.inputs
    raise ValueError(f"{type(model).__name__} has no layer {name!r}")
