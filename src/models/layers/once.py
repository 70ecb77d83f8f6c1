"""Results kept in memory, where XLA's CPU compiler would compute them anew for each reader."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


def computed_once(fn: Callable[..., Any], *arrays: Array) -> Any:
    """`fn(*arrays)`, computed once and kept in memory on a CPU.

    XLA's CPU compiler fuses cheap operations into all that read them, and drops optimization
    barriers before it does. It leaves the branches of a conditional alone, so this is one whose
    other branch is never taken: a number with its last bit set is not zero. Without it
    pooling is done twice, and its result is transposed while it is computed, element by element.
    """
    if jax.default_backend() != "cpu":
        return fn(*arrays)
    number = lax.bitcast_convert_type(arrays[0].ravel()[0].astype(jnp.float32), jnp.int32)
    results = jax.eval_shape(fn, *arrays)
    never = lambda *_: jax.tree.map(lambda r: jnp.zeros(r.shape, r.dtype), results)  # noqa: E731
    return lax.cond((number | 1) != 0, fn, never, *arrays)
