"""The figure of the study's measure against the learning rate, if rates were chosen."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from src import wording
from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord
from src.analysis.measures import Measure
from src.records.trial import TrialRecord
from src.reports import sentences
from src.reports.figures import canvas, scales
from src.reports.figures.canvas import DARK, legend_entry, line_style
from src.reports.figures.caption import caption

WITHOUT = {"diverged": "x", "not known": "s"}  # What became of a trial without a number: a marker.


def learning_rates(analysis: Analysis) -> Figure:
    """Draws the trials that the rates were chosen by; the chosen rate is ringed."""
    groups, measure = analysis.groups, analysis.measure
    arms = max((group.arms for group in groups), key=len, default=())
    words = sentences.measure_words(measure, analysis.target)
    seeds = len(analysis.study.config.study.selection_seeds)
    figure, panels = canvas.make_panels(
        [group.label for group in groups],
        title=wording.capital(words),
        ylabel="iterations" if measure.reading else words,
        caption=caption(analysis, f"selection seeds: {seeds}"),
        handles=[*(_entry(arm, i) for i, arm in enumerate(arms)), *_marks(analysis)],
    )
    for axes, group in zip(panels, groups, strict=False):
        axes.set(xscale="log", xlabel="learning rate")
        _scale(axes, measure)
        for i, arm in enumerate(group.arms):
            nudge = 1.02 ** (i - (len(group.arms) - 1) / 2)
            _draw_arm(axes, analysis, arm, i, nudge)
        rates = sorted({rate for arm in group.arms for rate in arm.grid})
        axes.set_xlim(rates[0] / 1.3, rates[-1] * 1.3)
        axes.xaxis.set(major_locator=FixedLocator(rates), minor_locator=NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    return figure


def _scale(axes: Axes, measure: Measure) -> None:
    if measure.kind == "difference":
        scales.set_percents(axes.yaxis)
        return
    axes.set(yscale="log")
    axes.yaxis.set(major_locator=LogLocator(subs=(1, 2, 3, 5)), minor_locator=NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))


def _entry(arm: ArmRecord, index: int) -> Line2D:
    color, dash = line_style(index)
    return legend_entry(arm.value, color=color, ls=dash, marker="o", ms=4, lw=1.4)


def _marks(analysis: Analysis) -> list[Line2D]:
    """Legend entries for what may happen to a trial."""
    ring = {"marker": "o", "ls": "", "ms": 10, "mfc": "none"}
    entries = [legend_entry("chosen", color=DARK, **ring)]
    measure, arms = analysis.measure, [arm for group in analysis.groups for arm in group.arms]
    samples = [measure.sample(_trials(arm), analysis.target) for arm in arms]
    if measure.reading or any(sample.censored.any() for sample in samples):
        triangle = {"marker": "^", "ls": "", "mfc": "w", "ms": 5}
        entries.append(legend_entry("not reached by then", color=DARK, **triangle))
    ends = [_without_number(analysis, arm) for arm in arms]
    entries += [
        legend_entry(words, color=DARK, marker=marker, ls="", ms=5, mfc="none")
        for words, marker in WITHOUT.items()
        if any(each[words] for each in ends)
    ]
    return entries


def _trials(arm: ArmRecord) -> Sequence[TrialRecord]:
    return arm.selection or arm.fresh


def _without_number(analysis: Analysis, arm: ArmRecord) -> dict[str, list[float]]:
    """The learning rates of the trials that have no number, by what happened to them."""
    found: dict[str, list[float]] = {words: [] for words in WITHOUT}
    low = analysis.measure.sample(_trials(arm), analysis.target).low
    for trial, number in zip(_trials(arm), low, strict=True):
        if math.isnan(number):
            words = "diverged" if trial.row["status"] == "diverged" else "not known"
            found[words].append(trial.row["learning_rate"])
    return found


def _draw_arm(axes: Axes, analysis: Analysis, arm: ArmRecord, index: int, nudge: float) -> None:
    color, dash = line_style(index)
    low, high = analysis.measure.sample(_trials(arm), analysis.target)
    rates = np.array([trial.row["learning_rate"] for trial in _trials(arm)])
    known = (low != 0) | np.isfinite(
        high
    )  # A trial that stopped before its first point is nowhere.
    rates, low, high = rates[known], low[known], high[known]
    missed = np.isinf(high)
    shown = np.where(missed, low, high)
    for words, at in _without_number(analysis, arm).items():
        places = (np.array(at) * nudge, np.full(len(at), 0.97 - 0.05 * index))
        look: dict[str, Any] = {"marker": WITHOUT[words], "ls": "", "color": color, "mfc": "none"}
        axes.plot(*places, ms=5, mew=1.3, transform=axes.get_xaxis_transform(), **look)
    axes.plot(rates[~missed] * nudge, high[~missed], "o", color=color, ms=4)
    axes.plot(rates[missed] * nudge, low[missed], "^", mec=color, mfc="w", ms=5.5, zorder=3)
    at_rate = shown[rates == arm.rate]
    medians = arm.choice.medians if arm.choice else {}
    line = [(rate * nudge, n) for rate, n in medians.items() if math.isfinite(n)]
    axes.plot([at for at, _ in line], [n for _, n in line], color=color, ls=dash, lw=1.4)
    if arm.choice and at_rate.size and not np.isnan(at_rate).any():
        middle = float(np.median(at_rate))
        axes.plot(arm.rate * nudge, middle, "o", mec=color, mfc="none", ms=11, mew=1.3)
