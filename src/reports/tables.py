"""The tables of a report, each with the sentences it needs to be read rightly."""

import collections
import math
from collections.abc import Sequence

import numpy as np

from src.analysis import paper
from src.analysis.choice import Choice
from src.analysis.comparison import ArmRecord, Group, rates_were_chosen, was_raced
from src.analysis.study import Study
from src.records.trial import Row, TrialRecord
from src.reports import sentences as wording
from src.reports.sentences import table
from src.study.progress import duration


def learning_rates(study: Study, groups: Sequence[Group]) -> str:
    """Which rate each arm has, and what it was chosen by."""
    rows = [
        [group.label, arm.value, f"{arm.rate:g}" if arm.chosen else "-", *_choice(arm)]
        for group in groups
        for arm in group.arms
    ]
    seeds = len(study.config.study.selection_seeds)
    header = ["group", "arm", "chosen", "median iterations", "note"]
    if not rates_were_chosen(groups):
        return "None was chosen: each arm has one.\n\n" + table(header, rows)
    text = (
        "Each arm has its own: the rate with the lowest median iterations to the target over"
        f" {seeds} selection seed{'s' if seeds > 1 else ''}; where several share it, the one with"
        " the lowest final training error. The answer is measured on other, fresh seeds."
        f" {_racing(study)}"
    )
    return f"{text}\n\n" + table(header, rows)


def _racing(study: Study) -> str:
    if not study.config.study.racing:
        return "No trial was stopped early."
    text = "A trial that the best rate so far had beaten to the target was stopped and is censored"
    slack = study.config.study.racing_slack
    if slack < math.inf:
        text += f", and so, by rule of thumb, was one {slack:g} times slower to an easier error"
    return f"{text} (racing)."


def _choice(arm: ArmRecord) -> tuple[str, str]:
    if arm.choice is None:
        return "-", "nothing to choose" if arm.chosen else "not chosen yet"
    medians = "; ".join(f"{rate:g}: {_median(arm.choice, rate)}" for rate in arm.choice.medians)
    if not arm.chosen:
        return medians, "not chosen yet"
    return medians, "**on the edge: extend the grid**" if arm.choice.at_edge else "inside the grid"


def _median(choice: Choice, rate: float) -> str:
    if choice.medians[rate] < math.inf:
        return wording.count(choice.medians[rate])
    if choice.medians[choice.rate] < math.inf:
        return "not reached"
    return f"not reached, {wording.percent(choice.errors[rate])}"  # the errors decided


def thresholds(study: Study, groups: Sequence[Group]) -> str:
    """Ratio of iterations to each training error."""
    errors = sorted(study.config.study.thresholds, reverse=True)
    rows = []
    for group in groups:
        for other in group.others:
            found = group.ratios(other, errors).values()
            cells = [f"{wording.ratio(r)} ({wording.bounds(r)})" for r in found]
            if cells:
                rows.append([group.label, other.value, *cells])
    theirs = paper.ratios_beside(study, errors).values()
    if theirs:
        rows.append(["the paper's curves", "tanh", *map(wording.ratio, theirs)])
    baseline = study.config.study.compare.baseline
    text = (
        f"Median iterations relative to {baseline}, in brackets the 95% bootstrap interval; with so"
        " many intervals some miss the truth."
    )
    return f"{text}\n\n" + table(["group", "arm", *(f"{error:.0%}" for error in errors)], rows)


def likeness(study: Study, groups: Sequence[Group]) -> str:
    """Distance to the paper's curves; empty where they cannot be compared."""
    curves = paper.curves_beside(study)
    rows = [
        _likeness_row(group, arm, curves[arm.value])
        for group in groups
        for arm in group.arms
        if arm.value in curves and arm.fresh
    ]
    if not rows:
        return ""
    text = (
        "The paper's point k is most likely the error of the first 10,000 images after k epochs."
        " Ours, the median over seeds, minus the paper's, in percentage points. The rates were"
        " chosen for iterations to the target, not for likeness; the paper says neither its rates"
        " nor its net, batch size and initialization. The last column shows how far the rate moves"
        " a curve: the largest distance at every rate whose selection seeds have all five points."
    )
    header = ["group", "arm", *(f"point {k}" for k in paper.POINTS), "largest", "within 3 points"]
    return f"{text}\n\n" + table([*header, "largest by rate"], rows)


