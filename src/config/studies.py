"""A config file with several studies: each lays values of its own over the file's."""

from collections.abc import Iterator, Mapping
from typing import Any

from src.config.arms import laid_over, plain, replaced
from src.config.fields import one_of, require

ALL = "all"


def named_configs(
    config: Mapping[str, Any], overrides: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and config of each study that `config.study` chooses, one or `all`.

    A config without `studies` is one study, whose name is empty.

    Args:
        config: As the file and the command line make it, not checked.
        overrides: Dotted path -> value, of the command line: they win over a study's own values.

    Raises:
        ConfigError: If there is no such study, with the nearest name there is.
    """
    if "studies" not in config:
        yield "", plain(config)
        return
    studies = config["studies"]
    require("studies", studies, lambda x: isinstance(x, Mapping) and x, "a group of studies")
    chosen = str(config.get("study", ""))
    one_of("study", chosen, (*studies, ALL))
    shared = {name: value for name, value in config.items() if name not in ("study", "studies")}
    for name in studies if chosen == ALL else (chosen,):
        changes = studies[name]
        require(f"studies.{name}", changes, lambda x: isinstance(x, Mapping), "a group of fields")
        study = _make_study(shared, changes)
        for path, value in overrides.items():
            if path.split(".")[0] in shared:
                study = replaced(study, path.split("."), value)
        yield name, study


def _make_study(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A study of another model starts without the options of the file's."""
    old, new = config["model"], changes.get("model", {})
    if isinstance(new, Mapping) and new.get("name", old["name"]) != old["name"]:
        config = {**config, "model": {"activation": old["activation"]}}
    return laid_over(config, changes)
