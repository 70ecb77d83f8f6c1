"""Trials on the machines of a Ray cluster; the same code, paths and shared disk on all of them."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from src.config.schema import Resources, Runtime
from src.errors import one_line
from src.records.trial import TrialRecord
from src.study import worker
from src.study.engines import (
    EngineError,
    Message,
    knock,
    places,
    prepare_process,
    signals_blocked,
)
from src.study.worker import Job


class Board:
    """An actor on the study's machine: it holds the workers' messages and the request to stop."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.stopped = False

    def tell(self, message: Message) -> None:
        """Called by a worker: keeps its message for the study."""
        self.told.append(message)

    def take(self) -> list[Message]:
        """Called by the study: all messages since the last call."""
        told, self.told = self.told, []
        return told

    def stop(self) -> None:
        """Called by the study: asks its trials to save themselves."""
        self.stopped = True

    def is_stopped(self) -> bool:
        """Called by a worker: whether the study has asked it to stop."""
        return self.stopped


@dataclass(frozen=True)
class RayLine:
    """The line from a task to its study; if the study dies, Ray ends the task."""

    board: Any

    def tell(self, trial: str, kind: str, payload: Any) -> None:
        """Sends a message; does not wait for an answer."""
        self.board.tell.remote((trial, kind, payload))

    def should_stop(self) -> bool:
        """Whether the study has asked."""
        return bool(ray.get(self.board.is_stopped.remote()))


def _run(jobs: Sequence[Job], board: Any) -> list[TrialRecord | None]:
    prepare_process()
    line = RayLine(board)
    return [None] * len(jobs) if line.should_stop() else worker.run_jobs(jobs, line)


@dataclass(frozen=True)
class RayEngine:
    """The nodes of a cluster; each trial has the cores, GPUs or TPUs it asks for to itself."""

    board: Any
    task: Any  # The remote function.
    resources: Resources
    lost: tuple[type[BaseException], ...] = (
        exceptions.NodeDiedError,
        exceptions.OutOfMemoryError,
        exceptions.RayActorError,
        exceptions.WorkerCrashedError,
    )

    def slots(self) -> int:
        """Number of trials that the present nodes have resources for."""
        asked = {"CPU": self.resources.cpus, "GPU": self.resources.gpus, "TPU": self.resources.tpus}
        return places(ray.cluster_resources(), asked)

    def submit(self, jobs: Sequence[Job]) -> "Future[list[TrialRecord | None]]":
        """Begins a task; its future raises the task's own error, without Ray's wrapper."""
        outer: Future[list[TrialRecord | None]] = Future()

        def hand_on(inner: "Future[Any]") -> None:
            if (error := inner.exception()) is None:
                outer.set_result(inner.result())
            else:
                outer.set_exception(getattr(error, "cause", None) or error)

        self.task.remote(jobs, self.board).future().add_done_callback(hand_on)
        return outer

    def messages(self) -> Iterator[Message]:
        """Takes the messages on the board."""
        yield from ray.get(self.board.take.remote())

    def stop(self) -> None:
        """Sets the flag on the board, which every task reads after every point."""
        ray.get(self.board.stop.remote())

    def end(self) -> None:
        """Does nothing: Ray ends its tasks with the study."""


@contextmanager
def open_engine(runtime: Runtime, workers: int) -> Iterator[RayEngine]:
    """Joins the cluster at its address (or `auto`), or starts Ray on this machine.

    Raises:
        EngineError: If no head of a cluster answers there, or it asks for another token.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = {} if runtime.cluster else {"num_cpus": workers, "include_dashboard": False}
    try:
        knock(runtime.cluster)
        with signals_blocked():  # The study hears signals and asks its workers to save.
            ray.init(address=runtime.cluster or None, log_to_driver=False, **here)
    except (OSError, OverflowError, ValueError, RuntimeError, exceptions.RayError) as error:
        raise EngineError(
            f"config.cluster = {runtime.cluster!r}: no Ray head answers there ({one_line(error)});"
            " give its address, as HOST:6379, or auto on one of its nodes, and its token, if it"
            " asks for one, in RAY_AUTH_TOKEN or ~/.ray/auth_token"
        ) from error
    asked = runtime.trial_resources
    mine = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    try:
        yield RayEngine(
            ray.remote(num_cpus=0, scheduling_strategy=mine)(Board).remote(),
            ray.remote(
                num_cpus=asked.cpus,
                num_gpus=asked.gpus,
                resources={"TPU": asked.tpus} if asked.tpus else None,
                max_retries=3,  # A lost trial goes on from its checkpoint on another node.
                max_calls=0,  # A process keeps its compiled arms for the next trial.
                scheduling_strategy="SPREAD",
            )(_run),
            asked,
        )
    finally:
        ray.shutdown()
