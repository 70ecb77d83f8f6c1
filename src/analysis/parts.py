"""How much each part of a condition contributes to a ratio, as shares of its logarithm."""

import math
from collections.abc import Callable

import numpy as np

from src.analysis.distributions import t_quantile
from src.analysis.intervals import (
    INNER_LEVEL,
    LEVEL,
    SMALLEST_SPREAD,
    Arms,
    Ends,
    Interval,
    contrast,
    scaled,
    without_interval,
)

FARTHEST = 20.0  # A share beyond this is not known.


def share(whole: tuple[Arms, Arms], part: Arms) -> Interval:
    """The share of an interaction, on the scale of logarithms, that one change explains.

    Let L be the log ratio of arm over baseline under the first condition, the second one, and that
    of `part`. The share is (L first - L part) / (L first - L second): 1 if the change alone turns
    the first ratio into the second, 0 if it changes nothing.

    Args:
        whole: Baseline and arm under the first and under the second condition.
        part: Baseline and arm under the first condition with one thing changed to the second's.

    Returns:
        An interval of kind "difference", since 0 means no effect. It holds every share that
        Student's test of its contrast does not reject (Fieller). There is none if a trial was
        censored, an arm shows no spread, or the two conditions do not surely differ.

    Source: Fieller (1954), "Some problems in interval estimation".
    """
    samples = [*whole[0], *whole[1], *part]
    n = (min(len(each.low) for each in samples[::2]), min(len(each.low) for each in samples[1::2]))
    if any(len(s.low) < 2 or s.censored.any() or np.isnan(s.low).any() for s in samples):
        return without_interval(math.nan, n, "difference", "incomplete")
    logs = [scaled("ratio", each) for each in samples]
    if not all(np.ptp(each) > SMALLEST_SPREAD for each in logs):
        return without_interval(math.nan, n, "difference", "no spread")

    def excess(at: float, level: float) -> float:
        signs = (1 - at, at, -1.0)
        weights = [sign * one for sign in signs for one in (-1.0, 1.0)]
        value, error, freedom = contrast(logs, weights)
        return abs(value) - error * float(t_quantile((1 + level) / 2, freedom))

    first, second, third = (logs[i + 1].mean() - logs[i].mean() for i in (0, 2, 4))
    if first == second:
        return without_interval(math.nan, n, "difference", "too few")
    value = float((first - third) / (first - second))
    ends = [_fieller(excess, value, level) for level in (LEVEL, INNER_LEVEL)]
    if any(math.isinf(end) for pair in ends for end in pair):
        return without_interval(value, n, "difference", "too few")
    return Interval(value, *ends[0], n, "difference", "Welch", math.nan, ends[1], (value, value))


def _fieller(excess: Callable[[float, float], float], value: float, level: float) -> Ends:
    """The nearest rejected shares below and above the value; infinite if none is rejected."""
    from scipy import optimize  # noqa: PLC0415  (few studies have parts)

    ends = []
    for direction in (-1.0, 1.0):
        width = 0.01
        while width < FARTHEST and excess(value + direction * width, level) < 0:
            width *= 2
        if width >= FARTHEST:
            return -math.inf, math.inf
        at = (value, value + direction * width)
        ends.append(float(optimize.brentq(excess, min(at), max(at), args=(level,))))
    return ends[0], ends[1]
