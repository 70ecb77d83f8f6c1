"""Runs a study: its trials side by side, its records in order, and whoever watches informed."""

import ctypes
import multiprocessing
import os
import queue
import signal
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from src.config.config import Config
from src.fields import plain
from src.paths import local_path
from src.records import files, locks
from src.records import study as records
from src.records import trial as trials
from src.records.locks import InUseError
from src.records.trial import TrialRecord
from src.study import order as study
from src.study import question, worker
from src.study.order import Task
from src.study.progress import Display
from src.study.worker import Channel, Job, StopFlag

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: a terminal that is closed
SAVE_SECONDS = 60.0


class Stopped(Exception):
    """The study was told to stop; what was under way is saved."""


def run_study(config: Config, workdir: Path, provenance: dict[str, Any], workers: int) -> None:
    """Runs every trial of the study that is not finished yet.

    Args:
        config: A checked config.
        workdir: Where the records are kept; made if need be.
        provenance: What the records say of data, code and machine.
        workers: Trials side by side; more than one run in processes of their own, one thread each.

    Raises:
        StudyError: If the workdir holds another study, or a worker process died.
        InUseError: If another process is at work in it.
        RecordError: If a record is damaged or cannot be written.
        Stopped: On SIGTERM or Ctrl-C, after the trials under way have saved themselves.
    """
    files.make_folder(workdir)
    with locks.locked(workdir):
        header = question.open_study(config, workdir, provenance)
        finished = {trial.row["trial"]: trial for trial in records.read_finished(workdir)}
        with _executor(workers) as (executor, channel), stopping_on_signals(channel.stop):
            Runner(config, workdir, provenance, header, workers, executor, channel, finished).run()


@dataclass
class Runner:
    """The state of a study while it runs."""

    config: Config
    workdir: Path
    provenance: dict[str, Any]
    header: dict[str, Any]  # of the study
    workers: int
    executor: Executor
    channel: Channel
    finished: dict[str, TrialRecord]

    def __post_init__(self) -> None:
        self.running: dict[Future[Any], Job] = {}
        sizes = self.header.get("networks", {})
        self.display = Display(self.config, self.finished, self.workers, sizes)

    def run(self) -> None:
        """Until nothing is left to do, or somebody says stop.

        If one trial fails, the others save themselves.
        """
        try:
            while self._start_ready() or self.running:
                done, _ = wait(self.running, timeout=0.2, return_when=FIRST_COMPLETED)
                self._show()
                for future in done:
                    self._finish(future)
        except BrokenProcessPool:
            self._end_workers()
            raise question.StudyError(
                "a worker process died (killed, or out of memory); what was saved stays:"
                " run the same command again, with fewer --config.workers if memory was short"
            ) from None
        except BaseException:
            self.channel.stop.set()
            raise
        if self.channel.stop.is_set():
            raise Stopped
        records.write_results(self.workdir, [trial.row for trial in self.finished.values()])

    def _start_ready(self) -> bool:
        """Starts what may start and finds a free worker; whether anything was."""
        busy = {job.task.trial.name for job in self.running.values()}
        free = 0 if self.channel.stop.is_set() else self.workers - len(busy)
        if free <= 0:
            return False
        ready = study.ready_tasks(self.config, self.finished)
        tasks = [task for task in ready if task.trial.name not in busy][:free]
        for task in tasks:
            job = self._job(task)
            files.refuse_link(job.directory.parent)
            files.refuse_link(job.directory)
            trials.write_config(job.directory, plain(task.trial.settings))
            with _signals_blocked():  # a worker process that starts here never hears them
                future = self.executor.submit(worker.run_job, job, *self._in_process())
            self.running[future] = job
            self.display.started(task)
        return bool(tasks)

    def _job(self, task: Task) -> Job:
        directory = self.workdir / "trials" / task.trial.name
        runtime, data_dir = self.config.runtime, self.config.trial.data.dir
        of = records.identity_of(self.header, task.trial.name, directory)
        stacks = self.workdir / "pretraining"
        if runtime.stacks_dir:
            stacks = local_path(runtime.stacks_dir, "config.stacks_dir")
        parallel, tensorboard = runtime.parallel, runtime.tensorboard
        return Job(task, directory, of, data_dir, stacks, parallel, tensorboard, self.provenance)

    def _in_process(self) -> tuple[Channel, ...]:
        return () if self.workers > 1 else (self.channel,)

    def _show(self) -> None:
        if self.channel.stop.is_set():
            self.display.screen.leave()
        while True:
            try:
                self.display.heard(*self.channel.points.get_nowait())
            except queue.Empty:
                return

    def _finish(self, future: Future[Any]) -> None:
        row, job = future.result(), self.running[future]
        if row is not None:
            trials.write_result(job.directory, job.of, row)
            metrics = trials.read_metrics(job.directory)
            self.finished[row["trial"]] = TrialRecord(row, metrics)
            records.write_results(self.workdir, [trial.row for trial in self.finished.values()])
            self.display.finished(row)
        del self.running[future]

    def _end_workers(self) -> None:
        """Lets the trials save themselves, then ends the workers.

        One that waits for a lock of the queues, which died with its holder, would never end.
        """
        self.channel.stop.set()
        for job in self.running.values():
            with suppress(InUseError), locks.locked(job.directory, SAVE_SECONDS):
                pass
        for process in multiprocessing.active_children():
            process.kill()


@contextmanager
def _executor(workers: int) -> Iterator[tuple[Executor, Channel]]:
    if workers == 1:
        channel = Channel(StopFlag(ctypes.c_bool()), queue.SimpleQueue(), os.getpid())
        with ThreadPoolExecutor(1) as threads:
            yield threads, channel
        return
    context = multiprocessing.get_context("spawn")
    stop = StopFlag(context.RawValue(ctypes.c_bool))
    channel = Channel(stop, context.Queue(), os.getpid())
    with ProcessPoolExecutor(workers, context, worker.join, (channel,)) as processes:
        yield processes, channel


@contextmanager
def stopping_on_signals(stop: StopFlag) -> Iterator[None]:
    """SIGTERM, SIGHUP and Ctrl-C ask the trials to save themselves; a second one leaves at once.

    What was ignored stays ignored, as SIGHUP is under nohup.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        with suppress(OSError):  # a terminal that is gone
            # not print: the signal may have come in the middle of one
            os.write(2, b"\nStopping: saving the trials under way (again to leave at once) ...\n")

    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Puts SIGTERM and Ctrl-C off; what is started meanwhile does so for its whole life."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
