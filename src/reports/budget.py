"""What a study says whose trials all train equally long: final errors, gaps, their differences."""

import math
from collections.abc import Sequence

import numpy as np

from src.analysis import paired
from src.analysis.comparison import ArmRecord, Group
from src.analysis.paired import MEASURES, Estimate
from src.analysis.study import Study
from src.reports import sentences as wording


def has_budget(study: Study) -> bool:
    """Whether the final errors of its trials may be compared."""
    return not study.config.trial.stop_at_target


def comparisons(groups: Sequence[Group]) -> int:
    """How many arms are held against a baseline."""
    return sum(len(group.others) for group in groups)


def answers(study: Study, groups: Sequence[Group]) -> list[str]:
    """A sentence for each arm on the difference of the final test errors."""
    if not has_budget(study):
        return []
    return [
        f"**{group.label}**: {_answer(study, group, arm, comparisons(groups))}"
        for group in groups
        for arm in group.others
    ]


def _answer(study: Study, group: Group, arm: ArmRecord, count: int) -> str:
    baseline = group.baseline
    found = group.difference(arm, "test error", comparisons=count)
    if baseline is None or math.isnan(found.value):
        return f"{arm.value} against {study.config.study.compare.baseline}: not measured yet."
    where = "below" if found.value < 0 else "above"
    return (
        f"after {study.config.trial.max_epochs:g} epochs the test error of {arm.value} is"
        f" {abs(100 * found.value):.1f} points {where} that of {baseline.value}"
        f" ({interval(found)}).{'' if side(found) else ' The difference is not decided.'}"
    )


def table(study: Study, groups: Sequence[Group]) -> str:
    """Final errors of every arm, and how they differ from the baseline's."""
    count = comparisons(groups)
    rows = [_row(study, group, arm, count) for group in groups for arm in group.arms]
    frozen = "frozen" in study.config.trial.readings
    text = (
        f"Means over seeds after {study.config.trial.max_epochs:g} epochs; the training error is"
        f" {'that of fixed parameters' if frozen else 'that of the trailing epoch, as seen'}, the"
        " gap is the test error minus it. In brackets the 95% interval of the difference from"
        f" {study.config.study.compare.baseline}, in points, paired by seed (Student's), widened"
        f" for {count} comparison{'s' if count > 1 else ''} in a column (Bonferroni). The last"
        " column is the geometric mean over pairs."
    )
    goal = f"times the iterations to {study.config.trial.target_train_error:.0%}"
    header = ["group", "arm", "seeds", *MEASURES, goal]
    return f"{text}\n\n" + wording.table(header, rows)


def _row(study: Study, group: Group, arm: ArmRecord, count: int) -> list[str]:
    cells = []
    for name, measure in MEASURES.items():
        mean = float(np.mean([measure(trial) for trial in arm.fresh])) if arm.fresh else math.nan
        found = group.difference(arm, name, comparisons=count)
        beside = f" ({points(found.value)}: {bounds(found)})" if not math.isnan(found.value) else ""
        cells.append(wording.percent(mean) + (beside if arm is not group.baseline else ""))
    return [group.label, arm.value, str(len(arm.fresh)), *cells, _times(study, group, arm, count)]


def _times(study: Study, group: Group, arm: ArmRecord, count: int) -> str:
    if group.baseline is None or arm is group.baseline:
        return ""
    target = study.config.trial.target_train_error
    before = group.baseline.fresh
    found = paired.iterations_ratio(before, arm.fresh, target, comparisons=count)
    return "not reached by all" if math.isnan(found.value) else ratio(found)


def points(fraction: float) -> str:
    """Percentage points with their sign, such as `+1.2`."""
    return f"{round(100 * fraction, 1) + 0.0:+.1f}"  # no negative zero


def bounds(found: Estimate) -> str:
    """Such as `-0.4 to +2.8`, in percentage points, rounded outwards."""
    if math.isnan(found.low):
        return "no interval"
    low, high = _outwards(found)
    return f"{points(low)} to {points(high)}"


def _outwards(found: Estimate) -> tuple[float, float]:
    """The interval, rounded to the next thousandth outside it."""
    return float(np.floor(1000 * found.low)) / 1000, float(np.ceil(1000 * found.high)) / 1000


def ratio(found: Estimate) -> str:
    """A ratio and its interval."""
    known = not math.isnan(found.low)
    return f"{found.value:.2f} ({ratio_bounds(found) if known else 'no interval'})"


def ratio_bounds(found: Estimate) -> str:
    """Such as `0.85 to 1.91`; what is beyond reason is not given in figures."""
    low = f"{found.low:.2f}" if found.low >= 0.01 else "below 0.01"
    return f"{low} to {f'{found.high:.2f}' if found.high <= 100 else 'above 100'}"


def interval(found: Estimate) -> str:
    """The interval and its number of pairs."""
    known = not math.isnan(found.low)
    return f"{f'95% interval {bounds(found)}' if known else 'no interval'}, {pairs(found)}"


def pairs(found: Estimate) -> str:
    """Their number."""
    return f"n = {found.seeds} pair{'s' if found.seeds != 1 else ''} of seeds"


def side(found: Estimate, equal: float = 0.0) -> int:
    """1 or -1: the interval, as it is shown, is above or below `equal`; 0: neither, or none."""
    if math.isnan(found.low):
        return 0
    low, high = _outwards(found)
    return int(low > equal) - int(high < equal)
