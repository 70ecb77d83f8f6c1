"""Iterations to a training error, choice of learning rate, ratios with intervals: pure functions.

Never reached is infinity and takes part in every median; what is known of such a trial, that it had
not got there when it stopped, is kept beside it, so that a ratio is at least bounded.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Real

from src.records.trial import TrialRecord

RESAMPLES = 10_000


class Times(NamedTuple):
    """Iterations to a training error of several seeds, each known to lie between two numbers.

    Equal where the error was reached. Else `at_least` is where the trial stopped and `at_most` is
    infinity; for a diverged trial, which will not come back, both are.
    """

    at_least: Float[np.ndarray, " seeds"]
    at_most: Float[np.ndarray, " seeds"]


class Ratio(NamedTuple):
    """Ratio of two medians. See `bootstrap_ratio`."""

    value: (
        float  # inf, 0 or nan where a median was never reached: then the bounds say what is known
    )
    low: float  # 95% interval; nan where there is none
    high: float
    at_least: float
    at_most: float
    seeds: tuple[int, int]  # of baseline and other


@dataclass(frozen=True)
class Choice:
    """A learning rate and what it was chosen by."""

    rate: float
    medians: dict[float, float]  # rate -> median iterations to target, inf where never reached
    errors: dict[float, float]  # rate -> median final training error, inf where diverged
    at_edge: bool  # the best may lie outside the grid


def iterations_to_error(
    train_error: Float[np.ndarray, " points"],
    iterations: Real[np.ndarray, " points"],
    target: float,
) -> float:
    """First iteration at which the training error is at or below `target`.

    Args:
        train_error: [P] fractions, one per recorded point.
        iterations: [P] optimizer updates done at each point, increasing.
        target: Fraction in [0, 1]; the paper uses 0.25.

    Returns:
        Iterations, or `inf` if the run never got there: it is reported as "> last", never dropped.

    Raises:
        ValueError: If `target` is outside [0, 1], most often because it is a percentage.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.1 and Fig. 1.
    """
    if not 0 <= target <= 1:
        raise ValueError(f"target = {target} should be a fraction in [0, 1]; is it a percentage?")
    there = np.flatnonzero(train_error <= target)
    return float(iterations[there[0]]) if there.size else math.inf


def online_error(
    epochs: Float[np.ndarray, " points"],
    interval_error: Float[np.ndarray, " points"],
    start: float,
    end: float,
) -> float:
    """Share misclassified of the images seen from epoch `start` to epoch `end`, as they were seen.

    Args:
        epochs: [P] passes over the training set done at each point, increasing.
        interval_error: [P] share misclassified since the point before, the first since epoch 0.
        start: In epochs.
        end: In epochs; with `start` one epoch before, this is the error of the trailing epoch.

    Returns:
        The mean of the intervals, each weighted by its images inside the window; nan if the run
        ended before `end`.
    """
    before = np.concatenate([[0.0], epochs[:-1]])
    inside = np.clip(np.minimum(epochs, end) - np.maximum(before, start), 0.0, None)
    covered = inside.sum() >= (end - start) * (1 - 1e-9)
    return float((inside * interval_error).sum() / inside.sum()) if covered else math.nan


def median(values: Iterable[int | float]) -> float:
    """Middle value; of an even number the mean of the two in the middle, so infinity if one is."""
    ordered = sorted(map(float, values))
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def choose_learning_rate(rows: Sequence[Mapping[str, Any]]) -> Choice:
    """The rate with the lowest median iterations to target over its seeds.

    Where several share it, as when none reached the target, the one with the lowest median final
    training error (diverged counts as infinite); where that is shared too, the lowest rate.

    Args:
        rows: Of results.csv: the selection trials of one arm, every rate with the same seeds.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError("no selection trials to choose a learning rate from")
    rates = sorted({row["learning_rate"] for row in rows})
    at = {rate: [row for row in rows if row["learning_rate"] == rate] for rate in rates}
    medians = {rate: median(row["iterations_to_target"] for row in at[rate]) for rate in rates}
    errors = {rate: median(_final_error(row) for row in at[rate]) for rate in rates}
    best = min(rates, key=lambda rate: (medians[rate], errors[rate], rate))
    return Choice(best, medians, errors, at_edge=len(rates) > 1 and best in (rates[0], rates[-1]))


