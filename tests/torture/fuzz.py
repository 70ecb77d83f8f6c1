"""Configs without sense through the real entry: each runs, or is refused in one line."""

import os
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from configs import base
from src import data, doors, laboratory
from src.config import checks as config  # noqa: F401  (before the forks)
from src.records import provenance  # noqa: F401  (before the forks)
from src.reports import compose as report  # noqa: F401  (before the forks)
from src.study import (
    plan,  # noqa: F401  (before the forks)
    runner,
)
from src.trees import leaves
from tests import tiny
from tests.torture import study_config
from tests.torture.subject import Subject

PATIENCE_SECONDS = 60.0
load = data.load
sound, inf, nan = study_config.get_config, float("inf"), float("nan")  # names in config files
FIELDS = [".".join(path) for path, _ in leaves(base.get_config().to_dict())]
SWEPT = ["recipe", "weight_decay", "model.activation", "model.name", "batch_size", "measure"]
numbers = st.one_of(
    st.integers(-3, 300), st.floats(), st.sampled_from([0, -1, 10**9, 10**400, 1e-300, 0.5])
)
words = st.one_of(
    st.sampled_from(
        ["relu", "tanh", "rleu", "conv3", "conv2_local2", "modern", "cuda_convnet", ""]
    ),
    st.sampled_from(["online", "frozen", "tiny", "pmap", "shard_map", "none", "../up", "a b"]),
    st.text(max_size=8),
)
scalars = st.one_of(numbers, words, st.booleans(), st.none())
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=4).map(tuple),
    st.lists(numbers, max_size=3),
    st.dictionaries(st.sampled_from(["name", "hidden", "a"]), scalars, max_size=2),
)
misspelt = st.builds(
    lambda name, at, letter: name[:at] + letter + name[at + 1 :],
    st.sampled_from(FIELDS), st.integers(0, 12), st.sampled_from("aeinst_"),
)  # fmt: skip
names = st.one_of(st.sampled_from(FIELDS), st.sampled_from(FIELDS), misspelt)
sweeps = st.tuples(
    st.sampled_from(SWEPT).map("sweep.{}".format), st.lists(scalars, max_size=3).map(tuple)
)
variants = st.dictionaries(
    st.one_of(st.sampled_from(["a", "b", "../up"]), st.text(max_size=4)),
    st.one_of(
        st.builds(lambda value: {"weight_decay": value}, scalars),
        st.builds(lambda value: {"augment": {"flip": value}}, scalars),
        st.just({}),
        scalars,
    ),
    max_size=3,
).map(lambda value: ("variants", value))
sensible = st.sampled_from(
    [
        ("max_epochs", 3), ("batch_size", 32), ("racing", False), ("weight_decay", 0.0005),
        ("measure", "frozen"), ("learning_rates", (0.1, 0.2)), ("fresh_seeds", (7,)),
        ("racing_slack", inf), ("parallel", "shard_map"), ("sweep.weight_decay", (0.0, 0.1)),
    ]
)  # fmt: skip
changes = st.lists(
    st.one_of(st.tuples(names, values), sensible, sensible, sweeps, variants), max_size=3
)
removed = st.one_of(st.just([]), st.just([]), st.lists(st.sampled_from(FIELDS), max_size=1))


@dataclass
class Fuzz:
    """What was tried and what came of it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def torture(study: Subject, count: int, seed: int) -> Fuzz:
    """Half as config files, half as flags after a sound file."""
    fuzz, folder = Fuzz(), study.folder / "fuzz"
    os.environ["XDG_CACHE_HOME"] = study.environment["XDG_CACHE_HOME"]
    data.load("tiny", str(study.data_dir))  # into the cache

    @seeded(seed)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(changes, removed, st.booleans())
    def try_one(changed: list[tuple[str, Any]], without: list[str], as_flags: bool) -> None:
        arguments = (
            _as_flags(changed, folder, study)
            if as_flags
            else _as_file(changed, without, folder, study)
        )
        code, lines = _run(arguments, folder / "empty")
        written = list((folder / "empty").iterdir())
        one_line = len(lines) == 1 and lines[0].startswith("error: ")
        sound = code == 0 or (code > 0 and one_line)
        fuzz.outcomes["accepted" if code == 0 else "refused"] += 1
        if written or not sound:
            fuzz.failures.append(f"{arguments} {changed} {without}: {code} {lines[-2:]} {written}")

    try_one()
    return fuzz


def _as_flags(changed: list[tuple[str, Any]], folder: Path, study: Subject) -> list[str]:
    config_file = _write(folder, [f"config.data.dir = {str(study.data_dir)!r}"])
    overrides = [f"--config.{name}={_text(value)}" for name, value in changed]
    return [f"--config={config_file}", *overrides]


def _text(value: Any) -> str:
    text = str(value).replace("\0", "")
    return text.encode(errors="ignore").decode()


def _as_file(
    changed: list[tuple[str, Any]], without: list[str], folder: Path, study: Subject
) -> list[str]:
    lines = [f"config.data.dir = {str(study.data_dir)!r}", "config.unlock()"]
    lines += [f"remove(config, {name.split('.')!r})" for name in without]
    lines += [f"put(config, {name.split('.')!r}, {value!r})" for name, value in changed]
    return [f"--config={_write(folder, lines)}"]


def _write(folder: Path, lines: list[str]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "empty").mkdir(parents=True)
    body = "\n".join(f"    {line}" for line in lines)
    text = "from tests.torture.fuzz import *\n\n\ndef get_config():\n    config = sound()\n"
    text += f"{body}\n    return config\n"
    (folder / "config.py").write_text(text)
    return folder / "config.py"


def put(node: Any, path: list[str], value: Any) -> None:
    """Sets a field of a ConfigDict, whatever was there."""
    for name in path[:-1]:
        node = node[name]
    with node.ignore_type():
        node[path[-1]] = value


def remove(node: Any, path: list[str]) -> None:
    """Removes a field of a ConfigDict."""
    for name in path[:-1]:
        node = node[name]
    del node[path[-1]]


def _run(arguments: list[str], cwd: Path) -> tuple[int, list[str]]:
    """`python -m src.main` with these arguments in a fork of this process: exit code and output."""
    output = cwd.with_name("output")
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        _child(arguments, cwd, output)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), output.read_text(
                errors="replace"
            ).splitlines()
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _load(
    name: str, data_dir: str, *, fallback: str, stream_size: int
) -> data.Dataset | data.Stream:
    """As `data.load`, but nothing is downloaded and no large set is drawn."""
    if name in ("cifar10", "procedural") or fallback == "procedural":
        return tiny.make_dataset(name="procedural")
    return load(name, data_dir, stream_size=stream_size)


def _child(arguments: list[str], cwd: Path, output: Path) -> None:
    """Never returns. Where training would begin, the config was accepted: exit code 0."""
    code = 1
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(cwd)
        runner.run_study = lambda *_: os._exit(0)
        data.load = _load
        code = doors.run(lambda argv: laboratory.main(argv, ""), arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        print("Traceback", repr(error), file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
