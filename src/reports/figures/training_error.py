"""Fig. 1 of the paper with our seeds, and with the paper's curves behind them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from src import wording
from src.analysis import curves, paper
from src.analysis.curves import Series
from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord, Group, rates_were_chosen
from src.records.trial import TrialRecord
from src.reports.figures import canvas, scales
from src.reports.figures.canvas import DARK, GREY, legend_entry, line_style
from src.reports.figures.caption import caption, diverged, left_out
from src.training.points import first_at_or_below

LABELS = {False: "training error, trailing window", True: "training error, parameters fixed"}
MANY = 30  # With so many seeds a band takes the place of their lines.
LINES = "thin lines: seeds; thick: their median"
BAND = "band: where nine of ten seeds are; thick: their median"
CIRCLES = "\ncircles: the first 10,000 images after each epoch, most likely the paper's points"


def training_error(analysis: Analysis) -> Figure:
    """Draws training error against epochs for every fresh seed at its arm's chosen rate."""
    groups, frozen = analysis.groups, analysis.frozen
    theirs = paper.curves_beside(analysis.study)
    tuned = ", each at its own learning rate" if rates_were_chosen(groups) else ""
    most = max((len(arm.fresh) for group in groups for arm in group.arms), default=0)
    note = (BAND if most >= MANY else LINES) + left_out(analysis, "medians")
    note += CIRCLES if theirs else ""
    figure, panels = canvas.make_panels(
        [group.label for group in groups],
        title=f"Training error by epoch{tuned}",
        ylabel=LABELS[frozen],
        caption=caption(analysis, note),
        handles=_legend(analysis.target, theirs),
        legends=[[_entry(arm, i) for i, arm in enumerate(group.arms)] for group in groups],
        sharex="all",
    )
    lowest, highest = _ends(groups, frozen)
    for axes, group in zip(panels, groups, strict=False):
        for name, curve in theirs.items():
            axes.plot(curve.at, curve.values, color=GREY, ls=paper_dash(name), lw=2.2, zorder=1)
        axes.axhline(analysis.target, color=DARK, lw=0.8, ls=":", zorder=1)
        for i, arm in enumerate(group.arms):
            _draw_seeds(axes, arm, i, frozen, analysis.target, with_points=bool(theirs))
        axes.set(xlabel="epochs", xlim=(-0.01 * axes.get_xlim()[1], None))
        axes.set_ylim(max(0, min(analysis.target - 0.1, lowest - 0.02)), max(0.9, highest + 0.02))
        scales.set_percents(axes.yaxis)
    return figure


def _legend(target: float, theirs: Mapping[str, Series]) -> list[Line2D]:
    reached = f"{wording.target(target)} reached"
    entries = [legend_entry(reached, color=DARK, marker="o", ls="", ms=4)]
    if theirs:
        circle = {"color": DARK, "marker": "o", "mfc": "w", "ls": "", "ms": 4}
        entries.append(legend_entry("read as the paper's", **circle))
        entries += [
            legend_entry(f"paper, {name}", color=GREY, ls=paper_dash(name), lw=2.2)
            for name in theirs
        ]
    return entries


def paper_dash(name: str) -> Any:
    """The dashes of one of the paper's curves, which are those of our arm with its name."""
    return line_style(("relu", "tanh").index(name))[1]


def _series(trial: TrialRecord, frozen: bool) -> Series:
    return curves.frozen(trial.metrics) if frozen else curves.online(trial.metrics)


def _ends(groups: Sequence[Group], frozen: bool) -> tuple[float, float]:
    """The lowest and the highest training error; trials that do not stop at the target go lower."""
    trials = [trial for group in groups for arm in group.arms for trial in arm.fresh]
    values = np.concatenate([_series(trial, frozen).values for trial in trials] or [np.zeros(0)])
    known = values[~np.isnan(values)]
    return float(known.min(initial=1.0)), float(known.max(initial=0.0))


def _entry(arm: ArmRecord, index: int) -> Line2D:
    color, dash = line_style(index)
    label = f"{arm.value}, rate {arm.rate:g} ({diverged(arm) or f'n = {len(arm.fresh)}'})"
    return legend_entry(label, color=color, ls=dash, lw=1.6)


def _draw_seeds(
    axes: Axes, arm: ArmRecord, index: int, frozen: bool, target: float, *, with_points: bool
) -> None:
    color, dash = line_style(index)
    reached = []
    for trial in arm.fresh:
        epochs, errors = trial.metrics["epoch"], _series(trial, frozen).values
        if len(arm.fresh) < MANY:
            axes.plot(epochs, errors, color=color, lw=0.7, alpha=0.45)
        if (end := first_at_or_below(errors, target)) is not None:
            reached.append((epochs[end], errors[end]))
    axes.plot(*np.reshape(reached, (-1, 2)).T, "o", color=color, ms=4, zorder=4)
    if trials := arm.not_diverged:
        shortest = min((trial.metrics["epoch"] for trial in trials), key=len)
        common = [_series(trial, frozen).values[: len(shortest)] for trial in trials]
        if len(arm.fresh) >= MANY:
            ends = np.quantile(common, (0.05, 0.95), axis=0)
            axes.fill_between(shortest, *ends, color=color, alpha=0.2, lw=0)
        axes.plot(shortest, np.median(common, axis=0), color=color, ls=dash, lw=1.6)
    if trials and with_points:
        last = max(trial.metrics["epoch"].max(initial=0) for trial in trials)
        points = paper.median_points(trials, range(int(last) + 1))
        axes.plot(range(len(points)), points, "o", mec=color, mfc="w", ms=3.4, mew=0.9, zorder=3)
