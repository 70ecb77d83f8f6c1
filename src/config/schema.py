"""All fields of a study's config, composed of the settings that each room declares."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from src.fields import (
    Above,
    AtLeast,
    ConfigError,
    Field,
    Fraction,
    Named,
    Rule,
    Value,
    Within,
    declared,
    nearest,
    read,
    require,
    require_group,
    require_once,
)
from src.models.registry import ModelSettings, options_of
from src.own import is_own
from src.training.optimizers import RATES, Recipe, check_optimizer
from src.training.settings import TrialSettings
from src.trees import Path, Tree, dotted, plain

SEEDS = Rule(lambda seed: 0 <= seed < 2**31, "whole numbers from 0 to 2^31 - 1")


@dataclass(frozen=True)
class Compare:
    """Which arms are compared with which, and by what."""

    field: Annotated[str, "arms that differ in this field alone are compared"] = "activation"
    baseline: Annotated[Value, "each arm is compared with the one that has this value"] = "relu"
    measure: Annotated[
        str, "the number that is compared and chooses rates; see src/analysis/measures.py"
    ] = "iterations"
    further: Annotated[tuple[str, ...], "further measures that the report shows"] = ()


@dataclass(frozen=True)
class StudySettings:
    """Which trials there are, and how arms are compared."""

    learning_rates: Annotated[
        tuple[float, ...], RATES, "grid of every arm; empty: the recipe's; one rate: no choice"
    ] = ()
    selection_seeds: Annotated[tuple[int, ...], SEEDS, "every rate is tried with these"] = (0,)
    fresh_seeds: Annotated[tuple[int, ...], SEEDS, "the chosen rate is measured with these"] = (
        100,
    )
    racing: Annotated[bool, "stop a selection trial once it can no longer win"] = True
    racing_slack: Annotated[
        float,
        AtLeast(1, "a number of at least 1, or inf"),
        "and once it is so many times slower than the best to one of the thresholds, at least twice"
        " for an even number of selection seeds; inf: never",
    ] = 1.5
    thresholds: Annotated[
        tuple[float, ...], Fraction(), "training errors at which arms are compared"
    ] = (0.5, 0.45, 0.4, 0.35, 0.3, 0.25)
    compare: Compare = field(default_factory=Compare)


@dataclass(frozen=True)
class Resources:
    """What a trial has to itself on a machine of a cluster."""

    cpus: Annotated[float, Above(0, "a positive number"), "cores"] = 1.0
    gpus: Annotated[float, AtLeast(0), "GPUs, seen by this trial alone"] = 0.0
    tpus: Annotated[float, AtLeast(0), "TPU chips, seen by this trial alone"] = 0.0


@dataclass(frozen=True)
class Runtime:
    """How a study is run; only `together` changes numbers, within float error."""

    parallel: Annotated[Literal["pmap", "shard_map"], "how a step is spread over devices"] = "pmap"
    workers: Annotated[
        int,
        Within(0, 1024, "0 (one per core) or a number of processes"),
        "trials side by side; 0: one per core, but no more than trials, or with an accelerator one",
    ] = 0
    together: Annotated[
        int,
        Within(0, 1024, "0 (decide) or a number of trials"),
        "trials of one arm that train in one program; 0: on an accelerator up to 16 if that proves"
        " faster, on a CPU one; 1: each alone. Each has the numbers that it has alone, within float"
        " error; with streamed images each trains alone",
    ] = 0
    stacks_dir: Annotated[
        str, "folder of pre-trained stacks, which studies may share; empty: in the study's folder"
    ] = ""
    engine: Annotated[
        Literal["local", "ray", "dask"],
        "who trains the trials: this machine, or the machines of a Ray or Dask cluster",
    ] = "local"
    cluster: Annotated[
        str,
        "address of the cluster: Ray's or auto, Dask's or its scheduler file; empty: it starts one",
    ] = ""
    trial_resources: Resources = field(default_factory=Resources)
    keep_checkpoints: Annotated[
        Literal["last", "none"],
        "what a finished trial keeps; paper_figures, evaluate and start_from.path read the last",
    ] = "last"
    tensorboard: Annotated[bool, "write event files beside metrics.csv for TensorBoard"] = True


# Groups whose names the user chooses, with the sentence of `--help`.
GROUPS: dict[str, str] = {
    "recipes": "name -> a recipe",
    "model_options": "name of a network -> its options, for sweeps over networks",
    "sweep": "same shape as the config, a tuple where it has a value: each combination is an arm",
    "variants": "a further axis: name -> the fields it sets, same shape as the config",
    "arm_learning_rates": "name of an arm -> its own grid; --dry_run names the arms",
}


def field_of(path: Path) -> Path:
    """The field that is set, without the study, sweep or variant for which it is set."""
    path = path[2:] if path[:1] == ("studies",) else path
    return path[{"sweep": 1, "variants": 2}.get(path[0], 0) :] if path else path


def is_grid(path: Path) -> bool:
    """Whether a field is a grid of learning rates that arms choose from."""
    field = field_of(path)
    if field[:1] in (("learning_rates",), ("arm_learning_rates",)):
        return True
    return field[:1] == ("recipes",) and field[2:] == ("learning_rates",)


def trial_settings(tree: Mapping[str, Any]) -> TrialSettings:
    """The settings of a trial of this config, before the sweep changes them.

    Raises:
        ConfigError: Naming the field, its value and what would be valid.
    """
    recipes = {name: _recipe(tree, name) for name in tree["recipes"]}
    name = tree.get("recipe", "modern")
    require("recipe", name, lambda x: type(x) is str, "a string")
    if name not in recipes:
        listed = f"is not one of {', '.join(recipes)}{nearest(name, recipes)}"
        raise ConfigError(f"config.recipe = {name!r} {listed}")
    part = part_of(TrialSettings, tree)
    part.pop("recipe", None)
    model = part.get("model", {})
    require_group(("model",), model)
    network = model.get("name", ModelSettings.name)
    options = tree["model_options"].get(network, {}) if isinstance(network, str) else {}
    part["model"] = {**options, **model}
    found = read(TrialSettings, part, (), recipe=recipes[name])
    _check_together(found)
    return found


def _recipe(tree: Mapping[str, Any], name: str) -> Recipe:
    group = ("recipes", name)
    found = read(Recipe, tree["recipes"][name], group, name=name)
    check_optimizer(found.optimizer, f"recipes.{name}.optimizer")
    check_rates(f"recipes.{name}.learning_rates", found.learning_rates)
    return found


def runtime_settings(tree: Mapping[str, Any]) -> Runtime:
    """How a study of this config is run.

    Raises:
        ConfigError: If a field is invalid, or has no effect where the trials are trained.
    """
    found = read(Runtime, part_of(Runtime, tree))
    usual = _of_clusters(Runtime())
    for name, value in _of_clusters(found).items():
        if found.engine == "local" and value != usual[name]:
            raise ConfigError(
                f"config.{name} = {value!r} is for a cluster: set config.engine to 'ray' or 'dask',"
                f" or leave it at {usual[name]!r}"
            )
    _check_dask(found)
    if found.cluster and found.workers:
        raise ConfigError(
            f"config.workers = {found.workers} is for this machine: how many trials the cluster"
            f" {found.cluster} trains side by side its machines say; leave it at 0"
        )
    return found


def _check_dask(runtime: Runtime) -> None:
    """Refuses what Dask gives to no trial: its workers have one thread, and say what else is there.

    Raises:
        ConfigError: Naming the field.
    """
    asked = runtime.trial_resources
    if runtime.engine == "dask" and asked.cpus != 1:
        raise ConfigError(
            f"config.trial_resources.cpus = {asked.cpus:g} is not for Dask, where a trial has one"
            " thread of a worker; leave it at 1, or set config.engine to 'ray'"
        )
    for name in ("gpus", "tpus") if runtime.engine == "dask" and not runtime.cluster else ():
        if number := getattr(asked, name):
            resource = name[:3].upper()
            raise ConfigError(
                f"config.trial_resources.{name} = {number:g} needs a Dask cluster whose workers say"
                f" what they have, dask worker --resources {resource}=1: name it by config.cluster"
            )


def _of_clusters(runtime: Runtime) -> dict[str, Any]:
    """The fields that have no effect on this machine alone."""
    resources = dataclasses.asdict(runtime.trial_resources)
    return {
        "cluster": runtime.cluster,
        **{f"trial_resources.{name}": amount for name, amount in resources.items()},
    }


def check_rates(name: str, rates: tuple[float, ...]) -> None:
    """Refuses a grid that is empty or holds a rate twice.

    Raises:
        ConfigError: Naming the field.
    """
    if not rates:
        raise ConfigError(f"config.{name} = {rates!r} should be a tuple of at least one value")
    if len({f"{rate:g}" for rate in rates}) < len(rates):
        raise ConfigError(f"config.{name} = {tuple(rates)} holds a rate twice")


def _check_together(trial: TrialSettings) -> None:
    """Refuses fields that are valid one by one but not together."""
    require("readings", trial.readings, len, "a tuple of at least one value")
    for name, values in (
        ("readings", trial.readings),
        ("pretraining.layers", trial.pretraining.layers),
        ("start_from.layers", trial.start_from.layers),
    ):
        require_once(name, values)
    if trial.pretraining.learning_rates:  # Else they are the method's.
        check_rates("pretraining.learning_rates", trial.pretraining.learning_rates)
    trial.pretraining.check(trial.model.activation)
    if trial.pretraining.method != "none" and trial.start_from.path:
        raise ConfigError(
            f"config.start_from.path = {trial.start_from.path!r} and config.pretraining.method ="
            f" {trial.pretraining.method!r} each say what the first weights are; give one of them"
        )
    if trial.schedule.name == "plateau" and not trial.validation_images:
        raise ConfigError(
            "config.schedule.name = 'plateau' watches the validation error;"
            " config.validation_images says how many training images to hold out, for example 5000"
        )
    if trial.test_crops == 10 and not trial.augment.crop:
        raise ConfigError("config.test_crops = 10 needs the size of a crop, config.augment.crop")


def part_of(cls: type, tree: Mapping[str, Any]) -> Tree:
    """The part of a config that belongs to the fields of a settings dataclass."""
    names = {each.name for each in dataclasses.fields(cls)}
    return {name: value for name, value in tree.items() if name in names}


def check_names(tree: Mapping[str, Any]) -> None:
    """Refuses names at the top of a config that no room has declared, and names that are no text.

    Raises:
        ConfigError: With the nearest known name.
    """
    _check_text((), tree)
    known = [*GROUPS, *(each.name for part in PARTS for each in dataclasses.fields(part))]
    for name in tree:
        if name not in known:
            raise ConfigError(f"config.{name}: no such field{nearest(name, known)}")


def _check_text(path: Path, tree: Mapping[Any, Any]) -> None:
    for name, value in tree.items():
        if not isinstance(name, str):
            where = dotted(("config", *path))
            raise ConfigError(f"{where} has the name {name!r}; a text is needed: '{name}'")
        if isinstance(value, Mapping):
            _check_text((*path, name), value)


PARTS = (TrialSettings, StudySettings, Runtime)


def all_fields() -> Iterator[Field]:
    """Every declared field of a config, in the order of `--help`, without options of networks."""
    for part in PARTS:
        for each in declared(part):
            if each.path[0] == "recipe":
                continue
            yield each
    yield Field(("recipe",), str, (), "name of one of the recipes", "modern")
    for name, sentence in GROUPS.items():
        yield Field((name,), dict, (), sentence, {})


def recipe_fields() -> tuple[Field, ...]:
    """The fields of a recipe, which stand under `recipes.NAME`."""
    return declared(Recipe)


def field_at(path: tuple[str, ...], tree: Mapping[str, Any]) -> Field | None:
    """The declaration of a field by its path in a config; None if there is no such field.

    Args:
        path: For example ("schedule", "factor") or ("recipes", "modern", "momentum").
        tree: The config; its network decides which options exist.

    Raises:
        ConfigError: If the network is a user's own and its file cannot be run.
    """
    if path[0] == "recipes" and len(path) >= 3:
        return _first(recipe_fields(), path[2:])
    if path[0] == "model" and len(path) == 2 and path[1] not in ("name", "activation"):
        name = tree["model"].get("name") if isinstance(tree.get("model"), Mapping) else None
        try:
            return _first(options_of(name), path[1:])
        except (ValueError, TypeError) as error:
            if isinstance(name, str) and is_own(name):
                raise ConfigError(f"config.model.name = {name!r}: {error}") from None
            return None
    return _first(all_fields(), path)


def is_named(path: tuple[str, ...], tree: Mapping[str, Any]) -> bool:
    """Whether a path leads to a value in a group whose names the user chooses."""
    parent = field_at(path[:-1], tree) if len(path) > 1 else None
    return parent is not None and isinstance(parent.kind, type) and issubclass(parent.kind, Named)


def _first(fields: Iterable[Field], path: tuple[str, ...]) -> Field | None:
    return next((each for each in fields if each.path == path), None)


def default_tree() -> Tree:
    """Every field with its default, in the shape of a config."""
    tree: Tree = {}
    for each in all_fields():
        node = tree
        for name in each.path[:-1]:
            node = node.setdefault(name, {})
        value = each.default
        node[each.path[-1]] = dict(value) if isinstance(value, Named) else plain(value)
    return tree
