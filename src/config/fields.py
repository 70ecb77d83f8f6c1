"""The fields a config must have, and of which type: any missing, unknown or mistyped is refused."""

import difflib
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from src.config.arms import leaves

# fmt: off
FIELDS: dict[str, type] = {
    "data.name": str, "data.dir": str, "data.stream_size": int, "data.fallback": str,
    "model.name": str, "model.activation": str,  # options of the model may follow
    "recipe": str,
    "batch_size": int, "weight_decay": float, "max_epochs": float, "target_train_error": float,
    "measure": str, "stop_at_target": bool, "points_per_epoch": int,
    "augment.crop": int, "augment.flip": bool, "augment.translation": int,
    "augment.noise": float, "augment.pca": float,
    "train_images": int, "validation_images": int, "schedule.name": str, "schedule.factor": float,
    "schedule.boundaries": tuple, "schedule.patience": int, "schedule.drops": int,
    "test_crops": int, "test_every_epochs": float, "checkpoint_every_epochs": float,
    "learning_rates": tuple, "selection_seeds": tuple, "fresh_seeds": tuple,
    "racing": bool, "racing_slack": object, "thresholds": tuple,
    "compare.field": str, "compare.baseline": object,
    "parallel": str, "workers": int, "tensorboard": bool,
}
RECIPE_FIELDS: dict[str, type] = {  # of every recipes.NAME
    "input": str, "init": str, "momentum": float, "bias_rate": float, "shuffle": bool,
    "learning_rates": tuple,
}
GROUPS = (
    "data", "augment", "schedule", "model", "model_options", "recipes", "compare", "sweep",
    "variants", "arm_learning_rates",
)
# fmt: on
# whose names depend on other fields
OPEN = ("sweep", "variants", "arm_learning_rates", "model_options")


class ConfigError(Exception):
    """A config that cannot be run. The message is one line: field, value, remedy."""


def check_fields(config: Mapping[str, Any]) -> None:
    """Refuses a config with a field too many, too few, or of another type.

    Raises:
        ConfigError: Naming the field and the nearest one there is.
    """
    for group in GROUPS:
        require(group, config.get(group), lambda x: isinstance(x, Mapping), "a group of fields")
    known = dict(FIELDS)
    for name, recipe in config["recipes"].items():
        require(f"recipes.{name}", recipe, lambda x: isinstance(x, Mapping), "a group of fields")
        known |= {f"recipes.{name}.{field}": kind for field, kind in RECIPE_FIELDS.items()}
    found = {dotted(path): value for path, value in leaves(config) if path[0] not in OPEN}
    for name in found:
        if name not in known and not name.startswith("model."):
            raise ConfigError(f"config.{name}: no such field{nearest(name, known)}")
    for name, kind in known.items():
        if name not in found:
            raise ConfigError(f"config.{name} is missing: it should be {describe(kind)}")
        require(name, found[name], functools.partial(same_kind, kind=kind), describe(kind))


def require(name: str, value: Any, valid: Callable[[Any], Any], expected: str) -> None:
    """Refuses a value that is not valid, saying what is expected."""
    if not valid(value):
        raise ConfigError(f"config.{name} = {value!r} should be {expected}")


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Refuses a value that is not among those known, with the nearest one."""
    if value not in known:
        raise ConfigError(
            f"config.{name} = {value!r} is not one of {', '.join(known)}{nearest(value, known)}"
        )


def nearest(value: Any, known: Iterable[Any]) -> str:
    """Such as `; did you mean 'relu'?`, or nothing where nothing is near."""
    near = difflib.get_close_matches(str(value), [str(k) for k in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def same_kind(value: Any, kind: type) -> bool:
    """Whether a value may stand in a field of that type: whole numbers may where numbers may."""
    if kind is float:
        return type(value) in (int, float) and abs(value) < math.inf
    if kind is tuple:
        return isinstance(value, tuple | list)
    return kind is object or type(value) is kind


def describe(kind: type) -> str:
    """A type in words."""
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}
    return names.get(kind, "a value" if kind is object else f"a {kind.__name__}")


def dotted(path: Sequence[Any]) -> str:
    """The path of a field as it stands on the command line."""
    return ".".join(map(str, path))
