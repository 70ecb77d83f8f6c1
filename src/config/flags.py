"""The command line of `src.main`: a config file, then any of its fields by `--config.FIELD=VALUE`.

The file is loaded by ml_collections' flag. Fields are set here, each by its declared type, so that
every field can be set even if the file does not mention it: options of any network, sweeps, names
with dashes. If a field is given twice, the last value counts.
"""

import ast
import difflib
import itertools
import re
import shlex
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from absl import flags
from ml_collections import ConfigDict, config_flags

from src import hosts
from src.config.schema import GROUPS, all_fields, field_at, field_of, is_named, recipe_fields
from src.config.studies import ALL, named_trees
from src.errors import LabError, one_line
from src.fields import ConfigError, Field, Named, describe, nearest, same_kind
from src.models.registry import MODEL_NAMES, ModelSettings, options_of
from src.paths import local_path
from src.trees import Path as FieldPath
from src.trees import Tree, dotted, laid_over, leaves, replaced

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The study: a Python file such as configs/relu_vs_tanh.py. Config files are code and are run.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the records are kept; default: runs/<name of the config>."
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "List the trials, their number and rough cost; run and write nothing."
)
_HOSTS = flags.DEFINE_string(
    "hosts",
    "none",
    "Train each trial on several processes together: slurm, mpi, k8s, tpu, or ADDRESS:PORT,N,I by"
    " hand (address of process 0, number of processes, number of this one).",
)
_TRUTHS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


class FlagError(LabError):
    """The command line cannot be followed. The message is one line."""


