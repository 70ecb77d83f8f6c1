"""Numbers in words: what a ratio, an interval and a trial that never got there say, and no more."""

import math
from collections.abc import Callable, Sequence

from src.analysis import times as analysis
from src.analysis.comparison import ArmRecord, Group
from src.analysis.study import Study
from src.analysis.times import Ratio, Times
from src.records.trial import TrialRecord

# The range of n seeds holds the true median with probability 1 - 2 / 2^n: 75% for 3, 94% for 5.
FEW_SEEDS = 5
DATA_NOTES = {
    "cifar10-jpeg": "cifar10-jpeg is CIFAR-10 re-encoded as JPEG: not exactly the paper's images.",
    "procedural": "**Procedural images are drawn by code: they are not CIFAR-10, and the paper's"
    " numbers say nothing about them.**",
}


def answer(study: Study, group: Group, other: ArmRecord) -> str:
    """One sentence: how many times the baseline's iterations `other` needs, and how sure it is."""
    target, baseline = study.config.trial.target_train_error, group.baseline
    found = group.ratios(other, [target]).get(target)
    if baseline is None or found is None:
        return f"{other.value} against {study.config.study.compare.baseline}: not measured yet."
    times = [analysis.times_to_error(arm.fresh, target) for arm in (other, baseline)]
    medians = " against ".join(median_words(t) for t in times)
    devices = ", ".join(sorted({t.row["device"] for t in (*other.fresh, *baseline.fresh)}))
    known = not math.isnan(found.value) and found.low <= 1 <= found.high
    equal = " The interval holds 1: no difference is shown." if known else ""
    return (
        f"{_claim(found, other.value, baseline.value, f'{target:.0%} training error')}"
        f" ({interval(found)}; median iterations {medians}; {study.header['dataset']}, {devices})."
        f"{equal}"
    )


def _claim(found: Ratio, other: str, baseline: str, goal: str) -> str:
    if math.isnan(found.value):
        return f"neither {other} nor {baseline} reached {goal}: nothing can be said"
    if found.at_least == math.inf:
        return f"{other} diverges and never reaches {goal}; {baseline} does"
    if found.at_most == 0:
        return f"{baseline} diverges and never reaches {goal}; {other} does"
    return f"{other} needs {ratio(found)} times the iterations of {baseline} to reach {goal}"


def ratio(found: Ratio) -> str:
    """Such as `6.1`; `more than 7.5` or `less than 0.20` where one side never got there."""
    if math.isnan(found.value):
        return "unknown"
    if found.value == math.inf:
        known = found.at_least < math.inf
        return f"more than {_figures(found.at_least, math.floor)}" if known else "infinitely many"
    if found.value == 0:
        return f"less than {_figures(found.at_most, math.ceil)}"
    return _figures(found.value)


def interval(found: Ratio) -> str:
    """The 95% interval and its numbers of seeds; says where there is none or it is weak."""
    seeds = f"n = {found.seeds[1]} and {found.seeds[0]} seeds"
    if bounds(found) == "no interval":
        return f"no interval, {seeds}"
    weak = ", too few for a firm interval" if min(found.seeds) < FEW_SEEDS else ""
    return f"95% interval {bounds(found)}, {seeds}{weak}"


def bounds(found: Ratio) -> str:
    """Of the interval, rounded outwards: `5.5 to 6.8`, `at least 5.5`, `at most 0.20`."""
    low, high = _figures(found.low, math.floor), _figures(found.high, math.ceil)
    if not math.isfinite(found.low) or (found.low == 0 and math.isinf(found.high)):
        return "no interval"
    if math.isinf(found.high):
        return f"at least {low}"
    return f"{low} to {high}" if found.low > 0 else f"at most {high}"


def _figures(value: float, rounded: Callable[[float], float] = round) -> str:
    """Two decimals below 2, else one; `rounded` says which way."""
    if not math.isfinite(value):
        return str(value)
    digits = 2 if value < 2 else 1
    return f"{rounded(round(value * 10**digits, 6)) / 10**digits:.{digits}f}"


def median_words(times: Times) -> str:
    """Such as `3,237`, or `> 7,839` where the median seed had not got there when it stopped."""
    at_least, at_most = analysis.median(times.at_least), analysis.median(times.at_most)
    if at_most < math.inf:
        return count(at_most)
    return f"> {count(at_least)}" if at_least < math.inf else "never (diverged)"


def count(value: float) -> str:
    """Such as `12,480` or `12,480.5`."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def to_target(trial: TrialRecord) -> str:
    """Iterations to the target of one trial; one that stopped or diverged says where."""
    row = trial.row
    if row["iterations_to_target"] < math.inf:
        return count(row["iterations_to_target"])
    if row["status"] == "diverged":
        return f"never, diverged at {row['iterations']:,}"
    return f"> {row['iterations']:,}"


def percent(fraction: float) -> str:
    """Such as `24.8%`; `-` for nan and infinity."""
    return f"{fraction:.1%}" if math.isfinite(fraction) else "-"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
