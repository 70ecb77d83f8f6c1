"""What must hold between the fields of a config, and between a config, its data and devices."""

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from src.config.arms import VARIANT, Arm, axes, column
from src.config.networks import Shape, check_network
from src.config.schema import GROUPS, StudySettings, check_rates, field_at, is_named
from src.config.schema import Runtime as RuntimeSettings
from src.fields import (
    FOLDER_NAME,
    ConfigError,
    checked,
    declared,
    names_folder,
    nearest,
    one_of,
    require,
    require_group,
    require_once,
)
from src.models import ModelSettings
from src.records.trial import FURTHER_COLUMNS, RESULT_COLUMNS
from src.training.settings import TrialSettings
from src.trees import Path, dotted, leaves, replaced

MAX_ARMS = 1000
RATE_GRID = next(field for field in declared(StudySettings) if field.path == ("learning_rates",))
# All trials of a study share one data set and one target, so neither can be swept.
FIXED_FIELDS = ("data", "target_train_error")
SHOWN = (("model", "name"), ("model", "activation"), ("recipe",))  # Columns show just these.


def check_study(study: StudySettings) -> None:
    """Refuses rates, seeds or thresholds that contradict each other.

    Raises:
        ConfigError: Naming the field and its value.
    """
    if study.learning_rates:
        check_rates("learning_rates", study.learning_rates)
    for name, seeds in (
        ("selection_seeds", study.selection_seeds),
        ("fresh_seeds", study.fresh_seeds),
        ("thresholds", study.thresholds),
    ):
        require(name, seeds, len, "a tuple of at least one value")
    require_once("thresholds", study.thresholds)
    require_once("compare.further", study.compare.further)
    seeds = (*study.selection_seeds, *study.fresh_seeds)
    if len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"config.fresh_seeds = {study.fresh_seeds} must hold no seed twice and none of the"
            f" selection_seeds {study.selection_seeds}: fresh means not used to choose"
        )


def check_sweep(tree: Mapping[str, Any]) -> None:
    """Refuses a sweep or variants that name an unknown field or give it an invalid value.

    Args:
        tree: The whole config, as nested dicts.

    Raises:
        ConfigError: Naming the field, its value and what would be valid.
    """
    sweep = list(leaves(tree["sweep"]))
    for path, values in sweep:
        name = f"sweep.{dotted(path)}"
        if not isinstance(values, tuple | list) or not values:
            raise ConfigError(f"config.{name} = {values!r} should be a tuple of at least one value")
        for value in values:
            _check_change(tree, "sweep", path, value)
        require_once(name, values)
    _check_columns([path for path, _ in sweep])
    _check_variants(tree, {path for path, _ in sweep})
    arms = math.prod(map(len, axes(tree)))
    if arms > MAX_ARMS:
        raise ConfigError(f"config.sweep makes {arms} arms; at most {MAX_ARMS} can be run")


def check_arms(tree: Mapping[str, Any], study: StudySettings, arms: Sequence[Arm]) -> None:
    """Refuses arms that cannot name a folder, rates for unknown arms, and a baseline not swept.

    Args:
        tree: The whole config, as nested dicts.
        study: The part of it that is the same in all arms.
        arms: The arms that the config makes.

    Raises:
        ConfigError: Naming the field and its value.
    """
    for arm in arms:
        if not names_folder(arm.name):
            raise ConfigError(
                f"config.sweep or config.recipe makes an arm {arm.name!r}; {FOLDER_NAME}"
            )
    names = [arm.name for arm in arms]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ConfigError(
            f"config.sweep makes two arms of one name, {twice!r}; let their values differ otherwise"
        )
    for name, rates in tree["arm_learning_rates"].items():
        one_of("arm_learning_rates", name, [arm.name for arm in arms])
        path = ("arm_learning_rates", name)
        check_rates(dotted(path), checked(RATE_GRID, path, rates))
    swept = {axis[0].column: tuple(setting.value for setting in axis) for axis in axes(tree)}
    compared, baseline = study.compare.field, study.compare.baseline
    if swept and compared not in swept:
        near = nearest(compared, swept) or f"; swept are {', '.join(swept)}"
        raise ConfigError(f"config.compare.field = {compared!r} is not swept{near}")
    if swept and baseline not in swept[compared]:
        values = swept[compared]
        raise ConfigError(
            f"config.compare.baseline = {baseline!r} is not among the swept values {values}"
        )


def check_devices(settings: TrialSettings, devices: int) -> None:
    """Refuses a batch size, in training or pre-training, that `devices` cannot share evenly.

    Args:
        settings: The settings of one arm.
        devices: Number of devices that a trial runs on.

    Raises:
        ConfigError: Naming the field and the nearest size that can be shared.
    """
    batches = {"batch_size": settings.batch_size}
    if settings.pretraining.method != "none":
        batches["pretraining.batch_size"] = settings.pretraining.batch_size
    for name, batch_size in batches.items():
        if batch_size % devices:
            even = max(devices, batch_size - batch_size % devices)
            raise ConfigError(
                f"config.{name} = {batch_size} cannot be split evenly over {devices} devices;"
                f" try {even}, or run on fewer devices"
            )


