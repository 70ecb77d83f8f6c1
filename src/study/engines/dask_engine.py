"""Trials on the machines of a Dask cluster; the same code, paths and shared disk on all of them."""

import logging
import pickle
import queue
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client, Event, KilledWorker, LocalCluster, get_worker

from src.config.schema import Runtime
from src.errors import one_line
from src.records.trial import TrialRecord
from src.study import worker
from src.study.engines import EngineError, Message, places, prepare_process, signals_blocked
from src.study.worker import Job


@dataclass(frozen=True)
class DaskLine:
    """The line from a task to its study: messages are events of a topic, stopping is an `Event`."""

    topic: str
    task: str  # Key of the task.

    def tell(self, trial: str, kind: str, payload: Any) -> None:
        """Sends a message through the scheduler, which hands bytes on unread."""
        get_worker().log_event(self.topic, pickle.dumps((trial, kind, payload)))

    def should_stop(self) -> bool:
        """Whether the study has asked, or the scheduler has given the task up.

        It does so where the study died, or where it takes this worker for dead.
        """
        task = get_worker().state.tasks.get(self.task)
        wanted = task is not None and task.state == "executing"
        return not wanted or bool(Event(self.topic).is_set())


def _run(jobs: Sequence[Job], topic: str) -> list[TrialRecord | None]:
    prepare_process()
    line = DaskLine(topic, str(get_worker().get_current_task()))
    return [None] * len(jobs) if line.should_stop() else worker.run_jobs(jobs, line)


@dataclass(frozen=True)
class DaskEngine:
    """The workers of a cluster, of one thread each."""

    client: Client
    topic: str  # Unique to this run of the study.
    executor: Executor
    asked: Mapping[str, float]  # What a trial needs, by the names that workers give it.
    told: Any  # A SimpleQueue of messages.
    lost: tuple[type[BaseException], ...] = (KilledWorker, CancelledError)

    def slots(self) -> int:
        """Number of trials that the workers there are now have threads and resources for."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(
            places({"CPU": each["nthreads"], **each["resources"]}, {"CPU": 1, **self.asked})
            for each in workers
        )

    def submit(self, jobs: Sequence[Job]) -> "Future[list[TrialRecord | None]]":
        """Makes a task that lives as long as the study's client."""
        return self.executor.submit(_run, jobs, self.topic)

    def messages(self) -> Iterator[Message]:
        """Takes the messages that have come."""
        while not self.told.empty():
            yield self.told.get()

    def stop(self) -> None:
        """Sets the event that every task looks at after every point."""
        Event(self.topic, client=self.client).set()

    def end(self) -> None:
        """Does nothing: workers see for themselves that nobody waits for them."""


@contextmanager
def open_engine(runtime: Runtime, workers: int) -> Iterator[DaskEngine]:
    """Joins the cluster at its address or scheduler file, or starts workers on this machine.

    Raises:
        EngineError: If no scheduler answers there.
    """
    try:
        with signals_blocked():  # The study hears signals and asks its workers to save.
            client = _connect(runtime.cluster, workers)
    except (OSError, ValueError, TypeError) as error:  # A TypeError: TLS without certificates.
        raise EngineError(
            f"config.cluster = {runtime.cluster!r}: no Dask scheduler answers there"
            f" ({one_line(error)}); give its address, as tcp://HOST:8786, or its scheduler file"
        ) from error
    told: queue.SimpleQueue[Message] = queue.SimpleQueue()
    topic = f"laboratory-{secrets.token_hex(8)}"
    client.subscribe_topic(topic, lambda event: told.put(pickle.loads(event[1])))
    asked = {"GPU": runtime.trial_resources.gpus, "TPU": runtime.trial_resources.tpus}
    resources = {name: number for name, number in asked.items() if number}
    executor = client.get_executor(pure=False, resources=resources or None)
    try:
        yield DaskEngine(client, topic, executor, resources, told)
    finally:
        cluster = client.cluster
        client.close()
        if cluster is not None:
            cluster.close()


def _connect(address: str, workers: int) -> Client:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if Path(address).is_file():
        return Client(scheduler_file=address)
    if address:
        return Client(address)
    local = LocalCluster(
        n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None
    )
    return Client(local)
