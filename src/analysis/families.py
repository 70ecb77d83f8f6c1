"""The comparisons of a study, taken together: p-values that hold for all of them at once.

A study that compares many arms finds some effect by chance. Each interval belongs to its own
comparison alone; whether an effect counts as shown is decided by the p-value adjusted here.

Source: Dunnett (1955), "A multiple comparison procedure for comparing several treatments with a
control"; Holm (1979), "A simple sequentially rejective multiple test procedure".
"""

import math
from collections.abc import Sequence

import numpy as np

from src.analysis.intervals import SMALLEST_SPREAD, Interval, Kind, Sample, scaled

# Dunnett's test assumes equal spreads; as a rule of thumb, none may be more than twice another.
ALIKE = 2.0


def adjusted(
    kind: Kind, samples: Sequence[tuple[Sample, Sequence[Sample]]], found: Sequence[Interval]
) -> list[float]:
    """The p-values of a study's comparisons, adjusted for their number.

    By Dunnett's test where several arms share one baseline and their spreads are alike, else by
    Holm's step-down rule on the p-values of the intervals.

    Args:
        kind: What the study compares.
        samples: The baseline and the other arms of each group.
        found: The intervals of these comparisons, in the same order, all groups in a row.

    Returns:
        One per comparison; one without a p-value has nan, and counts as if it showed no effect:
        an arm that failed does not make the others more significant.
    """
    if len(samples) == 1 and len(found) > 1 and _suits_dunnett(kind, *samples[0]):
        from scipy import stats  # noqa: PLC0415  (takes half a second)

        baseline, others = samples[0]
        test = stats.dunnett(
            *(scaled(kind, other) for other in others),
            control=scaled(kind, baseline),
            rng=np.random.default_rng(0),
        )
        return [float(p) for p in np.atleast_1d(test.pvalue)]
    return holm([interval.p for interval in found])


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values; nan stays nan and counts as 1."""
    known = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    result, largest = [math.nan] * len(p_values), 0.0
    for done, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(p_values) - done) * p))
        result[i] = largest
    return result


def method(kind: Kind, samples: Sequence[tuple[Sample, Sequence[Sample]]]) -> str:
    """The adjustment in a word: `Dunnett`, `Holm`, or nothing for a single comparison."""
    count = sum(len(others) for _, others in samples)
    if count < 2:
        return ""
    return "Dunnett" if len(samples) == 1 and _suits_dunnett(kind, *samples[0]) else "Holm"


def _suits_dunnett(kind: Kind, baseline: Sample, others: Sequence[Sample]) -> bool:
    arms = [baseline, *others]
    if any(len(a.low) < 2 or a.censored.any() or np.isnan(a.low).any() for a in arms):
        return False
    numbers = [scaled(kind, a) for a in arms]
    if not all(np.ptp(each) > SMALLEST_SPREAD for each in numbers):
        return False  # A deviation above 0 may be one of rounding.
    spreads = [float(np.std(each, ddof=1)) for each in numbers]
    return max(spreads) <= ALIKE * min(spreads)
