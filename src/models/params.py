"""The parameters of one layer among those of its network.

They are nested dicts by module; a layer's name is the path to it, `conv1` or `inner/conv1`.
"""

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


def with_layer(params: PyTree, name: str, layer: PyTree) -> PyTree:
    """A copy of a network's parameters in which one layer's are replaced by `layer`."""
    first, _, rest = name.partition("/")
    return {**params, first: with_layer(params[first], rest, layer) if rest else layer}
