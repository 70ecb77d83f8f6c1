"""Tries a user's own network on a few images before a study begins, and explains each mistake.

It comes after `registry.fault`, which finds mistakes without computing anything.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from src.errors import one_line

IMAGES = 4
QUICKLY = {"xla_backend_optimization_level": 0}  # These programs run once.


def fault(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """What is wrong with a network whose logits have the right shape; "" if nothing is.

    Args:
        model: The network, from `make_model`.
        shape: Height, width and channels of its images.
    """
    images = np.random.default_rng(0).standard_normal((IMAGES, *shape), np.float32)
    try:
        with jax.debug_nans(False):
            return _fault(model, jnp.asarray(images))
    except (Exception, SystemExit) as error:  # The user's code may raise anything.
        return f"{type(error).__name__}: {one_line(error)}"


def _fault(model: nn.Module, images: Array) -> str:
    first, again = _begin(model, images), _begin(model, images)
    if not jax.tree.leaves(first.get("params", {})):
        return "it has no parameters: there is nothing to train"
    for path, value in jax.tree_util.tree_leaves_with_path(first["params"]):
        name = jax.tree_util.keystr(path)
        if not all(isinstance(step, jax.tree_util.DictKey) for step in path):
            return f"its parameters {name} lie in a list: give each a name"
        if value.dtype != jnp.float32:
            return f"its parameter {name} is of {value.dtype}; float32 is needed"
    if not _same(first, again):
        return "it begins with other weights each time: draw them from the key that flax hands on"
    return _fault_in_testing(model, first, images) or _fault_in_training(model, first, images)


def _fault_in_testing(model: nn.Module, variables: PyTree, images: Array) -> str:
    tested = _test(model, variables, images)
    if not isinstance(tested, Array):
        return f"while testing it must return logits alone; it returns a {type(tested).__name__}"
    if tested.dtype != jnp.float32:
        return f"it makes logits of {tested.dtype}; float32 is needed"
    if not np.all(np.isfinite(tested)):
        return "of ordinary images it makes infinities or NaN"
    if np.allclose(_test(model, variables, images[:1]), tested[:1], rtol=1e-3, atol=1e-4):
        return ""
    if np.allclose(_test(model, variables, images), tested, rtol=1e-3, atol=1e-4):
        return "while testing, the logits of an image depend on the other images"
    return "it makes other logits of the same images each time: draw random numbers by keys"


def _fault_in_training(model: nn.Module, variables: PyTree, images: Array) -> str:
    kept = {name: value for name, value in variables.items() if name != "params"}
    keys = jax.random.split(jax.random.key(1), IMAGES)

    def mean(params: PyTree) -> tuple[Array, tuple[Array, PyTree]]:
        outputs: Any
        outputs, after = model.apply(
            {"params": params, **kept}, images, keys=keys, rngs={"dropout": keys[0]},
            mutable=list(kept),
        )  # fmt: skip
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        return jnp.mean(logits), (logits, dict(after))

    found, (logits, after) = _quickly(jax.grad(mean, has_aux=True))(variables["params"])
    if logits.ndim != 2 or len(logits) != IMAGES:
        return f"while training, it makes logits {list(logits.shape)} of {IMAGES} images"
    if _kinds(after) != _kinds(kept):
        return (
            f"while training, it makes {', '.join(kept)} of other names, shapes or types than it"
            " began with"
        )
    if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found)):
        return "while training, its gradient is infinite or NaN"
    return ""


def _begin(model: nn.Module, images: Array) -> PyTree:
    return _quickly(lambda key: dict(model.init(key, images[:1])))(jax.random.key(0))


def _test(model: nn.Module, variables: PyTree, images: Array) -> Any:
    return _quickly(lambda *given: model.apply(*given, keys=None))(variables, images)


def _quickly(fn: Any) -> Any:
    """The function compiled with little effort."""
    options = QUICKLY if jax.default_backend() == "cpu" else {}
    return jax.jit(fn, compiler_options=options)


def _kinds(variables: PyTree) -> dict[str, tuple[Any, ...]]:
    """Shape and type of each variable, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {jax.tree_util.keystr(path): (leaf.shape, leaf.dtype) for path, leaf in leaves}


def _same(one: PyTree, other: PyTree) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(_numbers(a), _numbers(b)) for a, b in pairs)


def _numbers(leaf: Array) -> Array:
    """A leaf, or of a random key, which NumPy cannot compare, what it is made of."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf
