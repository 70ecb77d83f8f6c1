"""Runs one trial of a study, in this process or in one of its own."""

import ctypes
import functools
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from src import environment
from src.study import Task


@dataclass(frozen=True)
class Job:
    """All a worker needs to run a trial."""

    task: Task
    directory: Path  # of the trial
    data_dir: str
    parallel: Literal["pmap", "shard_map"]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Channel:
    """The line between a worker and the study: points out, a request to stop in."""

    stop: Any  # Event
    points: Any  # Queue of (trial name, kind, payload)


_channels: list[Channel] = []  # of this process; a process pool can hand it over in no other way


def join(channel: Channel) -> None:
    """Prepares a fresh process: its threads, its signals, and its end with the process that started
    it.
    """
    _channels[:] = [channel]
    environment.use_one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study hears it and asks us to save
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def run_job(job: Job, channel: Channel | None = None) -> dict[str, Any] | None:
    """Trains the job's trial; its row of results.csv, or None if it was stopped and saved.

    A trial that was begun goes on from its last checkpoint.
    """
    from src import train  # noqa: PLC0415  (jax starts here, after the threads are set)

    channel = channel or _channels[0]
    trial, parent = job.task.trial, os.getppid()
    program = _program(json.dumps(trial.arm.settings), job.data_dir, job.parallel)
    run = train.Run(trial, program.train.labels.shape[0], job.directory, job.task.limits)

    def on_point(run: train.Run) -> None:
        if os.getppid() != parent:  # where the kernel does not end us with the study
            os._exit(1)
        channel.points.put((trial.name, "point", run.position()))

    try:
        outcome = train.train_trial(
            run,
            program,
            on_point=on_point,
            should_stop=channel.stop.is_set,
            on_complaint=lambda line: channel.points.put((trial.name, "complaint", line)),
        )
    except train.Interrupted:
        return None
    return row(job, outcome)


def row(job: Job, outcome: dict[str, Any]) -> dict[str, Any]:
    """The trial's row of results.csv."""
    trial, settings = job.task.trial, job.task.trial.arm.settings
    return {
        "trial": trial.name,
        "dataset": job.provenance["dataset"],
        "activation": settings["model"]["activation"],
        "model": settings["model"]["name"],
        "recipe": settings["recipe"]["name"],
        "learning_rate": trial.learning_rate,
        "seed": trial.seed,
        "purpose": trial.purpose,
        **outcome,
        **{key: job.provenance[key] for key in ("device", "jax_version", "commit")},
        **trial.arm.swept,
    }


@functools.cache
def _program(settings: str, data_dir: str, parallel: Literal["pmap", "shard_map"]) -> Any:
    """The compiled functions of an arm, kept for its next trial in this process."""
    from src.program import Program  # noqa: PLC0415

    decoded = json.loads(settings)
    return Program(decoded, _dataset(decoded["data"]["name"], data_dir), parallel)


@functools.cache
def _dataset(name: str, data_dir: str) -> Any:
    from src import data  # noqa: PLC0415

    return data.load(name, data_dir)
