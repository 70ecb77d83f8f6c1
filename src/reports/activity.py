"""The rows of the claim about sparse activity: the share of a ReLU network's units above zero."""

import math
from collections.abc import Sequence

import numpy as np

from src import wording
from src.analysis import intervals
from src.analysis.effects import Analysis
from src.analysis.groups import Group
from src.analysis.intervals import Ends
from src.analysis.verdicts import MARGINS, Verdict
from src.records.trial import TrialRecord
from src.reports.figures.saturation import SUFFIX, measured
from src.reports.findings import Finding
from src.reports.paper_claims import Claim

HALF = 0.5  # Expected of weights that are as likely positive as negative, and biases of zero.
# In this network ReLU stands right behind every layer that is measured; behind conv1 of conv3 it
# stands behind the pooling, whose maxima are above zero more often.
ACTIVE = Claim(
    "Few units of a trained ReLU network are active: less than 48% in every layer",
    "article",
    "-",
    "why_tanh_is_slow/lenet",
    "relu",
)


def active_units(analysis: Analysis | None) -> list[Finding]:
    """A finding for each group of a study: the active units of its ReLU networks, layer by layer.

    Args:
        analysis: The study that `ACTIVE` names; None if it has no records.
    """
    if analysis is None:
        return [Finding(ACTIVE, "", "-")]
    return [_of_group(analysis, group) for group in analysis.groups]


def _of_group(analysis: Analysis, group: Group) -> Finding:
    arm = group.arm(ACTIVE.baseline)
    trials = arm.not_diverged if arm else ()
    shares = active_at_end(trials)
    if not shares:
        return Finding(ACTIVE, group.label, "not measured")
    found = {layer: intervals.of_mean(of_trials) for layer, of_trials in shares.items()}
    each = [
        f"{layer} {wording.percent(float(np.mean(shares[layer])))}"
        + ("" if math.isnan(low) else f" ({wording.percent(low)} to {wording.percent(high)})")
        for layer, (low, high) in found.items()
    ]
    ours = (
        f"share of units above zero at the end: {', '.join(each)}; n = {len(trials)},"
        f" {analysis.study.trained_on}"
    )
    trained = float(np.mean([float(trial.row["final_train_error"]) for trial in trials]))
    return Finding(ACTIVE, group.label, ours, wording.percent(trained), *judge(found))


def active_at_end(trials: Sequence[TrialRecord]) -> dict[str, np.ndarray]:
    """Layer -> the share of its units [n] that are not zero, as each trial last measured it.

    Only layers count that every trial has measured.
    """
    last = [
        {
            column.removesuffix(SUFFIX): 1 - float(shares[-1])
            for column in trial.metrics
            if column.endswith(SUFFIX) and (shares := measured(trial, column)[1]).size
        }
        for trial in trials
    ]
    layers = [layer for layer in last[0] if all(layer in each for each in last)] if last else []
    return {layer: np.array([each[layer] for each in last]) for layer in layers}


def judge(found: dict[str, Ends]) -> tuple[Verdict, str]:
    """The verdict on layers' intervals, and the layers that it does not hold for.

    Shares within the margin of a half are not few. A claim about every layer holds no better than
    in the layer where it holds least.
    """
    margin = MARGINS["difference"]
    if any(math.isnan(low) for low, _ in found.values()):
        return "not decided", "no interval"
    few = [layer for layer, (_, high) in found.items() if high < HALF - margin]
    others = [layer for layer in found if layer not in few]
    if not others:
        return "shown", ""
    so_in = f"less than {wording.target(HALF - margin)} in {' and '.join(few)}" if few else ""
    more = [layer for layer, (low, _) in found.items() if low > HALF + margin]
    if more:
        told = f"more than {wording.target(HALF + margin)} in {' and '.join(more)}"
        return "contradicted", "; ".join(part for part in (told, so_in) if part)
    no_fewer = [
        layer for layer, (low, high) in found.items() if HALF - margin < low <= high < HALF + margin
    ]
    if no_fewer:
        told = f"{100 * margin:g} points in {' and '.join(no_fewer)}"
        return "no effect larger than", "; ".join(part for part in (told, so_in) if part)
    where = f"so in {' and '.join(few)}, not" if few else "not"
    return "not decided", f"{where} in {' and '.join(others)}"
