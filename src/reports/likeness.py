"""How near our curves come to those of the paper's Fig. 1."""

import collections

import numpy as np

from src import wording
from src.analysis import paper
from src.analysis.curves import Series
from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord, Group, rates_were_chosen
from src.records.trial import TrialRecord
from src.wording import table


def likeness(analysis: Analysis) -> str:
    """The section on the distance to the paper's curves; "" if they cannot be compared."""
    curves = paper.curves_beside(analysis.study)
    rows = [
        _likeness_row(group, arm, curves[arm.value])
        for group in analysis.groups
        for arm in group.arms
        if arm.value in curves and arm.fresh
    ]
    if not rows:
        return ""
    chosen = "The rates were chosen by the study's measure, not for likeness. "
    text = (
        "The paper's point k is most likely the error of the first 10,000 images after k epochs."
        " The table has ours, the median over seeds, minus the paper's, in percentage points."
        f" {chosen if rates_were_chosen(analysis.groups) else ''}The paper does not say its"
        " rates, its network, its batch size or its first weights."
    )
    header = ["group", "arm", *(f"point {k}" for k in paper.POINTS), "largest", "within 3 points"]
    if all(row[-1] == "-" for row in rows):
        return f"{text}\n\n{table(header, [row[:-1] for row in rows])}"
    text += (
        " The last column shows how far the rate moves a curve: the largest distance at every rate"
        " whose selection seeds have all five points."
    )
    return f"{text}\n\n" + table([*header, "largest by rate"], rows)


def _likeness_row(group: Group, arm: ArmRecord, curve: Series) -> list[str]:
    apart = paper.differences(curve, paper.median_points(arm.fresh))
    cells = ["ended before" if np.isnan(d) else wording.points(float(d)) for d in apart]
    known = np.abs(apart[~np.isnan(apart)])
    by_rate = _likeness_by_rate(arm, curve)
    if not known.size:
        return [group.label, arm.value, *cells, "-", "-", by_rate]
    verdict = "yes" if known.max() <= paper.TOLERANCE else "no"
    verdict += f", of {wording.counted(known.size, 'point')}" if known.size < len(apart) else ""
    return [group.label, arm.value, *cells, f"{100 * known.max():.1f}", verdict, by_rate]


def _likeness_by_rate(arm: ArmRecord, curve: Series) -> str:
    at_rate: dict[float, list[TrialRecord]] = collections.defaultdict(list)
    for trial in arm.selection:
        at_rate[trial.row["learning_rate"]].append(trial)
    apart = {
        rate: 100 * np.abs(paper.differences(curve, paper.median_points(at_rate[rate])))
        for rate in sorted(at_rate)
    }
    whole = {rate: d.max() for rate, d in apart.items() if not np.isnan(d).any()}
    return "; ".join(f"{rate:g}: {largest:.1f}" for rate, largest in whole.items()) or "-"
