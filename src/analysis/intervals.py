"""The one interval with which any two arms are compared.

Times are compared by the ratio of their geometric means: the interval is Welch's on logarithms or,
where a trial was censored, the profile likelihood's (`src/analysis/censored.py`). Errors are
compared by the difference of their means, the interval is Welch's. The two arms are independent
samples: a shared seed does not pair two trials, since training amplifies the smallest difference
between them to the spread between seeds.

Source: Welch (1947), "The generalization of Student's problem when several different population
variances are involved"; Satterthwaite (1946) for the degrees of freedom.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from src.analysis import censored
from src.analysis.distributions import t_quantile, t_tail

LEVEL = 0.95
SMALLEST_SPREAD = 1e-12  # A smaller spread is rounding.
INNER_LEVEL = 0.90  # Two one-sided tests at 5% succeed where this interval lies within the margin.

Kind = Literal["ratio", "difference"]
How = Literal["Welch", "likelihood", "MOVER", "no spread", "too few", "incomplete", "not measured"]
Ends = tuple[float, float]


class Sample(NamedTuple):
    """A number of each trial of an arm, known to lie between two bounds.

    The bounds are a recording step apart for a time that was reached, equal for an error, and open
    above for a time that was not reached. Both are nan for a trial without such a number, for
    example one that diverged.

    Attributes:
        low: [N] lower bounds; in a simulation axes of studies may stand before it.
        high: [N] upper bounds, `inf` where censored.
    """

    low: Float[np.ndarray, "*studies n"]
    high: Float[np.ndarray, "*studies n"]

    @property
    def middle(self) -> Float[np.ndarray, "*studies n"]:
        """[N] the estimate: half a recording step below the first point that had the number."""
        return (self.low + self.high) / 2

    @property
    def censored(self) -> Bool[np.ndarray, "*studies n"]:
        """[N] whether the trial stopped before it got there."""
        return np.isinf(self.high)

    @property
    def at_least(self) -> Float[np.ndarray, "*studies n"]:
        """[N] the number, or where a censored trial stopped."""
        return np.where(self.censored, self.low, self.middle)


Arms = tuple[Sample, Sample]  # A baseline and the arm compared with it.


@dataclass(frozen=True)
class Interval:
    """How an arm differs from its baseline, and how surely.

    Attributes:
        value: Ratio of geometric means, or difference of means, of the arm and its baseline; `inf`
            if no trial of the arm got there, 0 if none of the baseline did, nan if unknown.
        low: Lower end of the 95% interval; without an interval both ends are nan.
        high: Upper end; `inf` if the data do not bound it.
        n: Number of trials of the baseline and of the arm.
        kind: "ratio", where 1 means no effect, or "difference", where 0 does.
        how: The method, or why there is no interval.
        p: Two-sided p-value of no effect; nan without an interval.
        inner: The 90% interval, for tests of equivalence.
        bounds: The values that are possible if spread is left aside: a censored trial got there
            after it stopped, or never.
        freedom: Degrees of freedom of the t distribution behind the interval; nan if there is none.
    """

    value: float
    low: float
    high: float
    n: tuple[int, int]
    kind: Kind
    how: How = "Welch"
    p: float = math.nan
    inner: Ends = (math.nan, math.nan)
    bounds: Ends = (math.nan, math.nan)
    freedom: float = math.nan

    @property
    def exists(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    @property
    def no_effect(self) -> float:
        """The value that means no effect."""
        return 1.0 if self.kind == "ratio" else 0.0

    @property
    def bound(self) -> float:
        """The value, or what bounds it if it is infinite or 0; nan if nothing does."""
        if self.kind == "difference":
            return self.value
        bound = {math.inf: self.bounds[0], 0.0: self.bounds[1]}.get(self.value, self.value)
        return bound if 0 < bound < math.inf else math.nan

    @property
    def side(self) -> int:
        """1 or -1 where the interval lies above or below no effect, else 0."""
        return int(self.low > self.no_effect) - int(self.high < self.no_effect)

    def holds(self, value: float) -> bool:
        """Whether a value lies within the interval."""
        return self.low <= value <= self.high


def sample(bounds: Iterable[Ends]) -> Sample:
    """A sample from the bounds of each trial."""
    table = np.array([*bounds], float).reshape(-1, 2)
    return Sample(table[:, 0], table[:, 1])


def of_mean(values: Float[np.ndarray, " n"]) -> Ends:
    """Student's 95% interval of a mean; nan for fewer than two values."""
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    quantile = float(t_quantile((1 + LEVEL) / 2, float(n - 1)))
    half = quantile * float(values.std(ddof=1)) / math.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half


