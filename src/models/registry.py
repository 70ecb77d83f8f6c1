"""The networks, one row each, and what a user's own network must be like.

A network is a flax module `images [B, H, W, C] -> logits [B, num_classes]` whose `__call__` takes
`keys`, one random key per image while training and None while testing. It is given those of the
fields `activation`, `init_scheme` and `num_classes` that it has; every other field with a default
is an option, `config.model.OPTION`. A config file's own network is named by where it is, such as
`configs.mine.Net`. Any flax layer may be used: what it keeps beside its parameters (the running
means of BatchNorm) is averaged over devices, but for whole numbers, and kept in checkpoints.
Dropout of flax finds its key under the name "dropout".
"""

import dataclasses
import functools
import operator
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import flax.linen as nn
import jax
import jax.numpy as jnp

from src import own
from src.errors import one_line
from src.fields import (
    ConfigError,
    Field,
    NamedValues,
    Value,
    checked,
    nearest,
    one_of,
    require,
    require_group,
    rules_of,
)
from src.models.activations import get_activation
from src.models.alexnet import AlexNet, AlexNet2012
from src.models.four_layer import Conv2Local2, Conv3
from src.models.googlenet import GoogLeNet
from src.models.lenet import LeNet5, LeNet5Modern
from src.models.vgg import VGG
from src.trees import dotted


class Network(NamedTuple):
    """A row of the registry.

    Attributes:
        module: The flax module.
        fixed: Fields that the name stands for; they are not options.
        image_size: Height and width, in pixels, of the images that it is made for.
    """

    module: type[nn.Module]
    fixed: Mapping[str, Value] = {}
    image_size: int = 32


NETWORKS: dict[str, Network] = {
    "conv3": Network(Conv3, {"hidden": 0, "linear": False}),
    "conv3_fc64": Network(Conv3, {"hidden": 64, "linear": False}),
    "quick": Network(Conv3, {"hidden": 64, "linear": True}),
    "conv2_local2": Network(Conv2Local2),
    "lenet5": Network(LeNet5),
    "lenet5_modern": Network(LeNet5Modern),
    "alexnet": Network(AlexNet, {"small": False}, 227),
    "alexnet_2012": Network(AlexNet2012, {"small": False}, 224),
    "alexnet_cifar": Network(AlexNet, {"small": True}),
    "vgg11": Network(VGG, {"layers": 11, "small": False}, 224),
    "vgg11_cifar": Network(VGG, {"layers": 11, "small": True}),
    "vgg16": Network(VGG, {"layers": 16, "small": False}, 224),
    "vgg16_cifar": Network(VGG, {"layers": 16, "small": True}),
    "googlenet": Network(GoogLeNet, {"small": False}, 224),
    "googlenet_cifar": Network(GoogLeNet, {"small": True}),
}
MODEL_NAMES = tuple(NETWORKS)
GIVEN = ("activation", "init_scheme", "num_classes")  # Set by the trial, not by an option.
OF_FLAX = ("parent", "name")


@dataclass(frozen=True)
class ModelSettings:
    """The network of a trial; in a config its options stand beside name and activation."""

    name: Annotated[str, "network; python -m src.networks lists them"] = "conv3"
    activation: Annotated[str, "function behind every hidden layer"] = "relu"
    options: NamedValues = dataclasses.field(default_factory=NamedValues)

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], group: Sequence[str]) -> "ModelSettings":
        """Reads name, activation and options, and checks each option by its declaration.

        Raises:
            ConfigError: Naming the field, its value and what would be valid.
        """
        tree = {"name": cls.name, "activation": cls.activation, **tree}
        for key in ("name", "activation"):
            require(dotted((*group, key)), tree[key], lambda x: type(x) is str, "a string")
        check_names(tree["name"], tree["activation"], group)
        fields = {field.path[0]: field for field in options_of(tree["name"])}
        options = {}
        for key, value in tree.items():
            if key in ("name", "activation"):
                continue
            if key not in fields:
                text = f"{tree['name']} has no such option{nearest(key, fields)}"
                raise ConfigError(f"config.{dotted((*group, key))}: {text}")
            options[key] = checked(fields[key], (*group, key), value)
        found = cls(tree["name"], tree["activation"], NamedValues(options))
        try:
            found.make("modern", 10)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"config.{dotted(group)}: {error}") from None
        except (Exception, SystemExit) as error:
            if not own.is_own(found.name):
                raise
            reason = f"it cannot be made: {type(error).__name__}: {one_line(error)}"
            raise ConfigError(f"config.{dotted(group)}.name = {found.name!r}: {reason}") from None
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """What may be of the user's own: network, activation, and functions that options name."""
        values = (value if isinstance(value, tuple) else (value,) for _, value in self.options)
        texts = (each for value in values for each in value if isinstance(each, str))
        return (self.name, self.activation, *filter(own.is_own, texts))

    @property
    def behind_layers(self) -> str | None:
        """Name of the function behind its hidden layers; None if the network has no such field."""
        return self.activation if takes(self.name, "activation") else None

    def as_tree(self) -> dict[str, Value]:
        """The settings in the shape of a config."""
        return {"name": self.name, "activation": self.activation, **dict(self.options)}

    def make(self, init_scheme: str, num_classes: int) -> nn.Module:
        """The network."""
        return make_model(
            self.name,
            activation=self.activation,
            init_scheme=init_scheme,
            num_classes=num_classes,
            **dict(self.options),
        )


