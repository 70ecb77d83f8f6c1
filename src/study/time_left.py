"""Estimates how long a study still takes, from iterations and seconds, without a clock."""

import heapq
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from src.records.trial import TrialRecord

PASSES = 3  # Forward, gradient of a layer's input, gradient of its weights.
LEAST_GROWTH = 1.4  # Smallest ratio of the iterations at the two points of a forecast.
MOST_DOUBLINGS = 50.0  # A target so many doublings of the iterations away is as good as never.


class Stage(NamedTuple):
    """Trials of an arm that may run side by side.

    Attributes:
        under_way: Seconds that each running trial still takes.
        waiting: Seconds that each trial to come takes.
    """

    under_way: tuple[float, ...] = ()
    waiting: tuple[float, ...] = ()


class Left(NamedTuple):
    """Seconds that are left of a trial or a study.

    Attributes:
        about: The most likely number; nan while it is unknown.
        most: The number if no trial reaches its target before its last epoch.
    """

    about: float
    most: float


def study_seconds(arms: Sequence[Sequence[Stage]], workers: int) -> float:
    """Seconds until the last trial ends, never less than the longest of those under way.

    Args:
        arms: The stages of each arm, in the order of the study; a stage begins when all trials of
            the one before it have ended.
        workers: Number of trials side by side; a free worker takes the first that may begin.
    """
    waiting = [[list(stage.waiting) for stage in stages] for stages in arms]
    ends = [(t, arm) for arm, stages in enumerate(arms) for s in stages for t in s.under_way]
    heapq.heapify(ends)
    under_way = Counter(arm for _, arm in ends)
    now, free = 0.0, workers - len(ends)
    ready: list[int] = []  # Arms with a trial that may begin, the first of them at the front.

    def begin_stage(arm: int) -> None:
        stages = waiting[arm]
        while stages and not stages[0] and not under_way[arm]:
            stages.pop(0)
        if stages and stages[0]:
            heapq.heappush(ready, arm)

    for arm in range(len(waiting)):
        begin_stage(arm)
    while ends or (ready and free > 0):
        while ready and free > 0:
            arm = ready[0]
            heapq.heappush(ends, (now + waiting[arm][0].pop(0), arm))
            under_way[arm] += 1
            free -= 1
            if not waiting[arm][0]:
                heapq.heappop(ready)
        now, arm = heapq.heappop(ends)
        under_way[arm] -= 1
        free += 1
        if waiting[arm] and not waiting[arm][0]:
            begin_stage(arm)
    return now


def step_seconds(
    arm: str, measured: Mapping[str, float], multiply_adds: Mapping[str, float], machine: float
) -> float:
    """Seconds of a training step of an arm: measured, or estimated by the size of its network.

    Args:
        arm: Name of the arm.
        measured: Arm -> seconds of a step, as far as they are known.
        multiply_adds: Arm -> multiply-adds of one batch, forward.
        machine: Multiply-adds per second for one trial; used while no arm has been measured.

    Returns:
        0 if nothing is known.
    """
    if arm in measured:
        return measured[arm]
    speeds = [
        PASSES * multiply_adds[name] / seconds
        for name, seconds in measured.items()
        if seconds > 0 and multiply_adds.get(name)
    ]
    speed = statistics.median(speeds) if speeds else machine
    return PASSES * multiply_adds.get(arm, 0.0) / speed if speed > 0 else 0.0


def left(done: float, total: float, last: float, step_seconds: float) -> Left:
    """What is left of a trial.

    Args:
        done: Iterations so far.
        total: Iterations that it will most likely need in all; nan if unknown.
        last: The iteration at which it is stopped at the latest.
        step_seconds: Seconds of one iteration.
    """
    most = max(0.0, last - done)
    about = math.nan if math.isnan(total) else min(most, max(0.0, total - done))
    return Left(about * step_seconds, most * step_seconds)


def forecast(curve: Sequence[tuple[float, float]], target: float) -> float:
    """Iterations at which a training error will reach its target.

    The error is assumed to fall, with each doubling of the iterations, by as much as it fell since
    half of the present ones; the tests show how near that comes.

    Args:
        curve: Pairs of iterations and training error so far; an error may be nan.
        target: Training error, a fraction.

    Returns:
        `inf` if the error does not fall, nan while too little of the curve is known.
    """
    known = [point for point in curve if not math.isnan(point[1])]
    if not known or known[-1][1] <= target:
        return math.nan
    now, error = known[-1]
    before, higher = min(known, key=lambda point: abs(point[0] - now / 2))
    if now < LEAST_GROWTH * before:
        return math.nan
    if higher <= error:
        return math.inf
    doublings = (error - target) / (higher - error) * math.log2(now / before)
    return now * 2 ** min(doublings, MOST_DOUBLINGS)


def expected_iterations(ended: Iterable[TrialRecord], purpose: str) -> float:
    """Median iterations of an arm's trials of the same purpose, else of those that got there.

    Args:
        ended: Finished trials of one arm.
        purpose: "selection" or "fresh".

    Returns:
        nan if there are none.
    """
    rows = [trial.row for trial in ended]
    same = [row["iterations"] for row in rows if row["purpose"] == purpose]
    reached = [row["iterations"] for row in rows if row["status"] == "reached"]
    return float(statistics.median(same or reached)) if same or reached else math.nan
