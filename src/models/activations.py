"""Activation functions by name.

A config file may define one of its own, named by where it is: `configs.mine.squared_relu`. Names
are all that processes and records exchange; whoever needs the function imports that file.
"""

import difflib
import hashlib
import importlib
import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Activation = Callable[[Array], Array]

# Of jax.nn, those that act on each number by itself and keep its shape.
# fmt: off
JAX_NAMES = (
    "celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "log_sigmoid",
    "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus", "sparse_plus",
    "squareplus", "swish", "tanh",
)
# fmt: on
OWN = "configs."  # begins the name of a function that a config file defines
ACTIVATION_NAMES = (*JAX_NAMES, "scaled_tanh")
SATURATING = frozenset(
    ("tanh", "scaled_tanh", "sigmoid", "hard_tanh", "hard_sigmoid", "soft_sign", "log_sigmoid")
)


def get_activation(name: str) -> Activation:
    """The activation of that name: `scaled_tanh`, one of `jax.nn`'s, or a config file's own.

    Raises:
        ValueError: If there is none, with the nearest name that there is.
    """
    if name == "scaled_tanh":
        return scaled_tanh
    if name.startswith(OWN):
        return _own(name)
    if name not in JAX_NAMES:
        near = difflib.get_close_matches(name, ACTIVATION_NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(ACTIVATION_NAMES)}"
        raise ValueError(f"unknown activation; {hint}")
    return getattr(jax.nn, name)


def own_source(name: str) -> str | None:
    """SHA-256 of the text of a config file's own function, to tell when it has changed; else None.

    Functions that it calls are not looked at.
    """
    if not name.startswith(OWN):
        return None
    return hashlib.sha256(inspect.getsource(_own(name)).encode()).hexdigest()


def _own(name: str) -> Activation:
    module, _, function = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        hint = "a function of configs/NAME.py is configs.NAME.FUNCTION"
        raise ValueError(f"{error}; {hint}") from None
    if not inspect.isfunction(inspect.unwrap(found)):
        raise ValueError(f"{function} is not a function that the file defines")
    return found


def scaled_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1.7159 tanh(2x/3), which maps 1 to 1 (LeCun et al. 1998, "Efficient BackProp", 4.4)."""
    return 1.7159 * jnp.tanh(2 * x / 3)
