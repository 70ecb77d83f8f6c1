"""Every field of a config is checked here, before anything is compiled or written."""

import functools
import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from src import models
from src.config.arms import RUNTIME_FIELDS, STUDY_FIELDS, axes, column, leaves, make_arms, replaced
from src.config.fields import (
    ConfigError,
    check_fields,
    describe,
    dotted,
    nearest,
    one_of,
    require,
    same_kind,
)
from src.config.values import check_values, require_tuple

MAX_ARMS = 1000
# One data set and one target are a study's own: its trials are compared at them.
FIXED_FIELDS = ("data", "target_train_error")


def check_config(config: Mapping[str, Any]) -> None:
    """Refuses a config that cannot be run as it says.

    Raises:
        ConfigError: Naming the field, its value and what would be valid.
    """
    check_fields(config)
    check_values(config)
    _check_model_names(config["model"])  # even where a sweep takes their place
    _check_model_options(config["model_options"])
    _check_sweep(config)
    arms = make_arms(config)
    for arm in arms:
        _check_folder(arm.name)
        _check_model(arm.settings["model"])
    for name in config["arm_learning_rates"]:
        one_of("arm_learning_rates", name, [arm.name for arm in arms])
    _check_compare(config)


def check_devices(config: Mapping[str, Any], devices: int) -> None:
    """Refuses a batch that cannot be split evenly.

    Raises:
        ConfigError: Naming the nearest size that can.
    """
    size = config["batch_size"]
    if size % devices:
        even = max(devices, size - size % devices)
        raise ConfigError(
            f"config.batch_size = {size} cannot be split evenly over {devices} devices;"
            f" try {even}, or run on fewer devices"
        )


def check_data(config: Mapping[str, Any], shape: tuple[int, int, int], images: int) -> None:
    """Refuses what the data set cannot give: larger crops, more images, larger ones.

    Raises:
        ConfigError: Naming the field, its value and what there is.
    """
    height, width, channels = shape
    networks = {}
    for arm in make_arms(config):
        _check_sizes(arm.settings, (height, width), images)
        crop = arm.settings["augment"]["crop"]
        network = (arm.settings["model"], (crop or height, crop or width, channels))
        networks[repr(network)] = network
    for model, taken in networks.values():
        _check_image_size(model, taken)


def _check_sizes(settings: Mapping[str, Any], size: tuple[int, int], images: int) -> None:
    crop, held_out = settings["augment"]["crop"], settings["validation_images"]
    height, width = size
    expected = f"at most {min(size)}: images are {height} x {width}"
    require("augment.crop", crop, lambda n: n <= min(size), expected)
    expected = f"less than {images}, the images of the training set"
    require("validation_images", held_out, lambda n: n < images, expected)
    left = images - held_out
    expected = f"0 (all) or at most {left}, the images there are to train on"
    require("train_images", settings["train_images"], lambda n: n <= left, expected)


def _check_sweep(config: Mapping[str, Any]) -> None:
    sweep = list(leaves(config["sweep"]))
    for path, values in sweep:
        name = f"sweep.{dotted(path)}"
        for value in require_tuple(name, values):
            _check_changes(config, "sweep", [(path, value)])
        if len(set(values)) < len(values):
            raise ConfigError(f"config.{name} = {values} holds a value twice")
    _check_columns([path for path, _ in sweep])
    _check_variants(config, {path for path, _ in sweep})
    arms = math.prod(map(len, axes(config)))
    if arms > MAX_ARMS:
        raise ConfigError(f"config.sweep makes {arms} arms; at most {MAX_ARMS} can be run")


def _check_variants(config: Mapping[str, Any], swept: Collection[tuple[str, ...]]) -> None:
    for name, fields in config["variants"].items():
        group = f"variants.{name}"
        require(group, fields, lambda x: isinstance(x, Mapping), "a group of fields")
        changes = list(leaves(fields))
        for path, _ in changes:
            if path in swept:
                raise ConfigError(f"config.{group} sets {dotted(path)}, which is swept as well")
        _check_changes(config, group, changes)