def check_data(
    arms: Sequence[Arm],
    shape: Shape,
    images: int,
    num_classes: int = 10,
    *,
    streamed: bool = False,
) -> None:
    """Refuses what the data set cannot give, and what no network of an arm can do with it.

    Later only the first trial of an arm would find it, behind whole arms before it.

    Args:
        arms: The arms of the study.
        shape: Height, width and channels of an image.
        images: Number of images in the training set.
        num_classes: Number of classes in the data set.
        streamed: Whether its images stay on the disk.

    Raises:
        ConfigError: Naming the field, its value and what the data set has.
    """
    networks: dict[tuple[ModelSettings, str, Shape], list[TrialSettings]] = {}
    for arm in arms:
        _check_sizes(arm, shape[:2], images)
        trial = arm.settings
        if streamed and trial.pretraining.method != "none":
            raise ConfigError(
                f"config.pretraining.method = {trial.pretraining.method!r} needs images in memory;"
                " let config.data.stream_size be 0, or the method 'none'"
            )
        taken = trial.augment.taken(shape)
        networks.setdefault((trial.model, trial.recipe.init, taken), []).append(trial)
    for (model, _, taken), trials in networks.items():
        check_network(model, trials, shape, taken, num_classes)


def _check_sizes(arm: Arm, size: tuple[int, int], images: int) -> None:
    settings = arm.settings
    crop, held_out = settings.augment.crop, settings.validation_images
    height, width = size
    expected = f"at most {min(size)}: images are {height} x {width}"
    require("augment.crop", crop, lambda n: n <= min(size), expected)
    side = crop or min(size)
    expected = f"less than {side}, the side of the image that is moved"
    require("augment.translation", settings.augment.translation, lambda n: n < side, expected)
    if settings.test_crops == 10 and (crop, crop) == size:
        raise ConfigError(
            f"config.test_crops = 10 with config.augment.crop = {crop}: images are {height} x"
            f" {width}, so that all crops are one; let augment.crop be less, or test_crops 1"
        )
    expected = f"less than {images}, the images of the training set"
    require("validation_images", held_out, lambda n: n < images, expected)
    left = images - held_out
    expected = f"0 (all) or at most {left}, the images there are to train on"
    require("train_images", settings.train_images, lambda n: n <= left, expected)
    trained = settings.train_images or left
    expected = f"0 (all) or at most {trained}, the images that are trained on"
    require("labels", settings.labels, lambda n: n <= trained, expected)
    if settings.pretraining.method != "none":
        settings.pretraining.check_images(trained)


def _check_variants(tree: Mapping[str, Any], swept: Collection[Path]) -> None:
    for name, fields in tree["variants"].items():
        group = f"variants.{name}"
        require_group(("variants", name), fields)
        for path, value in leaves(fields):
            if path in swept:
                raise ConfigError(f"config.{group} sets {dotted(path)}, which is swept as well")
            _check_change(tree, group, path, value)


def _check_change(tree: Mapping[str, Any], group: str, path: Path, value: Any) -> None:
    """Refuses a field that may not be varied, or a value of the wrong kind."""
    kept = (*GROUPS, *FIXED_FIELDS, *_names(StudySettings), *_names(RuntimeSettings))
    field = None
    if path[0] == "recipes" or path[0] not in kept:
        field = next(filter(None, (field_at(path, each) for each in _networks(tree))), None)
    if field is None and not is_named(path, tree):
        known = [dotted(p) for p, _ in leaves(tree) if p[0] not in kept]
        raise ConfigError(
            f"config.{group}.{dotted(path)}: no such field to sweep{nearest(dotted(path), known)}"
        )
    if field is not None:
        checked(field, (*group.split("."), *path), value)


def _networks(tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The config once per network that an arm may use; a swept option must belong to one."""
    network = ("model", "name")
    swept = dict(leaves(tree["sweep"])).get(network, ())
    names = [*swept] if isinstance(swept, tuple | list) else []  # Else it is refused.
    for fields in tree["variants"].values():
        found = dict(leaves(fields)) if isinstance(fields, Mapping) else {}
        names += [found[network]] if network in found else []
    return [tree, *(replaced(tree, network, name) for name in names)]


def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def _check_columns(paths: Sequence[Path]) -> None:
    """Refuses two swept fields with one column name: the column is what tells their arms apart.

    Columns that say other things, such as `seed`, or tell variants apart, are taken as well.
    """
    taken = {*RESULT_COLUMNS, *FURTHER_COLUMNS, VARIANT}
    for path in paths:
        if column(path) in taken and path not in SHOWN:
            raise ConfigError(
                f"config.sweep.{dotted(path)}: results.csv has a column {column(path)!r} already,"
                " which says something else; give the field another name"
            )
    for path, other in itertools.combinations(paths, 2):
        if column(path) == column(other):
            raise ConfigError(
                f"config.sweep holds {dotted(path)} and {dotted(other)}, which would share the"
                f" column {column(path)!r} of results.csv; sweep one of them"
            )
