"""Engines train trials: what a study asks of one, and which there are."""

import functools
import importlib.util
import os
import re
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, runtime_checkable

from src import environment
from src.config.schema import Runtime
from src.doors import SIGNALS
from src.errors import LabError
from src.records import provenance
from src.records.trial import TrialRecord
from src.study.worker import Job, StopFlag

Message = tuple[str, str, Any]  # Name of a trial, kind and payload, see `worker.Line.tell`.
KNOCK_SECONDS = 10.0
PACKAGES = {"ray": "ray", "dask": "distributed"}  # Engine -> the package that it needs.


class EngineError(LabError):
    """An engine is not installed or cannot be reached. The message is one line."""


@runtime_checkable
class Engine(Protocol):
    """Trains trials: on this machine, or on those of a cluster."""

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        """Errors that a future raises when the machine of its trial is lost for good."""

    def slots(self) -> int:
        """Number of jobs (trials, or groups of them) that can run now; machines come and go."""

    def submit(self, jobs: Sequence[Job]) -> "Future[list[TrialRecord | None]]":
        """Begins `worker.run_jobs(jobs)`; its result is the future's."""

    def messages(self) -> Iterator[Message]:
        """Messages of the workers since the last call; does not wait for more."""

    def stop(self) -> None:
        """Asks running trials to save themselves and end; trials not yet begun do not begin."""

    def end(self) -> None:
        """Ends workers that would wait for ever for a machine that is lost."""


def open_engine(runtime: Runtime, workers: int, stop: StopFlag) -> AbstractContextManager[Engine]:
    """Starts the engine that the config names; leaving the context ends it.

    Args:
        runtime: Names the engine, its cluster and the resources of a trial.
        workers: Number of trials side by side on this machine.
        stop: Set by signals; trials on this machine see it at once.

    Raises:
        EngineError: If its package is not installed, with the command that installs it, or if no
            cluster answers.
    """
    if runtime.engine == "local":
        from src.study.engines import local  # noqa: PLC0415

        return local.open_engine(workers, stop)
    package = PACKAGES[runtime.engine]
    if importlib.util.find_spec(package) is None:
        raise EngineError(
            f"config.engine = {runtime.engine!r} needs the package {package}, which is not"
            f" installed: pip install -r requirements-{runtime.engine}.txt"
        )
    if runtime.engine == "ray":
        show_token()  # Ray reads this when it is imported.
    engine = importlib.import_module(f"src.study.engines.{runtime.engine}_engine")
    return engine.open_engine(runtime, workers)


def places(there: Mapping[str, float], asked: Mapping[str, float]) -> int:
    """Number of trials that a machine has room for.

    Args:
        there: Name of a resource -> how much of it the machine has.
        asked: Name of a resource -> how much of it a trial needs; 0 if none.
    """
    return int(min(there.get(name, 0.0) / number for name, number in asked.items() if number))


@functools.cache
def prepare_process() -> None:
    """Prepares a worker process of a cluster for its first trial, as `doors.run` does a command.

    Raises:
        EngineError: If the node's environment has settings of JAX that change numbers. The process
            has imported JAX to read its first job, so it is too late to remove them.
    """
    taken = [name for name in environment.left_out(dict(os.environ)) if name.startswith("JAX_")]
    if taken:
        raise EngineError(
            f"a machine of the cluster has {taken[0]} in its environment, which changes numbers:"
            " start its workers without it"
        )
    provenance.loaded_commit()
    environment.collect_seldom()
    environment.configure_jax()
    environment.silence_orbax()
    environment.start_jax()


def show_token() -> None:
    """Makes Ray show the user's token to the head of a cluster, if there is one.

    A head asks for it where its user has one, and Ray does not show it unless RAY_AUTH_MODE says
    so. A head that does not ask takes no notice.
    """
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")
    if os.environ.get("RAY_AUTH_TOKEN") or os.path.isfile(path):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def knock(address: str) -> None:
    """Checks that somebody listens at HOST:PORT, where Ray would wait long; other forms pass.

    Raises:
        OSError: If nobody does.
        OverflowError: If there is no such port.
    """
    if match := re.fullmatch(r"\[?([^/]+?)\]?:(\d{1,5})", address):
        socket.create_connection((match[1], int(match[2])), KNOCK_SECONDS).close()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Blocks SIGTERM, Ctrl-C and their like here; processes started meanwhile never hear them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
