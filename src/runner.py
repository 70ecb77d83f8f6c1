"""Runs a study: its trials side by side, its records in order, and whoever watches informed."""

import fcntl
import json
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from src import records, study, worker
from src.progress import Display
from src.records import TrialRecord
from src.trials import RUNTIME_FIELDS, leaves, plain
from src.worker import Channel, Job


class StudyError(Exception):
    """A study that cannot start or go on. The message is one line."""


class Stopped(Exception):
    """The study was told to stop; what was under way is saved."""


def run_study(
    config: Mapping[str, Any], workdir: Path, provenance: dict[str, Any], workers: int
) -> None:
    """Runs every trial of the study that is not finished yet.

    Args:
        config: A checked config.
        workdir: Where the records are kept; made if need be.
        provenance: What the records say of data, code and machine.
        workers: Trials side by side; more than one run in processes of their own, one thread each.

    Raises:
        StudyError: If the workdir holds another study, or another process is at work in it.
        Stopped: On SIGTERM or Ctrl-C, after the trials under way have saved themselves.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with locked(workdir):
        open_study(config, workdir, provenance)
        finished = {trial.row["trial"]: trial for trial in records.read_finished(workdir)}
        with _executor(workers) as (executor, channel), stopping_on_signals(channel.stop):
            Runner(config, workdir, provenance, workers, executor, channel, finished).run()


class Runner:
    """The state of a study while it runs."""

    def __init__(
        self,
        config: Mapping[str, Any],
        workdir: Path,
        provenance: dict[str, Any],
        workers: int,
        executor: Executor,
        channel: Channel,
        finished: dict[str, TrialRecord],
    ):
        self.config, self.workdir, self.provenance = config, workdir, provenance
        self.workers, self.executor, self.channel = workers, executor, channel
        self.finished = finished
        self.running: dict[Future[Any], Job] = {}
        self.display = Display(config, finished, workers)

    def run(self) -> None:
        """Until nothing is left to do, or somebody says stop."""
        while self._start_ready() or self.running:
            done, _ = wait(self.running, timeout=0.2, return_when=FIRST_COMPLETED)
            self._show()
            for future in done:
                self._finish(self.running.pop(future), future)
        if self.channel.stop.is_set():
            raise Stopped

    def _start_ready(self) -> bool:
        """Starts what may start and finds a free worker; whether anything was."""
        busy = {job.task.trial.name for job in self.running.values()}
        free = 0 if self.channel.stop.is_set() else self.workers - len(busy)
        if free <= 0:
            return False
        ready = study.ready_tasks(self.config, self.finished)
        tasks = [task for task in ready if task.trial.name not in busy][:free]
        for task in tasks:
            directory = self.workdir / "trials" / task.trial.name
            records.write_config(directory, task.trial.arm.settings)
            job = Job(
                task,
                directory,
                self.config["data"]["dir"],
                self.config["parallel"],
                self.provenance,
            )
            self.running[self.executor.submit(worker.run_job, job, *self._in_process())] = job
            self.display.started(task)
        return bool(tasks)

    def _in_process(self) -> tuple[Channel, ...]:
        return () if self.workers > 1 else (self.channel,)

    def _show(self) -> None:
        while True:
            try:
                self.display.heard(*self.channel.points.get_nowait())
            except queue.Empty:
                return

    def _finish(self, job: Job, future: Future[Any]) -> None:
        try:
            row = future.result()
        except BrokenProcessPool:
            raise StudyError(
                "a worker process died (killed, or out of memory); what it had saved stays:"
                " run the same command again, with fewer --config.workers if memory was short"
            ) from None
        if row is None:
            return
        records.write_result(job.directory, row)
        metrics = records.read_metrics(job.directory)
        self.finished[row["trial"]] = TrialRecord(row, metrics)
        records.write_results(self.workdir, [trial.row for trial in self.finished.values()])
        self.display.finished(row)


@contextmanager
def _executor(workers: int) -> Iterator[tuple[Executor, Channel]]:
    if workers == 1:
        channel = Channel(threading.Event(), queue.SimpleQueue())
        with ThreadPoolExecutor(1) as threads:
            yield threads, channel
        return
    context = multiprocessing.get_context("spawn")
    channel = Channel(context.Event(), context.Queue())
    with ProcessPoolExecutor(workers, context, worker.join, (channel,)) as processes:
        yield processes, channel


@contextmanager
def stopping_on_signals(stop: Any) -> Iterator[None]:
    """SIGTERM and Ctrl-C ask the trials to save themselves; a second one leaves at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.is_set():
            os._exit(128 + number)
        print("\nStopping: saving the trials under way (again to leave at once) ...", flush=True)
        stop.set()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the workdir for this process alone; the lock dies with the process.

    Raises:
        StudyError: If another process holds it.
    """
    with open(workdir / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise StudyError(
                f"{workdir} is in use by {file.read() or 'another process'}; wait for it,"
                " or choose another --workdir"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield


def open_study(config: Mapping[str, Any], workdir: Path, provenance: dict[str, Any]) -> None:
    """Writes study.json, or checks that the one there asks the same question of the same data.

    Raises:
        StudyError: Listing the fields that differ.
    """
    path = workdir / "study.json"
    asked = json.loads(json.dumps(question(config, provenance)))
    if path.exists():
        there = records.read_study_header(workdir)
        differing = _differences(there["config"], asked)
        if differing:
            raise StudyError(
                f"{workdir} holds another study: {'; '.join(differing)}; choose another --workdir"
            )
        return
    header = {
        "config": asked,
        **provenance,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    records.write_study_header(workdir, header)


def question(config: Mapping[str, Any], provenance: dict[str, Any]) -> dict[str, Any]:
    """The fields of a config that decide its numbers, and the digest of its data."""
    kept = {key: value for key, value in plain(config).items() if key not in RUNTIME_FIELDS}
    kept["data"] = {"name": provenance["dataset"], "digest": provenance["digest"]}
    return kept


def _differences(there: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    old, new = ({".".join(path): value for path, value in leaves(tree)} for tree in (there, asked))
    return [
        f"{name} was {old.get(name, 'not set')!r}, is {new.get(name, 'not set')!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
