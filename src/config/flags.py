"""The flags of `src.main`. What is wrong with them is said in one line."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from src.config.studies import named_configs

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The study: a Python file such as configs/relu_vs_tanh.py. Config files are code and are run.\n"
    "Any field can be changed: --config.max_epochs=5 --config.fresh_seeds='(1,2,3)'",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the records are kept; default: runs/<name of the config>."
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "List the trials, their number and rough cost; run and write nothing."
)
_NOT_A = {  # what absl and Python say of a value -> what the field should be
    "invalid literal for int": "a whole number",
    "could not convert string to float": "a number",
    "Non-boolean argument": "True or False",
}


class FlagError(Exception):
    """A command line that cannot be followed. The message is one line."""


def parse(argv: Sequence[str]) -> None:
    """Parses the command line and runs the config file.

    Raises:
        FlagError: If a flag, a field or a value is not right, or the config file fails.
    """
    try:
        rest = flags.FLAGS(list(argv))
    except Exception as error:  # config files are code: anything may come
        raise FlagError(_explain(error, argv)) from error
    if rest[1:]:
        raise FlagError(f"unexpected argument {rest[1]!r}; flags start with --")
    if _CONFIG.value is None:
        raise FlagError("--config is missing; for example --config=configs/relu_vs_tanh.py")


def studies() -> list[tuple[dict[str, Any], Path]]:
    """Config, not checked, and folder of each study to run: one, or those a config file names.

    Named ones have a folder each, of that name, in the workdir.

    Raises:
        FlagError: If the file cannot be read or its `get_config` makes no config.
        ConfigError: If it has no study of that name.
    """
    workdir = Path(_WORKDIR.value or Path("runs") / Path(_config_path()).stem)
    overrides = config_flags.get_override_values(flags.FLAGS["config"])
    return [(config, workdir / name) for name, config in named_configs(_config(), overrides)]


def _config() -> dict[str, Any]:
    """The config as the file and the command line make it."""
    path = _config_path()
    if not Path(path).is_file():
        names = [str(file) for file in Path(path).parent.glob("*.py")]
        near = difflib.get_close_matches(path, names, n=1, cutoff=0.3)
        raise FlagError(f"no config file {path}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if not isinstance(_CONFIG.value, ConfigDict):
        found = type(_CONFIG.value).__name__
        raise FlagError(f"get_config() of {path} should return a ConfigDict, it returned {found}")
    try:
        return _CONFIG.value.to_dict()
    except Exception as error:  # a placeholder without a value, a reference to itself
        raise FlagError(f"{path}: {error}") from error


def dry_run() -> bool:
    """Whether only to tell what would be run."""
    return bool(_DRY_RUN.value)


def _config_path() -> str:
    return config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0]


def _explain(error: Exception, argv: Sequence[str]) -> str:
    """One line for whatever absl, ml_collections or a config file has raised."""
    text = str(error.args[0] if error.args else error).replace("\\n", " ").replace("\\", "")
    field = re.search(r"\w+", text)
    override = field and _override_of(field[0], argv)
    if isinstance(error, KeyError | AttributeError) and override:
        near = re.search(r'Did you mean "(.*?)"', text)
        return f"{override}: no such field" + (f"; did you mean {near[1]!r}?" if near else "")
    for phrase, kind in _NOT_A.items():
        flag = re.match(r"flag --(.*?)=(.*?): ", text, re.DOTALL)
        if flag and phrase in text:
            return f"{flag[1]} = {flag[2]!r} should be {kind}"
    if "Traceback" in text:  # of a config file
        text = text.strip().splitlines()[-1]
    return text if isinstance(error, flags.Error) else f"{type(error).__name__}: {text}"


def _override_of(field: str, argv: Sequence[str]) -> str | None:
    """The `config.` path on the command line that has a field as one of its names."""
    paths = (argument.lstrip("-").split("=")[0] for argument in argv if "config." in argument)
    return next((path for path in paths if field in path.split(".")), None)
