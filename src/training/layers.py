"""Statistics of a network's layers while it trains: are units saturated, do they still learn?

For each layer that has a kernel, but for the last layer, on some training images:

    LAYER_deviation    standard deviation of its outputs, before pooling and activation
    LAYER_saturated    share of them where the activation's derivative is below 0.19 of its largest:
                       |tanh| above 0.9; for ReLU those below zero
    LAYER_derivative   mean derivative of the activation there; gradients are multiplied by it
    LAYER_step         norm of the velocity over the norm of the weights; only where the optimizer
                       has one: of momentum it is the newest update, if the layer is not frozen

The network's activation, its field `activation`, is taken to follow each of them; without such a
field LAYER_saturated and LAYER_derivative are left out. Where none does, as behind fc64 of
`quick`, or pooling stands between, as behind conv1 of `conv3`, LAYER_saturated and LAYER_derivative
tell what it would do there. Of an activation that mixes channels the derivative is that of each
number by itself, estimated by random signs. Layers within `nn.vmap` or `nn.scan` are left out.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from src.models import get_activation
from src.models.activations import Activation
from src.models.params import Calls, get_layer

SATURATED = 0.19  # 1 - 0.9^2, the derivative of tanh where tanh is 0.9.
KEPT = "kept_of_layers"  # The collection of variables that takes them out of the network.
Statistics = dict[str, Array]


def make_layer_statistics(
    model: nn.Module, activation: str | None
) -> Callable[[PyTree, PyTree, Float[Array, "B H W C"]], Statistics]:
    """Makes the function (variables, opt_state, pixels [B, H, W, C]) -> statistics by name.

    Args:
        model: The network.
        activation: Name of the function behind its hidden layers; None if the network does not say,
            and then LAYER_saturated and LAYER_derivative are left out.
    """
    act = get_activation(activation) if activation else None
    numbers = jnp.linspace(-4.0, 4.0, 801)
    both = jnp.stack([numbers, numbers[::-1]] * 2, axis=-1)
    largest = jnp.max(_slopes(act, both)) if act else 0.0

    def statistics(variables: PyTree, opt_state: PyTree, pixels: Array) -> Statistics:
        layers = call_layers(model, variables, pixels, "output")[1]
        velocities = _velocities(opt_state)
        found: Statistics = {}
        for name, x in dict(layers).items():
            if x is None or name == layers[-1][0]:  # No activation follows the last layer.
                continue
            short = name.replace("/", ".")
            found[f"{short}_deviation"] = jnp.std(x)
            if act:
                slopes = _slopes(act, x)
                found[f"{short}_saturated"] = jnp.mean(slopes < SATURATED * largest)
                found[f"{short}_derivative"] = jnp.mean(slopes)
            if (step := velocities.get(f"{name}/kernel")) is not None:
                weights = get_layer(variables["params"], name)["kernel"]
                found[f"{short}_step"] = jnp.linalg.norm(step.ravel()) / jnp.linalg.norm(
                    weights.ravel()
                )
        return found

    return statistics


def _slopes(act: Activation, x: Array) -> Array:
    """The derivative of each result by its own number.

    Signs by which the results and then the slopes are multiplied leave those of a function of each
    number as they are, and make those by other numbers cancel out.
    """
    signs = jax.random.rademacher(jax.random.key(0), x.shape, x.dtype)
    (slopes,) = jax.vjp(act, x)[1](signs)
    return signs * slopes


def call_layers(
    model: nn.Module,
    variables: PyTree,
    pixels: Array,
    kept: Literal["input", "output"],
) -> tuple[Array, list[tuple[str, Array | None]]]:
    """Logits, and a list (path, input or output) of the layers, see `Calls`, as they are called.

    Of a layer that is called again, that of the last call counts. They leave the network as
    variables do, for a layer may stand inside a transformation of its own, such as `nn.remat`. The
    path of the network itself is empty.
    """

    def keep(module: nn.Module, given: Sequence[Any], output: Any) -> None:
        arrays = (x for x in ((output,) if kept == "output" else given) if isinstance(x, Array))
        value = next(arrays, None)
        module.sow(KEPT, f"its_{kept}", value, reduce_fn=lambda _, newest: newest)

    calls = Calls(keep)
    with nn.intercept_methods(calls):
        logits, found = model.apply(variables, pixels, keys=None, mutable=[KEPT])
    return logits, [(path, _kept(found, path, f"its_{kept}")) for path, _ in calls.layers]


def _kept(found: PyTree, name: str, kept: str) -> Array | None:
    """What a layer has left; None of one that a transformation, such as `nn.vmap`, has hidden."""
    try:
        return get_layer(found[KEPT], name)[kept]
    except KeyError:
        return None


def _velocities(opt_state: PyTree) -> dict[str, Array]:
    """The velocities of momentum by the paths of their parameters, conv1/kernel.

    An optimizer may have none, or one for each group of parameters; of two of the same parameter
    the first counts.
    """
    is_trace = lambda x: isinstance(x, optax.TraceState)  # noqa: E731
    traces = [x for x in jax.tree.leaves(opt_state, is_leaf=is_trace) if is_trace(x)]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): velocity
        for each in reversed(traces)
        for path, velocity in jax.tree_util.tree_leaves_with_path(each.trace)
    }
