"""Activation functions by name; a config file may define its own, see `src.own`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from src import environment, own
from src.errors import one_line
from src.fields import nearest

Activation = Callable[[Array], Array]

# Functions of jax.nn that act on each number by itself -> whether they are flat on both sides, see
# `saturates`.
JAX_NAMES: dict[str, bool] = {
    "celu": False,
    "elu": False,
    "gelu": False,
    "hard_sigmoid": True,
    "hard_silu": False,
    "hard_tanh": True,
    "leaky_relu": False,
    "log_sigmoid": False,
    "mish": False,
    "relu": False,
    "relu6": False,
    "selu": False,
    "sigmoid": True,
    "silu": False,
    "soft_sign": True,
    "softplus": False,
    "sparse_plus": False,
    "squareplus": False,
    "swish": False,
    "tanh": True,
}
ACTIVATIONS = {**JAX_NAMES, "scaled_tanh": True}
ACTIVATION_NAMES = tuple(ACTIVATIONS)
FAR = 4.0  # Four standard deviations of the outputs of a well initialized layer.
FLAT = 0.05  # A derivative below this lets almost no gradient through.


def get_activation(name: str) -> Activation:
    """Finds an activation by its name: `scaled_tanh`, one of `jax.nn`, or a config file's own.

    Raises:
        ValueError: If there is none, with the nearest name.
    """
    if name == "scaled_tanh":
        return scaled_tanh
    if own.is_own(name):
        return _own(name)
    if name not in JAX_NAMES:
        hint = nearest(name, ACTIVATION_NAMES) or f"; known are {', '.join(ACTIVATION_NAMES)}"
        raise ValueError(f"unknown activation{hint}")
    return getattr(jax.nn, name)


def saturates(name: str) -> bool:
    """Whether a function is flat on both sides: its derivative is below 0.05 at -4 and at 4.

    It decides how kernels are initialized: as in Glorot & Bengio (2010) before such functions, as
    in He et al. (2015) before others. A user's own function is measured.
    """
    return ACTIVATIONS[name] if name in ACTIVATIONS else is_flat(get_activation(name))


@functools.cache
def is_flat(fn: Activation) -> bool:
    """Measures whether a function is flat on both sides, see `saturates`.

    It is asked of four channels at once, for it may act on all of them.
    """
    with jax.ensure_compile_time_eval():
        slopes = jax.jacobian(lambda x: fn(x[None])[0])(jnp.array([-FAR, FAR, -FAR, FAR]))
    return bool(np.all(np.abs(np.diag(slopes)) < FLAT))


@functools.cache
def _own(name: str) -> Activation:
    """Finds a function of a config file, and tries it on a few numbers.

    Raises:
        ValueError: Saying what is wrong with it.
    """
    found = own.find(name)
    if not callable(found) or isinstance(found, type):
        raise ValueError(f"{name.rpartition('.')[2]} is not a function that the file defines")
    environment.find_devices()
    _try(found)
    return found


def _try(fn: Activation) -> None:
    """Calls a function as networks do, so that each mistake is explained by itself.

    Raises:
        ValueError: Saying what is wrong.
    """
    x = np.random.default_rng(0).uniform(-3, 3, (2, 3, 4)).astype(np.float32)
    x[1] /= 2  # The two images differ in their largest number, mean and norm.
    try:
        with jax.ensure_compile_time_eval(), jax.debug_nans(False):
            y, again = (_traced_anew(fn, jnp.asarray(x)) for _ in range(2))
            alone = [fn(jnp.asarray(row)) for row in x]
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(f"it fails on an array of {x.shape}: {reason}") from None
    if not isinstance(y, jax.Array):
        raise ValueError(f"it returns {type(y).__name__}; an array is needed, see jax.numpy")
    if y.shape != x.shape:
        raise ValueError(f"of an array of {x.shape} it makes one of {y.shape}: keep the shape")
    if y.dtype != x.dtype:
        raise ValueError(f"of an array of {x.dtype} it makes one of {y.dtype}: keep the type")
    if not np.all(np.isfinite(y)):
        raise ValueError("of numbers between -3 and 3 it makes infinities or NaN")
    if not np.array_equal(y, again):
        raise ValueError(
            "of the same numbers it makes others each time: let it depend on them alone"
        )
    if not np.allclose(y, np.stack(alone), rtol=1e-5, atol=1e-6):
        raise ValueError("an image's result depends on the other images: act on each by itself")


def _traced_anew(fn: Activation, x: Array) -> Any:
    """What a function makes of an array; JAX has no program of an earlier call."""
    return jax.jit(lambda x: fn(x))(x)  # noqa: PLW0108


def scaled_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1.7159 tanh(2x/3), which maps 1 to 1 (LeCun et al. 1998, "Efficient BackProp", 4.4)."""
    return 1.7159 * jnp.tanh(2 * x / 3)
