"""Trials on this machine: in a thread of the study's process, or in processes of their own."""

import ctypes
import multiprocessing
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

import jax

from src import environment
from src.records import provenance
from src.records.trial import TrialRecord
from src.study import worker
from src.study.engines import Message, signals_blocked
from src.study.worker import Job, StopFlag


@dataclass(frozen=True)
class Channel:
    """The line between a worker and its study: messages go out, the request to stop comes in."""

    stop: StopFlag
    points: Any  # The queue of messages.
    study: int  # The study's process id.
    platform: str  # The kind of device that the study found.

    def tell(self, trial: str, kind: str, payload: Any) -> None:
        """Puts a message in the queue."""
        self.points.put((trial, kind, payload))

    def should_stop(self) -> bool:
        """Whether the study has asked. If its process is gone, this one ends."""
        _end_with_study(self)
        return self.stop.is_set()


# Set once per process by the pool's initializer: a queue cannot be passed with a task.
_channels: list[Channel] = []


def join(channel: Channel) -> None:
    """Prepares a new worker process, which ends when its study does.

    Signals are blocked in it already: the study hears them and asks its workers to save. Its
    environment is the study's; so on a CPU it has one thread.
    """
    _channels[:] = [channel]
    environment.collect_seldom()
    environment.seal_compilations()
    environment.silence_orbax()
    provenance.loaded_commit()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    _end_with_study(channel)


def _end_with_study(channel: Channel) -> None:
    if channel.study not in (os.getpid(), os.getppid()):
        os._exit(1)


def _run_in_process(jobs: Sequence[Job]) -> list[TrialRecord | None]:
    check_platform(_channels[0].platform)
    return worker.run_jobs(jobs, _channels[0])


def check_platform(platform: str) -> None:
    """Checks that this process has found the kind of device that its study has.

    JAX goes on with the processor where an accelerator has no memory for one more process.

    Raises:
        MachineError: If it has not.
    """
    environment.find_devices()
    if (found := jax.default_backend()) != platform:
        raise environment.MachineError(
            f"a worker found no {platform}, only {found}: fewer --config.workers, or other programs"
            f" on the {platform}, need less of its memory"
        )


@dataclass(frozen=True)
class LocalEngine:
    """Threads or processes of this machine."""

    workers: int
    executor: Executor
    channel: Channel
    lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)

    def slots(self) -> int:
        """The number of workers that the study asked for."""
        return self.workers

    def submit(self, jobs: Sequence[Job]) -> "Future[list[TrialRecord | None]]":
        """Runs jobs in a thread or a process; a process started here never hears signals."""
        if self.workers == 1:
            return self.executor.submit(worker.run_jobs, jobs, self.channel)
        with signals_blocked():
            return self.executor.submit(_run_in_process, jobs)

    def messages(self) -> Iterator[Message]:
        """Takes the messages in the queue."""
        while True:
            try:
                yield self.channel.points.get_nowait()
            except queue.Empty:
                return

    def stop(self) -> None:
        """Sets the flag that every worker reads after every point."""
        self.channel.stop.set()

    def end(self) -> None:
        """Kills the workers: one blocked on a queue lock that a dead one holds would never end."""
        for process in multiprocessing.active_children():
            process.kill()


def new_flag() -> StopFlag:
    """A flag that is not set."""
    return StopFlag(multiprocessing.get_context("spawn").RawValue(ctypes.c_bool))


@contextmanager
def open_engine(workers: int, stop: StopFlag) -> Iterator[LocalEngine]:
    """Starts the workers: one is a thread of this process, more are processes."""
    if workers == 1:
        channel = Channel(stop, queue.SimpleQueue(), os.getpid(), jax.default_backend())
        with ThreadPoolExecutor(1) as threads:
            yield LocalEngine(1, threads, channel)
        return
    context = multiprocessing.get_context("spawn")
    _start_tracker()
    channel = Channel(stop, context.Queue(), os.getpid(), jax.default_backend())
    with ProcessPoolExecutor(workers, context, join, (channel,)) as processes:
        yield LocalEngine(workers, processes, channel)


@contextmanager
def fork_engine(workers: int) -> Iterator[LocalEngine | None]:
    """Starts worker processes as copies of this one, which have imported all that they need.

    They are ready sooner, for they import nothing while this process reads its data.

    Yields:
        The engine; None where a copy would not be sound: JAX has been started, or may start on an
        accelerator, or this process has other threads.
    """
    if not _can_fork():
        yield None
        return
    context = multiprocessing.get_context("fork")
    _start_tracker()
    channel = Channel(new_flag(), context.Queue(), os.getpid(), "cpu")
    processes = ProcessPoolExecutor(workers, context, join, (channel,))
    engine = LocalEngine(workers, processes, channel)
    with signals_blocked(), warnings.catch_warnings():
        # Python warns of all threads; the one of NumPy's OpenBLAS is prepared for copies.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            processes.submit(os.getpid)  # The first task starts all processes.
        except BaseException:
            engine.end()  # Those that did start wait for a task.
            raise
    with processes:
        yield engine


def _start_tracker() -> None:
    """Starts Python's tracker of semaphores, which would die of a hang-up, and so noisily."""
    with signals_blocked():
        resource_tracker.ensure_running()


def _can_fork() -> bool:
    """Whether this process can be copied: no thread of JAX or anybody else holds a lock in it."""
    if not _LIBRARIES_THREADS or environment.jax_has_started():
        return False
    alone = threading.active_count() == 1 and _count_threads() <= _LIBRARIES_THREADS
    return alone and environment.computes_on_cpu()


def _count_threads() -> int:
    """Number of threads of this process, Python's and others; 0 where only Linux would tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0


# When this is imported, NumPy has its OpenBLAS's threads; configs and what they import come later.
_LIBRARIES_THREADS = _count_threads()
