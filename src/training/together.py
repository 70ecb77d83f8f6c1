"""The loop of several trials of one arm in one program; each is as alone, within float error.

The trials of a group step together and are measured, stopped and saved one by one, as
`src.training.train` does it. A trial that has ended keeps its place in the program, and what is
computed there is ignored. Once half of the places are such, the others go on in a smaller program.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from src.errors import Stopped
from src.training.program import Program
from src.training.step import TrainState
from src.training.train import measure, save_if_due
from src.training.trial import Run

LEAST_GAIN = 1.05  # A smaller gain is not worth compiling a second program.


@dataclass(eq=False)
class Place:
    """A trial of a group, and its state."""

    run: Run
    state: TrainState


def train_together(
    runs: Sequence[Run],
    program: Program,
    states: Sequence[TrainState],
    *,
    on_point: Callable[[Run], None] = lambda run: None,
    on_end: Callable[[Run], None] = lambda run: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_complaint: Callable[[Run, str], None] = lambda run, line: None,
) -> None:
    """Trains every trial to its own end, each going on from its last checkpoint.

    Args:
        runs: Trials of one arm.
        program: Made with the settings of the arm.
        states: The state of each trial before its first step.
        on_point: Called after every recorded point of every trial.
        on_end: Called once for each trial, when it has ended and is saved.
        should_stop: Asked after every step of the group; if it says so, all save themselves.
        on_complaint: Called with a line about every damaged checkpoint that was set aside.

    Raises:
        Stopped: If `should_stop` said so; trials that had ended by then are finished.
    """
    places = []
    for run, first in zip(runs, states, strict=True):
        state, complaints = run.restore(first)
        places.append(Place(run, state))
        for complaint in complaints:
            on_complaint(run, complaint)
        if run.status != "running":
            on_end(run)
    group: list[Place] = []
    while moving := _next_to_move(places):
        group = packed(group, moving)
        _step(program, group, moving)
        for place in moving:
            measure(place.run, program, place.state)
            on_point(place.run)
        stopping = should_stop()
        for place in moving:
            save_if_due(place.run, place.state, stopping)
            if place.run.status != "running":
                on_end(place.run)
        if stopping and _next_to_move(places):
            raise Stopped


def _next_to_move(places: Sequence[Place]) -> list[Place]:
    """The running trials that have done the fewest iterations; they catch up first."""
    running = [place for place in places if place.run.status == "running"]
    first = min((place.run.points.iteration for place in running), default=0)
    return [place for place in running if place.run.points.iteration == first]


def packed(group: Sequence[Place], moving: Sequence[Place]) -> list[Place]:
    """The places of the next program: all present ones, or those that move once half have ended."""
    running = [place for place in group if place.run.status == "running"]
    keeps = running == list(moving) and 2 * len(moving) > len(group)
    return list(group if keeps else moving)


def _step(program: Program, group: Sequence[Place], moving: Sequence[Place]) -> None:
    """Trains the moving trials to their next point; each is charged an equal share of the time."""
    run = moving[0].run
    first, length = run.points.iteration, run.grid.next_length(run.points.iteration)
    start = time.perf_counter()
    trials = [place.run.trial for place in group]
    seeds, rates = [t.seed for t in trials], [t.learning_rate for t in trials]
    step_fn = program.prepare_together(seeds, rates, length)
    compiled = time.perf_counter()
    rows = [place.run.draw(first, length) for place in group]
    factors = [place.run.rate_factor for place in group]
    states, found = step_fn([place.state for place in group], rows, factors)
    ended = time.perf_counter()
    for place, state, errors in zip(group, states, found, strict=True):
        place.state = state
        if place.run.status == "running":
            place.run.seconds["compile"] += (compiled - start) / len(moving)
            place.run.record(errors, (ended - compiled) / len(moving))


def worthwhile(program: Program, count: int, length: int) -> int:
    """Measures how many of `count` trials to train in one program; 1: each by itself.

    Args:
        program: The program of their arm.
        count: Number of trials that wait.
        length: Steps between two points.
    """
    while count > 1:
        try:
            return count if gain(program, count, length) >= LEAST_GAIN else 1
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            count //= 2
    return 1


def gain(program: Program, count: int, length: int) -> float:
    """How many times faster `count` trials step in one program than one after another.

    It is measured on states that are thrown away, at the second run of each program.
    """
    rows = np.zeros((length, program.settings.batch_size), np.int32)
    alone = program.prepare(0, 0.0, length)
    together = program.prepare_together(range(count), [0.0] * count, length)

    def seconds(step: Callable[[Any], Any], state: Any) -> float:
        state, _ = step(state)
        jax.block_until_ready(state)
        start = time.perf_counter()
        jax.block_until_ready(step(state))
        return time.perf_counter() - start

    one = seconds(lambda state: alone(state, lambda _: iter([rows]), 1.0), program.start(0))
    states = [program.start(seed) for seed in range(count)]
    every = seconds(lambda state: together(state, [rows] * count, [1.0] * count), states)
    return count * one / every
