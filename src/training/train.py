"""The loop of one trial: step, measure, stop, save."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from src.errors import Stopped
from src.training.evaluation import TOP
from src.training.program import Program
from src.training.step import TrainState
from src.training.trial import Run


def train_trial(
    run: Run,
    program: Program,
    *,
    state: TrainState | None = None,
    on_point: Callable[[Run], None] = lambda run: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_complaint: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Trains until the target, divergence or the last iteration, going on from the last checkpoint.

    Args:
        run: The trial to train.
        program: Made with the settings of the trial.
        state: The state before the first step; None: the one that derives from the seed.
        on_point: Called after every recorded point.
        should_stop: Asked after every recorded point; if it says so, the trial saves itself.
        on_complaint: Called with a line about every damaged checkpoint that was set aside.

    Returns:
        Status, iterations, errors and seconds: the trial's part of its row in results.csv.

    Raises:
        Stopped: If `should_stop` said so.
    """
    state, complaints = run.restore(state or program.start(run.trial.seed))
    for complaint in complaints:
        on_complaint(complaint)
    batches = program.batches(run.draw, run.points.iteration)
    while run.status == "running":
        with run.timed("compile"):
            length = run.grid.next_length(run.points.iteration)
            step_fn = program.prepare(run.trial.seed, run.trial.learning_rate, length)
        start = time.perf_counter()
        state, errors = step_fn(state, batches, run.rate_factor)
        run.record(errors, time.perf_counter() - start)
        measure(run, program, state)
        on_point(run)
        stopping = should_stop() and run.status == "running"
        save_if_due(run, state, stopping)
        if stopping:
            raise Stopped
    return run.outcome()


def measure(run: Run, program: Program, state: TrainState) -> None:
    """Adds to the newest point what needs passes of its own.

    If the trial ends here with parameters that are not finite, it has diverged instead, and the
    point is taken back.
    """
    with run.timed("measure"):
        if run.status in ("reached", "censored") and not _is_sound(state):
            run.take_back()
        _measure(run, program, state)


def save_if_due(run: Run, state: TrainState, stopping: bool) -> None:
    """Saves a trial that stops here, has ended or has not been saved for long enough."""
    if stopping or run.status != "running" or run.due(run.settings.checkpoint_every_epochs):
        with run.timed("save"):
            run.save(state)


def _is_sound(state: TrainState) -> bool:
    """Whether all parameters are finite; a loss can only tell this of the update before it."""
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def _measure(run: Run, program: Program, state: TrainState) -> None:
    """Fills in the errors of the newest row that need passes of their own."""
    if run.diverged:
        return
    settings, row = run.settings, run.points.rows[-1]
    if "frozen" in settings.readings:
        row["frozen_error"] = program.error(state.variables, "train")
    if settings.layer_images:
        row |= program.layer_statistics(state)
    if settings.validation_images:
        row["validation_error"] = math.nan
        if run.due(1.0):
            row["validation_error"] = program.error(state.variables, "validation")
    if run.status != "running" or run.due(settings.test_every_epochs):
        row["test_error"] = program.error(state.variables, "test")
    if run.status != "running" and program.num_classes > TOP:
        row["test_top5_error"] = program.error(state.variables, "test", TOP)
