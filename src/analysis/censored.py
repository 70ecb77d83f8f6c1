"""Ratio of two times, some of whose trials stopped before they got there: log-normal likelihood.

Every time is known to lie between two bounds: those of the recording step in which it was reached,
or the last iteration and infinity. The likelihood of both arms' means and deviations is maximized
by the EM algorithm. The interval of the ratio holds every value whose profile likelihood is near
enough to that maximum. How near is decided by Student's quantile, not by the normal one, so that
the interval covers at three trials an arm too. Without censoring it is Welch's interval, but for
the degrees of freedom. For a given ratio the likelihood can have a maximum near each arm's mean,
where the other arm is taken to be widely spread; both are looked for.

All functions take several data sets at once, so that a simulation can show the coverage.

Source: Turnbull (1976), "The empirical distribution function with arbitrarily grouped, censored and
truncated data"; Meeker & Escobar (1998), "Statistical methods for reliability data", chapter 8;
Dempster, Laird & Rubin (1977) for the maximization.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from src.analysis.distributions import normal_log_cdf, t_quantile, t_tail

STEPS = 300  # At most; each multiplies the distance to the maximum by the share censored.
CLOSE = 1e-6  # The search ends once no deviation changes by more than this share of itself.
SMALLEST_DEVIATION = 1e-6  # All trials of an arm may fall into one recording step.
FAR = 5.0  # Where the search for the mean of an arm that never got there begins, in logarithms.
NEAREST, FARTHEST = 1e-3, 2 * FAR  # An end is sought between these; beyond, the interval is open.
POINTS, ROUNDS = 16, 3  # Points and rounds of the search for an end.

Sets = np.ndarray  # [sets, N]
PerSet = np.ndarray  # [sets]


class LogTimes(NamedTuple):
    """Bounds of an arm's times.

    Attributes:
        low: [sets, N] logarithm of the lower bound.
        high: [sets, N] logarithm of the upper bound, `inf` where censored.
    """

    low: np.ndarray
    high: np.ndarray

    def repeated(self, count: int) -> "LogTimes":
        """The one data set, `count` times."""
        return LogTimes(np.repeat(self.low, count, 0), np.repeat(self.high, count, 0))

    @property
    def reached(self) -> PerSet:
        """[sets] number of trials that got there."""
        return np.isfinite(self.high).sum(axis=-1).astype(float)

    @property
    def informative(self) -> PerSet:
        """[sets] number of trials that tell about the spread; a censored one counts half."""
        return (self.reached + self.high.shape[-1]) / 2


class Fit(NamedTuple):
    """The likelihood's maximum.

    Attributes:
        loglik: [sets] logarithm of the likelihood.
        means: Means of the baseline's logarithms and of the other arm's, each [sets].
        deviations: Their standard deviations, likewise.
    """

    loglik: PerSet
    means: list[PerSet]
    deviations: list[PerSet]


class Peak(NamedTuple):
    """The maximum, and how a likelihood ratio W beside it becomes Student's t.

    Attributes:
        best: The maximum.
        freedom: [sets] degrees of freedom, Satterthwaite's.
        weight: [sets] the number of trials that W counts.
        shared: Whether both arms have one deviation.
    """

    best: Fit
    freedom: PerSet
    weight: PerSet
    shared: bool


class LogRatio(NamedTuple):
    """Logarithm of a ratio of times.

    Attributes:
        value: The most likely value; `inf` or `-inf` if no trial of one arm got there.
        interval: The interval of the coverage that was asked for.
        inner: The interval of the inner coverage.
        p: Two-sided p-value of a ratio of 1.
        freedom: Degrees of freedom of the t distribution behind these.
    """

    value: float
    interval: tuple[float, float]
    inner: tuple[float, float]
    p: float
    freedom: float


def log_ratio(baseline: LogTimes, other: LogTimes, level: float, inner: float) -> LogRatio | None:
    """The logarithm of `other` over `baseline`, for one data set of each.

    Args:
        baseline: [1, N] bounds.
        other: [1, M] bounds.
        level: Coverage of the interval, such as 0.95.
        inner: Coverage of the inner interval, such as 0.90.

    Returns:
        None if the spread is unknown: an arm has fewer than two trials, or there is no arm of
        which two trials got there.
    """
    reached = float(baseline.reached[0]), float(other.reached[0])
    if min(baseline.low.shape[-1], other.low.shape[-1]) < 2 or max(reached) < 2:
        return None
    peak = find_peak(baseline, other)
    middle = float(peak.best.means[1][0] - peak.best.means[0][0])

    def surprise_fn(shifts: np.ndarray) -> np.ndarray:
        count = len(shifts)
        return surprise(peak, baseline.repeated(count), other.repeated(count), shifts)

    limits = t_quantile((1 + np.array([level, inner])) / 2, peak.freedom[0])
    below, above = _ends(surprise_fn, middle, limits)
    if reached[0] == 0:
        below[:] = -math.inf
    if reached[1] == 0:
        above[:] = math.inf
    p = 2 * float(t_tail(surprise_fn(np.zeros(1))[0], peak.freedom[0]))
    value = middle if min(reached) else math.copysign(math.inf, reached[0] - reached[1])
    outer, inside = ((float(low), float(high)) for low, high in zip(below, above, strict=True))
    return LogRatio(value, outer, inside, p, float(peak.freedom[0]))


def _ends(
    surprise_fn: Callable[[np.ndarray], np.ndarray], middle: float, limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The shifts at which the surprise, from the middle outwards, grows beyond each limit.

    Returns:
        [limits] shifts below the middle, and above it; infinite if they are too far away.
    """
    direction, limit = np.repeat([-1.0, 1.0], len(limits)), np.tile(limits, 2)
    ends = np.arange(len(limit))
    steps = np.concatenate([[0.0], np.geomspace(NEAREST, FARTHEST, POINTS)])
    away = np.tile(steps, (len(limit), 1))
    for _ in range(ROUNDS):
        shifts = middle + direction[:, None] * away
        found = surprise_fn(shifts.ravel()).reshape(shifts.shape)
        beyond = np.maximum(np.argmax(found > limit[:, None], axis=1), 1)
        near, far = away[ends, beyond - 1], away[ends, beyond]
        low, high = found[ends, beyond - 1], found[ends, beyond]
        away = np.linspace(near, far, POINTS, axis=1)
    part = (limit - low) / np.maximum(high - low, 1e-12)
    at = middle + direction * np.where(high > limit, near + part * (far - near), math.inf)
    return at[: len(limits)], at[len(limits) :]