@dataclass(frozen=True)
class Override:
    """One `--config.FIELD=VALUE` of the command line.

    Attributes:
        path: Path of the field.
        text: The value as it was typed; None if there is none, as in `--config.racing`.
    """

    path: FieldPath
    text: str | None

    def __str__(self) -> str:
        return f"config.{dotted(self.path)}"


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        file: The config file.
        overrides: Fields set on the command line, in its order.
        workdir: The folder of the study, or of the named studies.
        dry_run: Whether to list the trials and run none.
        hosts: The value of --hosts, see `src.hosts`.
    """

    file: str
    overrides: tuple[Override, ...]
    workdir: Path
    dry_run: bool
    hosts: str = "none"

    def studies(self) -> list[tuple[Tree, Path]]:
        """The config, not checked yet, and the folder of each study to run.

        A file with named studies gives each a folder of its name in the workdir.

        Raises:
            FlagError: If the file makes no config.
            ConfigError: If a field or study does not exist, or a value has the wrong type.
        """
        tree = there = _file_tree(self.file)
        model = dict(tree["model"]) if isinstance(tree.get("model"), Mapping) else {}
        overrides = {each.path: each for each in self.overrides}
        found: dict[FieldPath, Any] = {}
        # The network is set first, since the options that exist depend on it.
        for path, each in sorted(
            overrides.items(), key=lambda item: item[0][-2:] != ("model", "name")
        ):
            tree, value = _set(tree, each, model)
            found[path] = value
        _check_recipes(self.overrides, there, tree)
        _check_studies(self.overrides, there.get("studies"), tree)
        _check_twice(found)
        return [(study, self.workdir / name) for name, study in named_trees(tree, found)]


def command(argv: Sequence[str]) -> str:
    """The command that was given, ready to be pasted into a shell."""
    return shlex.join(["python", "-m", "src.main", *argv])


def hosts_of(argv: Sequence[str]) -> str:
    """The value of --hosts, even in a command line that is wrong otherwise."""
    return _typed(argv, "hosts", "none")


def _typed(argv: Sequence[str], flag: str, default: str = "") -> str:
    """The value of a flag as it was typed."""
    found = default
    for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        name, given, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == flag:
            found = value if given else following
    return found


def parse(argv: Sequence[str]) -> Request:
    """Parses the command line and runs the config file.

    Raises:
        FlagError: If a flag is wrong, or the config file fails.
        PathError: If --workdir cannot be meant as it was typed.
        HostError: If --hosts has no such value.
    """
    rest, overrides = _split(argv)
    if ":" in (typed := _typed(rest, "config")) and Path(typed).is_file():
        raise FlagError(
            f"--config={typed}: ml_collections reads a path up to its first colon; give the file,"
            " or the folder that it is in, another name"
        )
    for name in ("config", "workdir", "dry_run", "hosts"):
        flags.FLAGS[name].unparse()  # An earlier command line of this process does not count.
    before, sys.argv = sys.argv, rest
    try:
        others = flags.FLAGS(rest)
    except (Exception, SystemExit) as error:  # A config file is code and may raise anything.
        raise FlagError(_explain(error)) from error
    finally:
        sys.argv = before
    if others[1:]:
        raise FlagError(f"unexpected argument {others[1]!r}; flags start with --")
    if not flags.FLAGS["config"].present:
        raise FlagError("--config is missing; for example --config=configs/relu_vs_tanh.py")
    file = config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0]
    default = Path("runs") / Path(file).stem
    if (_WORKDIR.value or "").startswith("-"):
        raise FlagError(f"--workdir = {_WORKDIR.value!r} is a flag: its own value is missing")
    workdir = default if _WORKDIR.value is None else local_path(_WORKDIR.value, "--workdir")
    hosts.check(_HOSTS.value)
    return Request(file, tuple(overrides), workdir, bool(_DRY_RUN.value), _HOSTS.value)


def _split(argv: Sequence[str]) -> tuple[list[str], list[Override]]:
    """Separates the fields of the config from the rest of the command line, which comes first."""
    rest, overrides, waiting = ["src.main"], [], list(argv)
    while waiting:
        argument = waiting.pop(0)
        dashes = argument.replace("--", "-", 1) if argument.startswith("--") else argument
        if not dashes.startswith(("-config.", "-noconfig.")):
            rest.append(_home_found(argument))
            continue
        name, given, text = dashes.partition("=")
        path = _path(name.partition(".")[2])
        if name.startswith("-no"):
            if given:
                raise FlagError(f"{argument}: --noconfig.FIELD takes no value; it says False")
            text, given = "False", "="
        elif not given and waiting and not waiting[0].startswith("--"):
            text, given = waiting.pop(0), "="
        overrides.append(Override(path, text if given else None))
    return rest, overrides


def _path(text: str) -> FieldPath:
    """The names that lead to a field; what stands in ["..."] is one name.

    Names of arms and of networks of one's own have dots in them, so that they need no brackets.
    """
    names: list[str] = []
    for place, part in enumerate(re.split(r"""\[["'](.+?)["']\]""", text)):
        if place % 2:
            names.append(part)
        elif part or not place:
            names += part.removeprefix("." if place else "").split(".")
    study, rest = (names[:2], names[2:]) if names[0] == "studies" else ([], names)
    if rest[:1] == ["arm_learning_rates"] and rest[1:]:
        rest = [rest[0], ".".join(rest[1:])]
    if rest[:1] == ["model_options"] and rest[3:]:
        rest = [rest[0], ".".join(rest[1:-1]), rest[-1]]
    return (*study, *rest)


def _home_found(argument: str) -> str:
    """Expands the `~` of `--config=~/mine.py`, which no shell does."""
    flag, given, file = argument.partition("=")
    return f"{flag}={Path(file).expanduser()}" if given and file.startswith("~/") else argument


def _file_tree(file: str) -> Tree:
    """The config that the file makes."""
    if not Path(file).is_file():
        names = [str(path) for path in Path(file).parent.glob("*.py")]
        near = difflib.get_close_matches(file, names, n=1, cutoff=0.3)
        raise FlagError(f"no config file {file}" + (f"; did you mean {near[0]!r}?" if near else ""))
    # ml_collections keeps an error of reading, of any file, in place of the config.
    if isinstance(kept := getattr(_CONFIG.value, "_error", None), OSError):
        raise FlagError(_explain(kept))
    if not isinstance(_CONFIG.value, ConfigDict):
        found = type(_CONFIG.value).__name__
        raise FlagError(f"get_config() of {file} should return a ConfigDict, it returned {found}")
    try:
        return dict(_CONFIG.value.to_dict())
    except Exception as error:  # For example a placeholder without a value.
        raise FlagError(f"{file}: {error}") from error


def _set(tree: Tree, override: Override, model: Tree) -> tuple[Tree, Any]:
    """The config with one field set, and the value that was set.

    Raises:
        ConfigError: If there is no such field, or its value is of another type.
    """
    path = override.path
    field = _field(path, tree)
    if field is None and path[0] in ("study", "studies") and "studies" in tree:
        return replaced(tree, path, value := _of_study(override, tree)), value
    if field is None and (path[0] in GROUPS or is_named(path, tree)):
        value = _in_group(path, override, tree)
        return replaced(tree, path, value), value
    if field is None:
        known = _known_paths(tree)
        raise ConfigError(f"{override}: no such field{nearest(dotted(path), known)}")
    value = _parse_value(field, override)
    if path == ("model", "name") and value != model.get("name"):
        tree = _without_options(tree, value, model)
    return replaced(tree, path, value), value


def _check_recipes(overrides: Sequence[Override], there: Tree, tree: Tree) -> None:
    """Refuses to set a field of a recipe that is neither `there`, in the file, nor asked for.

    A study or a variant may have recipes of its own.
    """
    asked = [value for path, value in leaves(tree) if path[-1] == "recipe"]
    fields = map(field_of, dict(leaves(there)))
    known = [field[1] for field in fields if field[:1] == ("recipes",) and field[1:]]
    for each in asked:
        known += each if isinstance(each, tuple | list) else [each]
    for override in overrides:
        field = field_of(override.path)
        if field[:1] == ("recipes",) and field[1:] and field[1] not in known:
            names = ", ".join(dict.fromkeys(map(str, known)))
            hint = nearest(field[1], known) or f"; there are {names}"
            raise ConfigError(f"{override}: no trial has a recipe of that name{hint}")


def _check_twice(given: Mapping[FieldPath, Any]) -> None:
    """Refuses to set a field of a study where the same command sets it in all of them.

    Args:
        given: Path -> value, which may be a whole group of fields.
    """
    found = [
        (path, (*path, *rest))
        for path, value in given.items()
        for rest in (dict(leaves(value)) if isinstance(value, Mapping) else [()])
    ]
    of_all = {leaf for path, leaf in found if path[0] != "studies"}
    for path, leaf in found:
        if path[0] == "studies" and leaf[2:] in of_all:
            raise ConfigError(
                f"config.{dotted(path)} decides nothing, for config.{dotted(leaf[2:])} is given for"
                " every study; give one of the two"
            )


def _check_studies(overrides: Sequence[Override], there: Any, tree: Tree) -> None:
    """Refuses to set a field of a study that the file does not have, or that is not asked for."""
    known = list(there) if isinstance(there, Mapping) else []
    for override in overrides:
        if override.path[0] != "studies" or not override.path[1:] or not known:
            continue
        name, chosen = override.path[1], str(tree.get("study", ""))
        if name not in known:
            hint = nearest(name, known) or f"; there are {', '.join(map(str, known))}"
            raise ConfigError(f"{override}: the file has no study of that name{hint}")
        if chosen not in (name, ALL):
            raise ConfigError(
                f"{override}: config.study = {chosen!r} asks for another study; ask for this one"
            )


def _without_options(tree: Tree, name: Any, before: Tree) -> Tree:
    """The config without options of the file's network that the new network does not have."""
    if name not in MODEL_NAMES:
        return tree
    kept = {field.path[0] for field in options_of(name)}
    model = {k: v for k, v in tree["model"].items() if k in kept or k not in before}
    return {
        **tree,
        "model": {"activation": before.get("activation", ModelSettings.activation), **model},
    }


def _field(path: FieldPath, tree: Tree) -> Field | None:
    return field_at(path, tree) or _option_of_another(path, tree)


def _of_study(override: Override, tree: Tree) -> Any:
    """The name of a study, or a value in one, read as that of the same field of the file is."""
    path, studies = override.path[2:], tree["studies"]
    if not path or not isinstance(studies, Mapping):
        return _literal(override)
    study = studies.get(override.path[1])
    whole = laid_over(tree, study) if isinstance(study, Mapping) else tree
    if field := _field(path, whole):
        return _parse_value(field, override)
    named = path[0] in GROUPS or is_named(path, whole)
    return _in_group(path, override, whole) if named else _literal(override)


def _in_group(path: FieldPath, override: Override, tree: Tree) -> Any:
    """A value in a group of the user's, where it sweeps or sets a field in the type of that."""
    group, value = path[0], _literal(override)
    within = path[{"sweep": 1, "variants": 2}.get(group, len(path)) :]
    field = _field(within, tree) if within else None
    if field and group == "variants" and not (field.kind is str and isinstance(value, str)):
        return _parse_value(field, override)
    if field and group == "sweep" and override.text is not None and isinstance(value, str):
        value = _items(override.text, field.kind)
    alone = group in ("sweep", "arm_learning_rates") and not isinstance(value, tuple | list | dict)
    return (value,) if alone else value


def _option_of_another(path: FieldPath, tree: Tree) -> Field | None:
    """The declaration of an option of a network that the config may end up with.

    Networks of its studies and its sweep come first, then all others. Whether the final network
    has the option is checked later, on the whole config.
    """
    if path[0] != "model" or len(path) != 2:
        return None
    found = [value for at, value in leaves(tree) if at[-2:] == ("model", "name")]
    named = [
        name for each in found for name in (each if isinstance(each, tuple | list) else [each])
    ]
    networks = ({**tree, "model": {"name": name}} for name in (*named, *MODEL_NAMES))
    return next(filter(None, (field_at(path, each) for each in networks)), None)


def _known_paths(tree: Tree) -> list[str]:
    names = [dotted(field.path) for field in all_fields()]
    options = _options(dict(leaves(tree)).get(("model", "name")))
    names += [f"model.{field.path[0]}" for field in options]
    return [*names, *(dotted(path) for path, _ in leaves(tree))]


def _options(network: Any) -> tuple[Field, ...]:
    """The options of a network; none if it cannot be found."""
    try:
        return options_of(str(network))
    except ValueError:
        return ()


def _parse_value(field: Field, override: Override) -> Any:
    """The text of a flag in the type of its field; text that does not fit is refused later."""
    text, kind = override.text, field.kind
    if kind is bool:
        return True if text is None else _TRUTHS.get(text.lower(), text)
    if text is None:
        raise ConfigError(f"{override} has no value; it should be {describe(kind)}")
    if kind is str:
        return text
    if kind in (int, float):
        return _number(kind, text)
    if get_origin(kind) is tuple:
        return _items(text, get_args(kind)[0])
    value = _literal(override)
    return text if same_kind("", kind) and not same_kind(value, kind) else value


def _number(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text


def _items(text: str, kind: type) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if not same_kind("", kind):
            return text
        value = tuple(part.strip() for part in text.strip("()").split(",") if part.strip())
    return value if isinstance(value, tuple | list) else (value,)


def _literal(override: Override) -> Any:
    """The text read as a Python literal; text that is not one stays a string."""
    if override.text is None:
        return True
    try:
        return ast.literal_eval(override.text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return override.text


def _explain(error: BaseException) -> str:
    """One line for an error of absl, ml_collections or a config file."""
    if isinstance(error, SystemExit):
        return f"the config file ended the program: sys.exit({error.code!r})"
    raised = error
    # ml_collections and absl wrap what a config file raises: its place is lost, or even its words.
    while raised.__context__ and not _place(raised):
        raised = raised.__context__
    if place := _place(raised):
        words = raised.msg if isinstance(raised, SyntaxError) else raised
        text = f"{type(raised).__name__}: {one_line(words)}"
        if isinstance(raised, ImportError) and "relative import" in text:
            text += "; a config file is run by itself: write `from configs.NAME import ...`"
        return f"{place}: {text}"
    if isinstance(raised, AttributeError) and raised.name == "get_config":
        file = getattr(raised.obj, "__file__", "the config file")
        return f"{file} has no function get_config(), which returns the config: define it there"
    text = str(error.args[0] if error.args else error).replace("\\n", " ").replace("\\", "")
    if "Traceback" in text:  # ml_collections passes on the traceback of a config file.
        text = text.strip().splitlines()[-1]
    return (
        text if isinstance(error, flags.Error) else f"config file: {type(error).__name__}: {text}"
    )


def _place(error: BaseException) -> str:
    """The last line of the user's own code that an error came through; empty if there is none."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}" if error.filename else ""
    libraries = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    others = (*libraries, str(Path(__file__).parents[1]), "<")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(others):
            return f"{frame.filename}, line {frame.lineno}"
    return ""


def help_text(tree: Tree | None) -> Iterator[str]:
    """Lines of `--help`: flags, then every field with its value and its sentence.

    Args:
        tree: The config whose values are shown; None: the defaults.
    """
    for flag in (_CONFIG, _WORKDIR, _DRY_RUN, _HOSTS):
        yield f"  --{flag.name}: {flags.FLAGS[flag.name].help}"
    yield ""
    yield "Fields of a config, --config.FIELD=VALUE:" + ("" if tree else " (defaults)")
    for field in all_fields():
        yield from _field_lines(field, field.path, tree or {})
    network = str(_value_at(tree or {}, ("model", "name"), ModelSettings.name))
    options = _options(network)
    yield ""
    yield f"Options of {network}, --config.model.OPTION=VALUE (other networks have others):"
    for field in options:
        yield from _field_lines(field, ("model", field.path[0]), tree or {})
    yield ""
    yield "Fields of a recipe, --config.recipes.NAME.FIELD=VALUE: (defaults)"
    for field in recipe_fields():
        yield from _field_lines(field, field.path, {})


def _field_lines(field: Field, path: FieldPath, tree: Tree) -> Iterator[str]:
    value = _value_at(tree, path, field.default)
    shown = dict(value) if isinstance(value, Named) else value
    yield f"  {dotted(path)} = {shown!r}"
    if field.help:
        yield f"      {field.help}"


def _value_at(tree: Tree, path: FieldPath, default: Any) -> Any:
    """The value of a field or a group in a config; the default where the config does not say."""
    value: Any = tree
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return default
        value = value[name]
    return value
