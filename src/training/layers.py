"""Statistics of a network's layers while it trains: are units saturated, do they still learn?

For each layer that has a kernel, but for the last, on some training images:

    LAYER_deviation    standard deviation of its outputs, before pooling and activation
    LAYER_saturated    share of them where the activation's derivative is below 0.19 of its largest:
                       |tanh| above 0.9; for ReLU the units that are zero
    LAYER_derivative   mean derivative of the activation there; gradients are multiplied by it
    LAYER_step         norm of the velocity over the norm of the weights; only with optimizers that
                       have one: of momentum it is the newest update, if the layer is not frozen

The network's activation is taken to follow each of them. Where none does, as behind fc64 of
`quick`, LAYER_saturated and LAYER_derivative tell what it would do there.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from src.models import get_activation
from src.models.params import get_layer

SATURATED = 0.19  # 1 - 0.9^2, the derivative of tanh where tanh is 0.9.
Statistics = dict[str, Array]


def make_layer_statistics(
    model: nn.Module, activation: str
) -> Callable[[PyTree, PyTree, Float[Array, "B H W C"]], Statistics]:
    """Makes the function (variables, opt_state, pixels [B, H, W, C]) -> statistics by name.

    Args:
        model: The network.
        activation: Name of the function behind its hidden layers.
    """
    slope = jax.grad(get_activation(activation))
    largest = jnp.max(jax.vmap(slope)(jnp.linspace(-4.0, 4.0, 801)))

    def statistics(variables: PyTree, opt_state: PyTree, pixels: Array) -> Statistics:
        outputs = _outputs(model, variables, pixels)
        updates = _last_updates(opt_state)
        found: Statistics = {}
        for name, x in list(outputs.items())[:-1]:  # No activation follows the last layer.
            slopes = jax.vmap(slope)(x.ravel())
            short = name.replace("/", ".")
            found[f"{short}_deviation"] = jnp.std(x)
            found[f"{short}_saturated"] = jnp.mean(slopes < SATURATED * largest)
            found[f"{short}_derivative"] = jnp.mean(slopes)
            if updates is not None:
                step, weights = (
                    get_layer(tree, name)["kernel"] for tree in (updates, variables["params"])
                )
                found[f"{short}_step"] = jnp.linalg.norm(step.ravel()) / jnp.linalg.norm(
                    weights.ravel()
                )
        return found

    return statistics


def _outputs(model: nn.Module, variables: PyTree, pixels: Array) -> dict[str, Array]:
    """The outputs of every layer with a kernel, by its path, in the order of the calls."""
    outputs: dict[str, Array] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        output = call(*args, **kwargs)
        if context.method_name == "__call__" and context.module.has_variable("params", "kernel"):
            outputs["/".join(context.module.path)] = output
        return output

    with nn.intercept_methods(note):
        model.apply(variables, pixels, keys=None)
    return outputs


def _last_updates(opt_state: PyTree) -> PyTree | None:
    """The velocity of momentum; None with other optimizers."""
    is_trace = lambda x: isinstance(x, optax.TraceState)  # noqa: E731
    found = [x for x in jax.tree.leaves(opt_state, is_leaf=is_trace) if is_trace(x)]
    return found[0].trace if found else None
