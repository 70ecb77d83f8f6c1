"""Fields that change nothing: the sweep or another field decides, or no trial has their switch."""

import itertools
import operator
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from src import own
from src.config.arms import Arm
from src.config.config import Config
from src.config.effects import configs_with
from src.config.flags import Request
from src.config.schema import Compare, field_of, is_grid
from src.fields import ConfigError, NamedValues
from src.models import get_activation, model_options
from src.models.activations import ACTIVATION_NAMES
from src.models.options import BY_INIT, decided
from src.pretraining.settings import LEARNING_RATES
from src.training.schedule import Schedule
from src.training.settings import TrialSettings
from src.trees import Path, dotted, leaves

# What arms and their rates come from, which the sweep or another field may decide.
GROUPS = (
    *("arm_learning_rates", "learning_rates", "model", "model_options", "recipe", "recipes"),
    *("selection_seeds", "sweep", "variants"),
)

UNUSED = "no trial uses it"
# Where there is one arm, there is nothing to compare.
COMPARED = (("compare", "field"), ("compare", "baseline"))


class Switch(NamedTuple):
    """What a trial must have for some fields to be used.

    Attributes:
        fields: Their names in the config.
        words: What it must have.
        is_on: The settings of a trial -> whether it has it.
    """

    fields: tuple[str, ...]
    words: str
    is_on: Callable[[TrialSettings], object]


# fmt: off
SWITCHES = (
    Switch(("schedule.boundaries", "schedule.bias_boundaries"), "schedule.name = 'steps'",
           lambda trial: trial.schedule.name == "steps"),
    Switch(("schedule.patience", "schedule.drops"), "schedule.name = 'plateau'",
           lambda trial: trial.schedule.name == "plateau"),
    Switch(("schedule.factor",), "schedule.name other than 'constant', or config.schedule.slowed",
           lambda trial: trial.schedule.name != "constant" or trial.schedule.slowed),
    Switch(("model.within_map",), "model.lrn other than 'none'",
           lambda trial: _value(trial, "model.lrn") != "none"),
    Switch(("model.lrn_per_tower",),
           "model.towers = 2, and config.model.lrn 'paper', 'caffe' or 'paper_net'",
           lambda trial: _value(trial, "model.towers") == 2
           and _value(trial, "model.lrn") in ("paper", "caffe", "paper_net")),
    Switch(("model.order",), "model.lrn other than 'none', nor config.model.order = 'as_run'",
           lambda trial: _value(trial, "model.lrn") != "none"
           or "as_run" in (_value(trial, "model.order"), _usual(trial, "model.order"))),
    Switch(("model.border",), "model.name 'alexnet' or 'alexnet_2012', or border = 'padded'",
           lambda trial: trial.model.name in ("alexnet", "alexnet_2012")
           or _value(trial, "model.border") == "padded"),
    Switch(("model.deep_std",), "recipe with init = 'paper', and one of conv3 to conv5",
           lambda trial: trial.recipe.init == "paper"
           and not {"conv3", "conv4", "conv5"} <= _removed(trial)),
    Switch(("model.dropout",), "model.without that leaves fc6 or fc7",
           lambda trial: not {"fc6", "fc7"} <= _removed(trial)),
    Switch(("model.dropout_scale",), "model.dropout above 0 behind fc6 or fc7",
           lambda trial: _value(trial, "model.dropout") and not {"fc6", "fc7"} <= _removed(trial)),
    Switch(("augment.pca_epochs",), "augment.pca above 0", lambda trial: trial.augment.pca),
    Switch(("augment.shared",), "augment.crop, translation or flip",
           lambda trial: trial.augment.crop or trial.augment.translation or trial.augment.flip),
    Switch(("start_from.layers", "start_from.layout"), "start_from.path",
           lambda trial: trial.start_from.path),
    Switch(("data.stream_size",), "data.name of a data set on the disk",
           lambda trial: trial.data.name != "procedural" and not own.is_own(trial.data.name)),
    Switch(("pretraining.gibbs_steps", "pretraining.sparsity_rate"),
           "pretraining.method = 'conv_rbm'", lambda trial: trial.pretraining.method == "conv_rbm"),
    Switch(("pretraining.sparsity",),
           "pretraining.method = 'conv_rbm' and config.pretraining.sparsity_rate above 0",
           lambda trial: trial.pretraining.method == "conv_rbm"
           and trial.pretraining.sparsity_rate),
    Switch(("pretraining.rate_seed",), "pretraining.learning_rates of more than one",
           lambda trial: len(trial.pretraining.learning_rates) != 1),
    Switch(("pretraining.noise",), "pretraining.method = 'conv_autoencoder'",
           lambda trial: trial.pretraining.method == "conv_autoencoder"),
    Switch(tuple(f"pretraining.{name}" for name in (
               "layers", "images", "held_out", "steps", "batch_size", "learning_rates",
               "rate_seed", "momentum", "init_deviation", "competition")),
           "pretraining.method other than 'none'",
           lambda trial: trial.pretraining.method != "none"),
)
# fmt: on


