"""Training and test error against epochs, of trials that all train equally long."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord
from src.reports.figures import canvas, scales
from src.reports.figures.canvas import DARK, legend_entry, line_style
from src.reports.figures.caption import caption, diverged, left_out, seeds


def overfitting(analysis: Analysis) -> Figure:
    """Draws each arm's mean training error (line) and test error (dashes) by epoch."""
    handles = [
        legend_entry("training error", color=DARK),
        legend_entry("test error", color=DARK, ls="--", marker="o"),
    ]
    figure, panels = canvas.make_panels(
        [group.label for group in analysis.groups],
        title="Training and test error by epoch",
        ylabel="error, mean of the seeds",
        caption=caption(analysis, seeds(analysis) + left_out(analysis, "means")),
        handles=handles,
        legends=[[_entry(arm, i) for i, arm in enumerate(group.arms)] for group in analysis.groups],
        sharex="all",
    )
    for axes, group in zip(panels, analysis.groups, strict=False):
        for index, arm in enumerate(group.arms):
            _draw_arm(axes, arm, line_style(index)[0])
        axes.set(xlabel="epochs")
        scales.set_percents(axes.yaxis)
    return figure


def _entry(arm: ArmRecord, index: int) -> Line2D:
    label = f"{arm.value} ({diverged(arm)})" if diverged(arm) else arm.value
    return legend_entry(label, color=line_style(index)[0])


def _draw_arm(axes: Axes, arm: ArmRecord, color: str) -> None:
    trials = arm.not_diverged
    if not trials:
        return
    epochs = trials[0].metrics["epoch"]
    train, test = (
        np.mean([trial.metrics[name] for trial in trials], axis=0)
        for name in ("train_error", "test_error")
    )
    tested = ~np.isnan(test)
    axes.plot(epochs, train, color=color, lw=1.4)
    axes.plot(epochs[tested], test[tested], color=color, lw=1.4, ls="--", marker="o", ms=3)
