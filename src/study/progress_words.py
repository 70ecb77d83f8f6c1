"""Progress in words: where a trial stands, what is left of it, how it has ended."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src import wording
from src.records.trial import TrialRecord
from src.study.time_left import Left
from src.training.points import COLUMNS
from src.training.settings import Limit, TrialSettings
from src.wording import duration

SPENT = ("train_seconds", "measure_seconds", "save_seconds")
CLOSE = 1.25  # A bound within this factor of the estimate is not printed.
Position = Mapping[str, Any]  # See `training.trial.Run.position`.


def left_words(left: Left, *, both: bool = True) -> str:
    """The time left, such as `about 3 min left (12 min at most)`; "" if none is left or known.

    Args:
        left: What is left of a trial or a study.
        both: Whether to print the bound beside the estimate; without an estimate it always is.
    """
    if left.most <= 0:
        return ""
    most = duration(max(1.0, left.most))
    if math.isnan(left.about):
        return f"at most {most} left"
    about = duration(max(1.0, left.about))
    is_known = left.most < CLOSE * left.about or not both
    return f"about {about} left" + ("" if is_known else f" ({most} at most)")


def error_words(position: Position) -> str:
    """The training error, or that of the newest images while its window is not full."""
    if not math.isnan(position["train_error"]):
        return f"training error {position['train_error']:.1%}"
    newest = position.get("interval_error", math.nan)
    return "" if math.isnan(newest) else f"error of the newest images {newest:.1%}"


def step_words(seconds: float) -> str:
    """The time of a step, such as `52 ms a step`."""
    return f"{seconds:.1f} s a step" if seconds >= 1 else f"{1000 * seconds:.3g} ms a step"


def stack_words(point: Mapping[str, Any], steps: int, room: int = sys.maxsize) -> str:
    """Where the pre-training of a layer stands: the important parts that fit.

    Args:
        point: A point of it, see `pretraining.measures.Row`.
        steps: Updates of each layer at each rate.
        room: Number of letters; a part that would be cut is left out.
    """
    done, seconds = int(point["step"]), float(point["seconds"])
    parts = [
        f"pre-training {point['layer']}",
        f"update {done:,} of {steps:,} at rate {point['learning_rate']:g}",
        f"{duration(seconds / done * (steps - done))} left at this rate",
        f"held-out error {point['held_out_error']:.3g}",
        step_words(seconds / done),
    ]
    return _fitting(parts, ", ", room)


def position_words(position: Position, step_seconds: float, *, measured: bool) -> str:
    """Where a trial stands, for a line of its own.

    Args:
        position: Where the trial stands.
        step_seconds: Seconds of one iteration.
        measured: Whether they were measured, of this trial or of others of its arm.
    """
    if not position["iteration"]:
        by = "speed of its arm so far" if measured else "size of its network"
        return f"first estimate, by the {by}"
    return ", ".join(
        part
        for part in (
            f"epoch {position['epoch']:.1f}",
            f"iteration {position['iteration']:,}",
            error_words(position),
            step_words(step_seconds),
        )
        if part
    )


def live_words(
    position: Position, left: Left, step_seconds: float, room: int, *, measured: bool
) -> str:
    """Where a trial stands, for a line that changes in its place: the important parts that fit.

    Args:
        position: Where the trial stands.
        left: What is left of it.
        step_seconds: Seconds of one iteration.
        room: Number of letters; a part that would be cut is left out.
        measured: As for `position_words`.
    """
    error = position["train_error"]
    if math.isnan(error):
        error = position.get("interval_error", math.nan)
    shown = "error     -" if math.isnan(error) else f"error {error:5.1%}"
    step = step_words(step_seconds) if measured else "first estimate"
    parts = [f"epoch {position['epoch']:5.1f}", shown, left_words(left, both=False), step]
    return _fitting([part for part in parts if part], "  ", room)


def _fitting(parts: Sequence[str], between: str, room: int) -> str:
    """As many of the first parts as fit, at least one."""
    fitting = range(len(parts), 1, -1)
    joined = (between.join(parts[:number]) for number in fitting)
    return next((text for text in joined if len(text) <= room), parts[0])


def end_words(trial: TrialRecord, limits: Sequence[Limit], settings: TrialSettings) -> str:
    """How a trial has ended and, if it was stopped early, why."""
    row, goal = trial.row, f"{wording.target(settings.target_train_error)} training error"
    tested = row["final_test_error"]
    ends = "" if math.isnan(tested) else f", test error {tested:.1%}"
    seconds = sum(row.get(kind, 0.0) for kind in (*SPENT, "compile_seconds"))
    ends += f", after {duration(seconds)}"
    if row["status"] == "diverged":
        return f"diverged: at iteration {row['iterations']:,} its loss was no longer a number"
    if row["status"] == "reached":
        return f"reached {goal} at iteration {row['iterations_to_target']:,.0f}{ends}"
    errors = trial.metrics.get(COLUMNS[settings.readings[0]], np.zeros(0))
    best = float(np.nanmin(errors)) if np.isfinite(errors).any() else math.nan
    lost = [
        each for each in limits if row["iterations"] >= each.iterations and not best <= each.error
    ]
    if lost:
        limit = max(lost, key=lambda each: each.error)
        return (
            f"raced off at iteration {row['iterations']:,}: to stay in the race it had to be at"
            f" {wording.target(limit.error)} training error by iteration {limit.iterations:,.0f}"
        )
    return f"ended at iteration {row['iterations']:,} without reaching {goal}{ends}"


def where_to_look(workdir: Path) -> str:
    """The report's address; terminals open it on a click."""
    return f"Report: {(workdir / 'report.html').resolve().as_uri()}"
