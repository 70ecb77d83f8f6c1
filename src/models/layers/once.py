"""Keeps results in memory that XLA's CPU compiler would compute anew for each reader."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array


def computed_once(fn: Callable[..., Any], *arrays: Array) -> Any:
    """Computes `fn(*arrays)` once, and on a CPU keeps the result in memory.

    XLA's CPU compiler fuses cheap operations into all that read them, and drops optimization
    barriers before it does. It does not fuse into branches of a conditional. So this is one whose
    condition is always true, which XLA cannot tell: a number with its last bit set is not zero.
    Without it pooling is done twice, and its result is transposed element by element.

    The results have their last axis innermost in memory. Else a transposition would be a change of
    layout alone, and the numbers would be moved outside, slowly, by who reads them.
    """
    if jax.default_backend() != "cpu":
        return fn(*arrays)
    number = lax.bitcast_convert_type(arrays[0].ravel()[0].astype(jnp.float32), jnp.int32)
    results = jax.eval_shape(fn, *arrays)
    never = lambda *_: jax.tree.map(lambda r: jnp.zeros(r.shape, r.dtype), results)  # noqa: E731
    return lax.cond((number | 1) != 0, lambda *a: jax.tree.map(_laid_out, fn(*a)), never, *arrays)


def _laid_out(array: Array) -> Array:
    return with_layout_constraint(array, Layout(tuple(range(array.ndim))))
