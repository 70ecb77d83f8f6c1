"""Runs trials of a study, in this process or in one of its own, on this machine or another."""

import functools
import gc
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax

from src import data, hosts
from src.config.checks import check_devices
from src.config.schema import Runtime
from src.data import DataError
from src.fields import plain
from src.own import is_own
from src.pretraining.begin import with_stack
from src.pretraining.stack import Stopped
from src.records import files, locks, provenance
from src.records import trial as trials
from src.records.event_files import EventFile
from src.records.files import RecordError
from src.records.trial import Identity, TrialRecord
from src.study.order import Task
from src.training import checkpoints, together, train
from src.training.program import Program
from src.training.settings import TrialSettings
from src.training.trial import Run
from src.weights.start import begin

# Each holds the data set on the devices.
PROGRAMS_KEPT = 4
# How long whoever had a trial before, and is taken for dead, may still hold its lock.
TAKE_OVER_SECONDS = {"local": 60.0, "ray": 600.0, "dask": 600.0}


@dataclass(frozen=True)
class Job:
    """All a worker needs to run a trial."""

    task: Task
    directory: Path  # Folder of the trial.
    of: Identity  # The trial that its records name.
    dataset: str  # its name in the records
    data_dir: str
    stacks_dir: Path  # Folder of the pre-trained stacks.
    runtime: Runtime


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


@runtime_checkable
class Line(Protocol):
    """From a worker to its study."""

    def tell(self, trial: str, kind: str, payload: Any) -> None:
        """Sends word of a trial: a "point" with `Run.position`, a "complaint" in one line, or its
        record once it has "ended" while others of its group go on.
        """

    def should_stop(self) -> bool:
        """Whether the trial is to save itself; asked after every point."""


def run_jobs(jobs: Sequence[Job], line: Line) -> list[TrialRecord | None]:
    """Trains trials of one arm and writes their records; None for each that was stopped and saved.

    A trial that was begun goes on from its last checkpoint. One that is finished by now, by a
    worker that was taken for dead, is read.

    Raises:
        RecordError: If one cannot save itself.
        DataError: If the data set is no longer the study's.
        InUseError: If another process is still at one of these trials.
    """
    with ExitStack() as held:
        for job in jobs:
            files.refuse_link(job.directory.parent)
            files.refuse_link(job.directory)
            files.make_folder(job.directory)
            seconds = TAKE_OVER_SECONDS[job.runtime.engine]
            held.enter_context(locks.locked(job.directory, seconds))
        left = [job for job in jobs if not trials.is_finished(job.directory)]
        for job in left:
            trials.write_config(job.directory, plain(job.task.trial.settings))
        if len(left) == 1:
            _train_alone(hosts.tell(left[0]), line)
        elif left:
            _train_several(left, line)
        return [_record(job) for job in jobs]


def _record(job: Job) -> TrialRecord | None:
    found = trials.read_result(job.directory, job.of)
    return None if found is None else TrialRecord(found, trials.read_metrics(job.directory))


def _train_alone(job: Job, line: Line) -> None:
    if (outcome := _train(job, line)) is not None:
        _write(job, outcome)


def _write(job: Job, outcome: dict[str, Any]) -> None:
    trials.write_result(job.directory, job.of, row(job, outcome))
    _tidy(job)


class _Begun:
    """A trial on its way in this process, and the columns that its row has beside its outcome."""

    def __init__(self, job: Job, program: Any, line: Line, made: Mapping[str, str]):
        """Nothing is written yet, but for a stack where the trial has one."""
        trial = job.task.trial
        self.job, self.line = job, line
        self.run = Run(trial, program.num_images, job.directory, job.of, job.task.limits, made)
        state, origin, remarks = hosts.together(lambda: begin(program, trial))
        for remark in remarks:
            self.complain(remark)
        self.state, stack = with_stack(
            program, trial, state, job.stacks_dir, job.of.data, line.should_stop
        )
        self.facts = origin | stack
        logged = job.runtime.tensorboard and hosts.is_leader()
        self.events = EventFile(job.directory) if logged else None
        self.tell()  # before its first step

    def tell(self) -> None:
        """Where the trial stands."""
        self.line.tell(self.job.task.trial.name, "point", self.run.position())

    def on_point(self, run: Any) -> None:
        """After every point."""
        if self.events:
            self.events.update(run.points.rows)
        self.tell()

    def complain(self, text: str) -> None:
        """Of a checkpoint that was damaged, say."""
        self.line.tell(self.job.task.trial.name, "complaint", text)

    def close(self) -> None:
        """Lets go of its event file."""
        if self.events:
            self.events.close()


