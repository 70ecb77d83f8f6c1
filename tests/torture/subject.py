"""The study under torture: started as users do; what it leaves compared with a sound one."""

import csv
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from src.data import write_tfds as prepare
from tests import tiny

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("study_config.py")
PATIENCE_SECONDS = 900.0  # what takes longer hangs


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, called in a fork: ArrayRecord has threads, with which none can be made."""

    def call(*arguments: Any, **named: Any) -> Any:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                with os.fdopen(writing, "wb") as pipe:
                    pickle.dump(function(*arguments, **named), pipe)
                code = 0
            except BaseException as error:
                traceback.print_exception(error)
            os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"{function.__name__} failed in its fork")
        return pickle.loads(content)

    return call


class Subject:
    """The small study, its data and its compilation cache in one folder."""

    def __init__(self, folder: Path):
        self.folder, self.data_dir = folder, folder / "data"
        self.environment = {
            **os.environ,
            "JAX_NUM_CPU_DEVICES": "1",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        prepared = self.data_dir / "tiny" / "1.0.0"
        prepared.mkdir(parents=True)
        dataset = tiny.make_dataset(160, 64)
        # The process that asks for it, pytest's say, may have JAX's threads: none can be forked.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(prepare.write_prepared, prepared, dataset.train, dataset.test).result()

    def start(self, workdir: Path, workers: int) -> "Process":
        """Starts the study or goes on with it."""
        arguments = [f"--config={CONFIG}", f"--workdir={workdir}"]
        overrides = [f"--config.data.dir={self.data_dir}", f"--config.workers={workers}"]
        return Process([*arguments, *overrides], self.environment, self.folder / "output")


class Process:
    """`python -m src.main` in a session of its own, its output in a file."""

    def __init__(self, arguments: list[str], environment: dict[str, str], output: Path):
        self.output = output
        with open(output, "wb") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "src.main", *arguments],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lines(self) -> list[str]:
        return self.output.read_text(errors="replace").splitlines()

    def errors(self) -> list[str]:
        return [line for line in self.lines() if line.startswith("error: ")]

    def running(self, seconds: float) -> bool:
        """Whether it still runs after so many seconds."""
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def end(self) -> int:
        """Waits for it and all it started; the exit code.

        Raises:
            AssertionError: If one of them does not end.
        """
        give_up = time.monotonic() + PATIENCE_SECONDS
        code = None
        while code is None or self.workers():
            if time.monotonic() > give_up:
                os.killpg(self.popen.pid, signal.SIGKILL)
                raise AssertionError(f"it hangs: {self.lines()[-3:]}, code {code}")
            time.sleep(0.05)
            code = self.popen.poll()
        return code

    def workers(self) -> list[int]:
        """Processes of its session other than itself and Python's resource tracker, which owns no
        record.
        """
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
                tracker = b"resource_tracker" in path.with_name("cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[3]) == self.popen.pid and fields[0] != "Z" and not tracker:
                found.append(int(path.parent.name))
        return [pid for pid in found if pid != self.popen.pid]


def finished(workdir: Path) -> dict[str, bytes]:
    """result.json of every finished trial."""
    paths = workdir.glob("trials/*/result.json")
    return {path.parent.name: path.read_bytes() for path in paths}


def differences(sound: Path, other: Path, *, states: bool = True) -> list[str]:
    """What differs in two finished studies, timings aside: rows, metrics, bits of last states."""
    found = []
    for name in ("results.csv", *(str(p.relative_to(sound)) for p in _metrics(sound))):
        if _untimed(sound / name) != _untimed(other / name):
            found.append(f"{name} differs")
    for path in sorted(sound.glob("trials/*/checkpoints")) if states else []:
        ours, theirs = _last_state(path), _last_state(other / path.relative_to(sound))
        if ours != theirs:
            found.append(f"the last state in {path.relative_to(sound)} differs")
    if len(_metrics(sound)) != len(_metrics(other)):
        found.append("the number of trials differs")
    return found


def _metrics(workdir: Path) -> list[Path]:
    return sorted(workdir.glob("trials/*/metrics.csv"))


def _untimed(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


def _last_state(directory: Path) -> tuple[int, list[tuple[str, bytes]]]:
    newest = max(int(path.name) for path in directory.iterdir() if path.name.isdigit())
    handler: Any = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    arrays = handler.restore((directory / str(newest) / "state").absolute())
    leaves = jax.tree_util.tree_leaves_with_path(arrays)
    return newest, [(str(path), np.asarray(leaf).tobytes()) for path, leaf in leaves]
