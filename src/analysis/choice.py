"""The choice of an arm's learning rate: the best of its grid by the study's own measure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from src.analysis.measures import Measure, get_measure
from src.config.arms import Arm
from src.config.config import Config
from src.records.trial import TrialRecord


@dataclass(frozen=True)
class Choice:
    """The chosen learning rate of an arm, and what it was chosen by.

    Attributes:
        rate: The chosen rate.
        medians: Rate -> median of the measure over its seeds; infinite for a time that was never
            reached, nan if a trial has no such number.
        errors: Rate -> median final training error, a fraction; infinite for a trial that diverged.
        at_edge: Whether the rate is the lowest or highest of its grid, so that a better one may lie
            outside.
    """

    rate: float
    medians: dict[float, float]
    errors: dict[float, float]
    at_edge: bool


def choose_rate(config: Config, trials: Sequence[TrialRecord]) -> Choice:
    """The rate with the best median of the study's measure over its seeds.

    If several rates share that median, as when none reached the target, it is the one with the
    lowest median final training error; if these share that as well, the lowest rate.

    Args:
        config: Names the measure and the target.
        trials: The selection trials of one arm, every rate with the same seeds.

    Raises:
        ValueError: If there are no trials.
    """
    if not trials:
        raise ValueError("no selection trials to choose a learning rate from")
    measure = get_measure(config.study.compare.measure)
    target = config.trial.target_train_error
    rates = sorted({trial.row["learning_rate"] for trial in trials})
    at = {rate: [t for t in trials if t.row["learning_rate"] == rate] for rate in rates}
    medians = {rate: _median(measure, at[rate], target) for rate in rates}
    errors = {rate: statistics.median(map(_final_error, at[rate])) for rate in rates}
    sign = 1.0 if measure.better == "smaller" else -1.0

    def rank(rate: float) -> tuple[float, float, float]:
        value = sign * medians[rate]
        return (math.inf if math.isnan(value) else value, errors[rate], rate)

    best = min(rates, key=rank)
    return Choice(best, medians, errors, at_edge=len(rates) > 1 and best in (rates[0], rates[-1]))


def replaced_trials(config: Config, arm: Arm, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials on fresh seeds that answer nothing, because their arm's grid has grown.

    Another rate was chosen from the wider grid; until all of it is done, none of them counts.

    Args:
        config: Names the measure and the seeds.
        arm: Has the grid of now.
        trials: The finished trials of that arm.
    """
    selection = [trial for trial in trials if trial.row["purpose"] == "selection"]
    fresh = [trial for trial in trials if trial.row["purpose"] == "fresh"]
    if not fresh or len(selection) < config.selection_size(arm):
        return fresh
    rate = choose_rate(config, selection).rate if selection else arm.learning_rates[0]
    return [trial for trial in fresh if trial.row["learning_rate"] != rate]


def _median(measure: Measure, trials: Sequence[TrialRecord], target: float) -> float:
    """Median of the upper bounds, infinite for times not reached; nan if one is unknown."""
    highest = [high for _, high in (_ends(measure, trial, target) for trial in trials)]
    return math.nan if any(map(math.isnan, highest)) else statistics.median(highest)


def _ends(measure: Measure, trial: TrialRecord, target: float) -> tuple[float, float]:
    diverged = trial.row["status"] == "diverged"
    smaller_ratio = measure.kind == "ratio" and measure.better == "smaller"
    worst = math.inf if smaller_ratio else math.nan
    return (worst, worst) if diverged else measure.bounds(trial, target)


def _final_error(trial: TrialRecord) -> float:
    error = trial.row["final_train_error"]
    return math.inf if math.isnan(error) or trial.row["status"] == "diverged" else float(error)