def surprise(peak: Peak, baseline: LogTimes, other: LogTimes, shift: PerSet) -> PerSet:
    """How surprising a log ratio is: Student's t [sets] without its sign, of `peak.freedom`.

    For samples without censoring the likelihood ratio W and Student's t are one to one: for one arm
    of n trials W = n log(1 + t^2 / (n - 1)). The same relation is used here, with Satterthwaite's
    degrees of freedom.

    Args:
        peak: The maximum, as `find_peak` gives it for the same bounds.
        baseline: [sets, N] bounds.
        other: [sets, M] bounds.
        shift: [sets] logarithms of the ratios in question.
    """
    excess = np.maximum(2 * (peak.best.loglik - _highest(peak, baseline, other, shift)), 0.0)
    return np.sqrt(peak.freedom * np.expm1(np.minimum(excess / peak.weight, 500.0)))


def find_peak(baseline: LogTimes, other: LogTimes) -> Peak:
    """The likelihood's maximum over both arms' means and deviations; bounds as for `surprise`."""
    # If too few trials of an arm got there, it is given the other's deviation.
    shared = bool(min(baseline.reached.min(), other.reached.min()) < 2)
    best = fit(baseline, other, shared)
    counts = [baseline.informative, other.informative]
    if shared:
        freedom = counts[0] + counts[1] - 2
        return Peak(best, freedom, freedom + 2, shared)
    parts = [d**2 / (c - 1) for d, c in zip(best.deviations, counts, strict=True)]
    whole = parts[0] + parts[1]
    freedom = whole**2 / sum(v**2 / (c - 1) for v, c in zip(parts, counts, strict=True))
    share = sum(v * c / (c - 1) for v, c in zip(parts, counts, strict=True)) / whole
    return Peak(best, freedom, freedom * share, shared)


