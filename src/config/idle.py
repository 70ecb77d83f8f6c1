"""Fields on the command line that change nothing, for the sweep or another field decides."""

from collections.abc import Sequence
from dataclasses import replace

from src.config.config import Config
from src.config.flags import Request
from src.errors import LabError
from src.fields import ConfigError
from src.trees import Path, dotted, leaves

# What arms and their rates come from; a field beside these is used always, unless it is swept.
GROUPS = (
    *("arm_learning_rates", "learning_rates", "model", "model_options", "recipe", "recipes"),
    *("selection_seeds", "sweep", "variants"),
)


def refuse_idle(request: Request, configs: Sequence[Config]) -> None:
    """Refuses a field without which the same trials would be run in the same way.

    Args:
        request: The command line.
        configs: The studies that it asks for.

    Raises:
        ConfigError: Naming the field, and the one that decides.
    """
    given = dict.fromkeys(override.path for override in request.overrides)
    for path in given:
        if ("sweep", *path) in given:
            continue  # The same command sweeps it, in full view.
        asked = path[0] in GROUPS or any(_is_swept(path, config) for config in configs)
        if asked and _is_idle(path, request, configs):
            raise ConfigError(f"config.{dotted(path)} changes nothing, for {_why(path, configs)}")


def _is_swept(path: Path, config: Config) -> bool:
    return path in dict(leaves(config.tree["sweep"]))


def _is_idle(path: Path, request: Request, configs: Sequence[Config]) -> bool:
    others = tuple(override for override in request.overrides if override.path != path)
    try:
        without = [Config.read(tree) for tree, _ in replace(request, overrides=others).studies()]
    except LabError:  # The others need it.
        return False
    if [config.tree for config in without] == [config.tree for config in configs]:
        return False  # It says what the file says.
    return [_decided(config) for config in without] == [_decided(config) for config in configs]


def _decided(config: Config) -> tuple[object, ...]:
    """All that says which trials are run, and how; the arms have their grids of rates."""
    study = replace(config.study, learning_rates=())
    if not any(map(config.selection_size, config.arms)):
        study = replace(study, selection_seeds=())
    return config.arms, study, config.runtime


def _why(path: Path, configs: Sequence[Config]) -> str:
    if all(_is_swept(path, config) for config in configs):
        return f"config.sweep.{dotted(path)} decides"
    used = {arm.settings.recipe.name for config in configs for arm in config.arms}
    if path[-1] == "learning_rates" and (path[0] != "recipes" or path[1] in used):
        own = all(config.tree["arm_learning_rates"] for config in configs)
        return f"config.{'arm_learning_rates' if own else 'learning_rates'} decides"
    if path[0] == "selection_seeds":
        return "each arm has one learning rate"
    return "it sweeps nothing" if path[0] == "sweep" else "no trial uses it"
