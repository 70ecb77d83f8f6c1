"""Runs one trial of a study, in this process or in one of its own."""

import ctypes
import functools
import os
import signal
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from src import environment
from src.data import DataError
from src.records import locks
from src.records.event_files import EventFile
from src.records.files import RecordError
from src.records.provenance import Machine
from src.records.trial import Identity
from src.study.order import Task
from src.training.settings import TrialSettings

MADE_BY = tuple(field.name for field in fields(Machine))  # each may change when a trial goes on
TAKE_OVER_SECONDS = 60.0
Parallel = Literal["pmap", "shard_map"]


@dataclass(frozen=True)
class Job:
    """All a worker needs to run a trial."""

    task: Task
    directory: Path  # of the trial
    of: Identity  # of the trial, which its records name
    data_dir: str
    stacks_dir: Path  # of pre-trained stacks
    parallel: Parallel
    tensorboard: bool
    provenance: dict[str, Any]


@dataclass(frozen=True)
class StopFlag:
    """Seen by all processes of a study; no lock, which one that is killed could take along."""

    shared: Any  # ctypes.c_bool

    def set(self) -> None:
        """Asks all trials to save themselves and stop."""
        self.shared.value = True

    def is_set(self) -> bool:
        """Whether they have been asked."""
        return bool(self.shared.value)


@dataclass(frozen=True)
class Channel:
    """The line between a worker and the study: points out, a request to stop in."""

    stop: StopFlag
    points: Any  # Queue of (trial name, kind, payload)
    study: int  # process that listens


_channels: list[Channel] = []  # of this process; a process pool can hand it over in no other way


def join(channel: Channel) -> None:
    """Prepares a fresh process: its threads, and its end with the study's process.

    SIGINT and SIGTERM are blocked already: the study hears them and asks its workers to save.
    """
    _channels[:] = [channel]
    environment.use_one_thread()
    environment.seal_compilations()
    environment.silence_orbax()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    _end_with_study(channel)


def _end_with_study(channel: Channel) -> None:
    if channel.study not in (os.getpid(), os.getppid()):
        os._exit(1)


def run_job(job: Job, channel: Channel | None = None) -> dict[str, Any] | None:
    """Trains the job's trial; its row of results.csv, or None if it was stopped and saved.

    A trial that was begun goes on from its last checkpoint.

    Raises:
        RecordError: If it cannot save itself.
        DataError: If the data set is no longer the study's.
        InUseError: If another process is still at this trial.
    """
    # These start JAX, after the threads are set.
    from src.pretraining.begin import with_stack  # noqa: PLC0415
    from src.pretraining.stack import Stopped  # noqa: PLC0415
    from src.training import train  # noqa: PLC0415
    from src.training.trial import Run  # noqa: PLC0415
    from src.weights.start import begin  # noqa: PLC0415

    channel = channel or _channels[0]
    trial = job.task.trial
    program = _program(trial.settings, job.data_dir, job.parallel, job.provenance["digest"])
    made_by = {key: job.provenance[key] for key in MADE_BY if key in job.provenance}
    run = Run(trial, program.images, job.directory, job.of, job.task.limits, made_by)

    events = EventFile(job.directory) if job.tensorboard else None

    def on_point(run: Run) -> None:
        _end_with_study(channel)  # where the kernel does not see to it
        if events:
            events.update(run.points.rows)
        channel.points.put((trial.name, "point", run.position()))

    def on_complaint(line: str) -> None:
        channel.points.put((trial.name, "complaint", line))

    try:
        with locks.locked(job.directory, TAKE_OVER_SECONDS):  # one that was killed may still end
            state, origin, remarks = begin(program, trial)
            for remark in remarks:
                on_complaint(remark)
            state, stack = with_stack(
                program,
                trial,
                state,
                job.stacks_dir,
                job.provenance["digest"],
                channel.stop.is_set,
                lambda row: _end_with_study(channel),
            )
            channel.points.put((trial.name, "point", run.position()))  # before its first step
            outcome = train.train_trial(
                run,
                program,
                state=state,
                on_point=on_point,
                should_stop=channel.stop.is_set,
                on_complaint=on_complaint,
            )
    except (train.Interrupted, Stopped):
        return None
    finally:
        if events:
            events.close()
    return row(job, outcome | origin | stack)


def row(job: Job, outcome: dict[str, Any]) -> dict[str, Any]:
    """The trial's row of results.csv."""
    trial = job.task.trial
    found = {
        "trial": trial.name,
        "dataset": job.provenance["dataset"],
        "activation": trial.settings.model.activation,
        "model": trial.settings.model.name,
        "recipe": trial.settings.recipe.name,
        "learning_rate": trial.learning_rate,
        "seed": trial.seed,
        "purpose": trial.purpose,
        **outcome,
    }
    if taken := [name for name in trial.swept if name in outcome]:
        raise RecordError(f"column {taken[0]} of results.csv is taken: vary another field")
    return found | dict(trial.swept)


@functools.lru_cache(maxsize=4)  # each holds the data set on the devices
def _program(settings: TrialSettings, data_dir: str, parallel: Parallel, digest: str) -> Any:
    """The compiled functions of an arm, kept for its next trial in this process."""
    from src.training.program import Program  # noqa: PLC0415

    dataset = _dataset(settings.data.name, data_dir, settings.data.stream_size)
    if dataset.digest != digest:
        raise DataError(f"data set {dataset.name} has changed since the study was started")
    return Program(settings, dataset, parallel)


@functools.cache
def _dataset(name: str, data_dir: str, stream_size: int) -> Any:
    from src import data  # noqa: PLC0415

    return data.load(name, data_dir, stream_size=stream_size)
