"""The arms of a study, made from its config, and the trials of an arm."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from src.config.schema import StudySettings, trial_settings
from src.fields import ConfigError, NamedValues, Value, declared
from src.records.trial import make_trial_name
from src.training.optimizers import Recipe
from src.training.settings import Trial, TrialSettings
from src.trees import Path, Tree, leaves, replaced

VARIANT = "variant"  # The column of results.csv for `config.variants`.
TRAINING = {
    field.path[-1]
    for cls in (TrialSettings, Recipe, StudySettings)
    for field in declared(cls)
    if field.path[0] != "pretraining"
}


class Setting(NamedTuple):
    """One value of an axis of the sweep.

    Attributes:
        column: The axis' column of results.csv.
        value: The value in that column.
        changes: Pairs of a field's path and the value that it is set to.
    """

    column: str
    value: Value
    changes: tuple[tuple[Path, Any], ...]


@dataclass(frozen=True)
class Arm:
    """One combination of the sweep's values; arms are compared, each at its own learning rate.

    Attributes:
        name: Its name; the names of its trials begin with it.
        swept: Column of results.csv -> the arm's value.
        settings: The settings of its trials.
        learning_rates: Its grid of learning rates, ascending.
    """

    name: str
    swept: NamedValues
    settings: TrialSettings
    learning_rates: tuple[float, ...]


def make_trial(arm: Arm, purpose: str, learning_rate: float, seed: int) -> Trial:
    """Makes a trial of an arm, with a name that is unique in the study."""
    name = make_trial_name(arm.name, learning_rate, seed)
    return Trial(name, arm.name, purpose, learning_rate, seed, arm.settings, arm.swept)


def make_arms(tree: Tree) -> list[Arm]:
    """Makes the arms of a config, in the order of its sweep; the first field varies slowest.

    Raises:
        ConfigError: If a combination of the sweep's values cannot be run.
    """
    combinations = []
    for settings in itertools.product(*axes(tree)):
        chosen = tree
        for path, value in (change for setting in settings for change in setting.changes):
            chosen = replaced(chosen, path, value)
        swept = NamedValues({setting.column: setting.value for setting in settings})
        combinations.append((trial_settings(chosen), swept))
    short = [_name(settings, swept) for settings, swept in combinations]
    return [
        _make_arm(tree, name if short.count(name) == 1 else _name(*each, whole=True), *each)
        for name, each in zip(short, combinations, strict=True)
    ]


def axes(tree: Mapping[str, Any]) -> list[list[Setting]]:
    """The axes of the sweep: one per swept field, then the variants, which set several fields."""
    swept = [
        [Setting(column(path), value, ((path, value),)) for value in values]
        for path, values in leaves(tree["sweep"])
    ]
    named = [
        Setting(VARIANT, name, tuple(leaves(fields))) for name, fields in tree["variants"].items()
    ]
    return [*swept, named] if named else swept


def _name(settings: TrialSettings, swept: NamedValues, *, whole: bool = False) -> str:
    """The name of an arm, with the whole name of a network of one's own or the last part of it."""
    model = settings.model
    named = {
        "model": model.name if whole else model.name.rpartition(".")[2],
        "recipe": settings.recipe.name,
        "activation": model.activation,
    }
    others = [
        str(value) if key == VARIANT else f"{key}{value}"
        for key, value in swept.items()
        if key not in named
    ]
    return "-".join([*named.values(), *others])


def _make_arm(tree: Tree, name: str, settings: TrialSettings, swept: NamedValues) -> Arm:
    rates = tree["arm_learning_rates"].get(name) or tree.get("learning_rates")
    try:
        grid = tuple(sorted(float(rate) for rate in rates or settings.recipe.learning_rates))
    except (TypeError, ValueError):
        raise ConfigError(
            f"config.arm_learning_rates.{name} = {rates!r} should be a tuple of positive numbers"
        ) from None
    return Arm(name, swept, settings.question, grid)


def column(path: Sequence[str]) -> str:
    """The column of results.csv for a swept field: its last name, and `model` for `model.name`.

    Pre-training has fields by the names of training's: `pretraining_batch_size`.
    """
    if path[0] == "pretraining" and path[-1] in TRAINING:
        return "_".join(path)
    return path[-2] if path[-1] == "name" else path[-1]


def race_order(rates: Sequence[float]) -> list[float]:
    """The rates in the order in which they race: from the middle of the grid outwards.

    The earlier a good rate has run, the sooner the others may stop. Of two rates equally far from
    the middle the larger is first, since a rate that is too large shows it sooner than one that is
    too small.
    """
    ranked = sorted(enumerate(sorted(rates)), reverse=True)
    return [rate for _, rate in sorted(ranked, key=lambda item: abs(item[0] - len(ranked) // 2))]
