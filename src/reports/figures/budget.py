"""Figures of a study whose trials all train equally long.

final_errors   bars: training and test error at the end of each arm
overfitting    training and test error against epochs
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.analysis.comparison import ArmRecord, Group
from src.analysis.paired import MEASURES
from src.analysis.study import Study
from src.reports import budget
from src.reports.figures import canvas
from src.reports.figures.canvas import DARK, GREY, key, look

BARS = ("training error", "test error")
WIDTH = 0.36  # of a bar, where arms are 1 apart


def final_errors(study: Study, groups: Sequence[Group], caption: str) -> Figure:
    """Bars of the final errors, a dot per seed, the interval of the test errors' difference."""
    count = budget.comparisons(groups)
    colors = (GREY, look(0)[0])
    handles = [key(name, color=c, lw=6) for name, c in zip(BARS, colors, strict=True)]
    handles.append(key("seed", color=DARK, marker="o", ls="", ms=3))
    handles.append(key("95% interval of the difference from the baseline", color=DARK, lw=1.2))
    figure, panels = canvas.make_panels(
        [group.label for group in groups],
        title=f"Errors after {study.config.trial.max_epochs:g} epochs",
        ylabel="error",
        caption=f"{caption}; paired by seed, for {count} comparisons at once",
        handles=handles,
    )
    highest = 0.0
    for axes, group in zip(panels, groups, strict=True):
        for at, arm in enumerate(group.arms):
            for name, color, side in zip(BARS, colors, (-0.5, 0.5), strict=True):
                heights = [MEASURES[name](trial) for trial in arm.fresh]
                highest = max([highest, *heights])
                _draw_bar(axes, at + side * WIDTH, heights, color)
            _draw_interval(axes, at + WIDTH / 2, group, arm, count)
        names = [arm.value.replace("_", " ") for arm in group.arms]
        axes.set_xticks(range(len(names)), names, rotation=20 if len(names) > 4 else 0)
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[0].set_ylim(0, 1.15 * highest or 1)
    return figure


def _draw_bar(axes: Axes, at: float, heights: Sequence[float], color: str) -> None:
    if heights:
        axes.bar(at, np.mean(heights), WIDTH, color=color)
        axes.plot([at] * len(heights), heights, "o", color=DARK, ms=3, zorder=3)


def _draw_interval(axes: Axes, at: float, group: Group, arm: ArmRecord, count: int) -> None:
    found = group.difference(arm, "test error", comparisons=count)
    if arm is group.baseline or group.baseline is None or math.isnan(found.low):
        return
    level = float(np.mean([MEASURES["test error"](trial) for trial in group.baseline.fresh]))
    ends = [level + found.low, level + found.high]  # one beyond the panel runs out of it
    axes.plot([at, at], ends, color=DARK, lw=1.2, marker="_", ms=6, zorder=4)


def overfitting(study: Study, groups: Sequence[Group], caption: str) -> Figure:
    """Mean training error (line) and test error (dashes, where tested) of each arm by epoch."""
    handles = [
        key("training error", color=DARK),
        key("test error", color=DARK, ls="--", marker="o"),
    ]
    figure, panels = canvas.make_panels(
        [group.label for group in groups],
        title="Training and test error by epoch",
        ylabel="error, mean of the seeds",
        caption=caption,
        handles=handles,
        sharex="all",
    )
    for axes, group in zip(panels, groups, strict=True):
        for index, arm in enumerate(group.arms):
            _draw_arm(axes, arm, look(index)[0])
        arms = [key(arm.value, color=look(i)[0]) for i, arm in enumerate(group.arms)]
        axes.legend(handles=arms, loc="upper right", fontsize=8 if len(arms) <= 4 else 6.5)
        axes.set(xlabel="epochs")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def _draw_arm(axes: Axes, arm: ArmRecord, color: str) -> None:
    if not arm.fresh:
        return
    points = min(len(trial.metrics["epoch"]) for trial in arm.fresh)  # fewer where one diverged
    epochs = arm.fresh[0].metrics["epoch"][:points]
    train, test = (
        np.mean([trial.metrics[name][:points] for trial in arm.fresh], axis=0)
        for name in ("train_error", "test_error")
    )
    tested = ~np.isnan(test)
    axes.plot(epochs, train, color=color, lw=1.4)
    axes.plot(epochs[tested], test[tested], color=color, lw=1.4, ls="--", marker="o", ms=3)
