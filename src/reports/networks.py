"""Studies that compare networks: their sizes, and three claims of many a text on AlexNet.

It is more accurate than LeNet, and sooner; its loss falls faster; the networks after it, VGG and
GoogLeNet, are more accurate, and sooner.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from src.analysis import paired
from src.analysis import times as analysis
from src.analysis.comparison import ArmRecord, Group
from src.analysis.paired import Estimate
from src.analysis.study import Study
from src.records.trial import TrialRecord
from src.reports import budget
from src.reports import sentences as wording
from src.reports.sentences import percent

TIMES = {"iteration": "iterations", "train_seconds": "seconds of training"}  # column -> in words


def compares_networks(study: Study) -> bool:
    """Whether the arms of a study differ in their network."""
    return study.config.study.compare.field == "model"


def claims(groups: Sequence[Group]) -> list[str]:
    """A line per claim and pair of networks; none where none of them is an AlexNet."""
    return [line for group in groups for line in _claims(group)]


def _claims(group: Group) -> list[str]:
    alexnet = next((arm for arm in group.others if arm.value.startswith("alexnet")), None)
    if alexnet is None or group.baseline is None:
        return []
    later = group.others[group.others.index(alexnet) + 1 :]
    count = 1 + len(later)  # pairs of networks that are held against each other
    return [
        _more_accurate(alexnet, group.baseline, count),
        _loss_falls(alexnet, group.baseline),
        *(_more_accurate(net, alexnet, count) for net in later),
    ]


def _more_accurate(net: ArmRecord, other: ArmRecord, count: int) -> str:
    claim = f"Claim: **{net.value} is more accurate than {other.value}, and sooner**"
    if not (net.fresh and other.fresh):
        return f"{claim}: not measured yet."
    test_error = paired.MEASURES["test error"]
    found = paired.difference(other.fresh, net.fresh, test_error, comparisons=count)
    known = "diverged" if math.isnan(found.value) else f"{budget.points(found.value)} points"
    goal = max(last(trial, "test_error") for trial in other.fresh)
    return (
        f"{claim}: test error at the end {known} ({budget.interval(found)}):"
        f" {_verdict(found, 0.0)}; down to {other.value}'s {percent(goal)}:"
        f" {_sooner(net, other, 'test_error', goal, count)}."
    )


def _loss_falls(net: ArmRecord, other: ArmRecord) -> str:
    claim = f"Claim: **{net.value}'s training loss falls faster than {other.value}'s**"
    if not (net.fresh and other.fresh):
        return f"{claim}: not measured yet."
    goal = max(last(trial, "train_loss") for trial in other.fresh)
    found = _sooner(net, other, "train_loss", goal, 1)
    return f"{claim}: down to {other.value}'s last, {goal:.2f}: {found}."


def _sooner(net: ArmRecord, other: ArmRecord, column: str, goal: float, count: int) -> str:
    """In iterations and in seconds; `goal` is what every seed of `other` gets to."""
    found = []
    for time, words in TIMES.items():
        there = functools.partial(first, column=column, goal=goal, time=time)
        found.append(_times(net, other, there, words, count))
    return "; ".join(found)


def _times(
    net: ArmRecord,
    other: ArmRecord,
    time: Callable[[TrialRecord], float],
    words: str,
    count: int,
) -> str:
    medians = [_count(analysis.median(map(time, arm.fresh))) for arm in (net, other)]
    found = paired.times_ratio(other.fresh, net.fresh, time, comparisons=count)
    known = "" if math.isnan(found.value) else f", {budget.ratio(found)} times"
    return f"{' against '.join(medians)} {words}{known}: {_verdict(found, 1.0)}"


def _verdict(found: Estimate, equal: float) -> str:
    """Fewer errors, or less time, than the other network has."""
    side = budget.side(found, equal)
    words = {-1: "holds", 1: "does not hold", 0: f"not decided at n = {found.seeds}"}
    return words[side]


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < math.inf else "never"


def last(trial: TrialRecord, column: str) -> float:
    """Where a trial ended; infinite if it diverged."""
    if trial.row["status"] == "diverged":
        return math.inf
    return float(trial.metrics[column][-1])


def first(trial: TrialRecord, column: str, goal: float, time: str) -> float:
    """Iterations or seconds at the first point whose `column` is at or below `goal`, or inf."""
    there = np.flatnonzero(trial.metrics[column] <= goal)
    return float(trial.metrics[time][there[0]]) if there.size else math.inf


def table(study: Study, groups: Sequence[Group]) -> str:
    """A table: how large each network is, what an iteration costs, and how far it got."""
    target = study.config.trial.target_train_error
    header = ["network", "parameters", "multiply-adds", "rate", "ms/iteration", "training loss"]
    header += ["training error", "test error", f"iterations to {target:.0%}", "n"]
    rows = [
        [arm.value, *_sizes(study, arm), *_results(arm, target)]
        for group in groups
        for arm in group.arms
    ]
    text = (
        "Multiply-adds of the weights, for one image. What follows the rate is of the fresh seeds,"
        " at the end of their training: medians."
    )
    return f"{text}\n\n{wording.table(header, rows)}"


def _sizes(study: Study, arm: ArmRecord) -> tuple[str, str]:
    """Parameters and multiply-adds, as they were written when the study began."""
    size = study.header["networks"][arm.name]
    return f"{size['parameters']:,}", f"{size['multiply_adds']:,}"


def _results(arm: ArmRecord, target: float) -> list[str]:
    if not arm.fresh:
        return [f"{arm.rate:g}" if arm.chosen else "-", *["-"] * 5, "0"]
    rows = [trial.row for trial in arm.fresh]
    speed = analysis.median(1000 * row["train_seconds"] / row["iterations"] for row in rows)
    loss, train_error, test_error = (
        analysis.median(last(trial, column) for trial in arm.fresh)
        for column in ("train_loss", "train_error", "test_error")
    )
    return [
        f"{arm.rate:g}",
        f"{speed:.0f}",
        f"{loss:.2f}",
        percent(train_error),
        percent(test_error),
        wording.median_words(analysis.times_to_error(arm.fresh, target)),
        f"{len(rows)}",
    ]
