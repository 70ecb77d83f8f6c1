"""Training and test error at the end of trials that all train equally long."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord
from src.analysis.measures import MEASURES
from src.reports.figures import canvas, scales
from src.reports.figures.canvas import DARK, GREY, broken, legend_entry, line_style
from src.reports.figures.caption import caption, diverged, seeds

BARS = ("train_error", "test_error")
WIDTH = 0.36  # Width of a bar; arms are 1 apart.


def final_errors(analysis: Analysis) -> Figure:
    """Draws bars of the means, and a dot per seed."""
    colors = (GREY, line_style(0)[0])
    words = ("training error", "test error")
    handles = [legend_entry(w, color=c, lw=6) for w, c in zip(words, colors, strict=True)]
    handles.append(legend_entry("seed", color=DARK, marker="o", ls="", ms=3))
    figure, panels = canvas.make_panels(
        [group.label for group in analysis.groups],
        title=f"Errors {trained(analysis)}",
        ylabel="error",
        caption=caption(analysis, f"bars: means, {seeds(analysis)}{_without(analysis)}"),
        handles=handles,
    )
    highest = 0.0
    for axes, group in zip(panels, analysis.groups, strict=False):
        for at, arm in enumerate(group.arms):
            for name, color, side in zip(BARS, colors, (-0.5, 0.5), strict=True):
                heights = _heights(arm, name)
                highest = max([highest, *heights[~np.isnan(heights)]])
                _draw_bar(axes, at + side * WIDTH, heights, color)
        room = max(0.8, axes.get_position().width * figure.get_figwidth() / len(group.arms))
        names = [broken(_name(arm), room) for arm in group.arms]
        axes.set_xticks(range(len(names)), names, rotation=20 if len(names) > 4 else 0)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.grid(axis="x", visible=False)
        scales.set_percents(axes.yaxis)
    panels[0].set_ylim(0, 1.15 * highest or 1)
    return figure


def trained(analysis: Analysis) -> str:
    """The recorded length of training, such as `after 12 epochs`."""
    last = [
        t.metrics["epoch"][-1]
        for g in analysis.groups
        for a in g.arms
        for t in a.fresh
        if t.metrics["epoch"].size and t.row["status"] != "diverged"
    ]
    if not last:
        return "at the end"
    shortest, longest = f"{min(last):.3g}", f"{max(last):.3g}"
    return (
        f"after {shortest} epochs"
        if shortest == longest
        else f"after {shortest} to {longest} epochs"
    )


def _name(arm: ArmRecord) -> str:
    return f"{arm.value.replace('_', ' ')}\n{diverged(arm)}".strip()


def _without(analysis: Analysis) -> str:
    """Says why arms have no bar; "" if all have."""
    arms = [arm for group in analysis.groups for arm in group.arms]
    unknown = any(np.isnan(_heights(arm, name)).any() for arm in arms for name in BARS)
    return "; no bar where a seed has no number" if unknown else ""


def _heights(arm: ArmRecord, name: str) -> Float[np.ndarray, " seeds"]:
    """[N] errors of the fresh seeds; nan where there is none, as where it diverged."""
    return MEASURES[name].sample(arm.fresh, 0.0).low


def _draw_bar(axes: Axes, at: float, heights: Float[np.ndarray, " seeds"], color: str) -> None:
    if heights.size and not np.isnan(heights).any():  # A mean of the rest would flatter the arm.
        axes.bar(at, np.mean(heights), WIDTH, color=color)
    axes.plot([at] * heights.size, heights, "o", color=DARK, ms=3, zorder=3)
