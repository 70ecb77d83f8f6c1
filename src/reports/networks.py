"""Studies that compare networks: their sizes, and three claims that many texts make about AlexNet.

AlexNet is more accurate than LeNet, and sooner; its loss falls faster; the networks after it, VGG
and GoogLeNet, are more accurate, and sooner.
"""

import functools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from src import wording
from src.analysis import curves, families, intervals, verdicts
from src.analysis.curves import Series
from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord, Group, trained_apart
from src.analysis.intervals import Ends, Interval, Sample
from src.analysis.measures import MEASURES, UNKNOWN
from src.records.trial import TrialRecord
from src.reports import sentences

TIMES = {"iteration": "iterations", "train_seconds": "seconds of training"}  # column -> in words
TEST_ERROR = MEASURES["test_error"]

Pair = tuple[ArmRecord, ArmRecord]  # A network, and the one it is compared with.


def compares_networks(analysis: Analysis) -> bool:
    """Whether the arms of a study have different networks."""
    return analysis.compared == "model"


class Race(NamedTuple):
    """How much sooner a network is at a value than another, in iterations or in seconds.

    Attributes:
        numbers: What each of the two takes, in words.
        found: The comparison.
        p: Its p-value, adjusted for all pairs of networks.
    """

    numbers: str
    found: Interval
    p: float


def claims(analysis: Analysis) -> list[str]:
    """A line per claim and pair of networks; none where AlexNet is not held against LeNet.

    All lines of a kind are one family of comparisons, whatever their group.
    """
    by_group = {group.label: pairs for group in analysis.groups if (pairs := _pairs(group))}
    pairs = [pair for of_group in by_group.values() for pair in of_group]
    accurate = iter(_accuracy_lines(analysis, pairs))
    losses = iter(_loss_lines([of_group[0] for of_group in by_group.values()]))
    lines = []
    for label, of_group in by_group.items():
        first, *later = [next(accurate) for _ in of_group]
        told = [first, next(losses), *later]
        lines += [f"**{label}**: {line}" for line in told] if len(analysis.groups) > 1 else told
    return lines


def _pairs(group: Group) -> list[Pair]:
    """AlexNet and LeNet, then each network that came after AlexNet and AlexNet."""
    alexnet = next((arm for arm in group.others if arm.value.startswith("alexnet")), None)
    if alexnet is None or group.baseline is None or not group.baseline.value.startswith("lenet"):
        return []
    later = [arm for arm in group.others if arm.value.startswith(("vgg", "googlenet"))]
    return [(alexnet, group.baseline), *((net, alexnet) for net in later)]


def _accuracy_lines(analysis: Analysis, pairs: Sequence[Pair]) -> list[str]:
    errors = [_test_errors(net, other) for net, other in pairs]
    adjusted = families.holm([found.p for found in errors])
    if TEST_ERROR in analysis.measures:  # One comparison has one p-value in a report.
        printed = {(e.arm.name, e.group.arms[0].name): e.p for e in analysis.effects(TEST_ERROR)}
        adjusted = [
            printed.get((net.name, other.name), p)
            for (net, other), p in zip(pairs, adjusted, strict=True)
        ]
    goals = [highest_last(other, "test_error") for _, other in pairs]
    all_races = races(pairs, "test_error", goals)
    measure = f"test error {'at the end' if analysis.equally_long else 'where training stopped'}"
    return [
        _more_accurate(pair, measure, found, p, goal, sooner)
        for pair, found, p, goal, sooner in zip(
            pairs, errors, adjusted, goals, all_races, strict=True
        )
    ]


def _test_errors(net: ArmRecord, other: ArmRecord) -> Interval:
    samples = [TEST_ERROR.sample(arm.fresh, 0.0) for arm in (other, net)]
    return intervals.compare("difference", *samples)


def _more_accurate(
    pair: Pair, measure: str, found: Interval, p: float, goal: float, sooner: Sequence[Race]
) -> str:
    net, other = pair
    claim = f"Claim: **{net.value} is more accurate than {other.value}, and sooner**"
    if found.how == "not measured":
        return f"{claim}: not measured yet."
    if found.how == "incomplete":
        return f"{claim}: a trial diverged, not decided."
    known = f"{sentences.value_words(found)} ({sentences.interval(found)}{sentences.p_words(p)})"
    return (
        f"{claim}: {measure} {known}: {_verdict(pair, found, p)}; down to"
        f" {other.value}'s {wording.percent(goal)}: {_race_words(pair, sooner)}."
    )


def _loss_lines(pairs: Sequence[Pair]) -> list[str]:
    goals = [highest_last(other, "train_loss") for _, other in pairs]
    return [
        _loss_falls(pair, goal, sooner)
        for pair, goal, sooner in zip(pairs, goals, races(pairs, "train_loss", goals), strict=True)
    ]


