"""The question that a study asks, compared with the one in the folder that it is to work in."""

import json
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from src import own
from src.config.config import Config
from src.config.schema import Runtime, is_grid, part_of
from src.data import tfds_folder
from src.data.settings import Data
from src.errors import LabError, one_line
from src.fields import plain as plain_settings
from src.models.registry import ModelSettings
from src.models.summary import size_of
from src.records import study as records
from src.records.files import json_safe
from src.records.trial import parse_trial_name, read_config, settings_digest
from src.study.order import ready_tasks
from src.training.settings import read_settings
from src.trees import Tree, dotted, leaves, plain, replaced

MOST_NAMED = 3  # Settings of an arm that differ; code of another time may have many others.


class StudyError(LabError):
    """A study cannot start or go on. The message is one line."""


def check_readable(config: Config) -> None:
    """Refuses a config whose records could not be read back, before there are any.

    Raises:
        StudyError: Saying what of it is no text, number, truth or tuple of these.
    """
    try:
        settings = [plain_settings(arm.settings) for arm in config.arms]
        tree, *there = json.loads(json.dumps([config.tree, *settings]))
        same = Config.read(tree).arms == config.arms
        same = same and [read_settings(each) for each in there] == [a.settings for a in config.arms]
        wrong = "" if same else "a value is another one when it is read back"
    except (TypeError, ValueError, LabError) as error:
        wrong = one_line(error)
    if wrong:
        raise StudyError(
            f"records cannot keep this config ({wrong}); a field's value should be a text, a"
            " number, True, False or a tuple of these"
        )


def open_study(config: Config, workdir: Path, provenance: dict[str, Any]) -> dict[str, Any]:
    """Writes study.json, or checks that the present one asks the same question of the same data.

    Fresh seeds and learning rates may be added to a study. `seeds_before` and `rates_before` keep
    the earlier ones, so that adding seeds until the answer pleases stays visible.

    Args:
        config: A checked config.
        workdir: Folder of the study.
        provenance: What study.json says of data, code and the machine that begins it.

    Returns:
        The header.

    Raises:
        StudyError: Listing the fields that differ, in the question or in the settings of an arm.
        RecordError: If study.json was lost or is damaged, or a trial's record.
    """
    there = records.read_study_header(workdir) if records.holds_study(workdir) else {}
    provenance = {**provenance, "own_code": own_code(config, there)}
    asked = json.loads(json.dumps(question(config, provenance)))
    if there:
        header = _with_more(there, asked, config)
        _refuse_other(identity(header["config"], header), identity(asked, provenance), workdir)
        _refuse_other_settings(config, header, workdir)
        records.read_finished(workdir)  # What is refused for its records has asked nothing more.
        header["own_code"] = provenance["own_code"]
    else:
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        networks = network_sizes(config, provenance)
        arms = {arm.name: (plain_settings(arm.settings), arm.learning_rates) for arm in config.arms}
        facts = {**provenance, "networks": networks, "started": started}
        header = records.new_header(asked, arms, facts)
    records.write_study_header(workdir, header)
    return header


def check_same(config: Config, header: dict[str, Any], workdir: Path) -> None:
    """Refuses the header of a study that asks another question; data are compared by name only.

    Raises:
        StudyError: Listing the fields that differ.
    """
    dataset = _found_as(config.trial.data, header["dataset"])
    if dataset == "procedural":
        config = config.with_data(dataset)
    facts = {**header, "own_code": own_code(config, header), "dataset": dataset}
    asked = json.loads(json.dumps(question(config, facts)))
    there = _with_more(header, asked, config)
    _refuse_other(identity(there["config"], header), identity(asked, facts), workdir)
    _refuse_other_settings(config, there, workdir)


def _refuse_other(there: Tree, asked: Tree, workdir: Path) -> None:
    if differing := _differences(there, asked):
        raise StudyError(
            f"{workdir} holds another study: {'; '.join(differing)}; choose another --workdir"
        )


def _refuse_other_settings(config: Config, header: Tree, workdir: Path) -> None:
    """Refuses to train trials of an arm whose name or settings are not as they were recorded.

    One question can be written in several ways: 2 for 2.0, or a data set with its version. Records
    tell them apart, so a trial would not be the study's. An arm without trials left stays as it is,
    even if it was begun by code that had fewer settings.
    """
    known = {name: arm["settings"] for name, arm in header["arms"].items()}
    asked = {arm.name: plain_settings(arm.settings) for arm in config.arms}
    others = [name for name in asked if settings_digest(asked[name]) != known.get(name)]
    if not others:
        return
    finished = {trial.row["trial"]: trial for trial in records.read_finished(workdir)}
    begins = {task.trial.arm for task in ready_tasks(config, finished)}
    for name in others:
        if name in begins:
            raise StudyError(
                f"{workdir} holds another study: {_why_other(name, asked[name], header, workdir)};"
                " write it as it was, or choose another --workdir"
            )