def _final_error(row: Mapping[str, Any]) -> float:
    error = row["final_train_error"]
    return math.inf if math.isnan(error) or row["status"] == "diverged" else error


def times_to_error(trials: Sequence[TrialRecord], target: float) -> Times:
    """Iterations to a training error of each trial, from its recorded points."""
    bounds = [_bounds(trial, target) for trial in trials]
    return Times(np.array([b[0] for b in bounds], float), np.array([b[1] for b in bounds], float))


def _bounds(trial: TrialRecord, target: float) -> tuple[float, float]:
    metrics = trial.metrics
    reached = iterations_to_error(metrics["train_error"], metrics["iteration"], target)
    if reached < math.inf or trial.row["status"] == "diverged":
        return reached, reached
    return float(trial.row["iterations"]), math.inf


def ratio(baseline: Times, other: Times) -> Ratio:
    """Median iterations of `other` over those of `baseline`, without an interval.

    Where a median was never reached the value is infinite, zero or, for both, nan; the truth then
    lies between `at_least` and `at_most`.
    """
    at_least = _quotient(median(other.at_least), median(baseline.at_most), unknown=0.0)
    at_most = _quotient(median(other.at_most), median(baseline.at_least), unknown=math.inf)
    value = _quotient(median(other.at_most), median(baseline.at_most), unknown=math.nan)
    seeds = (len(baseline.at_most), len(other.at_most))
    return Ratio(value, math.nan, math.nan, at_least, at_most, seeds)


def bootstrap_ratio(
    baseline: Times, other: Times, *, seed: int = 0, resamples: int = RESAMPLES
) -> Ratio:
    """Median iterations of `other` over those of `baseline`, with a 95% bootstrap interval.

    The seeds of both sides are drawn anew with replacement, each side by itself; the interval runs
    from the 2.5% to the 97.5% point of the ratios so found. A trial that never got there counts
    towards the lower end with the iterations it was given and towards the upper end with infinity,
    so the interval may be open above. It cannot be had from a single seed: then it is nan.

    Args:
        baseline: Of the arm that is divided by.
        other: Of the arm compared with it.
        seed: Of the resampling.
        resamples: How many.

    Raises:
        ValueError: If one side has no trials.
    """
    if not len(baseline.at_most) or not len(other.at_most):
        raise ValueError("a ratio needs at least one trial on either side")
    found = ratio(baseline, other)
    if min(found.seeds) < 2:
        return found
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(n, size=(resamples, n)) for n in found.seeds]
    lows = _quotients(other.at_least[drawn[1]], baseline.at_most[drawn[0]], unknown=0.0)
    highs = _quotients(other.at_most[drawn[1]], baseline.at_least[drawn[0]], unknown=math.inf)
    cut = math.floor(0.025 * (resamples - 1))  # of a sorted list: no interpolation with infinity
    return found._replace(low=float(np.sort(lows)[cut]), high=float(np.sort(highs)[-1 - cut]))


def ratio_by_threshold(
    baseline: Sequence[TrialRecord], other: Sequence[TrialRecord], thresholds: Sequence[float]
) -> dict[float, Ratio]:
    """`bootstrap_ratio` of the iterations to each training error in `thresholds`."""
    return {
        threshold: bootstrap_ratio(
            times_to_error(baseline, threshold), times_to_error(other, threshold)
        )
        for threshold in thresholds
    }


def _quotient(numerator: float, denominator: float, *, unknown: float) -> float:
    if math.isinf(denominator):
        return unknown if math.isinf(numerator) else 0.0
    return numerator / denominator


def _quotients(
    numerators: Float[np.ndarray, "resamples _"],
    denominators: Float[np.ndarray, "resamples _"],
    *,
    unknown: float,
) -> Float[np.ndarray, " resamples"]:
    top, bottom = np.median(numerators, axis=1), np.median(denominators, axis=1)
    quotients = np.where(np.isinf(top) & np.isinf(bottom), unknown, 0.0)
    finite = np.isfinite(bottom)
    quotients[finite] = top[finite] / bottom[finite]
    return quotients
