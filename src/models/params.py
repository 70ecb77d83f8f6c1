"""The parameters of one layer among those of its network.

They are nested dicts by module; a layer's name is the path to it, `conv1` or `inner/conv1`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
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

    They are its `kernel`, or the largest parameter of more than one axis, whatever it is called.
    """
    own = {name: value for name, value in layer.items() if not isinstance(value, Mapping)}
    if "kernel" in own:
        return "kernel"
    several = [name for name in own if sum(n > 1 for n in np.shape(own[name])) > 1]
    return max(several, key=lambda name: np.size(own[name]), default="")


class Calls:
    """Notes the layers of a network as they are called; for `nn.intercept_methods`.

    A layer is a module with a kernel. So is the one that is called last of all, whatever its
    weights are called; before the last, and around other layers, they may be a table of positions
    or the scales of a normalization. A module around others, as the network itself, is the last
    layer if it makes another number of features than the last one within it; then nothing is kept.
    """

    def __init__(self, keep: Callable[[nn.Module, Sequence[Any], Any], None] = lambda *_: None):
        """Notes nothing yet; `keep` is told each layer, what it is given, and what it makes."""
        self.keep = keep
        self._noted: list[tuple[str, str]] = []
        self._features: int | None = None  # Of the last layer's output.

    def __call__(self, call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        before, module = len(self._noted), context.module
        output = call(*args, **kwargs)
        if context.method_name == "__call__":
            name = weights_name(module.variables.get("params", {}))
            alone = len(self._noted) == before
            features = np.shape(output)[-1] if isinstance(output, jax.Array) else None
            is_layer = alone or (name == "kernel" and module.path)
            if name and (is_layer or features != self._features):
                self._noted.append(("/".join(module.path), name))
                self._features = features
                if is_layer and module.path:
                    self.keep(module, (*args, *kwargs.values()), output)
        return output

    @property
    def layers(self) -> list[tuple[str, str]]:
        """Path of each layer, in the order of the calls, and the name of its weights."""
        *others, last = self._noted or [("", "")]
        return [each for each in others if each[1] == "kernel"] + ([last] if last[1] else [])


def with_layer(params: PyTree, name: str, layer: PyTree) -> PyTree:
    """A copy of a network's parameters in which one layer's are replaced by `layer`."""
    first, _, rest = name.partition("/")
    return {**params, first: with_layer(params[first], rest, layer) if rest else layer}
