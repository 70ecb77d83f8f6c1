"""A data set and a study that train in a moment."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from configs import base
from src.config.config import Config
from src.data import Dataset, Split, digest
from src.records.trial import Identity
from src.trees import Tree

SIZE = 8  # pixels


def make_dataset(
    train: int = 64, test: int = 24, *, name: str = "tiny", size: int = SIZE
) -> Dataset:
    """Square images of ten classes that differ in brightness and colour, with some noise."""
    splits = [
        _make_split(np.random.default_rng(seed), count, size)
        for seed, count in enumerate((train, test))
    ]
    names = tuple("abcdefghij")
    return Dataset(name, *splits, len(names), names, digest(*splits))


def _make_split(rng: np.random.Generator, count: int, size: int) -> Split:
    labels = rng.integers(0, 10, count).astype(np.int32)
    colours = 20 * labels[:, None] + np.array([10, 30, 50]) * (labels[:, None] % 2)
    noise = rng.normal(0, 20, (count, size, size, 3))
    images = np.clip(colours[:, None, None, :] + noise, 0, 255).astype(np.uint8)
    return Split(images, labels)


def make_config(**changes: Any) -> Config:
    """The base config, small and checked; see `make_tree`."""
    return Config.read(make_tree(**changes))


def make_tree(**changes: Any) -> Tree:
    """The base config, small; `changes` are fields by their path, dots as two underscores."""
    config = base.get_config()
    config.batch_size = 16
    config.max_epochs = 4.0
    config.points_per_epoch = 4
    config.test_every_epochs = 2.0
    config.checkpoint_every_epochs = 2.0
    for path, value in changes.items():
        *parents, last = path.split("__")
        node: Any = config
        for name in parents:
            node = node[name]
        with node.unlocked(), node.ignore_type():
            node[last] = value
    return config.to_dict()


def draw_params(model: nn.Module, size: int) -> Mapping[str, Any]:
    """Parameters as after some training: of He's deviation, and no bias is zero.

    By NumPy, for to compile how a large network begins takes longer than to compile the network.
    """
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        deviation = math.sqrt(2 / math.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.1
        return rng.normal(0, deviation, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, shapes)


def same(one: Any, other: Any) -> bool:
    """Whether two trees of one structure hold equal arrays."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def identity(trial: str) -> Identity:
    """The owner of a trial's records."""
    return Identity("5717d1", trial, "settings", "data")


def without_times(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of records without what a clock decided; floats as words, for NaN equals nothing."""
    kept = {key: value for key, value in row.items() if "seconds" not in key}
    return {key: str(value) if isinstance(value, float) else value for key, value in kept.items()}
