"""Nested dicts: the shape in which configs and records are written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Tree = dict[str, Any]
Path = tuple[str, ...]


def leaves(tree: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of a nested mapping with the path of names that leads to it."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def replaced(tree: Mapping[str, Any], path: Sequence[str], value: Any) -> Tree:
    """A plain copy of a nested mapping with one value replaced; missing groups are added."""
    copy = plain(tree)
    node = copy
    for key in path[:-1]:
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    node[path[-1]] = plain(value)
    return copy


def laid_over(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> Tree:
    """A plain copy of a nested mapping in which `changes` replace values at the same paths."""
    result = plain(tree)
    for name, value in changes.items():
        both = isinstance(result.get(name), Mapping) and isinstance(value, Mapping)
        result[name] = laid_over(result[name], value) if both else plain(value)
    return result


def plain(tree: Any) -> Any:
    """A copy in which every mapping is a new dict, and every number of NumPy one of Python."""
    if isinstance(tree, Mapping):
        return {key: plain(value) for key, value in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(map(plain, tree))
    return tree.item() if isinstance(tree, np.generic) else tree


def dotted(path: Sequence[Any]) -> str:
    """The path of a field as it is written on the command line."""
    return ".".join(map(str, path))
