"""Every field of a config is checked here, before anything is compiled or written."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from src import models
from src.trials import RUNTIME_FIELDS, STUDY_FIELDS, column, leaves, make_arms, replaced

SEED_LIMIT = 2**31


class ConfigError(Exception):
    """A config that cannot be run. The message is one line: field, value, remedy."""


def check_config(config: Mapping[str, Any]) -> None:
    """Refuses a config that cannot be run as it says.

    Raises:
        ConfigError: Naming the field, its value and what would be valid.
    """
    _check_names(config)
    _check_numbers(config)
    _check_augment(config["augment"])
    _check_sweep(config)
    arms = make_arms(config)
    for arm in arms:
        _check_model(arm.settings["model"])
    for name in config["arm_learning_rates"]:
        _one_of("arm_learning_rates", name, [arm.name for arm in arms])
    _check_compare(config)


def check_devices(config: Mapping[str, Any], devices: int) -> None:
    """Refuses a batch that cannot be split evenly.

    Raises:
        ConfigError: Naming the nearest size that can.
    """
    size = config["batch_size"]
    if size % devices:
        nearest = max(devices, size - size % devices)
        raise ConfigError(
            f"config.batch_size = {size} cannot be split evenly over {devices} devices;"
            f" try {nearest}, or run on fewer devices"
        )


def check_images(config: Mapping[str, Any], height: int, width: int) -> None:
    """Refuses crops that do not fit into the images of the data set."""
    for arm in make_arms(config):
        crop = arm.settings["augment"]["crop"]
        expected = f"at most {min(height, width)}: images are {height} x {width}"
        _require("augment.crop", crop, lambda n: n <= min(height, width), expected)


def _check_names(config: Mapping[str, Any]) -> None:
    _one_of("recipe", config["recipe"], tuple(config["recipes"]))
    _one_of("measure", config["measure"], ("online", "frozen"))
    _one_of("parallel", config["parallel"], ("pmap", "shard_map"))
    _one_of("data.fallback", config["data"]["fallback"], ("none", "procedural"))
    _require(
        "data.name", config["data"]["name"], lambda name: name.strip(), "the name of a data set"
    )
    for name, recipe in config["recipes"].items():
        _one_of(f"recipes.{name}.input", recipe["input"], ("centered", "standardized"))
        _one_of(f"recipes.{name}.init", recipe["init"], models.INITS)


def _check_numbers(config: Mapping[str, Any]) -> None:
    for name in ("batch_size", "points_per_epoch"):
        _require(name, config[name], lambda n: 1 <= n <= 10**6, "a whole number of at least 1")
    for name in ("max_epochs", "test_every_epochs", "checkpoint_every_epochs"):
        _require(name, config[name], lambda n: 0 < n <= 10**5, "a positive number of epochs")
    _require(
        "workers",
        config["workers"],
        lambda n: 0 <= n <= 1024,
        "0 (one per core) or a number of processes",
    )
    _require(
        "weight_decay",
        config["weight_decay"],
        lambda x: 0 <= x < 1,
        "a fraction in [0, 1), 0.0005 in the paper",
    )
    _require("racing_slack", config["racing_slack"], lambda x: x >= 1, "at least 1, or inf")
    _fraction("target_train_error", config["target_train_error"])
    _rates("learning_rates", config["learning_rates"], may_be_empty=True)
    for name, rates in config["arm_learning_rates"].items():
        _rates(f"arm_learning_rates.{name}", rates)
    for name, recipe in config["recipes"].items():
        _rates(f"recipes.{name}.learning_rates", recipe["learning_rates"])
        _require(
            f"recipes.{name}.momentum",
            recipe["momentum"],
            lambda m: 0 <= m < 1,
            "a fraction in [0, 1)",
        )
        _require(
            f"recipes.{name}.bias_rate",
            recipe["bias_rate"],
            lambda r: 0 <= r <= 1000,
            "a factor of at least 0",
        )
    for value in _tuple("thresholds", config["thresholds"]):
        _fraction("thresholds", value)
    seeds = [
        (name, seed)
        for name in ("selection_seeds", "fresh_seeds")
        for seed in _tuple(name, config[name])
    ]
    for name, seed in seeds:
        _require(
            name,
            seed,
            lambda s: isinstance(s, int) and 0 <= s < SEED_LIMIT,
            "whole numbers from 0 to 2^31 - 1",
        )
    if len({seed for _, seed in seeds}) < len(seeds):
        raise ConfigError(
            f"config.fresh_seeds = {config['fresh_seeds']} must hold no seed twice and none of the"
            f" selection_seeds {config['selection_seeds']}: fresh means not used to choose"
        )


def _check_augment(augment: Mapping[str, Any]) -> None:
    for name in ("crop", "translation"):
        _require(
            f"augment.{name}",
            augment[name],
            lambda n: isinstance(n, int) and 0 <= n <= 1000,
            "0 (off) or a number of pixels",
        )
    for name in ("noise", "pca"):
        _require(
            f"augment.{name}", augment[name], lambda x: 0 <= x <= 255, "0 (off) or a deviation"
        )


def _check_sweep(config: Mapping[str, Any]) -> None:
    for path, values in leaves(config["sweep"]):
        name = ".".join(path)
        default = _get(config, path)
        if default is _MISSING or path[0] in (*STUDY_FIELDS, *RUNTIME_FIELDS):
            known = [
                ".".join(p)
                for p, _ in leaves(config)
                if p[0] not in (*STUDY_FIELDS, *RUNTIME_FIELDS)
            ]
            raise ConfigError(f"config.sweep.{name}: no such field to sweep{_nearest(name, known)}")
        for value in _tuple(f"sweep.{name}", values):
            if not _same_kind(value, default):
                raise ConfigError(
                    f"config.sweep.{name} holds {value!r}; config.{name} is {_kind(default)}"
                )
            swept = replaced(config, path, value)
            _check_names(swept)
            _check_numbers(swept)
            _check_augment(swept["augment"])
        if len(set(values)) < len(values):
            raise ConfigError(f"config.sweep.{name} = {values} holds a value twice")


def _check_model(model: Mapping[str, Any]) -> None:
    options = {key: value for key, value in model.items() if key not in ("name", "activation")}
    _one_of("model.name", model["name"], models.MODEL_NAMES)
    try:
        models.get_activation(model["activation"])
    except ValueError as error:
        raise ConfigError(f"config.model.activation = {model['activation']!r}: {error}") from None
    known = models.model_options(model["name"])
    for key, value in options.items():
        if key not in known:
            raise ConfigError(
                f"config.model.{key}: {model['name']} has no such option{_nearest(key, known)}"
            )
        if not _same_kind(value, known[key]):
            raise ConfigError(f"config.model.{key} = {value!r} should be {_kind(known[key])}")
    try:
        models.make_model(
            model["name"], activation=model["activation"], init="modern", num_classes=10, **options
        )
    except ValueError as error:
        raise ConfigError(f"config.model: {error}") from None


def _check_compare(config: Mapping[str, Any]) -> None:
    swept = {column(path): tuple(values) for path, values in leaves(config["sweep"])}
    field, baseline = config["compare"]["field"], config["compare"]["baseline"]
    if swept and field not in swept:
        raise ConfigError(f"config.compare.field = {field!r} is not swept{_nearest(field, swept)}")
    if swept and baseline not in swept[field]:
        raise ConfigError(
            f"config.compare.baseline = {baseline!r} is not among the swept values {swept[field]}"
        )


# --- Small helpers. ---

_MISSING = object()


def _require(name: str, value: Any, valid: Callable[[Any], Any], expected: str) -> None:
    if not valid(value):
        raise ConfigError(f"config.{name} = {value!r} should be {expected}")


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(
            f"config.{name} = {value!r} is not one of {', '.join(known)}{_nearest(value, known)}"
        )


def _nearest(value: Any, known: Any) -> str:
    near = difflib.get_close_matches(str(value), [str(k) for k in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _fraction(name: str, value: float) -> None:
    hint = f"; did you mean {value / 100:g}?" if 1 <= value <= 100 else ""
    _require(name, value, lambda x: 0 < x < 1, f"a fraction between 0 and 1{hint}")


def _rates(name: str, rates: Any, *, may_be_empty: bool = False) -> None:
    if may_be_empty and not rates:
        return
    for rate in _tuple(name, rates):
        _require(name, rate, lambda r: _is_number(r) and 0 < r < math.inf, "positive numbers")
    if len({f"{rate:g}" for rate in rates}) < len(rates):
        raise ConfigError(f"config.{name} = {tuple(rates)} holds a rate twice")


def _tuple(name: str, values: Any) -> Sequence[Any]:
    if not isinstance(values, tuple | list) or not values:
        raise ConfigError(f"config.{name} = {values!r} should be a tuple of at least one value")
    return values


def _same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, float):
        return _is_number(value) and math.isfinite(value)
    return type(value) is type(default)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}.get(
        type(value), f"a {type(value).__name__}"
    )


def _get(tree: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(tree, Mapping) or key not in tree:
            return _MISSING
        tree = tree[key]
    return tree