def _likeness_row(group: Group, arm: ArmRecord, curve: paper.Curve) -> list[str]:
    apart = 100 * paper.differences(curve, paper.median_points(arm.fresh))
    cells = ["ended before" if np.isnan(d) else f"{round(d, 1) + 0.0:+.1f}" for d in apart]
    known = np.abs(apart[~np.isnan(apart)])
    by_rate = _likeness_by_rate(arm, curve)
    if not known.size:
        return [group.label, arm.value, *cells, "-", "-", by_rate]
    verdict = "yes" if known.max() <= 100 * paper.TOLERANCE else "no"
    verdict += f", of {known.size} points" if known.size < len(apart) else ""
    return [group.label, arm.value, *cells, f"{known.max():.1f}", verdict, by_rate]


def _likeness_by_rate(arm: ArmRecord, curve: paper.Curve) -> str:
    at_rate = collections.defaultdict(list)
    for trial in arm.selection:
        at_rate[trial.row["learning_rate"]].append(trial)
    apart = {
        rate: 100 * np.abs(paper.differences(curve, paper.median_points(at_rate[rate])))
        for rate in sorted(at_rate)
    }
    whole = {rate: d.max() for rate, d in apart.items() if not np.isnan(d).any()}
    return "; ".join(f"{rate:g}: {largest:.1f}" for rate, largest in whole.items()) or "-"


def trials(study: Study) -> str:
    """Every trial, and how many did not reach the target."""
    header = ["trial", "purpose", "status", "iterations to target", "epochs", "training error"]
    rows = [_trial_row(study, trial) for trial in study.trials]
    raced = sum(was_raced(trial, study.config) for trial in study.trials)
    statuses = collections.Counter(trial.row["status"] for trial in study.trials)
    missed = [t.row["status"] != "reached" for t in study.trials if t.row["purpose"] == "fresh"]
    text = (
        f"Of {len(study.trials)} trials {statuses['reached']} reached the target, {raced} were"
        f" stopped by racing, {statuses['censored'] - raced} had not reached it after"
        f" {study.config.trial.max_epochs:g} epochs and {statuses['diverged']} diverged. Those that"
        f" did not reach it, {sum(missed)} of {len(missed)} on fresh seeds, take part in every"
        " median as infinity."
    )
    return f"{text}\n\n" + table([*header, "test error", "training time"], rows)


def _trial_row(study: Study, trial: TrialRecord) -> list[str]:
    row = trial.row
    epochs = row["epochs_to_target"]
    return [
        row["trial"],
        row["purpose"],
        "censored by racing" if was_raced(trial, study.config) else row["status"],
        wording.to_target(trial),
        f"{epochs:.1f}" if epochs < math.inf else "-",
        wording.percent(row["final_train_error"]),
        wording.percent(row["final_test_error"]),
        duration(row["train_seconds"]),
    ]


def provenance(study: Study) -> str:
    """How long it took, on what, with which code."""
    header, rows = study.header, [trial.row for trial in study.trials]
    kinds = ("train", "compile", "measure", "save")
    spent = {kind: sum(row.get(f"{kind}_seconds", 0.0) for row in rows) for kind in kinds}
    times = ", ".join(f"{kind} {duration(seconds)}" for kind, seconds in spent.items() if seconds)
    versions = {"jax": counted(rows, "jax_version"), **header.get("versions", {})}
    lines = [
        f"time, summed over trials, which may have run side by side: {times or 'none'}",
        f"device: {counted(rows, 'device')}",
        f"data: {header['dataset']}, SHA-256 {header['digest'][:16]}…",
        f"versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
        f"commit: {counted(rows, 'commit')}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def counted(rows: Sequence[Row], column: str) -> str:
    """The values of a column; where there are several, each with its number of trials."""
    found = collections.Counter(row.get(column, "unknown") for row in rows)
    if len(found) <= 1:
        return next(iter(found), "none yet")
    return ", ".join(f"{value} ({n} trials)" for value, n in sorted(found.items()))