def _highest(peak: Peak, baseline: LogTimes, other: LogTimes, shift: PerSet) -> PerSet:
    """The likelihood's maximum [sets] over means that differ by `shift`, from either arm's mean."""
    (one, two), spread = peak.best.means, peak.best.deviations
    wide = [np.hypot(deviation, two - one - shift) for deviation in spread]
    nowhere = np.zeros_like(shift)
    starts = (
        ([one + nowhere, one + shift], [spread[0] + nowhere, wide[1]]),
        ([two - shift, two + nowhere], [wide[0], spread[1] + nowhere]),
    )
    found = [_climb((baseline, other), *start, shift, peak.shared).loglik for start in starts]
    return np.maximum(*found)


def fit(baseline: LogTimes, other: LogTimes, shared: bool) -> Fit:
    """Maximizes the likelihood over both means and deviations.

    Args:
        baseline: [sets, N] bounds.
        other: [sets, M] bounds.
        shared: Whether both arms have one deviation.
    """
    arms = (baseline, other)
    means, deviations = [], []
    for arm in arms:
        low = np.where(np.isinf(arm.low), arm.high - 1, arm.low)
        start = (low + np.where(np.isinf(arm.high), low, arm.high)) / 2
        means.append(start.mean(axis=-1) + FAR * (arm.reached == 0))
        deviations.append(np.maximum(start.std(axis=-1), 0.05))
    return _climb(arms, means, deviations, None, shared)


def _climb(
    arms: tuple[LogTimes, LogTimes],
    means: list[PerSet],
    deviations: list[PerSet],
    shift: PerSet | None,
    shared: bool,
) -> Fit:
    """The maximum that EM leads to from these deviations and these means, `shift` apart or free."""
    for _ in range(STEPS):
        found = [_moments(a, m, d) for a, m, d in zip(arms, means, deviations, strict=True)]
        before = deviations
        means = _means([expected for _, expected, _ in found], deviations, shift)
        deviations = _deviations(found, means, shared)
        # np.allclose says the same of positive numbers, and takes longer.
        if all((abs(a - b) <= CLOSE * b).all() for a, b in zip(before, deviations, strict=True)):
            break
    found = [_moments(a, m, d) for a, m, d in zip(arms, means, deviations, strict=True)]
    return Fit(found[0][0] + found[1][0], means, deviations)


def _means(expected: list[Sets], deviations: list[PerSet], shift: PerSet | None) -> list[PerSet]:
    free = [each.mean(axis=-1) for each in expected]
    if shift is None:
        return free
    weights = [e.shape[-1] / d**2 for e, d in zip(expected, deviations, strict=True)]
    common = (weights[0] * free[0] + weights[1] * (free[1] - shift)) / (weights[0] + weights[1])
    return [common, common + shift]


def _deviations(
    found: list[tuple[PerSet, Sets, Sets]], means: list[PerSet], shared: bool
) -> list[PerSet]:
    squares = [
        ((expected - mean[:, None]) ** 2 + variance).sum(axis=-1)
        for (_, expected, variance), mean in zip(found, means, strict=True)
    ]
    counts = [expected.shape[-1] for _, expected, _ in found]
    if shared:
        squares, counts = [squares[0] + squares[1]] * 2, [sum(counts)] * 2
    return [
        np.maximum(np.sqrt(s / c), SMALLEST_DEVIATION) for s, c in zip(squares, counts, strict=True)
    ]


def _moments(times: LogTimes, mean: PerSet, deviation: PerSet) -> tuple[PerSet, Sets, Sets]:
    """Log-likelihood [sets]; expectation and variance [sets, N] of each time within its bounds."""
    center, scale = mean[:, None], deviation[:, None]
    low, high = (times.low - center) / scale, (times.high - center) / scale
    # The normal distribution function is accurate only in its left tail: mirror the right one.
    left, right = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    log_right = normal_log_cdf(right)
    narrow = np.minimum(normal_log_cdf(left) - log_right, -1e-15)
    logs = np.maximum(log_right + np.log1p(-np.exp(narrow)), -700.0)
    at_low, at_high = (np.exp(-(z**2) / 2 - math.log(2 * math.pi) / 2 - logs) for z in (low, high))
    finite_low, finite_high = (np.where(np.isfinite(z), z, 0.0) for z in (low, high))
    slope = at_low - at_high
    spread = 1 + finite_low * at_low - finite_high * at_high - slope**2
    expected = np.clip(center + scale * slope, times.low, times.high)
    return logs.sum(axis=-1), expected, scale**2 * np.clip(spread, 0.0, None)
