"""Verdicts: what a comparison says about a claim, in one vocabulary."""

import math
from typing import Literal

from src.analysis.distributions import normal_quantile, t_quantile
from src.analysis.intervals import LEVEL, Interval

Verdict = Literal[
    "shown",
    "contradicted",
    "no effect larger than",  # The margin follows.
    "not decided",
    "confounded",
    "not testable at this budget",
]
ERROR = 0.05  # Probability that a study shows something that is not there.
POWER = 0.80
MOST_SEEDS = 50  # Trials an arm; an effect that needs more is beyond the budget.
# Factor, or difference, of either direction, up to which an effect counts as none.
MARGINS = {"ratio": 1.5, "difference": 0.02}


def judge(
    found: Interval,
    direction: Literal[1, -1],
    *,
    p: float = math.nan,
    effect: float = 0.0,
) -> Verdict:
    """Whether an interval shows the effect that was claimed.

    Args:
        found: The comparison.
        direction: 1 if the claim is that the arm has more than its baseline, -1 if less.
        p: The p-value adjusted for the study's comparisons, see `families.adjusted`; nan takes the
            interval's own. If that is nan too, an effect is significant if the interval leaves out
            no effect.
        effect: The factor or difference that the claim is about; zero if it names none.
    """
    if not found.exists:
        return "not decided"
    p = found.p if math.isnan(p) else p
    significant = found.side != 0 if math.isnan(p) else p <= ERROR and found.side != 0
    if significant:
        return "shown" if found.side == direction else "contradicted"
    if equivalent(found, MARGINS[found.kind]):
        return "no effect larger than"
    if effect and seeds_needed(found, effect) > MOST_SEEDS:
        return "not testable at this budget"
    return "not decided"


def equivalent(found: Interval, margin: float) -> bool:
    """Whether any effect lies within the margin, by two one-sided tests at 5%.

    Source: Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power
    approach for assessing the equivalence of average bioavailability".
    """
    smallest = 1 / margin if found.kind == "ratio" else -margin
    return found.inner[0] >= smallest and found.inner[1] <= margin


def seeds_needed(found: Interval, effect: float) -> float:
    """Trials of each arm that would show an effect with 80% probability, spreads as seen.

    Args:
        found: An interval of this comparison, that of two arms.
        effect: A factor, or a difference, of either direction.
    """
    into = math.log if found.kind == "ratio" else float
    if not (math.isfinite(found.high) and found.low > (0 if found.kind == "ratio" else -math.inf)):
        return math.inf
    width = into(found.high) - into(found.low)
    known = not math.isnan(found.freedom)
    outer = (1 + LEVEL) / 2
    error = width / 2 / float(t_quantile(outer, found.freedom) if known else normal_quantile(outer))
    per_trial = error**2 * 2 / sum(1 / n for n in found.n)  # Two trials' variance, one an arm.
    quantiles = float(normal_quantile(outer) + normal_quantile(POWER))
    return float(math.ceil(quantiles**2 * per_trial / into(effect) ** 2))
