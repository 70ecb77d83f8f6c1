"""Where trials are trained: what a study asks of an engine, and which engines there are."""

import functools
import importlib.util
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, runtime_checkable

from src import environment
from src.config.schema import Runtime
from src.doors import SIGNALS
from src.errors import LabError
from src.records.trial import TrialRecord
from src.study.worker import Job, StopFlag

Message = tuple[str, str, Any]  # name of a trial, kind, payload: see `worker.Line.tell`
PACKAGES = {"ray": "ray", "dask": "distributed"}  # what each engine needs beyond requirements.txt


class EngineError(LabError):
    """An engine that is not installed or cannot be reached. The message is one line."""


@runtime_checkable
class Engine(Protocol):
    """Trains trials somewhere."""

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        """What a trial's future raises once its machine is lost for good. What was saved stays."""

    def slots(self) -> int:
        """Trials, or groups of them, that may be under way now; machines come and go."""

    def submit(self, jobs: Sequence[Job]) -> "Future[list[TrialRecord | None]]":
        """Begins `worker.run_jobs`; the future's result is its result."""

    def messages(self) -> Iterator[Message]:
        """What the workers have told since this was last asked; does not wait."""

    def stop(self) -> None:
        """Asks the trials under way to save themselves; those that have not begun do not begin."""

    def end(self) -> None:
        """After a loss: ends workers that would wait for a machine that is no more."""


def open_engine(runtime: Runtime, workers: int, stop: StopFlag) -> AbstractContextManager[Engine]:
    """The engine that the config names, started; leaving the context ends it.

    Args:
        runtime: Names engine, cluster and what a trial needs.
        workers: Trials side by side on this machine.
        stop: What signals set; trials on this machine see it at once.

    Raises:
        EngineError: If its package is absent, with the command that installs it.
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
    engine = importlib.import_module(f"src.study.engines.{runtime.engine}_engine")
    return engine.open_engine(runtime, workers)


@functools.cache
def prepare_process() -> None:
    """Before the first trial of a cluster's worker process: what `doors.run` does for a command.

    Raises:
        EngineError: If the node has settings of JAX that change numbers. To read its first job the
            process had to import JAX, which took them: here it is too late to leave them out.
    """
    taken = [name for name in environment.left_out(dict(os.environ)) if name.startswith("JAX_")]
    if taken:
        raise EngineError(
            f"a machine of the cluster has {taken[0]} in its environment, which changes numbers:"
            " start its workers without it"
        )
    environment.configure_jax()
    environment.silence_orbax()
    environment.start_jax()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Puts SIGTERM and Ctrl-C off; what is started meanwhile does so for its whole life."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
