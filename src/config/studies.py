"""Config files with several studies; each study lays values of its own over the file's."""

from collections.abc import Iterator, Mapping
from typing import Any

from src.fields import FOLDER_NAME, ConfigError, names_folder, one_of, require
from src.models import ModelSettings
from src.trees import Path, Tree, laid_over, plain, replaced

ALL = "all"


def named_trees(
    tree: Mapping[str, Any], overrides: Mapping[Path, Any]
) -> Iterator[tuple[str, Tree]]:
    """Name and config of each study that `config.study` chooses: one, or `all`.

    A config without `studies` is a single study, whose name is empty.

    Args:
        tree: The config as the file and the command line make it, not checked yet.
        overrides: Path -> value on the command line; they win over a study's own values.

    Raises:
        ConfigError: If there is no such study, with the nearest name.
    """
    if "studies" not in tree:
        yield "", plain(tree)
        return
    studies = tree["studies"]
    expected = "a group of studies, each with a text for its name"
    require("studies", studies, _named_by_text, expected)
    for name in studies:
        if not names_folder(name):
            raise ConfigError(f"config.studies has a study {name!r}; {FOLDER_NAME}")
    if ALL in studies:
        raise ConfigError(f"config.studies.{ALL}: {ALL!r} asks for every study; name it otherwise")
    chosen = str(tree.get("study", ""))
    one_of("study", chosen, (*studies, ALL))
    shared = {name: value for name, value in tree.items() if name not in ("study", "studies")}
    for name in studies if chosen == ALL else (chosen,):
        changes = studies[name]
        require(f"studies.{name}", changes, lambda x: isinstance(x, Mapping), "a group of fields")
        study = _make_study(shared, changes)
        for path, value in overrides.items():
            if path[0] not in ("study", "studies"):
                study = replaced(study, path, value)
        yield name, study


def _named_by_text(studies: Any) -> bool:
    named = isinstance(studies, Mapping) and bool(studies)
    return named and all(isinstance(name, str) for name in studies)


def _make_study(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> Tree:
    """The file's config with a study's changes; another network drops the options of the file's."""
    old, new = tree.get("model", {}), changes.get("model", {})
    if isinstance(old, Mapping) and isinstance(new, Mapping):  # Else it is refused later.
        name = old.get("name", ModelSettings.name)
        if new.get("name", name) != name:
            kept = {key: value for key, value in old.items() if key == "activation"}
            tree = {**tree, "model": kept}
    return laid_over(tree, changes)