def compare(kind: Kind, baseline: Sample, other: Sample) -> Interval:
    """Compares an arm with its baseline: `other` over `baseline`, or minus it.

    Returns:
        The comparison. It has no interval if an arm has fewer than two trials, a trial has no
        number, or an arm shows no spread where no trial was censored: equal numbers say how
        coarsely they were read, not how certain they are. The likelihood of censored times knows
        between which two points each was reached.
    """
    n = (len(baseline.low), len(other.low))
    if not all(n):
        return without_interval(math.nan, n, kind, "not measured")
    if np.isnan(baseline.low).any() or np.isnan(other.low).any():
        return without_interval(math.nan, n, kind, "incomplete")
    if baseline.censored.any() or other.censored.any():
        return _censored_ratio(baseline, other, n)
    return _two_samples(kind, baseline, other, n)


def interaction(
    kind: Kind, first: tuple[Sample, Sample], second: tuple[Sample, Sample]
) -> Interval:
    """How much larger the effect in `second` is: ratio of ratios, or difference of differences.

    Args:
        kind: Whether the two effects are ratios or differences.
        first: Baseline and arm under one condition.
        second: Baseline and arm under the other.

    Returns:
        Welch's interval with Satterthwaite's degrees of freedom. If a trial was censored, the
        intervals of the two effects are combined; if one of them has none, there is none.
    """
    effects = compare(kind, *first), compare(kind, *second)
    n = (min(effects[0].n), min(effects[1].n))
    for effect in effects:
        if not effect.exists:
            return without_interval(math.nan, n, kind, effect.how)
    if any(effect.how == "likelihood" for effect in effects):
        return _combined(*effects, n)
    samples = [scaled(kind, each) for each in (*first, *second)]
    return _student(kind, *contrast(samples, (1.0, -1.0, -1.0, 1.0)), n)


def scaled(kind: Kind, sample: Sample) -> Float[np.ndarray, " n"]:
    """[N] numbers on the scale on which they are averaged: logarithms of times, errors as is."""
    return _log(sample.middle) if kind == "ratio" else sample.middle


def contrast(
    samples: Sequence[Float[np.ndarray, " _"]], weights: Sequence[float]
) -> tuple[float, float, float]:
    """A weighted sum of means, its standard error, and Satterthwaite's degrees of freedom.

    Args:
        samples: At least two numbers each, and not all equal.
        weights: One per sample; (-1, 1) makes a difference, (1, -1, -1, 1) an interaction.
    """
    value = sum(w * float(np.mean(each)) for each, w in zip(samples, weights, strict=True))
    parts = [
        w**2 * float(np.var(each, ddof=1)) / len(each)
        for each, w in zip(samples, weights, strict=True)
    ]
    below = sum(part**2 / (len(each) - 1) for part, each in zip(parts, samples, strict=True))
    return value, math.sqrt(sum(parts)), sum(parts) ** 2 / below


def _two_samples(kind: Kind, baseline: Sample, other: Sample, n: tuple[int, int]) -> Interval:
    samples = [scaled(kind, each) for each in (baseline, other)]
    with np.errstate(invalid="ignore"):  # Two times of zero have no ratio.
        value = _back(kind)(float(samples[1].mean() - samples[0].mean()))
    if min(n) < 2:
        return without_interval(value, n, kind, "too few")
    if not all(np.ptp(each) > SMALLEST_SPREAD for each in samples):
        return without_interval(value, n, kind, "no spread")
    return _student(kind, *contrast(samples, (-1.0, 1.0)), n)


def _student(
    kind: Kind, value: float, error: float, freedom: float, n: tuple[int, int]
) -> Interval:
    back = _back(kind)

    def ends(level: float) -> Ends:
        half = error * float(t_quantile((1 + level) / 2, freedom))
        return back(value - half), back(value + half)

    p = 2 * float(t_tail(abs(value) / error, freedom))
    known = (back(value), back(value))
    inner = ends(INNER_LEVEL)
    return Interval(back(value), *ends(LEVEL), n, kind, "Welch", p, inner, known, freedom)


