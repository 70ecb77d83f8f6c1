"""The figure of a study of networks: loss and errors against iterations and against seconds."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord, Group, rates_were_chosen
from src.reports.figures import canvas, scales
from src.reports.figures.canvas import legend_entry, line_style
from src.reports.figures.caption import diverged
from src.reports.networks import TIMES

COLUMNS = {  # Column of metrics.csv -> its words.
    "train_loss": "training loss",
    "train_error": "training error",
    "test_error": "test error",
}


def curves(analysis: Analysis) -> Figure:
    """Draws every fresh seed at its arm's rate: a row per column, by iterations and by seconds."""
    groups, study = analysis.groups, analysis.study
    arms = [(group, arm) for group in groups for arm in group.arms if arm.fresh]
    named = len(groups) > 1
    tuned = ", each network at its own learning rate" if rates_were_chosen(groups) else ""
    windows = {arm.settings.window_epochs for _, arm in arms} or {1.0}
    window = "the trailing epoch" if windows == {1.0} else "a trailing window"
    handles = [
        legend_entry(_label(group, arm, named), color=line_style(i)[0], ls=line_style(i)[1], lw=1.4)
        for i, (group, arm) in enumerate(arms)
    ]
    figure, panels = canvas.make_panels(
        [f"{shown} by {words}" for shown in COLUMNS.values() for words in TIMES.values()],
        title=f"Loss and errors{tuned}",
        ylabel="",
        caption=f"data: {study.trained_on}; device: {analysis.devices or 'none yet'}\n"
        f"a line per fresh seed; training loss and error are of {window}",
        handles=handles,
        sharex="col",
        sharey="row",
    )
    places = [(column, time) for column in COLUMNS for time in TIMES]
    for axes, (column, time) in zip(panels, places, strict=False):
        for i, (_, arm) in enumerate(arms):
            _draw(axes, arm, i, column, time)
        axes.set_xlabel(TIMES[time])
        if column != "train_loss":
            axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
            scales.set_percents(axes.yaxis)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    return figure


def _label(group: Group, arm: ArmRecord, named: bool) -> str:
    label = f"{arm.value}, rate {arm.rate:g} ({diverged(arm) or f'n = {len(arm.fresh)}'})"
    return f"{group.label}: {label}" if named else label


def _draw(axes: Axes, arm: ArmRecord, index: int, column: str, time: str) -> None:
    color, dash = line_style(index)
    for metrics in (trial.metrics for trial in arm.fresh):
        there = ~np.isnan(metrics[column])
        marker = "o" if column == "test_error" else ""  # It is measured now and then.
        x, y = metrics[time][there], metrics[column][there]
        axes.plot(x, y, color=color, ls=dash, lw=1.2, marker=marker, ms=3)
