"""From a checked config to the trials of its study."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

# Fields of the study itself: they say which trials there are, not what one trial does.
STUDY_FIELDS = (
    "sweep",
    "model_options",
    "variants",
    "learning_rates",
    "arm_learning_rates",
    "selection_seeds",
    "fresh_seeds",
    "racing",
    "racing_slack",
    "thresholds",
    "compare",
)
# Fields that change no number: a study may go on with other values of these.
RUNTIME_FIELDS = ("parallel", "workers", "tensorboard")
VARIANT = "variant"  # column of results.csv
WHERE_DATA_IS = ("dir", "fallback", "digest")  # the same of `data`: not part of the question


class Setting(NamedTuple):
    """One value of what is varied."""

    column: str  # of results.csv
    value: Any
    changes: tuple[tuple[tuple[str, ...], Any], ...]  # path of a field -> what it is set to


@dataclass(frozen=True)
class Arm:
    """One combination of the sweep's values: what is compared, each at its own learning rate."""

    name: str
    swept: dict[str, Any]  # column of results.csv -> value
    settings: dict[str, Any]  # what a trial of this arm does
    learning_rates: tuple[float, ...]  # its grid, ascending


@dataclass(frozen=True)
class Trial:
    """One training."""

    name: str
    purpose: str  # "selection" or "fresh"
    learning_rate: float
    seed: int
    arm: Arm


def make_trial(arm: Arm, purpose: str, learning_rate: float, seed: int) -> Trial:
    """A trial of an arm; its name says all that tells it from the study's others."""
    return Trial(f"{arm.name}-lr{learning_rate:g}-s{seed}", purpose, learning_rate, seed, arm)


def make_arms(config: Mapping[str, Any]) -> list[Arm]:
    """The arms of a checked config, in the order of its sweep, the first field varying slowest."""
    arms = []
    for settings in itertools.product(*axes(config)):
        chosen = plain(config)
        for path, value in (change for setting in settings for change in setting.changes):
            chosen = replaced(chosen, path, value)
        arms.append(_make_arm(chosen, {setting.column: setting.value for setting in settings}))
    return arms


def axes(config: Mapping[str, Any]) -> list[list[Setting]]:
    """What is varied: each field of the sweep, then the variants, which set several at once."""
    swept = [
        [Setting(column(path), value, ((path, value),)) for value in values]
        for path, values in leaves(config["sweep"])
    ]
    named = [
        Setting(VARIANT, name, tuple(leaves(fields))) for name, fields in config["variants"].items()
    ]
    return [*swept, named] if named else swept


def _make_arm(config: dict[str, Any], swept: dict[str, Any]) -> Arm:
    recipe = config["recipes"][config["recipe"]]
    settings = {
        k: v for k, v in config.items() if k not in (*STUDY_FIELDS, *RUNTIME_FIELDS, "recipes")
    }
    settings["recipe"] = {
        "name": config["recipe"],
        **{k: v for k, v in recipe.items() if k != "learning_rates"},
    }
    settings["model"] = with_options(config)
    settings["data"] = {k: v for k, v in config["data"].items() if k not in WHERE_DATA_IS}
    named = {
        "model": config["model"]["name"],
        "recipe": config["recipe"],
        "activation": config["model"]["activation"],
    }
    others = [
        str(value) if key == VARIANT else f"{key}{value}"
        for key, value in swept.items()
        if key not in named
    ]
    name = "-".join([*named.values(), *others])
    rates = config["learning_rates"] or recipe["learning_rates"]
    rates = config["arm_learning_rates"].get(name, rates)
    return Arm(name, swept, settings, tuple(sorted(float(rate) for rate in rates)))


def with_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """`model` with what `model_options` adds for that network; values `model` has itself stand."""
    options = config["model_options"].get(config["model"]["name"], {})
    return {**options, **config["model"]}


def column(path: Sequence[str]) -> str:
    """The column of results.csv for a swept field: its last name, and `model` for `model.name`."""
    return path[-2] if path[-1] == "name" else path[-1]


def race_order(rates: Sequence[float]) -> list[float]:
    """The middle of the grid first, then outwards, of two equally far the larger first.

    The earlier a good rate has run, the sooner others may stop; a rate that is too large says so
    sooner than one that is too small.
    """
    ranked = sorted(enumerate(sorted(rates)), reverse=True)
    return [rate for _, rate in sorted(ranked, key=lambda item: abs(item[0] - len(ranked) // 2))]


def leaves(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a nested mapping with the path of names that leads to it."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def replaced(tree: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A plain copy of a nested mapping with one value changed."""
    copy = plain(tree)
    node = copy
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return copy


def laid_over(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A config with some of its values changed."""
    result = plain(config)
    for name, value in changes.items():
        both = isinstance(result.get(name), Mapping) and isinstance(value, Mapping)
        result[name] = laid_over(result[name], value) if both else plain(value)
    return result


def plain(tree: Any) -> Any:
    """Nested mappings as dicts."""
    return {k: plain(v) for k, v in tree.items()} if isinstance(tree, Mapping) else tree
