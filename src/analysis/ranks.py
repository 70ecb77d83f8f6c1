"""A check that assumes no distribution: the rank-sum test, and its estimate of the shift.

It is exact up to `MANY` trials an arm; beyond, the ranks' sum is taken to be normal.

Source: Mann & Whitney (1947), "On a test of whether one of two random variables is stochastically
larger than the other"; Hodges & Lehmann (1963), "Estimates of location based on rank tests".
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from src.analysis.intervals import LEVEL, Kind, Sample

FEWEST = 4  # Trials an arm: with three, no p-value is below 0.10.
MANY = 50  # Trials an arm: time and memory of the exact test grow as their cube.


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
    doubled = np.rint(2 * stats.rankdata(np.concatenate([first, second]))).astype(int)
    shares, drawn = _shares_of_sums(doubled, len(first)), doubled[: len(first)].sum()
    return float(min(1.0, 2 * min(shares[: drawn + 1].sum(), shares[drawn:].sum())))


def _shares_of_sums(ranks: Int[np.ndarray, " all"], n: int) -> Float[np.ndarray, " sums"]:
    """Which share of all ways to choose `n` of the ranks has each sum, from 0 on."""
    ways = np.zeros((n + 1, int(np.sort(ranks)[-n:].sum()) + 1))  # [chosen, sum]
    ways[0, 0] = 1.0
    for rank in ranks:
        for chosen in reversed(range(n)):
            ways[chosen + 1, rank:] += ways[chosen, : ways.shape[1] - rank]
    return ways[n] / math.comb(len(ranks), n)


def _pairs_beyond(n: int, m: int) -> int:
    """Number of the sorted n x m pairs that lie outside the 95% interval at either end.

    The number of pairs in which the first arm's trial is the larger has a known distribution; its
    lower tail may hold 2.5%.
    """
    least = n * (n - 1) // 2
    tail = np.cumsum(_shares_of_sums(np.arange(n + m), n)[least:])
    return max(0, int(np.searchsorted(tail, (1 - LEVEL) / 2, side="right")) - 1)


def _about_beyond(n: int, m: int) -> int:
    """`_pairs_beyond` by the normal distribution that has the same mean and variance."""
    spread = math.sqrt(n * m * (n + m + 1) / 12)
    return max(0, math.floor(n * m / 2 - NormalDist().inv_cdf((1 + LEVEL) / 2) * spread))
