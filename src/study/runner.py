"""Runs a study: trains its trials side by side, keeps its records, and shows its progress."""

import ctypes
import itertools
import math
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from src import hosts
from src.config.config import Config
from src.config.schema import Resources
from src.doors import SIGNALS
from src.errors import Stopped
from src.paths import local_path
from src.records import files, locks
from src.records import study as records
from src.records.files import RecordError
from src.records.locks import InUseError
from src.records.trial import TrialRecord, parse_trial_name
from src.study import question, worker
from src.study.engines import Engine, open_engine
from src.study.engines.local import LocalEngine, new_flag
from src.study.order import Queue, Task
from src.study.progress import Display
from src.study.worker import Job, StopFlag

SAVE_SECONDS = 60.0
RESULTS_SECONDS = 10.0  # results.csv is derived, so it need not be written for every trial.
ASK_SECONDS = 0.2
# `timeout` sends its signal to the process and to the process's group.
SAME_SIGNAL_SECONDS = 1.0
MOST_TOGETHER = 16  # A worker with an accelerator is given so many trials at a time.


def run_study(
    config: Config,
    workdir: Path,
    provenance: dict[str, Any],
    workers: int,
    ready: LocalEngine | None = None,
) -> None:
    """Runs every trial of the study that is not finished yet.

    Args:
        config: A checked config.
        workdir: Where the records are kept; it is made if need be.
        provenance: What study.json says of data, code and the machine that begins it.
        workers: Number of trials side by side on this machine; several run in processes of one
            thread each.
        ready: These processes, if they have been started.

    Raises:
        StudyError: If the workdir holds another study, or a machine or worker process was lost.
        EngineError: If the engine is not installed or cannot be reached.
        InUseError: If another process is at work in it.
        RecordError: If a record is damaged or cannot be written.
        Stopped: On SIGTERM or Ctrl-C, after the trials under way have saved themselves.
    """
    files.make_folder(workdir)
    stop = ready.channel.stop if ready else new_flag()
    with (
        locks.locked(workdir),
        nullcontext(ready) if ready else open_engine(config.runtime, workers, stop) as engine,
    ):  # A cluster that is not there leaves no study behind.
        header = question.open_study(config, workdir, provenance)
        finished = {trial.row["trial"]: trial for trial in records.read_finished(workdir)}
        with stopping_on_signals(stop):
            try:
                Runner(config, workdir, header, engine, stop, finished).run()
            except Stopped:
                hosts.tell(True)
                raise
            hosts.tell(False)


def follow_study() -> None:
    """Takes part in a study that process 0 runs; every other process calls this.

    Raises:
        Stopped: If the study was stopped.
    """
    stop = StopFlag(ctypes.c_bool())
    with stopping_on_signals(stop):
        if worker.follow(Follower(stop)):
            raise Stopped


@dataclass(frozen=True)
class Follower:
    """The line of a process that reports to nobody."""

    stop: StopFlag

    def tell(self, trial: str, kind: str, payload: Any) -> None:
        """Does nothing: the first process tells the same."""

    def should_stop(self) -> bool:
        """Whether this process has received a signal."""
        return self.stop.is_set()


