"""Trains trials of a study, in its process or another one, on its machine or another one."""

import functools
import gc
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax

from src import data, environment, hosts, own
from src.config.checks import check_devices
from src.config.schema import Runtime
from src.data import DataError
from src.errors import Stopped
from src.fields import plain
from src.pretraining.begin import with_stack
from src.records import files, locks
from src.records import trial as trials
from src.records.event_files import EventFile
from src.records.files import RecordError
from src.records.provenance import made_by
from src.records.trial import Identity, TrialRecord
from src.study.order import Task
from src.training import checkpoints, together, train
from src.training.program import Program
from src.training.settings import TrialSettings
from src.training.trial import COMPANY, Run
from src.weights.start import begin

PROGRAMS_KEPT = 4  # Each holds the data set on the devices.
# Seconds to wait for the lock of a trial whose former worker is taken for dead.
TAKE_OVER_SECONDS = {"local": 60.0, "ray": 600.0, "dask": 600.0}


@dataclass(frozen=True)
class Job:
    """All that a worker needs to train a trial.

    Attributes:
        task: The trial, and the limits of its race.
        directory: Folder of the trial.
        of: Identity of the trial, written into its records.
        own_code: Digests of the user's own code that it runs, as the study's process imported it.
        dataset: Name of the data set in the records.
        data_dir: TFDS data directory, as `config.data.dir`.
        stacks_dir: Folder of the pre-trained stacks.
        runtime: How the study is run.
    """

    task: Task
    directory: Path
    of: Identity
    own_code: Mapping[str, str]
    dataset: str
    data_dir: str
    stacks_dir: Path
    runtime: Runtime


@dataclass(frozen=True)
class StopFlag:
    """A flag that all processes of a study see.

    It has no lock, which a killed process would never release.
    """

    shared: Any  # A ctypes.c_bool.

    def set(self) -> None:
        """Asks all trials to save themselves and stop."""
        self.shared.value = True

    def is_set(self) -> bool:
        """Whether they have been asked."""
        return bool(self.shared.value)


@runtime_checkable
class Line(Protocol):
    """The line from a worker to its study."""

    def tell(self, trial: str, kind: str, payload: Any) -> None:
        """Sends a message about a trial.

        Args:
            trial: Name of the trial.
            kind: "point", "pretraining", "complaint", "note", or "ended" for one whose group goes
                on.
            payload: `Run.position`, a point of its stack, one line, or the trial's record.
        """

    def should_stop(self) -> bool:
        """Whether the trial is to save itself; it is asked after every point."""


def run_jobs(jobs: Sequence[Job], line: Line) -> list[TrialRecord | None]:
    """Trains trials of one arm and writes their records.

    A trial that was begun goes on from its last checkpoint. One that is finished already, by a
    worker that was taken for dead, is read.

    Returns:
        The record of each trial; None for one that was stopped and saved.

    Raises:
        RecordError: If a trial cannot save itself.
        DataError: If the data set is no longer the study's.
        CodeError: If this process has other code of the user's own than the study's.
        InUseError: If another process is still training one of these trials.
        MachineError: If this machine has not the device that the trials are to have.
    """
    check_device(jobs[0].runtime)
    with ExitStack() as held:
        try:
            for job in jobs:
                held.enter_context(_hold(job, line))
        except Stopped:
            return [None] * len(jobs)
        left = [job for job in jobs if not trials.is_finished(job.directory)]
        for job in left:
            trials.write_config(job.directory, plain(job.task.trial.settings))
        if len(left) == 1:
            _train_alone(hosts.tell(left[0]), line)
        elif left:
            _train_several(left, line)
        return [_record(job) for job in jobs]


def _hold(job: Job, line: Line) -> AbstractContextManager[None]:
    """Makes the folder of a trial if need be, and holds it.

    Raises:
        Stopped: On entering, if the study stops while its former worker still has it.
    """

    def meanwhile(in_use: locks.InUseError) -> None:
        if line.should_stop():
            raise Stopped

    files.refuse_link(job.directory.parent)
    files.refuse_link(job.directory)
    files.make_folder(job.directory)
    return locks.locked(job.directory, TAKE_OVER_SECONDS[job.runtime.engine], meanwhile)


