"""Two arms compared seed by seed: the mean difference, and Student's interval of it."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from src.analysis import times as analysis
from src.records.trial import TrialRecord

LEVEL = 0.95


class Estimate(NamedTuple):
    """Of a difference, or of a ratio. See `student_interval`."""

    value: float  # nan if a seed has none
    low: float  # nan, as high, where there is no interval
    high: float
    seeds: int  # pairs


# Of one trial, as a fraction; nan where it diverged.
# fmt: off
MEASURES: dict[str, Callable[[TrialRecord], float]] = {
    "test error": lambda trial: trial.row["final_test_error"],
    "training error": lambda trial: trial.row["final_train_error"],
    "gap": lambda trial: trial.row["final_test_error"] - trial.row["final_train_error"],
}
# fmt: on


def student_interval(differences: Float[np.ndarray, " seeds"], *, comparisons: int = 1) -> Estimate:
    """Mean of paired differences with Student's 95% interval.

    The pairs share what a seed decides: the order of the images and, where the nets have the same
    shape, their first weights. With n pairs the interval has n - 1 degrees of freedom, so that few
    seeds decide little: for 2 it is 12.7 standard errors wide on each side. A bootstrap of 2
    differences reaches from the one to the other, and misses the truth half of the time.

    Of `comparisons` made side by side all intervals hold with 95% probability: each is widened to
    1 - 0.05 / comparisons (Bonferroni).

    Args:
        differences: One per seed, nan where it has none.
        comparisons: How many differences of this kind are looked at together.

    Returns:
        No interval for fewer than two pairs, nor where all differences are equal: that is rounding,
        not certainty.

    Source: Student (1908), "The probable error of a mean"; Dunn (1961), "Multiple comparisons among
    means".
    """
    n = len(differences)
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    if not error > 0:
        return Estimate(mean, math.nan, math.nan, n)
    half = error * float(stdtrit(n - 1, 1 - (1 - LEVEL) / 2 / comparisons))
    return Estimate(mean, mean - half, mean + half, n)


def difference(
    baseline: Sequence[TrialRecord],
    other: Sequence[TrialRecord],
    measure: Callable[[TrialRecord], float],
    *,
    comparisons: int = 1,
) -> Estimate:
    """`other` minus `baseline` over the seeds that both have."""
    pairs = _paired(baseline, other, measure)
    return student_interval(np.array([b - a for a, b in pairs]), comparisons=comparisons)


def iterations_ratio(
    baseline: Sequence[TrialRecord],
    other: Sequence[TrialRecord],
    target: float,
    *,
    comparisons: int = 1,
) -> Estimate:
    """Iterations of `other` to a training error over those of `baseline`, see `times_ratio`."""

    def iterations(trial: TrialRecord) -> float:
        metrics = trial.metrics
        return analysis.iterations_to_error(metrics["train_error"], metrics["iteration"], target)

    return times_ratio(baseline, other, iterations, comparisons=comparisons)


def times_ratio(
    baseline: Sequence[TrialRecord],
    other: Sequence[TrialRecord],
    time: Callable[[TrialRecord], float],
    *,
    comparisons: int = 1,
) -> Estimate:
    """A time of `other` over that of `baseline`, seed by seed.

    The geometric mean of the ratios, its interval found on logarithms; nan if one of the trials did
    not get there.
    """
    pairs = _paired(baseline, other, time)
    if not all(math.isfinite(a) and math.isfinite(b) for a, b in pairs):
        return Estimate(math.nan, math.nan, math.nan, len(pairs))
    logs = np.array([math.log(b / a) for a, b in pairs])
    value, low, high, seeds = student_interval(logs, comparisons=comparisons)
    return Estimate(math.exp(value), math.exp(low), math.exp(high), seeds)


def _paired(
    baseline: Sequence[TrialRecord],
    other: Sequence[TrialRecord],
    measure: Callable[[TrialRecord], float],
) -> list[tuple[float, float]]:
    before = {trial.row["seed"]: measure(trial) for trial in baseline}
    return [(before[t.row["seed"]], measure(t)) for t in other if t.row["seed"] in before]