def _loss_falls(pair: Pair, goal: float, sooner: Sequence[Race]) -> str:
    net, other = pair
    claim = f"Claim: **{net.value}'s training loss falls faster than {other.value}'s**"
    if not (net.fresh and other.fresh):
        return f"{claim}: not measured yet."
    if any(trial.row["status"] == "diverged" for arm in pair for trial in arm.fresh):
        return f"{claim}: a trial diverged, not decided."
    return f"{claim}: down to {other.value}'s last, {goal:.2f}: {_race_words(pair, sooner)}."


def highest_last(arm: ArmRecord, column: str) -> float:
    """The value that each seed of a network gets down to; infinite if it has no trial."""
    return max((last(trial, column) for trial in arm.fresh), default=math.inf)


def races(pairs: Sequence[Pair], column: str, goals: Sequence[float]) -> list[tuple[Race, ...]]:
    """For each pair, how much sooner its first network is at a goal of a column, by each time."""
    by_time = []
    for time in TIMES:
        made = []
        for arms, goal in zip(pairs, goals, strict=True):
            there = functools.partial(first, column=column, goal=goal, time=time)
            samples = [_sample(arm, there) for arm in arms]
            numbers = " against ".join(sentences.mean(sample, "ratio") for sample in samples)
            made.append((numbers, intervals.compare("ratio", samples[1], samples[0])))
        adjusted = families.holm([found.p for _, found in made])
        by_time.append([Race(*one, p) for one, p in zip(made, adjusted, strict=True)])
    return list(zip(*by_time, strict=True))


def _race_words(pair: Pair, races: Sequence[Race]) -> str:
    parts = []
    for (time, words), (numbers, found, p) in zip(TIMES.items(), races, strict=True):
        ends = f"{sentences.ends(found)}{sentences.p_words(p)}"
        times = f"{sentences.value_words(found)} times ({ends})"
        verdict = _verdict(pair, found, p, in_seconds=time == "train_seconds")
        parts.append(f"{numbers} {words}, {times}: {verdict}")
    return "; ".join(parts)


def _verdict(pair: Pair, found: Interval, p: float, *, in_seconds: bool = False) -> str:
    """The verdict; a pair that was trained otherwise is confounded, as in the table of claims."""
    ways = [way for way in trained_apart(*pair) if way == "commit" or in_seconds]
    if ways:
        return f"confounded, {sentences.apart('the two', ways)}"
    verdict = verdicts.judge(found, -1, p=p)
    return f"{verdict} {sentences.remark(found, verdict)}".strip()


def _sample(arm: ArmRecord, there: Callable[[TrialRecord], Ends]) -> Sample:
    return intervals.sample(map(there, arm.fresh))


def last(trial: TrialRecord, column: str) -> float:
    """A trial's last value of a column; infinite if it diverged."""
    if trial.row["status"] == "diverged":
        return math.inf
    return float(trial.metrics[column][-1])


def first(trial: TrialRecord, column: str, goal: float, time: str) -> Ends:
    """Bounds of the iterations or seconds at which a column (the loss, say) is down to `goal`."""
    if trial.row["status"] == "diverged" or not math.isfinite(goal):
        return UNKNOWN
    measured = ~np.isnan(trial.metrics[column])
    series = Series(trial.metrics[time][measured], trial.metrics[column][measured])
    return curves.time_to_value(series, goal)


def table(analysis: Analysis) -> str:
    """A table of the networks: size, cost of an iteration, and errors at the end."""
    target = wording.target(analysis.target)
    header = ["network", "parameters", "multiply-adds", "rate", "ms/iteration", "training loss"]
    header += ["training error", "test error", f"iterations to {target}", "n"]
    rows = [
        [arm.value, *_sizes(analysis, arm), *_results(arm, analysis.target)]
        for group in analysis.groups
        for arm in group.arms
    ]
    text = (
        "Multiply-adds of the weights, for one image. What follows the rate is of the fresh seeds:"
        " medians at the end of their training; iterations are geometric means."
    )
    return f"{text}\n\n{wording.table(header, rows)}"


def _sizes(analysis: Analysis, arm: ArmRecord) -> tuple[str, str]:
    """Parameters and multiply-adds, as study.json has them."""
    size = analysis.study.header["networks"][arm.name]
    return f"{size['parameters']:,}", f"{size['multiply_adds']:,}"


def _results(arm: ArmRecord, target: float) -> list[str]:
    if not arm.fresh:
        return [f"{arm.rate:g}" if arm.chosen else "-", *["-"] * 5, "0"]
    speeds = [  # Of one that diverged, iterations are counted up to there, and seconds are not.
        1000 * trial.row["train_seconds"] / trial.row["iterations"] for trial in arm.not_diverged
    ]
    loss, train_error, test_error = (
        statistics.median(last(trial, column) for trial in arm.fresh)
        for column in ("train_loss", "train_error", "test_error")
    )
    return [
        f"{arm.rate:g}",
        f"{statistics.median(speeds):.0f}" if speeds else "-",
        f"{loss:.2f}" if math.isfinite(loss) else "-",
        wording.percent(train_error),
        wording.percent(test_error),
        sentences.means(MEASURES["iterations"], arm, target),
        f"{len(arm.fresh)}",
    ]
