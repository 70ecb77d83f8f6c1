"""Which part of a condition makes a ratio what it is: shares of a logarithm."""

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
    """What share of the logarithm of a ratio of ratios is due to what `part` lacks.

    With the log ratios L of the first and the second of `whole`, and of `part`: the share is
    (L first - L part) / (L first - L second). It is 1 where the part's ratio is as that of the
    second, 0 where it is still as that of the first.

    Args:
        whole: Baseline and arm under the two conditions that differ in everything.
        part: The same where one thing of the first is as in the second.

    Returns:
        A difference by kind, for no effect is 0. The interval holds every share that the data do
        not reject by Student's test of its contrast (Fieller); none where a trial was censored,
        where an arm shows no spread, or where the whole itself is not beyond doubt.

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
    value = float((first - third) / (first - second))
    ends = [_fieller(excess, value, level) for level in (LEVEL, INNER_LEVEL)]
    if any(math.isinf(end) for pair in ends for end in pair):
        return without_interval(value, n, "difference", "too few")
    return Interval(value, *ends[0], n, "difference", "Welch", math.nan, ends[1], (value, value))


def _fieller(excess: Callable[[float, float], float], value: float, level: float) -> Ends:
    """The shares below and above the value that begin to be rejected; infinite if none is."""
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
