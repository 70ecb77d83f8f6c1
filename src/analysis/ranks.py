"""A check that assumes no distribution: the rank-sum test, and its estimate of the shift.

It is exact up to `MANY` trials an arm; beyond, the ranks' sum is taken to be normal.

Source: Mann & Whitney (1947), "On a test of whether one of two random variables is stochastically
larger than the other"; Hodges & Lehmann (1963), "Estimates of location based on rank tests".
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from src.analysis.intervals import LEVEL, Kind, Sample

FEWEST = 4  # Trials an arm: with three, no p-value is below 0.10.
MANY = 50  # Trials an arm: time and memory of the exact test grow as their cube.
ARRANGEMENTS = 200_000  # Up to ten trials an arm these are all; else they are drawn at random.


class RankCheck(NamedTuple):
    """The rank-sum test.

    Attributes:
        p: Two-sided p-value of no effect.
        value: Median over all pairs of trials of their ratio, or difference.
        low: Lower end of its 95% interval.
        high: Upper end.
    """

    p: float
    value: float
    low: float
    high: float


def rank_check(kind: Kind, baseline: Sample, other: Sample) -> RankCheck | None:
    """The comparison of `intervals.compare`, by ranks.

    A censored trial ranks behind all that got there. This is certain only if the last of these got
    there before the first censored one stopped.

    Returns:
        None for fewer than four trials on a side, or if the order is not certain.
    """
    first, second = _ordered(baseline), _ordered(other)
    if min(len(first), len(second)) < FEWEST or not _order_is_known(baseline, other):
        return None
    with np.errstate(invalid="ignore"):
        pairs = second[:, None] / first if kind == "ratio" else second[:, None] - first
    if np.isnan(pairs).any():
        return None
    ordered = np.sort(pairs.ravel())
    many = max(len(first), len(second)) > MANY
    beyond = (_about_beyond if many else _pairs_beyond)(len(first), len(second))
    p, middle = _p_value(first, second), float(np.median(ordered))
    return RankCheck(p, middle, float(ordered[beyond]), float(ordered[-1 - beyond]))


def _ordered(sample: Sample) -> Float[np.ndarray, " n"]:
    return np.where(sample.censored, math.inf, sample.middle)


def _order_is_known(baseline: Sample, other: Sample) -> bool:
    stopped = [each.low[each.censored].min(initial=math.inf) for each in (baseline, other)]
    latest = [each.high[~each.censored].max(initial=-math.inf) for each in (baseline, other)]
    return bool(max(latest) <= min(stopped))


def _p_value(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " m"]) -> float:
    """Two-sided p-value over all ways to deal out the ranks; ties have their mean rank."""
    from scipy import stats  # noqa: PLC0415  (takes half a second)

    if max(len(first), len(second)) > MANY:
        return float(stats.mannwhitneyu(first, second, method="asymptotic").pvalue)
    ranks = stats.rankdata(np.concatenate([first, second]))
    if len(np.unique(ranks)) == len(ranks):
        return float(stats.mannwhitneyu(first, second, method="exact").pvalue)
    test = stats.permutation_test(
        (ranks[: len(first)], ranks[len(first) :]),
        lambda one, two, axis: one.sum(axis=axis),
        vectorized=True,
        n_resamples=ARRANGEMENTS,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def _pairs_beyond(n: int, m: int) -> int:
    """Number of the sorted n x m pairs that lie outside the 95% interval at either end.

    The number of pairs in which the first arm's trial is the larger has a known distribution; its
    lower tail may hold 2.5%.
    """
    ways = np.zeros((n + 1, n * m + 1))  # [chosen, sum]: subsets of the n + m ranks, from 0
    ways[0, 0] = 1.0
    for rank in range(n + m):
        for chosen in range(min(rank, n - 1), -1, -1):
            shift = rank - chosen  # Number of lower ranks that the other arm has.
            if shift <= m:
                ways[chosen + 1, shift:] += ways[chosen, : n * m + 1 - shift]
    tail = np.cumsum(ways[n]) / math.comb(n + m, n)
    return max(0, int(np.searchsorted(tail, (1 - LEVEL) / 2, side="right")) - 1)


def _about_beyond(n: int, m: int) -> int:
    """`_pairs_beyond` by the normal distribution that has the same mean and variance."""
    spread = math.sqrt(n * m * (n + m + 1) / 12)
    return max(0, math.floor(n * m / 2 - NormalDist().inv_cdf((1 + LEVEL) / 2) * spread))
