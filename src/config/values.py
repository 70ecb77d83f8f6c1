"""Every value of a config by itself: what range it may be in, which names there are."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from src import models
from src.config.fields import ConfigError, one_of, require, same_kind
from src.training.schedule import NAMES

SEED_LIMIT = 2**31


def check_values(config: Mapping[str, Any]) -> None:
    """Refuses a value that no study can have.

    Raises:
        ConfigError: Naming the field, its value and what would be valid.
    """
    _check_names(config)
    _check_numbers(config)
    _check_augment(config["augment"])
    _check_schedule(config)
    _check_views(config)


def _check_names(config: Mapping[str, Any]) -> None:
    one_of("recipe", config["recipe"], tuple(config["recipes"]))
    one_of("measure", config["measure"], ("online", "frozen"))
    one_of("parallel", config["parallel"], ("pmap", "shard_map"))
    one_of("data.fallback", config["data"]["fallback"], ("none", "procedural"))
    name, folder = config["data"]["name"], config["data"]["dir"]
    require("data.name", name, lambda _: name.strip() and name.isprintable(), "a data set's name")
    require("data.dir", folder, str.isprintable, "a folder")
    for name, recipe in config["recipes"].items():
        one_of(f"recipes.{name}.input", recipe["input"], ("centered", "standardized"))
        one_of(f"recipes.{name}.init", recipe["init"], models.INITS)


def _check_numbers(config: Mapping[str, Any]) -> None:
    for name, (valid, expected) in _RANGES.items():
        require(name, config[name], valid, expected)
    _fraction("target_train_error", config["target_train_error"])
    for value in require_tuple("thresholds", config["thresholds"]):
        _fraction("thresholds", value)
    if config["learning_rates"]:
        _check_rates("learning_rates", config["learning_rates"])
    for name, rates in config["arm_learning_rates"].items():
        _check_rates(f"arm_learning_rates.{name}", rates)
    for name, recipe in config["recipes"].items():
        _check_rates(f"recipes.{name}.learning_rates", recipe["learning_rates"])
        for field, (valid, expected) in _RECIPE_RANGES.items():
            require(f"recipes.{name}.{field}", recipe[field], valid, expected)
    _check_seeds(config)


# fmt: off
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "batch_size": (lambda n: 1 <= n <= 10**6, "a whole number of at least 1"),
    "points_per_epoch": (lambda n: 1 <= n <= 10**6, "a whole number of at least 1"),
    "max_epochs": (lambda n: 0 < n <= 10**5, "a positive number of epochs"),
    "test_every_epochs": (lambda n: 0 < n <= 10**5, "a positive number of epochs"),
    "checkpoint_every_epochs": (lambda n: 0 < n <= 10**5, "a positive number of epochs"),
    "weight_decay": (lambda x: 0 <= x < 1, "a fraction in [0, 1), 0.0005 in the paper"),
    "workers": (lambda n: 0 <= n <= 1024, "0 (one per core) or a number of processes"),
    "racing_slack": (
        lambda x: x == math.inf or (same_kind(x, float) and 1 <= x <= 10**6),
        "a number of at least 1, or inf",
    ),
}
_RECIPE_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "momentum": (lambda x: 0 <= x < 1, "a fraction in [0, 1)"),
    "bias_rate": (lambda x: 0 <= x <= 1000, "a factor of at least 0"),
}
# fmt: on


def _check_rates(name: str, rates: Any) -> None:
    for rate in require_tuple(name, rates):
        require(name, rate, _is_rate, "positive numbers, 1e-12 to 1e6")
    if len({f"{rate:g}" for rate in rates}) < len(rates):
        raise ConfigError(f"config.{name} = {tuple(rates)} holds a rate twice")


def _is_rate(rate: Any) -> bool:
    return same_kind(rate, float) and 1e-12 <= rate <= 1e6


def _check_seeds(config: Mapping[str, Any]) -> None:
    seeds: list[int] = []
    for name in ("selection_seeds", "fresh_seeds"):
        for seed in require_tuple(name, config[name]):
            require(name, seed, _is_seed, "whole numbers from 0 to 2^31 - 1")
            seeds.append(seed)
    if len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"config.fresh_seeds = {config['fresh_seeds']} must hold no seed twice and none of the"
            f" selection_seeds {config['selection_seeds']}: fresh means not used to choose"
        )


def _is_seed(seed: Any) -> bool:
    return type(seed) is int and 0 <= seed < SEED_LIMIT


def _check_augment(augment: Mapping[str, Any]) -> None:
    for name in ("crop", "translation"):
        value = augment[name]
        require(f"augment.{name}", value, lambda n: 0 <= n <= 1000, "0 (off) or pixels")
    for name in ("noise", "pca"):
        value = augment[name]
        require(f"augment.{name}", value, lambda x: 0 <= x <= 255, "0 (off) or a deviation")


def _check_schedule(config: Mapping[str, Any]) -> None:
    schedule = config["schedule"]
    one_of("schedule.name", schedule["name"], NAMES)
    require("schedule.factor", schedule["factor"], lambda x: 0 < x <= 1, "above 0, at most 1")
    require("schedule.patience", schedule["patience"], lambda n: n >= 1, "at least 1 epoch")
    require("schedule.drops", schedule["drops"], lambda n: n >= 0, "0 or more")
    require(
        "schedule.boundaries",
        schedule["boundaries"],
        lambda epochs: all(isinstance(e, int | float) and e > 0 for e in epochs),
        "a tuple of epochs above 0",
    )
    for name in ("train_images", "validation_images"):
        require(name, config[name], lambda n: n >= 0, "0 or more")
    if schedule["name"] == "plateau" and not config["validation_images"]:
        raise ConfigError(
            "config.schedule.name = 'plateau' watches the validation error;"
            " config.validation_images says how many training images to hold out, for example 5000"
        )


def _check_views(config: Mapping[str, Any]) -> None:
    sides = "0 (images held in memory) or a number of pixels"
    require("data.stream_size", config["data"]["stream_size"], lambda n: 0 <= n <= 2048, sides)
    require("test_crops", config["test_crops"], lambda n: n in (1, 10), "1 or 10")
    if config["test_crops"] == 10 and not config["augment"]["crop"]:
        raise ConfigError("config.test_crops = 10 needs the size of a crop, config.augment.crop")


def _fraction(name: str, value: Any) -> None:
    number = same_kind(value, float)
    hint = f"; did you mean {value / 100:g}?" if number and 1 <= value <= 100 else ""
    require(name, value, lambda x: number and 0 < x < 1, f"a fraction between 0 and 1{hint}")


def require_tuple(name: str, values: Any) -> Sequence[Any]:
    """Refuses what is no tuple, or an empty one."""
    if not isinstance(values, tuple | list) or not values:
        raise ConfigError(f"config.{name} = {values!r} should be a tuple of at least one value")
    return values