@dataclass
class Runner:
    """The state of a study while it runs.

    Attributes:
        config: The study's config.
        workdir: Its folder.
        header: The content of study.json.
        engine: Trains the trials.
        stop: Set by signals.
        finished: Name -> record of the trials done so far.
        running: Future -> the trials that it trains.
    """

    config: Config
    workdir: Path
    header: dict[str, Any]
    engine: Engine
    stop: StopFlag
    finished: dict[str, TrialRecord]
    running: dict[Future[Any], tuple[Job, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queue = Queue(self.config, self.finished)
        sizes = self.header.get("networks", {})
        self.display = Display(self.config, self.finished, self.engine.slots(), sizes)
        self.written = time.monotonic()  # When results.csv was last written.
        self.most_together = most_together(self.config)
        self.told_of_waiting = False

    def run(self) -> None:
        """Runs trials until none is left, or somebody says stop.

        If one trial fails, the others save themselves.
        """
        try:
            while not self._is_done():
                files.refuse_moved(self.workdir)  # Before a trial is begun in its successor.
                self._start_ready()
                done = self._wait()
                for name, kind, payload in self.engine.messages():
                    if kind == "ended":
                        self._take(payload)
                    else:
                        self.display.heard(name, kind, payload)
                for future in done:
                    self._finish(future)
        except self.engine.lost:
            self._save_others()
            raise question.StudyError(
                "a worker process died (killed, or out of memory); what was saved stays:"
                " run the same command again, with fewer --config.workers if memory was short"
            ) from None
        except BaseException:
            self.engine.stop()
            with suppress(RecordError):  # It may be the error that is being raised.
                self._write_results()
            raise
        self._write_results()
        if self.stop.is_set():
            raise Stopped

    def _is_done(self) -> bool:
        if self.stop.is_set():
            self.engine.stop()
            self.display.screen.leave()
            return not self.running
        return not self.running and not self.queue

    def _start_ready(self) -> None:
        """Starts as many of the waiting trials as there are free workers."""
        slots = 0 if self.stop.is_set() else self.engine.slots()
        if not (slots or self.running or self.stop.is_set() or self.told_of_waiting):
            self.told_of_waiting = True
            self.display.screen.say(f"note: {_waits_for(self.config.runtime.trial_resources)}")
        self.display.workers = slots
        free = slots - len(self.running)
        for tasks in self.queue.take_groups(free, self.most_together):
            jobs = tuple(self._job(task) for task in tasks)
            self.running[self.engine.submit(jobs)] = jobs
            names = [task.trial.name for task in tasks]
            for task in tasks:
                self.display.started(task, [name for name in names if name != task.trial.name])

    def _wait(self) -> set[Future[Any]]:
        """Waits a moment and returns the futures that are done, none if no trial is running."""
        if not self.running:
            time.sleep(ASK_SECONDS)
        return wait(self.running, timeout=ASK_SECONDS, return_when=FIRST_COMPLETED).done

    def _job(self, task: Task) -> Job:
        directory = (self.workdir / "trials" / task.trial.name).absolute()
        of = records.identity_of(self.header, task.trial.name, directory)
        data_dir, runtime = self.config.trial.data.dir, self.config.runtime
        stacks = self.workdir / "pretraining"
        if runtime.stacks_dir:
            stacks = local_path(runtime.stacks_dir, "config.stacks_dir")
        dataset = self.header["dataset"]
        own_code = task.trial.settings.own_code
        return Job(task, directory, of, own_code, dataset, data_dir, stacks.absolute(), runtime)

    def _finish(self, future: Future[Any]) -> None:
        self.running.pop(future)
        try:
            found = future.result()
        except CancelledError:
            if not self.stop.is_set():
                raise
            return  # It had not begun when the study was stopped.
        for record in found:
            if record is None:
                self.stop.set()  # A trial that has stopped stops the study.
            else:
                self._take(record)

    def _take(self, record: TrialRecord) -> None:
        """Takes the record of a trial; for one of a group it may come twice."""
        if record.row["trial"] in self.finished:
            return
        self.finished[record.row["trial"]] = record
        self.queue.ended(parse_trial_name(record.row["trial"]).arm)
        self.display.finished(record.row)
        if time.monotonic() - self.written >= RESULTS_SECONDS:
            self._write_results()

    def _write_results(self) -> None:
        records.write_results(self.workdir, [trial.row for trial in self.finished.values()])
        self.written = time.monotonic()

    def _save_others(self) -> None:
        """Lets the other trials save themselves, then ends the workers."""
        self.engine.stop()
        for job in itertools.chain.from_iterable(self.running.values()):
            with suppress(InUseError, RecordError), locks.locked(job.directory, SAVE_SECONDS):
                pass
        self.engine.end()
        with suppress(RecordError):
            self._write_results()


def _waits_for(asked: Resources) -> str:
    """What a study waits for while no machine has it, in words."""
    needs = [f"{name} = {number:g}" for name, number in asdict(asked).items() if number]
    return (
        "waiting, for no machine of the cluster has what a trial needs"
        f" (config.trial_resources: {', '.join(needs)})"
    )


def most_together(config: Config) -> int:
    """Number of trials of an arm that a worker is given at a time.

    Unless the config says so, it is 1 on a CPU and for streamed images. On an accelerator it is
    `MOST_TOGETHER`, and the worker measures whether one program for all of them is faster.
    """
    runtime = config.runtime
    if hosts.count() > 1 or config.trial.data.stream_size:
        return 1
    if runtime.together:
        return runtime.together
    if runtime.engine != "local":
        asked = runtime.trial_resources
        return MOST_TOGETHER if asked.gpus or asked.tpus else 1
    import jax  # noqa: PLC0415

    return 1 if jax.default_backend() == "cpu" else MOST_TOGETHER


@contextmanager
def stopping_on_signals(stop: StopFlag) -> Iterator[None]:
    """Lets Ctrl-C, SIGTERM and their like ask the trials to save themselves.

    A second signal ends the process at once, unless it follows within `SAME_SIGNAL_SECONDS`.
    Signals that were ignored stay ignored, as SIGHUP is under nohup.
    """
    heard_at = -math.inf

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        nonlocal heard_at
        if time.monotonic() < heard_at + SAME_SIGNAL_SECONDS:
            return
        if stop.is_set():
            os._exit(128 + number)
        heard_at = time.monotonic()
        stop.set()
        with suppress(OSError):  # The terminal may be gone.
            # `print` is not safe here: the signal may have come in the middle of one.
            os.write(2, b"\nStopping: saving the trials under way (again to leave at once) ...\n")

    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
