"""Tables of the trials: the choice of their rates, how they ended, and what ran them."""

import collections
import math
from collections.abc import Sequence

from src import wording
from src.analysis.choice import Choice
from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord, rates_were_chosen, was_raced
from src.analysis.measures import MEASURES
from src.records.trial import Row, TrialRecord
from src.reports import sentences
from src.wording import table

MOST_ROWS = 500  # If there are more trials, results.csv alone lists them.


def learning_rates(analysis: Analysis) -> str:
    """A table of each arm's learning rate, and of the medians that it was chosen by."""
    groups, study = analysis.groups, analysis.study.config.study
    rates = [
        [group.label, arm.value, f"{arm.rate:g}" if arm.chosen else "-"]
        for group in groups
        for arm in group.arms
    ]
    if not rates_were_chosen(groups):
        return f"None was chosen: each arm has one.\n\n{table(['group', 'arm', 'rate'], rates)}"
    arms = [arm for group in groups for arm in group.arms]
    rows = [[*rate, *_choice(analysis, arm)] for rate, arm in zip(rates, arms, strict=True)]
    words = sentences.measure_words(analysis.measure, analysis.target)
    header = ["group", "arm", "chosen", f"median {words}", "note"]
    text = (
        f"Each arm has its own: the rate with the best median {words} over"
        f" {wording.counted(len(study.selection_seeds), 'selection seed')}; where several share it,"
        " the one with the lowest final training error. The answer is measured on other, fresh"
        f" seeds. {_racing(analysis)}"
    )
    return f"{text}\n\n" + table(header, rows)


def _racing(analysis: Analysis) -> str:
    study = analysis.study.config.study
    if not (study.racing and analysis.measure.allows_racing):
        return "No trial was stopped early."
    even = len(study.selection_seeds) % 2 == 0  # A median of these is a mean of two.
    text = "A trial that the best rate so far had beaten to the target"
    text += ", in less than half the time," if even else ""
    text += " was stopped and is censored"
    if study.racing_slack < math.inf:
        slack = max(2.0 if even else 1.0, study.racing_slack)
        text += f", and so, by rule of thumb, was one {slack:g} times slower to an easier error"
    return f"{text} (racing)."


def _choice(analysis: Analysis, arm: ArmRecord) -> tuple[str, str]:
    if arm.choice is None:
        return "-", "nothing to choose" if arm.chosen else "not chosen yet"
    medians = "; ".join(
        f"{rate:g}: {_median(analysis, arm, arm.choice, rate)}" for rate in arm.choice.medians
    )
    if not arm.chosen:
        return medians, "not chosen yet"
    return medians, "**on the edge: extend the grid**" if arm.choice.at_edge else "inside the grid"


def _median(analysis: Analysis, arm: ArmRecord, choice: Choice, rate: float) -> str:
    median = choice.medians[rate]
    if math.isfinite(median):
        ratio = analysis.measure.kind == "ratio"
        return wording.count(median) if ratio else wording.percent(median)
    trials = [trial for trial in arm.selection if trial.row["learning_rate"] == rate]
    diverged = sum(trial.row["status"] == "diverged" for trial in trials)
    if diverged == len(trials):
        return "diverged"
    last = max(trial.row["iterations"] for trial in trials)
    raced = any(was_raced(trial, analysis.study.config) for trial in trials)
    words = f"> {last:,}{', raced' if raced else ''}"
    if math.isnan(median):
        words = f"{diverged} of {len(trials)} diverged" if diverged else "not known"
    decided = not math.isfinite(choice.medians[choice.rate])  # Else by errors.
    return f"{words}, {wording.percent(choice.errors[rate])}" if decided else words


def trials(analysis: Analysis) -> str:
    """Sentences that count trials by their end, and a table of all if they are not too many."""
    study, target = analysis.study, wording.target(analysis.target)
    raced = sum(was_raced(trial, study.config) for trial in study.trials)
    statuses = collections.Counter(trial.row["status"] for trial in study.trials)
    arms = [arm for group in analysis.groups for arm in group.arms]
    fresh = collections.Counter(trial.row["status"] for arm in arms for trial in arm.fresh)
    it = "it" if statuses["reached"] else f"{target} training error"
    ends = {
        f"reached {target} training error": statuses["reached"],
        "were stopped by racing": raced,
        f"had not reached {it} when their epochs were over": statuses["censored"] - raced,
        "diverged": statuses["diverged"],
    }
    told = [f"{number} {how}" for how, number in ends.items() if number]
    text = f"Of {len(study.trials)} trials {', '.join(told) or 'none is done'}."
    if late := fresh["censored"]:
        others = " that did not diverge" if fresh["diverged"] else ""
        text += f" On fresh seeds {late} of {fresh.total() - fresh['diverged']}{others} did not"
        text += f" reach it{_censored(analysis)}."
    if len(study.trials) > MOST_ROWS:
        return f"{text} [results.csv](results.csv) has a row for each."
    header = ["trial", "purpose", "status", f"iterations to {target}", "epochs trained"]
    rows = [_trial_row(analysis, trial) for trial in study.trials]
    return f"{text}\n\n" + table([*header, "training error", "test error", "training time"], rows)


def _censored(analysis: Analysis) -> str:
    """Says that numbers of iterations are compared all the same, where they are."""
    compared = any(
        not math.isnan(effect.interval.bound)
        and any(trial.row["status"] == "censored" for arm in arms if arm for trial in arm.fresh)
        for effect in analysis.effects(MEASURES["iterations"])
        for arms in [(effect.arm, effect.group.baseline)]
    )
    return "; numbers of iterations are compared with these as censored" if compared else ""


def _trial_row(analysis: Analysis, trial: TrialRecord) -> list[str]:
    row, epochs = trial.row, trial.metrics["epoch"]
    return [
        row["trial"],
        row["purpose"],
        "censored by racing" if was_raced(trial, analysis.study.config) else row["status"],
        sentences.to_target(trial),
        _trained(float(epochs[-1])) if epochs.size else "0",
        wording.percent(row["final_train_error"]),
        wording.percent(row["final_test_error"]),
        wording.duration(row["train_seconds"]),
    ]


def _trained(epochs: float) -> str:
    """Epochs with one decimal, or with three digits if a decimal would say too little."""
    return f"{epochs:.1f}" if epochs >= 1 else f"{epochs:.3g}"


def provenance(analysis: Analysis) -> str:
    """The section on time, machines and code."""
    header, rows = analysis.study.header, [trial.row for trial in analysis.study.trials]
    kinds = ("train", "compile", "measure", "save")
    spent = {kind: sum(row.get(f"{kind}_seconds", 0.0) for row in rows) for kind in kinds}
    times = ", ".join(
        f"{kind} {wording.duration(seconds)}" for kind, seconds in spent.items() if seconds
    )
    versions = {"jax": counted(rows, "jax_version"), **header.get("versions", {})}
    lines = [
        f"time, summed over trials, which may have run side by side: {times or 'none'}",
        f"device: {counted(rows, 'device')}",
        f"data: {header['dataset']}, SHA-256 {header['digest'][:16]}…",
        f"versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
        f"commit: {counted(rows, 'commit')}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def counted(rows: Sequence[Row], *columns: str) -> str:
    """The values of columns; if there are several, each with its number of trials."""
    found = collections.Counter(
        ", ".join(row.get(column, "unknown") for column in columns) for row in rows
    )
    if len(found) <= 1:
        return next(iter(found), "none yet")
    between = ", " if len(columns) == 1 else "; "
    return between.join(
        f"{value} ({wording.counted(n, 'trial')})" for value, n in sorted(found.items())
    )
