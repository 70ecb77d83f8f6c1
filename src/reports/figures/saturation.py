"""The figure of the first layer's saturation during training, if a study measured its layers."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src import wording
from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord
from src.records.trial import TrialRecord
from src.reports.figures import canvas, scales
from src.reports.figures.canvas import legend_entry, line_style
from src.reports.figures.caption import caption, seeds

SUFFIX = "_saturated"


def first_layer(analysis: Analysis) -> str:
    """The name of the first layer whose saturation was recorded; empty if none was."""
    trials = [trial for group in analysis.groups for arm in group.arms for trial in arm.fresh]
    columns = (name for trial in trials for name in trial.metrics if name.endswith(SUFFIX))
    return next(columns, "").removesuffix(SUFFIX)


def measures_layers(analysis: Analysis) -> bool:
    """Whether the study has what this figure shows."""
    return bool(first_layer(analysis))


def saturation(analysis: Analysis) -> Figure:
    """Draws every fresh seed, with a panel per group; it is read beside the training error."""
    layer = first_layer(analysis)
    gone = sum(len(arm.fresh) - len(arm.not_diverged) for g in analysis.groups for arm in g.arms)
    ended = f", {wording.counted(gone, 'trial')} diverged" if gone else ""
    note = (
        f"lines: {seeds(analysis)}{ended}; saturated: the activation's derivative is below 0.19 of"
        " its largest\n|tanh| above 0.9; for ReLU below zero; of the layer's outputs before pooling"
    )
    arms = max((group.arms for group in analysis.groups), key=len)
    handles = [
        legend_entry(arm.value, color=line_style(i)[0], ls=line_style(i)[1], lw=1.4)
        for i, arm in enumerate(arms)
    ]
    figure, panels = canvas.make_panels(
        [group.label for group in analysis.groups],
        title=f"Saturated units of {layer} by epoch",
        ylabel=f"share of {layer}'s units",
        caption=caption(analysis, note),
        handles=handles,
        sharex="all",
    )
    for axes, group in zip(panels, analysis.groups, strict=False):
        for i, arm in enumerate(group.arms):
            _draw_arm(axes, arm, i, layer + SUFFIX)
        axes.set(xlabel="epochs", ylim=(-0.02, 1.02))
        scales.set_percents(axes.yaxis)
    return figure


def _draw_arm(axes: Axes, arm: ArmRecord, index: int, column: str) -> None:
    color, dash = line_style(index)
    for trial in arm.fresh:
        axes.plot(*measured(trial, column), color=color, ls=dash, lw=1.1, alpha=0.8)


def measured(trial: TrialRecord, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs [P] and shares [P] of the points at which the layer was measured."""
    values = trial.metrics.get(column, np.full(len(trial.metrics["epoch"]), np.nan))
    there = ~np.isnan(values)
    return trial.metrics["epoch"][there], values[there]