def _censored_ratio(baseline: Sample, other: Sample, n: tuple[int, int]) -> Interval:
    below = _quotient(other.at_least, baseline.middle)
    above = _quotient(other.middle, baseline.at_least)
    found = _likelihood(*(tuple(ends.tolist()) for each in (baseline, other) for ends in each))
    if found is None:  # One of the two bounds is open.
        value = math.nan if below == 0 and above == math.inf else (below and above)
        return replace(without_interval(value, n, "ratio", "too few"), bounds=(below, above))
    low, high = map(_exp, found.interval)
    inner = (_exp(found.inner[0]), _exp(found.inner[1]))
    value = _exp(found.value)
    known = (below, above)
    return Interval(
        value, low, high, n, "ratio", "likelihood", found.p, inner, known, found.freedom
    )


@functools.lru_cache(maxsize=1000)
def _likelihood(*bounds: tuple[float, ...]) -> censored.LogRatio | None:
    """The ratio by likelihood, kept because a report asks for the same one several times.

    Args:
        bounds: Low and high ones of the baseline's trials, then of the other arm's.
    """
    arms = []
    for low, high in (bounds[:2], bounds[2:]):
        # A trial without points, of which nothing is known, has the likelihood 1 everywhere.
        known = [ends for ends in zip(low, high, strict=True) if ends != (0.0, math.inf)]
        arms.append(censored.LogTimes(*_log(np.array(known).reshape(1, -1, 2)).transpose(2, 0, 1)))
    return censored.log_ratio(arms[0], arms[1], LEVEL, INNER_LEVEL)


def _combined(first: Interval, second: Interval, n: tuple[int, int]) -> Interval:
    """Ratio of two ratios from their intervals, by the method MOVER.

    Each end's distances from the two values are squared and added, as variances are; open ends stay
    open. If a value itself is infinite or 0, the ends are divided, which is wider than need be, and
    there is no p. Else p is that of Student's t, with the fewer degrees of freedom of the two, on
    which the end towards no effect lies at its quantile.

    Source: Zou & Donner (2008), "Construction of confidence limits about effect measures".
    """
    with np.errstate(invalid="ignore"):  # Infinity minus infinity is unknown.
        value = float(_log(second.value) - _log(first.value))
    if math.isnan(value):
        return without_interval(math.nan, n, "ratio", "incomplete")

    def ends(one: Ends, two: Ends) -> Ends:
        if math.isinf(value):
            return _exp(_log(two[0]) - _log(one[1])), _exp(_log(two[1]) - _log(one[0]))
        down = math.hypot(_log(second.value) - _log(two[0]), _log(one[1]) - _log(first.value))
        up = math.hypot(_log(two[1]) - _log(second.value), _log(first.value) - _log(one[0]))
        return _exp(value - down), _exp(value + up)

    def p_value() -> float:
        if math.isinf(value):
            return math.nan
        freedom = min(first.freedom, second.freedom)
        quantile = float(t_quantile((1 + LEVEL) / 2, freedom))
        reach = value - _log(low) if value > 0 else _log(high) - value
        return 2 * float(t_tail(quantile * abs(value) / reach, freedom))

    low, high = ends((first.low, first.high), (second.low, second.high))
    inner = ends(first.inner, second.inner)
    known = (
        _exp(_log(second.bounds[0]) - _log(first.bounds[1])),
        _exp(_log(second.bounds[1]) - _log(first.bounds[0])),
    )
    return Interval(_exp(value), low, high, n, "ratio", "MOVER", p_value(), inner, known)


def without_interval(value: float, n: tuple[int, int], kind: Kind, how: How) -> Interval:
    """A value whose spread is not known."""
    return Interval(value, math.nan, math.nan, n, kind, how, bounds=(value, value))


def _back(kind: Kind) -> Callable[[float], float]:
    return _exp if kind == "ratio" else float


def _quotient(top: Float[np.ndarray, " n"], bottom: Float[np.ndarray, " m"]) -> float:
    """Ratio of geometric means; 0 or `inf` if one of them is."""
    return _exp(float(_log(top).mean() - _log(bottom).mean()))


def _log(x: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.log(x)


def _exp(x: float) -> float:
    return math.inf if x == math.inf else float(np.exp(min(x, 700.0)))
