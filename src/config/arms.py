"""From a checked config to the arms of its study, and from an arm to its trials."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from src.config.schema import trial_settings
from src.fields import ConfigError, NamedValues, Value
from src.records.trial import make_trial_name
from src.training.settings import Trial, TrialSettings
from src.trees import Path, Tree, leaves, plain, replaced

VARIANT = "variant"  # Column of results.csv for `config.variants`.


class Setting(NamedTuple):
    """One value of what is varied.

    Attributes:
        column: Its column of results.csv.
        value: What stands there.
        changes: Pairs of a field's path and what it is set to.
    """

    column: str
    value: Value
    changes: tuple[tuple[Path, Any], ...]


@dataclass(frozen=True)
class Arm:
    """One combination of the sweep's values: what is compared, each at its own learning rate.

    Attributes:
        name: Begins the names of its trials.
        swept: Column of results.csv -> value.
        settings: What a trial of this arm does.
        learning_rates: Its grid, ascending.
    """

    name: str
    swept: NamedValues
    settings: TrialSettings
    learning_rates: tuple[float, ...]


def make_trial(arm: Arm, purpose: str, learning_rate: float, seed: int) -> Trial:
    """A trial of an arm; its name says all that tells it from the study's others."""
    name = make_trial_name(arm.name, learning_rate, seed)
    return Trial(name, arm.name, purpose, learning_rate, seed, arm.settings, arm.swept)


def make_arms(tree: Tree) -> list[Arm]:
    """The arms of a config, in the order of its sweep, the first field varying slowest.

    Raises:
        ConfigError: If a combination of the sweep's values cannot be run.
    """
    arms = []
    for settings in itertools.product(*axes(tree)):
        chosen = plain(tree)
        for path, value in (change for setting in settings for change in setting.changes):
            chosen = replaced(chosen, path, value)
        swept = NamedValues({setting.column: setting.value for setting in settings})
        arms.append(_make_arm(chosen, swept))
    return arms


def axes(tree: Mapping[str, Any]) -> list[list[Setting]]:
    """What is varied: each field of the sweep, then the variants, which set several at once."""
    swept = [
        [Setting(column(path), value, ((path, value),)) for value in values]
        for path, values in leaves(tree["sweep"])
    ]
    named = [
        Setting(VARIANT, name, tuple(leaves(fields))) for name, fields in tree["variants"].items()
    ]
    return [*swept, named] if named else swept


def _make_arm(tree: Tree, swept: NamedValues) -> Arm:
    settings = trial_settings(tree)
    model = settings.model
    named = {
        "model": model.name.rpartition(".")[2],
        "recipe": settings.recipe.name,
        "activation": model.activation,
    }
    others = [
        str(value) if key == VARIANT else f"{key}{value}"
        for key, value in swept.items()
        if key not in named
    ]
    name = "-".join([*named.values(), *others])
    rates = tree["arm_learning_rates"].get(name) or tree.get("learning_rates")
    try:
        grid = tuple(sorted(float(rate) for rate in rates or settings.recipe.learning_rates))
    except (TypeError, ValueError):
        raise ConfigError(
            f"config.arm_learning_rates.{name} = {rates!r} should be a tuple of positive numbers"
        ) from None
    return Arm(name, swept, settings.question, grid)


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
