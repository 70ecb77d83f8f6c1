"""Settings that come to nothing: too late for a trial's epochs, or unknown to its network."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from src.config.arms import Arm
from src.config.config import Config
from src.config.flags import Override, Request
from src.errors import LabError
from src.fields import ConfigError, Number
from src.models.registry import ModelSettings, takes
from src.training.settings import TrialSettings


class Moment(NamedTuple):
    """What a trial comes to after some epochs: the name of its field and its value there."""

    name: str
    value: Number


def refuse_late(
    configs: Sequence[Config], request: Request, new: Sequence[Config] | None = None
) -> None:
    """Refuses what would begin only after the last epoch of every trial that has it.

    What the file asks for is not refused where the command line shortens the trials, for a quick
    look. A colour operation that ends after the last epoch is there throughout, as may be meant.

    Args:
        configs: The studies that are asked for; what one of them comes to in time is not late.
        request: The command line.
        new: Those of them that have not begun, which alone are refused; None if none has.

    Raises:
        ConfigError: Naming the field and the last epoch.
    """
    late = _late(configs)
    if new is not None:
        there = {
            moment for config in new for arm in config.arms for moment, _ in _moments(arm.settings)
        }
        late = {moment: last for moment, last in late.items() if moment in there}
    kept = _late(configs_with(request, ())) if late else {}
    for moment, last in late.items():
        asked = any(moment.name.partition(".")[0] in each.path for each in request.overrides)
        if asked or moment in kept:
            raise ConfigError(
                f"config.{moment.name} = {moment.value:g} comes to nothing before the last epoch,"
                f" config.max_epochs = {last:g}; give it less, or train longer"
            )


def _late(configs: Sequence[Config]) -> dict[Moment, float]:
    """What no trial comes to in time, with the most epochs of a trial that has it."""
    trials = [arm.settings for config in configs for arm in config.arms]
    found = [(moment, in_time, t.max_epochs) for t in trials for moment, in_time in _moments(t)]
    timely = {moment for moment, in_time, _ in found if in_time}
    return {moment: last for moment, _, last in sorted(found) if moment not in timely}


def _moments(trial: TrialSettings) -> Iterator[tuple[Moment, bool]]:
    """What a trial comes to, and whether it does so in time to matter."""
    last, schedule = trial.max_epochs, trial.schedule
    if trial.window_epochs != TrialSettings.window_epochs:
        yield Moment("window_epochs", trial.window_epochs), trial.window_epochs <= last
    if schedule.name == "plateau":  # The first epoch is the best so far.
        yield Moment("schedule.patience", schedule.patience), 1 + schedule.patience < last
    steps = ("boundaries", "bias_boundaries") if schedule.name == "steps" else ()
    for name in steps:
        for epoch in getattr(schedule, name):
            yield Moment(f"schedule.{name}", epoch), epoch < last
    for name in ("slowed", "frozen"):
        for layer, epoch in getattr(schedule, name):
            yield Moment(f"schedule.{name}.{layer}", epoch), epoch < last


def configs_with(request: Request, overrides: tuple[Override, ...]) -> list[Config]:
    """The studies of the file under other overrides; none if it needs those that are given."""
    try:
        return [Config.read(tree) for tree, _ in replace(request, overrides=overrides).studies()]
    except LabError:
        return []


def refuse_unknown(configs: Sequence[Config]) -> None:
    """Refuses an activation, or arms that differ in first weights, where the network takes neither.

    Raises:
        ConfigError: Naming the field and the network.
    """
    for config in configs:
        alike: dict[TrialSettings, Arm] = {}
        for arm in config.arms:
            model, recipe = arm.settings.model, arm.settings.recipe
            if model.activation != ModelSettings.activation and not takes(model.name, "activation"):
                raise ConfigError(
                    f"config.model.activation = {model.activation!r} changes nothing in"
                    f" {model.name}, which has no field `activation`: give it one, or leave"
                    f" model.activation at {ModelSettings.activation!r}"
                )
            init = recipe.init if takes(model.name, "init_scheme") else ""
            trained = replace(arm.settings, recipe=replace(recipe, init=init))
            if (other := alike.setdefault(trained, arm)).settings != arm.settings:
                raise ConfigError(
                    f"config.recipes.{recipe.name}.init changes nothing in {model.name}, which has"
                    f" no field `init_scheme`: the arms {other.name} and {arm.name} would be the"
                    " same; give it one, or leave the field alone"
                )