def _train(job: Job, line: Line) -> dict[str, Any] | None:
    """The trial's outcome; None if it was stopped and saved."""
    program = hosts.together(lambda: _program(*_arm(job)))
    with ExitStack() as opened:
        try:
            begun = _Begun(job, program, line, made_by())
            opened.callback(begun.close)
            outcome = train.train_trial(
                begun.run,
                program,
                state=begun.state,
                on_point=begun.on_point,
                should_stop=lambda: hosts.any_of(line.should_stop()),
                on_complaint=begun.complain,
            )
        except (train.Interrupted, Stopped):
            return None
    return outcome | begun.facts


def _train_several(jobs: Sequence[Job], line: Line) -> None:
    """Trains trials of one arm, in one program where that pays, and writes the rows of those that
    end.
    """
    arm, most = _arm(jobs[0]), jobs[0].runtime.together
    most = most or _most_together(*arm, len(jobs))
    for first in range(0, len(jobs), most):
        if line.should_stop():
            return
        group = jobs[first : first + most]
        if len(group) > 1:
            _train_group(group, _program(*arm), line)
        else:
            _train_alone(group[0], line)


@functools.cache
def _most_together(
    settings: TrialSettings, data_dir: str, parallel: Any, digest: str, count: int
) -> int:
    """How many of `count` trials of an arm to train in one program: measured once."""
    program = _program(settings, data_dir, parallel, digest)
    return together.worthwhile(program, count, program.grid.next_length(0))


def _train_group(jobs: Sequence[Job], program: Any, line: Line) -> None:
    made = made_by() | {"together": str(len(jobs))}
    begun: dict[str, _Begun] = {}

    def on_end(run: Any) -> None:
        ended = begun[run.trial.name]
        _write(ended.job, run.outcome() | ended.facts)
        line.tell(run.trial.name, "ended", _record(ended.job))

    with ExitStack() as opened:
        try:
            for job in jobs:
                begun[job.task.trial.name] = _Begun(job, program, line, made)
                opened.callback(begun[job.task.trial.name].close)
            together.train_together(
                [each.run for each in begun.values()],
                program,
                [each.state for each in begun.values()],
                on_point=lambda run: begun[run.trial.name].on_point(run),
                on_end=on_end,
                should_stop=line.should_stop,
                on_complaint=lambda run, text: begun[run.trial.name].complain(text),
            )
        except (train.Interrupted, Stopped):
            return


def _arm(job: Job) -> tuple[TrialSettings, str, Any, str]:
    """What `_program` makes of it."""
    return job.task.trial.settings, job.data_dir, job.runtime.parallel, job.of.data


def follow(line: Line) -> bool:
    """On every process but the first: trains with it what it tells, until the study ends.

    Returns:
        Whether it was stopped.
    """
    told: Job | bool | None = hosts.tell(None)
    while isinstance(told, Job):
        _train(told, line)
        told = hosts.tell(None)
    return bool(told)


@functools.cache
def made_by() -> dict[str, str]:
    """Device, versions and commit of this process; each may change when a trial goes on."""
    return asdict(provenance.machine())


def _tidy(job: Job) -> None:
    """Drops checkpoints that nobody will go on from."""
    kept = 0 if job.runtime.keep_checkpoints == "none" else 1
    checkpoints.keep_newest(job.directory / "checkpoints", kept)


def row(job: Job, outcome: dict[str, Any]) -> dict[str, Any]:
    """The trial's row of results.csv."""
    trial = job.task.trial
    found = {
        "trial": trial.name,
        "dataset": job.dataset,
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


@functools.lru_cache(maxsize=PROGRAMS_KEPT)
def _program(settings: TrialSettings, data_dir: str, parallel: Any, digest: str) -> Any:
    """The compiled functions of an arm, kept for its next trial in this process.

    A compiled function is hundreds of memory mappings, of which Linux grants a process 65,530.
    """
    if _program.cache_info().currsize == PROGRAMS_KEPT:
        jax.clear_caches()  # pmap holds every function that it was ever called with
        gc.collect()
    check_devices(settings, jax.device_count())
    dataset = _dataset(settings.data.name, data_dir, settings.data.stream_size)
    if dataset.digest != digest:
        if is_own(settings.data.name):
            raise DataError(
                f"{settings.data.name}() must give the same images each time: it does not"
            )
        raise DataError(f"data set {dataset.name} has changed since the study was started")
    return Program(settings, dataset, parallel)


@functools.cache
def _dataset(name: str, data_dir: str, stream_size: int) -> Any:
    return data.load(name, data_dir, stream_size=stream_size)
