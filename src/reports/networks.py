"""Studies that compare networks: their sizes, and three claims of many a text on AlexNet.

It is more accurate than LeNet, and sooner; its loss falls faster; the networks after it, VGG and
GoogLeNet, are more accurate, and sooner.
"""

import math
from collections.abc import Sequence

import numpy as np

from src import analysis
from src.records import StudyRecord, TrialRecord
from src.reports import wording
from src.reports.comparison import ArmRecord, Group
from src.reports.wording import percent

TIMES = {"iteration": "iterations", "train_seconds": "seconds of training"}  # column -> in words


def compares_networks(study: StudyRecord) -> bool:
    """Whether the arms of a study differ in their network."""
    return study.config["compare"]["field"] == "model"


def claims(groups: Sequence[Group]) -> list[str]:
    """A line per claim and pair of networks; none where none of them is an AlexNet."""
    lines = [line for group in groups for line in _claims(group)]
    seeds = [len(arm.fresh) for group in groups for arm in group.arms if arm.fresh]
    n = min(seeds, default=0)
    return [*lines, _rule(n)] if lines and n > 1 else lines


def _claims(group: Group) -> list[str]:
    alexnet = next((arm for arm in group.others if arm.value.startswith("alexnet")), None)
    if alexnet is None or group.baseline is None:
        return []
    later = group.others[group.others.index(alexnet) + 1 :]
    return [
        _more_accurate(alexnet, group.baseline),
        _loss_falls(alexnet, group.baseline),
        *(_more_accurate(net, alexnet) for net in later),
    ]


def _more_accurate(net: ArmRecord, other: ArmRecord) -> str:
    claim = f"Claim: **{net.value} is more accurate than {other.value}, and sooner**"
    if not (net.fresh and other.fresh):
        return f"{claim}: not measured yet."
    errors = [[last(t, "test_error") for t in arm.fresh] for arm in (net, other)]
    medians = " against ".join(percent(analysis.median(each)) for each in errors)
    goal = max(errors[1])
    return (
        f"{claim}: lower test error at the end: {verdict(*errors)} ({medians}); sooner down to"
        f" {other.value}'s {percent(goal)}: {_sooner(net, other, 'test_error', goal)}."
    )


def _loss_falls(net: ArmRecord, other: ArmRecord) -> str:
    claim = f"Claim: **{net.value}'s training loss falls faster than {other.value}'s**"
    if not (net.fresh and other.fresh):
        return f"{claim}: not measured yet."
    goal = max(last(trial, "train_loss") for trial in other.fresh)
    found = _sooner(net, other, "train_loss", goal)
    return f"{claim}: sooner down to {other.value}'s last, {goal:.2f}: {found}."


def _sooner(net: ArmRecord, other: ArmRecord, column: str, goal: float) -> str:
    """In iterations and in seconds; `goal` is what every seed of `other` gets to."""
    found = []
    for time, words in TIMES.items():
        times = [[first(t, column, goal, time) for t in arm.fresh] for arm in (net, other)]
        medians = " against ".join(_count(analysis.median(each)) for each in times)
        found.append(f"in {words} {verdict(*times)} ({medians})")
    return ", ".join(found)


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


def verdict(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Whether ours are the lower numbers: every seed of ours below every one of theirs."""
    if min(len(ours), len(theirs)) > 1:
        if max(ours) < min(theirs):
            return "holds in every seed"
        if min(ours) > max(theirs):
            return "fails in every seed"
    return "not decided at this n"


def _rule(n: int) -> str:
    return (
        "Every seed: all of one network's are better (holds) or worse (fails) than all of the"
        f" other's. With n = {n} of each, networks that are alike would do either in 1 of"
        f" {math.comb(2 * n, n)} cases. Numbers in brackets are medians."
    )


def table(study: StudyRecord, groups: Sequence[Group]) -> str:
    """A table: how large each network is, what an iteration costs, and how far it got."""
    target = study.config["target_train_error"]
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


def _sizes(study: StudyRecord, arm: ArmRecord) -> tuple[str, str]:
    # These start JAX, which reports of other studies do without.
    from src.models.summary import summarize  # noqa: PLC0415
    from src.program import make_model  # noqa: PLC0415

    relu = arm.settings | {"model": arm.settings["model"] | {"activation": "relu"}}
    side = arm.settings["augment"]["crop"] or study.header["image_shape"][0]
    layers = summarize(make_model(relu, study.header["num_classes"]), side)
    parameters = sum(layer.parameters for layer in layers)
    return f"{parameters:,}", f"{sum(layer.multiply_adds for layer in layers):,}"


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