def check_names(name: str, activation: str, group: Sequence[str]) -> None:
    """Refuses a network or an activation that does not exist.

    Raises:
        ConfigError: With the nearest name.
    """
    if own.is_own(name):
        try:
            get_network(name)
        except ValueError as error:
            raise ConfigError(f"config.{dotted((*group, 'name'))} = {name!r}: {error}") from None
    else:
        one_of(dotted((*group, "name")), name, MODEL_NAMES)
    try:
        get_activation(activation)
    except ValueError as error:
        where = f"config.{dotted((*group, 'activation'))}"
        raise ConfigError(f"{where} = {activation!r}: {error}") from None


def get_network(name: str) -> Network:
    """The row of a network, or a new one for a config file's own module.

    Raises:
        ValueError: If there is no such network, with the nearest name.
    """
    if own.is_own(name):
        found = own.find(name)
        if not (isinstance(found, type) and issubclass(found, nn.Module)):
            raise ValueError(f"{name.rpartition('.')[2]} is not a flax.linen.Module")
        try:
            typing.get_type_hints(found, include_extras=True)
        except Exception as error:  # For example a type written as a string that names none.
            raise ValueError(f"types of its fields: {one_line(error)}") from None
        return Network(found)
    if name not in NETWORKS:
        raise ValueError(f"unknown model {name!r}{nearest(name, MODEL_NAMES)}")
    return NETWORKS[name]


def make_model(
    name: str, *, activation: str, init_scheme: str, num_classes: int, **options: Any
) -> nn.Module:
    """Makes a network: images [B, H, W, C] -> logits [B, num_classes].

    Args:
        name: One of `MODEL_NAMES`, or a config file's own.
        activation: Name of the function behind every hidden layer, see `get_activation`.
        init_scheme: "paper" or "modern", see `kernel_init`.
        num_classes: Width of the last layer.
        **options: Options of that network, see `options_of`.

    Raises:
        ValueError: If there is no such model, activation or option.
    """
    network = get_network(name)
    get_activation(activation)
    known = [field.path[0] for field in options_of(name)]
    if unknown := sorted(options.keys() - set(known)):
        raise ValueError(f"{name} has no option {unknown[0]!r}")
    given = {"activation": activation, "init_scheme": init_scheme, "num_classes": num_classes}
    taken = {key: value for key, value in given.items() if takes(name, key)}
    return network.module(**taken, **network.fixed, **options)


def takes(name: str, given: str) -> bool:
    """Whether a network has a field for one of `GIVEN`."""
    return given in {field.name for field in dataclasses.fields(get_network(name).module)}


@functools.cache
def options_of(name: str) -> tuple[Field, ...]:
    """The declared options of a network: type, rules, sentence, default."""
    network = get_network(name)
    hints = typing.get_type_hints(network.module, include_extras=True)
    return tuple(
        _option(field.name, hints[field.name], field.default)
        for field in dataclasses.fields(network.module)
        if field.name not in (*GIVEN, *OF_FLAX, *network.fixed)
        and field.default is not dataclasses.MISSING
    )


def _option(name: str, hint: Any, default: Any) -> Field:
    extras: Sequence[Any] = ()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
    rules = rules_of(hint, extras)
    sentence = next((extra for extra in extras if isinstance(extra, str)), "")
    usual = Value | None if default is None else _kind(type(default)) or type(default)
    return Field((name,), _kind(hint) or usual, rules, sentence, default)


def _kind(hint: Any) -> Any:
    """The kind of values that an annotation allows; None if it is none of a config's.

    A tuple holds values of one kind, or of several in any order: its length is the network's own.
    """
    origin, args = get_origin(hint), [each for each in get_args(hint) if each is not ...]
    if origin is Literal:
        return functools.reduce(operator.or_, map(type, args))
    if hint is tuple:
        return tuple[Value, ...]
    if origin in (tuple, Union, UnionType):
        kinds = [_kind(each) for each in args]
        kind = functools.reduce(operator.or_, kinds) if kinds and all(kinds) else None
        return tuple[kind, ...] if kind and origin is tuple else kind
    return hint if hint in (str, bool, int, float, NoneType) else None


def model_options(name: str) -> dict[str, Any]:
    """Name -> default of the options of a network."""
    return {field.path[0]: field.default for field in options_of(name)}


def check_model_options(networks: Mapping[str, Any]) -> None:
    """Refuses names in `config.model_options` that are not networks, or not options of theirs.

    Raises:
        ConfigError: With the nearest name.
    """
    for name, options in networks.items():
        if not own.is_own(name):
            one_of("model_options", name, MODEL_NAMES)
        try:
            get_network(name)
        except ValueError as error:
            raise ConfigError(f"config.model_options = {name!r}: {error}") from None
        require_group(("model_options", name), options)
        known = tuple(model_options(name))
        for key in options:
            if not known:
                raise ConfigError(f"config.model_options.{name}.{key}: {name} has no options")
            one_of(f"model_options.{name}", key, known)


def image_size(name: str) -> int:
    """Height and width, in pixels, of the images that a network is made for."""
    return get_network(name).image_size


def fault(model: nn.Module, shape: tuple[int, int, int], num_classes: int) -> str:
    """What is wrong with a network for such images, found without computing; "" if nothing is.

    Args:
        model: The network, from `make_model`.
        shape: Height, width and channels of an image.
        num_classes: The width that its last layer must have.
    """
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    try:
        made = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], images)
    except (Exception, SystemExit) as error:  # The user's code may raise anything.
        return f"{type(error).__name__}: {one_line(error)}"
    logits = made[0] if isinstance(made, tuple) else made
    if getattr(logits, "shape", None) != (2, num_classes):
        found = getattr(logits, "shape", type(logits).__name__)
        return f"of 2 images it makes {found}; [2, {num_classes}] logits are needed"
    return ""
