"""The parameters of one layer among those of its network.

They are nested dicts by module; a layer's name is the path to it, `conv1` or `inner/conv1`.
"""

from collections.abc import Mapping

import flax.linen as nn
import numpy as np
from jaxtyping import PyTree


def get_layer(params: PyTree, name: str) -> PyTree:
    """The parameters of one layer, {} if it has none.

    Args:
        params: Those of the network, or a tree of the same structure, such as its gradients.
        name: The layer's path.
    """
    for part in name.split("/"):
        params = params.get(part, {})
    return params


def weights_name(layer: PyTree) -> str:
    """The name of a layer's weights among its own parameters; "" if it has none.

    They are its `kernel`, or the first parameter of more than one axis, whatever it is called.
    """
    if "kernel" in layer and not isinstance(layer["kernel"], Mapping):
        return "kernel"
    own = ((name, value) for name, value in layer.items() if not isinstance(value, Mapping))
    several = (name for name, value in own if sum(n > 1 for n in np.shape(value)) > 1)
    return next(several, "")


def has_weights(module: nn.Module) -> bool:
    """Whether a module that is being called has weights itself, not in a module within it."""
    return bool(weights_name(module.variables.get("params", {})))


def with_layer(params: PyTree, name: str, layer: PyTree) -> PyTree:
    """A copy of a network's parameters in which one layer's are replaced by `layer`."""
    first, _, rest = name.partition("/")
    return {**params, first: with_layer(params[first], rest, layer) if rest else layer}