def check_device(runtime: Runtime) -> None:
    """Checks that trials which are to have an accelerator on a cluster do not get a processor.

    JAX goes on with the processor where it cannot start the accelerator.

    Raises:
        MachineError: If there is none.
    """
    asked = runtime.trial_resources
    if (asked.gpus or asked.tpus) and jax.default_backend() == "cpu":
        raise environment.MachineError(
            "a machine of the cluster gives the trial no accelerator, only cpu, where"
            f" config.trial_resources.gpus = {asked.gpus:g} and .tpus = {asked.tpus:g}: start its"
            " workers where JAX finds one"
        )


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
    """A trial under way in this process, and its line to the study."""

    def __init__(self, job: Job, program: Any, line: Line, made: Mapping[str, str]):
        """Prepares the first state; nothing is written but the trial's stack if it has one."""
        trial = job.task.trial
        self.job, self.line = job, line
        state, origin, remarks = hosts.together(lambda: begin(program, trial))
        for remark in remarks:
            self.complain(remark)
        self.state, stack = with_stack(
            program, trial, state, job.stacks_dir, job.of.data, line.should_stop,
            on_point=lambda row: line.tell(trial.name, "pretraining", row), on_wait=self.note,
            on_complaint=self.complain,
        )  # fmt: skip
        images, limits = program.num_images, job.task.limits
        self.run = Run(trial, images, job.directory, job.of, limits, made, origin | stack)
        logged = job.runtime.tensorboard and hosts.is_leader()
        self.events = EventFile(job.directory) if logged else None
        self.tell()  # The display shows it before its first step.

    def tell(self) -> None:
        """Tells the study where the trial stands."""
        self.line.tell(self.job.task.trial.name, "point", self.run.position())

    def on_point(self, run: Any) -> None:
        """Called after every point."""
        if self.events:
            self.events.update(run.points.rows)
        self.tell()

    def note(self, text: str) -> None:
        """Tells the study of something that a person should know."""
        self.line.tell(self.job.task.trial.name, "note", f"{self.job.task.trial.name}: {text}")

    def complain(self, text: str) -> None:
        """Tells the study of something wrong, such as a damaged checkpoint."""
        self.line.tell(self.job.task.trial.name, "complaint", text)

    def close(self) -> None:
        """Closes its event file."""
        if self.events:
            self.events.close()


def _train(job: Job, line: Line) -> dict[str, Any] | None:
    """Trains a trial; returns its outcome, or None if it was stopped and saved."""
    program = hosts.together(lambda: _program(*_arm(job)))
    with ExitStack() as opened:
        try:
            begun = _Begun(job, program, line, made_by())
            opened.callback(begun.close)
            return train.train_trial(
                begun.run,
                program,
                state=begun.state,
                on_point=begun.on_point,
                should_stop=lambda: hosts.any_of(line.should_stop()),
                on_complaint=begun.complain,
            )
        except Stopped:
            return None


def _train_several(jobs: Sequence[Job], line: Line) -> None:
    """Trains trials of one arm, in one program if that is faster, and writes rows as they end."""
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
    """Number of the `count` trials of an arm to train in one program; measured once."""
    program = _program(settings, data_dir, parallel, digest)
    return together.worthwhile(program, count, program.grid.next_length(0))


def _train_group(jobs: Sequence[Job], program: Any, line: Line) -> None:
    made = made_by() | {COMPANY: str(len(jobs))}
    begun: dict[str, _Begun] = {}

    def on_end(run: Any) -> None:
        ended = begun[run.trial.name]
        _write(ended.job, run.outcome())
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
        except Stopped:
            return


def _arm(job: Job) -> tuple[TrialSettings, str, Any, str]:
    """The arguments of `_program` for a job, whose own code is the same here as in the study."""
    own.check(job.own_code)
    return job.task.trial.settings, job.data_dir, job.runtime.parallel, job.of.data


def follow(line: Line) -> bool:
    """Trains the trials that process 0 tells, until the study ends; for every other process.

    Returns:
        Whether it was stopped.
    """
    told: Job | bool | None = hosts.tell(None)
    while isinstance(told, Job):
        _train(told, line)
        told = hosts.tell(None)
    return bool(told)


def _tidy(job: Job) -> None:
    """Removes checkpoints that are needed no more."""
    kept = 0 if job.runtime.keep_checkpoints == "none" else 1
    checkpoints.keep_newest(job.directory / "checkpoints", kept)


def row(job: Job, outcome: dict[str, Any]) -> dict[str, Any]:
    """The trial's row of results.csv.

    Args:
        job: The trial.
        outcome: What `train_trial` returned.

    Raises:
        RecordError: If a swept field's column is one of the outcome's.
    """
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
    if taken := [name for name, _ in trial.swept if name in outcome]:
        raise RecordError(f"column {taken[0]} of results.csv is taken: vary another field")
    return found | dict(trial.swept)


@functools.lru_cache(maxsize=PROGRAMS_KEPT)
def _program(settings: TrialSettings, data_dir: str, parallel: Any, digest: str) -> Any:
    """The compiled functions of an arm, kept for its next trial in this process.

    Few are kept: each has hundreds of memory mappings, and Linux grants a process 65,530.
    """
    if _program.cache_info().currsize == PROGRAMS_KEPT:
        jax.clear_caches()  # pmap keeps every function that it was ever called with.
        gc.collect()
    check_devices(settings, jax.device_count())
    dataset = _dataset(settings.data.name, data_dir, settings.data.stream_size)
    if dataset.digest != digest:
        if own.is_own(settings.data.name):
            raise DataError(
                f"{settings.data.name}() must give the same images each time: it does not"
            )
        raise DataError(f"data set {dataset.name} has changed since the study was started")
    return Program(settings, dataset, parallel)


@functools.cache
def _dataset(name: str, data_dir: str, stream_size: int) -> Any:
    return data.load(name, data_dir, stream_size=stream_size)
