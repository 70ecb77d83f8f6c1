"""Which trials a study has, which may start now, and how far each may run: pure functions of config and records."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src import analysis
from src.trials import Arm, Trial, make_arms, make_trial, race_order

Rows = Mapping[str, Mapping[str, Any]]  # trial name -> its row of results.csv


@dataclass(frozen=True)
class Task:
    """A trial that may start, and the iterations after which it can no longer win its race."""

    trial: Trial
    limit: float


def ready_tasks(config: Mapping[str, Any], finished: Rows) -> list[Task]:
    """Trials that may start now, in the order of the study.

    Within an arm, rates run one after another from the middle of the grid outwards, so that each may stop at the
    best median before it (racing), however many trials run side by side; which trial stops where therefore
    depends on the config alone. Once all rates are done the fresh seeds follow at the chosen one.
    """
    return [task for arm in make_arms(config) for task in _ready_in_arm(config, arm, finished)]


def _ready_in_arm(config: Mapping[str, Any], arm: Arm, finished: Rows) -> list[Task]:
    waiting: list[Task] = []
    limit = math.inf
    for trials in _selection(config, arm):
        waiting += [Task(trial, limit) for trial in trials if trial.name not in finished]
        if config["racing"]:
            if waiting:
                return waiting
            rows = [finished[trial.name] for trial in trials]
            limit = min(limit, _median([row["iterations_to_target"] for row in rows]))
    return waiting or _fresh(config, arm, finished)


def _selection(config: Mapping[str, Any], arm: Arm) -> list[list[Trial]]:
    """Per rate, in the order of the race, its selection trials; none where there is nothing to choose."""
    if len(arm.learning_rates) == 1:
        return []
    seeds = config["selection_seeds"]
    return [
        [make_trial(arm, "selection", rate, seed) for seed in seeds]
        for rate in race_order(arm.learning_rates)
    ]


def _fresh(config: Mapping[str, Any], arm: Arm, finished: Rows) -> list[Task]:
    rate = chosen_rate(config, arm, finished)
    trials = [make_trial(arm, "fresh", rate, seed) for seed in config["fresh_seeds"]]
    return [Task(trial, math.inf) for trial in trials if trial.name not in finished]


def chosen_rate(config: Mapping[str, Any], arm: Arm, finished: Rows) -> float:
    """The arm's learning rate by its selection trials, all of them finished."""
    if len(arm.learning_rates) == 1:
        return arm.learning_rates[0]
    rows = [finished[trial.name] for trials in _selection(config, arm) for trial in trials]
    return analysis.choose_learning_rate(rows).rate


def planned_trials(config: Mapping[str, Any]) -> list[tuple[Arm, int, int]]:
    """Per arm: its selection trials and its fresh ones, counted."""
    return [
        (arm, sum(map(len, _selection(config, arm))), len(config["fresh_seeds"]))
        for arm in make_arms(config)
    ]


def _median(values: Sequence[float]) -> float:
    """With infinities: the upper of two middle values, so that a limit never cuts a trial that could still win."""
    return sorted(values)[len(values) // 2]
