"""Runs one trial of a study, in this process or in one of its own, on this machine or another."""

import functools
import gc
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from src import hosts
from src.config.checks import check_devices
from src.config.schema import Runtime
from src.data import DataError
from src.fields import plain
from src.own import is_own
from src.records import files, locks, provenance
from src.records import trial as trials
from src.records.event_files import EventFile
from src.records.files import RecordError
from src.records.trial import Identity, TrialRecord
from src.study.order import Task
from src.training.settings import TrialSettings

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
        """Sends word of a trial: a "point" with `Run.position`, or a "complaint" in one line."""

    def should_stop(self) -> bool:
        """Whether the trial is to save itself; asked after every point."""


def run_job(job: Job, line: Line) -> TrialRecord | None:
    """Trains the job's trial and writes its records; None if it was stopped and saved.

    A trial that was begun goes on from its last checkpoint. One that is finished by now, by a
    worker that was taken for dead, is read.

    Raises:
        RecordError: If it cannot save itself.
        DataError: If the data set is no longer the study's.
        InUseError: If another process is still at this trial.
    """
    directory = job.directory
    files.refuse_link(directory.parent)
    files.refuse_link(directory)
    files.make_folder(directory)
    with locks.locked(directory, TAKE_OVER_SECONDS[job.runtime.engine]):
        if not trials.is_finished(directory):
            trials.write_config(directory, plain(job.task.trial.settings))
            outcome = _train(hosts.tell(job), line)
            if outcome is None:
                return None
            trials.write_result(directory, job.of, row(job, outcome))
            _tidy(job)
        found = trials.read_result(directory, job.of)
        assert found is not None  # it is finished
        return TrialRecord(found, trials.read_metrics(directory))


def _train(job: Job, line: Line) -> dict[str, Any] | None:
    """The trial's outcome; None if it was stopped and saved."""
    # These start JAX, after the threads are set.
    from src.pretraining.begin import with_stack  # noqa: PLC0415
    from src.pretraining.stack import Stopped  # noqa: PLC0415
    from src.training import train  # noqa: PLC0415
    from src.training.trial import Run  # noqa: PLC0415
    from src.weights.start import begin  # noqa: PLC0415

    trial = job.task.trial
    what = (trial.settings, job.data_dir, job.runtime.parallel, job.of.data)
    program = hosts.together(lambda: _program(*what))
    run = Run(trial, program.num_images, job.directory, job.of, job.task.limits, made_by())
    logged = job.runtime.tensorboard and hosts.is_leader()
    events = EventFile(job.directory) if logged else None

    def on_point(run: Run) -> None:
        if events:
            events.update(run.points.rows)
        line.tell(trial.name, "point", run.position())

    def on_complaint(text: str) -> None:
        line.tell(trial.name, "complaint", text)

    try:
        state, origin, remarks = hosts.together(lambda: begin(program, trial))
        for remark in remarks:
            on_complaint(remark)
        state, stack = with_stack(
            program, trial, state, job.stacks_dir, job.of.data, line.should_stop
        )
        line.tell(trial.name, "point", run.position())  # before its first step
        outcome = train.train_trial(
            run,
            program,
            state=state,
            on_point=on_point,
            should_stop=lambda: hosts.any_of(line.should_stop()),
            on_complaint=on_complaint,
        )
    except (train.Interrupted, Stopped):
        return None
    finally:
        if events:
            events.close()
    return outcome | origin | stack


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
    from src.training import checkpoints  # noqa: PLC0415

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
    import jax  # noqa: PLC0415

    from src.training.program import Program  # noqa: PLC0415

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
    from src import data  # noqa: PLC0415

    return data.load(name, data_dir, stream_size=stream_size)