def refuse_switched_off(
    configs: Sequence[Config], request: Request | None = None, new: Sequence[Config] | None = None
) -> None:
    """Refuses a field that is set where no trial has what it needs, and steps without a boundary.

    A field of the file that is used by what the file asks is not refused where the command line
    turns its switch off, or asks for another of the file's studies.

    Args:
        configs: The studies that are asked for; a field that one of them uses is used.
        request: The command line; None if all stands in the configs.
        new: Those of them that have not begun, which alone are refused; None if none has.

    Raises:
        ConfigError: Naming the field, and what no trial has.
    """
    new = configs if new is None else new
    everywhere = [arm.settings for config in configs for arm in config.arms]
    trials = [arm.settings for config in new for arm in config.arms]
    off = [switch for switch in SWITCHES if not any(map(switch.is_on, everywhere))]
    for switch, trial in itertools.product(off, trials):
        for name in switch.fields:
            if name.startswith("model.") and own.is_own(trial.model.name):
                continue  # What its options mean is not known.
            value, usual = _value(trial, name), _usual(trial, name)
            if value != usual and not (request and _is_used_in_file(request, name, switch)):
                raise ConfigError(
                    f"config.{name} = {value!r} is not used, for no trial has"
                    f" config.{switch.words}; set that, or leave {name} at {usual!r}"
                )
    for trial in trials:
        _refuse_no_drop(trial.schedule)
    for config in new:
        _refuse_alike(config.arms)
    steps = [trial.schedule for trial in trials if trial.schedule.name == "steps"]
    if steps and not any(each.boundaries or each.bias_boundaries for each in steps):
        raise ConfigError(
            "config.schedule.name = 'steps' drops no rate without config.schedule.boundaries, the"
            " epochs at which it drops; give these, or leave schedule.name at 'constant'"
        )


def _refuse_alike(arms: Sequence[Arm]) -> None:
    """Refuses arms that differ in nothing that they use: a training is not compared with itself.

    Raises:
        ConfigError: Naming the arms.
    """
    alike: dict[tuple[TrialSettings, tuple[float, ...]], Arm] = {}
    for arm in arms:
        other = alike.setdefault((_used(arm.settings), arm.learning_rates), arm)
        if other is not arm:
            before = dict(other.swept)
            apart = [f"{k} = {before[k]!r} and {v!r}" for k, v in arm.swept if before[k] != v]
            raise ConfigError(
                f"the arms {other.name} and {arm.name} would be the same trainings, for in them"
                f" {' with '.join(apart)} change nothing; leave one out, by config.variants in"
                " place of a sweep if need be"
            )


def _used(trial: TrialSettings) -> TrialSettings:
    """The settings of a trial, each in one spelling, with those that it does not use as usual."""
    trial = _in_one_spelling(trial)
    for switch in SWITCHES:
        if not switch.is_on(trial):
            for name in switch.fields:
                trial = _as_usual(trial, name)
    recipe = replace(trial.recipe, name="")
    # How often a trial saves itself and what is measured beside it change none of its numbers.
    return replace(trial, recipe=recipe, layer_images=0, checkpoint_every_epochs=1.0)


def _in_one_spelling(trial: TrialSettings) -> TrialSettings:
    """The settings of a trial with one value for each meaning: silu for swish, say."""
    activation = trial.model.activation
    if activation in ACTIVATION_NAMES:
        fn = get_activation(activation)
        activation = next(name for name in ACTIVATION_NAMES if get_activation(name) is fn)
    options = model_options(trial.model.name) | dict(trial.model.options)
    if not own.is_own(trial.model.name):  # What its options mean is not known.
        for name in BY_INIT.keys() & options.keys():
            options[name] = decided(name, options[name], trial.recipe.init)
        if "without" in options:
            options["without"] = "+".join(sorted({*options["without"].split("+")}))
    model = replace(trial.model, activation=activation, options=NamedValues(options))
    drops, start, how = trial.schedule.boundaries, trial.start_from, trial.pretraining
    of_biases = trial.schedule.bias_boundaries or drops
    schedule = replace(
        trial.schedule, boundaries=tuple(sorted(drops)), bias_boundaries=tuple(sorted(of_biases))
    )
    path = os.path.normpath(start.path) if start.path else ""
    start = replace(start, path=path, layers=tuple(sorted(start.layers)))
    rates = how.learning_rates or LEARNING_RATES.get(how.method, ())
    how = replace(how, learning_rates=tuple(sorted(rates)))
    return replace(trial, model=model, schedule=schedule, start_from=start, pretraining=how)


def _as_usual(trial: TrialSettings, name: str) -> TrialSettings:
    group, _, option = name.partition(".")
    if group != "model":
        part = replace(getattr(trial, group), **{option: _usual(trial, name)})
        return replace(trial, **{group: part})
    if own.is_own(trial.model.name):
        return trial  # What its options mean is not known.
    options = NamedValues({k: v for k, v in trial.model.options if k != option})
    return replace(trial, model=replace(trial.model, options=options))