def _check_changes(
    config: Mapping[str, Any], group: str, changes: Sequence[tuple[tuple[str, ...], Any]]
) -> None:
    """Refuses what the sweep or a variant, `group`, would make of the config."""
    known = {dotted(path): value for path, value in leaves(config) if _may_be_swept(path, value)}
    changed: Mapping[str, Any] = config
    for path, value in changes:
        name = dotted(path)
        if name not in known:
            raise ConfigError(
                f"config.{group}.{name}: no such field to sweep{nearest(name, known)}"
            )
        kind = type(known[name])
        require(f"{group}.{name}", value, functools.partial(same_kind, kind=kind), describe(kind))
        changed = replaced(changed, path, value)
    check_values(changed)


def _may_be_swept(path: Sequence[str], value: Any) -> bool:
    kept = (*STUDY_FIELDS, *RUNTIME_FIELDS, *FIXED_FIELDS)
    return path[0] not in kept and not isinstance(value, tuple | list)


def _check_columns(paths: Sequence[tuple[str, ...]]) -> None:
    """Each swept field needs a column of its own, by which its arms are told apart."""
    for path, other in itertools.combinations(paths, 2):
        if column(path) == column(other):
            raise ConfigError(
                f"config.sweep holds {dotted(path)} and {dotted(other)}, which would share the"
                f" column {column(path)!r} of results.csv; sweep one of them"
            )


def _check_folder(arm: str) -> None:
    """The folders of an arm's trials begin with its name."""
    if not re.fullmatch(r"[\w.+-]{1,150}", arm):
        raise ConfigError(
            f"config.sweep or config.recipe makes an arm {arm!r}; the name of a folder is needed:"
            " letters, digits, and . + - _"
        )


def _check_model(model: Mapping[str, Any]) -> None:
    options = {key: value for key, value in model.items() if key not in ("name", "activation")}
    _check_model_names(model)
    known = models.model_options(model["name"])
    for key, value in options.items():
        if key not in known:
            raise ConfigError(
                f"config.model.{key}: {model['name']} has no such option{nearest(key, known)}"
            )
        kind = type(known[key])
        require(f"model.{key}", value, functools.partial(same_kind, kind=kind), describe(kind))
    try:
        _make_model(model)
    except ValueError as error:
        raise ConfigError(f"config.model: {error}") from None


def _check_model_names(model: Mapping[str, Any]) -> None:
    one_of("model.name", model["name"], models.MODEL_NAMES)
    try:
        models.get_activation(model["activation"])
    except ValueError as error:
        raise ConfigError(f"config.model.activation = {model['activation']!r}: {error}") from None


def _check_image_size(model: Mapping[str, Any], shape: tuple[int, int, int]) -> None:
    if not models.takes(_make_model(model), shape):
        made_for = models.image_size(model["name"])
        raise ConfigError(
            f"config.model.name = {model['name']!r} is made for images of {made_for} x {made_for}"
            f" pixels; those of {shape[0]} x {shape[1]} are too small for it"
        )


def _make_model(model: Mapping[str, Any]) -> Any:
    options = {key: value for key, value in model.items() if key != "name"}
    return models.make_model(model["name"], init="modern", num_classes=10, **options)


def _check_model_options(networks: Mapping[str, Any]) -> None:
    for name, options in networks.items():
        one_of("model_options", name, models.MODEL_NAMES)
        require(f"model_options.{name}", options, lambda x: isinstance(x, Mapping), "options")
        for key in options:
            one_of(f"model_options.{name}", key, tuple(models.model_options(name)))


def _check_compare(config: Mapping[str, Any]) -> None:
    swept = {axis[0].column: tuple(setting.value for setting in axis) for axis in axes(config)}
    field, baseline = config["compare"]["field"], config["compare"]["baseline"]
    kinds = (str, bool, int, float)
    require("compare.baseline", baseline, lambda x: type(x) in kinds, "a value of a swept field")
    if swept and field not in swept:
        raise ConfigError(f"config.compare.field = {field!r} is not swept{nearest(field, swept)}")
    if swept and baseline not in swept[field]:
        raise ConfigError(
            f"config.compare.baseline = {baseline!r} is not among the swept values {swept[field]}"
        )
