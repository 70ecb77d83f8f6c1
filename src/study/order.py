"""The trials of a study: which may start now, and how far each may run.

All of it is computed from the config and the records alone.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.analysis import curves
from src.analysis.choice import choose_rate
from src.analysis.measures import get_measure
from src.config.arms import Arm, make_trial, race_order
from src.config.config import Config
from src.records.trial import TrialRecord, parse_trial_name
from src.training.points import COLUMNS
from src.training.settings import Limit, Trial

Finished = Mapping[str, TrialRecord]  # Name of a trial -> its record.


@dataclass(frozen=True)
class Task:
    """A trial that may start, and the limits that it must keep to stay in its race."""

    trial: Trial
    limits: tuple[Limit, ...] = ()


def ready_tasks(config: Config, finished: Finished) -> list[Task]:
    """Trials that may start now, in the order of the study.

    Within an arm, rates run one after another from the middle of the grid outwards, so that each
    can race against the best before it. How many trials run side by side does not matter: where a
    trial stops depends on the config alone. When all rates are done, the fresh seeds follow at the
    chosen rate.
    """
    return [task for arm in config.arms for task in _ready_in_arm(config, arm, finished)]


class Queue:
    """The trials that may start, kept by arm, so that the end of a trial concerns only its arm."""

    def __init__(self, config: Config, finished: Finished):
        """Finds the trials that may start.

        Args:
            config: The study's config.
            finished: Name -> record of the trials done so far; the runner adds to it.
        """
        self.config, self.trials = config, finished
        self.places = {arm.name: place for place, arm in enumerate(config.arms)}
        self.waiting: dict[int, list[Task]] = {}  # Place of an arm -> its trials.
        self.taken: set[str] = set()
        self.begun = {parse_trial_name(name).arm for name in finished}
        self.pretraining: set[int] = set()  # Places of arms whose first trial is under way.
        for task in ready_tasks(config, finished):
            self.waiting.setdefault(self.places[task.trial.arm], []).append(task)

    def __bool__(self) -> bool:
        """Whether any trial may start now."""
        return bool(self.waiting)

    def take(self, most: int) -> list[Task]:
        """Takes up to `most` trials, in the order of the study; they count as under way."""
        chosen: list[Task] = []
        while self and len(chosen) < most:
            chosen += self._take(self._next(), most - len(chosen))
        return chosen

    def take_groups(self, places: int, most: int) -> list[list[Task]]:
        """Takes groups of trials for the free places.

        Args:
            places: Number of free places.
            most: Largest number of trials in a group, which are all of one arm; there are fewer if
                places would stay empty otherwise.
        """
        groups = []
        for left in range(places, 0, -1):
            if not self:
                break
            share = math.ceil(sum(map(len, self.waiting.values())) / left)
            groups.append(self._take(self._next(), min(most, share)))
        return groups

    def _next(self) -> int:
        """The place of the first arm that need not wait for a stack; of the first, if all must.

        While the first trial of an arm pre-trains, the others have no learning rates for theirs.
        """
        places = sorted(self.waiting)
        return next((place for place in places if place not in self.pretraining), places[0])

    def _take(self, place: int, most: int) -> list[Task]:
        """Takes up to `most` trials of an arm."""
        tasks = self.waiting.pop(place)
        chosen, left = tasks[:most], tasks[most:]
        if left:
            self.waiting[place] = left
        self.taken |= {task.trial.name for task in chosen}
        arm = self.config.arms[place]
        if arm.settings.pretraining.method != "none" and arm.name not in self.begun:
            self.pretraining.add(place)
        self.begun.add(arm.name)
        return chosen

    def ended(self, arm: str) -> None:
        """Tells that a trial of this arm has finished, so that others may follow it."""
        place = self.places[arm]
        self.pretraining.discard(place)
        ready = _ready_in_arm(self.config, self.config.arms[place], self.trials)
        if tasks := [task for task in ready if task.trial.name not in self.taken]:
            self.waiting[place] = tasks


def _ready_in_arm(config: Config, arm: Arm, finished: Finished) -> list[Task]:
    waiting: list[Task] = []
    before: list[list[TrialRecord]] = []
    for trials in selection_trials(config, arm):
        limits = race_limits(config, before) if is_racing(config) else ()
        waiting += [Task(trial, limits) for trial in trials if trial.name not in finished]
        if waiting and is_racing(config):
            return waiting
        before.append([finished[trial.name] for trial in trials if trial.name in finished])
    return waiting or [
        Task(trial) for trial in fresh_trials(config, arm, finished) if trial.name not in finished
    ]


def is_racing(config: Config) -> bool:
    """Whether selection trials are stopped once they cannot win; only times can be raced for."""
    return config.study.racing and get_measure(config.study.compare.measure).allows_racing


def selection_trials(config: Config, arm: Arm) -> list[list[Trial]]:
    """The selection trials of each rate, in the order of the race; none if there is one rate."""
    if len(arm.learning_rates) == 1:
        return []
    return [
        [make_trial(arm, "selection", rate, seed) for seed in config.study.selection_seeds]
        for rate in race_order(arm.learning_rates)
    ]


def fresh_trials(config: Config, arm: Arm, finished: Finished) -> list[Trial]:
    """The trials at the chosen rate; the arm's selection trials must be finished."""
    rate = arm.learning_rates[0]
    if len(arm.learning_rates) > 1:
        trials = [trial for same_rate in selection_trials(config, arm) for trial in same_rate]
        rate = choose_rate(config, [finished[trial.name] for trial in trials]).rate
    return [make_trial(arm, "fresh", rate, seed) for seed in config.study.fresh_seeds]


def race_limits(config: Config, before: Sequence[Sequence[TrialRecord]]) -> tuple[Limit, ...]:
    """How fast a trial must reach each training error, by the best of the rates `before` it.

    At the target it must be as fast as the best median, since a slower trial cannot win; with an
    even number of seeds it has twice that time, because the median is then a mean of two. At the
    errors of `thresholds` on the way there it has `racing_slack` times the best rate's median. This
    rule of thumb drops rates far behind early; infinity switches it off. Until a rate has a median
    to the target there are no limits, for it may not win itself.

    Args:
        config: The study's config.
        before: The trials of each rate that has run already.
    """
    target = config.trial.target_train_error
    reading = get_measure(config.study.compare.measure).reading
    best = min(before, key=lambda trials: _median_to(trials, target, reading), default=[])
    if _median_to(best, target, reading) == math.inf:
        return ()
    even = 2.0 if len(best) % 2 == 0 else 1.0
    limits = [
        Limit(error, max(even, config.study.racing_slack) * _median_to(best, error, reading))
        for error in sorted(config.study.thresholds, reverse=True)
        if error > target
    ]
    limits.append(Limit(target, even * _median_to(best, target, reading)))
    return tuple(limit for limit in limits if limit.iterations < math.inf)


def _median_to(trials: Sequence[TrialRecord], error: float, reading: str) -> float:
    """Median iterations to a training error, infinite if there are no trials; as `choose_rate`
    does, it takes those of a trial that diverged for infinite.
    """
    column = COLUMNS[reading]
    times = [
        curves.time_to(curves.Series(t.metrics["iteration"], t.metrics[column]), error)[1]
        if t.row["status"] != "diverged"
        else math.inf
        for t in trials
    ]
    return statistics.median(times) if times else math.inf