def _why_other(name: str, asked: Tree, header: Tree, workdir: Path) -> str:
    """How the settings of an arm differ from those of a trial of it that has been begun."""
    if name not in header["arms"]:
        return f"its arms are {', '.join(header['arms'])}, none is {name}"
    for folder in records.trial_dirs(workdir):
        if parse_trial_name(folder.name).arm == name and (folder / "config.json").exists():
            there = read_config(folder, records.identity_of(header, folder.name, folder))
            differing = _differences(there, json_safe(asked), _written_otherwise)
            more = f" and {len(differing) - MOST_NAMED} more" if differing[MOST_NAMED:] else ""
            return f"{name}: {'; '.join(differing[:MOST_NAMED])}{more}"
    return f"{name} has other settings than those that it was begun with"


def _found_as(asked: Data, found: str) -> str:
    """The name that the data would have in the study's records.

    It is `found` if the data that are asked for may turn out to be that, as cifar10 may turn out to
    be cifar10-jpeg.
    """
    base, version = tfds_folder.parse_name(asked.name)
    name = base if version is None else f"{base}:{version}"
    may_be = {name, asked.fallback}
    if base == "cifar10":
        may_be |= {base, f"{base}-jpeg", f"{base}-unverified"}
    return found if found in may_be else name


def _with_more(header: Tree, asked: Tree, config: Config) -> Tree:
    """The header with the fresh seeds and the learning rates that are asked for beside its own."""
    header = plain(header)
    before = header["config"]["fresh_seeds"]
    if _adds_seeds(before, asked["fresh_seeds"]):
        header["config"]["fresh_seeds"] = asked["fresh_seeds"]
        header["seeds_before"] = [*header.get("seeds_before", []), before]
    grids = {name: arm["learning_rates"] for name, arm in header["arms"].items()}
    wider = {arm.name: list(arm.learning_rates) for arm in config.arms}
    if _adds_rates(grids, wider):  # The same rates may stand in another order.
        for path, value in leaves(asked):
            if is_grid(path):
                header["config"] = replaced(header["config"], path, value)
    if wider != grids and _adds_rates(grids, wider):
        for name, grid in wider.items():
            header["arms"][name]["learning_rates"] = grid
        header["rates_before"] = [*header.get("rates_before", []), grids]
    return header


def _adds_seeds(before: Sequence[int], asked: Sequence[int]) -> bool:
    return len(asked) > len(before) and asked[: len(before)] == before


def _adds_rates(before: Mapping[str, list[float]], asked: Mapping[str, list[float]]) -> bool:
    """Whether the arms are the same, and none lacks a learning rate that it had."""
    return before.keys() == asked.keys() and all(set(before[n]) <= set(asked[n]) for n in asked)


def question(config: Config, provenance: dict[str, Any]) -> Tree:
    """The fields of a config that decide its numbers, in the shape of a config."""
    runtime = part_of(Runtime, config.tree)
    kept = {name: value for name, value in plain(config.tree).items() if name not in runtime}
    data = {"name": provenance["dataset"], "stream_size": config.trial.data.stream_size}
    return {**kept, "data": data}


def identity(tree: Tree, header: dict[str, Any]) -> Tree:
    """A question with the digests of its data and of the code that its trials run.

    Measures change no trial: one that is mended is applied to the records that are there.
    """
    compare = tree.get("compare", {})
    measures = {compare.get("measure"), *compare.get("further", ())}
    code = {name: of for name, of in header.get("own_code", {}).items() if name not in measures}
    return {**tree, "data.digest": header["digest"], "own_code": code}


def own_code(config: Config, header: Tree) -> dict[str, str]:
    """Digests of the functions, networks and measures that config files define, by their names.

    Each is made as that in the header was, if there is one.
    """
    before = header.get("own_code", {})
    named = {config.study.compare.measure, *config.study.compare.further}
    for arm in config.arms:
        settings = arm.settings
        named |= {*settings.model.names, settings.recipe.optimizer}
    found = {name: own.digest(name, before.get(name, "")) for name in sorted(named)}
    return {name: digest for name, digest in found.items() if digest}


def network_sizes(config: Config, provenance: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Name of an arm -> number of parameters of its network, and multiply-adds for one image."""
    found = {}
    sizes: dict[tuple[ModelSettings, tuple[int, ...]], dict[str, int]] = {}
    for arm in config.arms:
        shape = arm.settings.augment.taken(provenance["image_shape"])
        key = (arm.settings.model, shape)
        if key not in sizes:
            model = arm.settings.model.make(arm.settings.recipe.init, provenance["num_classes"])
            sizes[key] = size_of(model, shape)
        found[arm.name] = sizes[key]
    return found


def _differences(
    there: Tree, asked: Tree, differ: Callable[[Any, Any], bool] = operator.ne
) -> list[str]:
    old, new = ({dotted(path): value for path, value in leaves(tree)} for tree in (there, asked))
    return [
        f"{name} was {old.get(name, 'not set')!r}, is {new.get(name, 'not set')!r}"
        for name in sorted(old.keys() | new.keys())
        if differ(old.get(name), new.get(name))
    ]


def _written_otherwise(one: Any, other: Any) -> bool:
    """Whether records tell two values apart, as they do 2 and 2.0."""
    return repr(one) != repr(other)
