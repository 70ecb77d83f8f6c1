"""Options that several networks have in common, and their checks."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from src.fields import AtLeast, OneOf, Rule, declared

LRN = OneOf("paper", "caffe", "within", "paper_net", "constant", "none")
DROPOUT = Rule(lambda rate: 0 <= rate < 1, "a fraction in [0, 1)")
WIDTH = AtLeast(0, "a factor of at least 0", most=1000)

# Options that a recipe's `init` decides unless they are set.
BY_INIT = {
    "dropout_scale": {"paper": "testing", "modern": "training"},
    "ones": {"paper": "yes", "modern": "no"},
}


def decided(name: str, value: str, init: str) -> str:
    """The value of an option in `BY_INIT` with a recipe's `init`."""
    return BY_INIT[name][init] if value == "by_init" else value


def check_options(module: nn.Module) -> None:
    """Checks that the options of a network fulfil the rules of their declarations.

    Configs are checked when they are read; this serves networks that are made in Python.

    Raises:
        ValueError: Naming the option, its value and what it should be.
    """
    network: Any = type(module)
    for field in declared(network):
        (name,) = field.path
        value = getattr(module, name)
        for rule in field.rules:
            if isinstance(rule, OneOf):
                check_choice(name, value, rule.names)
            elif not rule.holds(value):
                raise ValueError(f"{name} = {value!r} should be {rule.words}")


def check_choice(name: str, value: object, known: Sequence[object]) -> None:
    """Checks that `value` is one of `known`.

    Raises:
        ValueError: Naming the option, its value and the known ones.
    """
    if value not in known:
        raise ValueError(f"{name} = {value!r} is not one of {', '.join(map(repr, known))}")


def scaled(features: int, width: float, multiple: int = 1) -> int:
    """Number of features in a net `width` times as wide, rounded to a multiple of `multiple`."""
    return max(1, round(features * width / multiple)) * multiple