def _refuse_no_drop(schedule: Schedule) -> None:
    """Refuses a schedule whose rate never changes."""
    if schedule.name == "plateau" and not schedule.drops:
        raise ConfigError(
            "config.schedule.drops = 0 leaves the rate alone, as config.schedule.name = 'constant'"
            " does; say that, or let there be drops"
        )
    if schedule.factor == 1.0:
        raise ConfigError(
            "config.schedule.factor = 1.0 multiplies the rate by one; give another factor, or leave"
            " the rate alone by config.schedule.name = 'constant'"
        )


def _value(trial: TrialSettings, name: str) -> Any:
    """The value of a field in a trial; None of an option that its network lacks."""
    group, _, option = name.partition(".")
    if group == "model":
        return (model_options(trial.model.name) | dict(trial.model.options)).get(option)
    return operator.attrgetter(name)(trial)


def _removed(trial: TrialSettings) -> set[str]:
    """The layers that AlexNet is to do without."""
    return set((_value(trial, "model.without") or "").split("+"))


def _usual(trial: TrialSettings, name: str) -> Any:
    """The value of a field that nobody has set."""
    group, _, option = name.partition(".")
    if group == "model":
        return model_options(trial.model.name).get(option)
    return operator.attrgetter(name)(TrialSettings())


def _is_used_in_file(request: Request, name: str, switch: Switch) -> bool:
    """Whether the file sets a field and has its switch, in any of its studies."""
    if any(dotted(field_of(override.path)) == name for override in request.overrides):
        return False
    studies = configs_with(request, ())
    return any(switch.is_on(arm.settings) for config in studies for arm in config.arms)


def refuse_idle(request: Request, configs: Sequence[Config], *, grids_alone: bool = False) -> None:
    """Refuses a field without which the same trials would be run in the same way.

    Args:
        request: The command line.
        configs: The studies that it asks for.
        grids_alone: Whether to refuse no other fields than grids of learning rates, which may be
            extended when a study has begun.

    Raises:
        ConfigError: Naming the field, and the one that decides.
    """
    given = dict.fromkeys(override.path for override in request.overrides)
    for path in given:
        study, field = (path[:2], path[2:]) if path[0] == "studies" else ((), path)
        if not field or (*study, "sweep", *field) in given:
            continue  # The same command sweeps it, in full view.
        asked = field[0] in GROUPS or field in COMPARED
        asked = asked or any(_is_swept(field, config) for config in configs)
        if not asked or (grids_alone and not is_grid(field)):
            continue
        if _is_idle(path, request, configs):
            places = [folder.name for _, folder in request.studies()] if study else []
            named = [c for c, name in zip(configs, places, strict=False) if name == study[1]]
            why = _why(field, named or configs)
            if not (grids_alone and why == UNUSED):  # It may be for another study, as before.
                raise ConfigError(f"config.{dotted(path)} changes nothing, for {why}")


def _is_swept(path: Path, config: Config) -> bool:
    return path in dict(leaves(config.tree["sweep"]))


def _is_idle(path: Path, request: Request, configs: Sequence[Config]) -> bool:
    others = tuple(override for override in request.overrides if override.path != path)
    without = configs_with(request, others)
    if [config.tree for config in without] == [config.tree for config in configs]:
        return False  # It says what the file says.
    return [_decided(config) for config in without] == [_decided(config) for config in configs]


def _decided(config: Config) -> tuple[object, ...]:
    """All that says which trials are run, and how; the arms have their grids of rates."""
    study = replace(config.study, learning_rates=())
    if not any(map(config.selection_size, config.arms)):
        study = replace(study, selection_seeds=())
    if len(config.arms) == 1:
        usual = {name: getattr(Compare(), name) for _, name in COMPARED}
        study = replace(study, compare=replace(study.compare, **usual))
    return config.arms, study, config.runtime


def _decides(field: str, config: Config) -> bool:
    """Whether a field has the grids of all arms that have none by another."""
    given = config.tree[field]
    return bool(given) and (field == "learning_rates" or all(a.name in given for a in config.arms))


def _why(path: Path, configs: Sequence[Config]) -> str:
    if all(_is_swept(path, config) for config in configs):
        return f"config.sweep.{dotted(path)} decides"
    used = {arm.settings.recipe.name for config in configs for arm in config.arms}
    if path[-1] == "learning_rates" and (path[0] != "recipes" or path[1] in used):
        for deciding in ("arm_learning_rates", "learning_rates"):
            if path[0] != deciding and all(_decides(deciding, config) for config in configs):
                return f"config.{deciding} decides"
        return "each arm has these rates without it, and their order says nothing"
    if path in COMPARED:
        return "there is one arm"
    if path[0] == "selection_seeds":
        return "each arm has one learning rate"
    return "it sweeps nothing" if path[0] == "sweep" else UNUSED
