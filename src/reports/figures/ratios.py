"""The figure of iteration ratios against training error, in both readings, beside the paper's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from src import wording
from src.analysis import paper
from src.analysis.effects import Analysis
from src.analysis.intervals import Interval
from src.analysis.measures import Measure
from src.reports.figures import canvas, scales
from src.reports.figures.canvas import DARK, GREY, legend_entry, line_style
from src.reports.figures.caption import caption, seeds
from src.reports.tables import READINGS

ByError = Mapping[float, Interval]
OPEN = (1e-9, 1e9)  # Open ends of an interval are drawn here, outside the panel.


class Line(NamedTuple):
    """The ratios of one arm in one group."""

    group: str
    value: str
    found: ByError


def ratios(analysis: Analysis) -> Figure:
    """Draws a panel per reading and, if several arms are compared, per group."""
    study = analysis.study.config.study
    thresholds, baseline = sorted(study.thresholds, reverse=True), study.compare.baseline
    lines = {m.name: _lines(analysis, m, thresholds) for m in analysis.readings}
    every = [line for each in lines.values() for line in each]
    single = len({line.value for line in every}) == 1  # Then a line is a group, else an arm.
    names = list(dict.fromkeys(line.group if single else line.value for line in every))
    styles = {name: line_style(i if single else i + 1) for i, name in enumerate(names)}
    theirs = paper.ratios_beside(analysis.study, thresholds)
    whole = [""] if single else [group.label for group in analysis.groups]
    places = [(measure, label) for label in whole for measure in lines]
    known = {line.group if single else line.value for line in every if _is_known(line)}
    labels = {name: name if name in known else f"{name}: not known" for name in names}
    start = f"{every[0].value} / {baseline}" if single else ""
    handles = [
        legend_entry(labels[name], color=color, ls=dash, marker="o", ms=4, lw=1.5)
        for name, (color, dash) in styles.items()
    ]
    if theirs:
        handles.append(legend_entry("paper, tanh / relu", color=GREY, marker="o", ms=4, lw=2.2))
    note = (
        f"bars: 95% interval of the ratio of geometric means, {seeds(analysis)}"
        "\nopen triangle: one of the two did not get there, the ratio lies beyond"
    )
    figure, panels = canvas.make_panels(
        [f"{label or start}, {READINGS[measure]}" for measure, label in places],
        title=f"Iterations to a training error, relative to {baseline}",
        ylabel="ratio of iterations",
        caption=caption(analysis, note),
        handles=handles,
    )
    limits = _limits([r for line in (*every, Line("", "", theirs)) for r in line.found.values()])
    for axes, (measure, label) in zip(panels, places, strict=False):
        if measure == "iterations_as_in_figure":
            _draw(axes, theirs, (GREY, "-"), lw=2.2)
        shown = [line for line in lines[measure] if single or line.group == label]
        for i, line in enumerate(shown):
            shift = min(0.004, 0.018 / len(shown)) * ((len(shown) - 1) / 2 - i)
            _draw(axes, line.found, styles[line.group if single else line.value], shift=shift)
        axes.axhline(1, color=DARK, lw=0.8, ls=":", zorder=1)
        _scale(axes, thresholds, limits)
    return figure


def _lines(analysis: Analysis, measure: Measure, thresholds: Sequence[float]) -> list[Line]:
    """A line per comparison that has anything to show."""
    by_error = [analysis.effects(measure, error) for error in thresholds]
    return [
        Line(
            effects[0].group.label,
            effects[0].arm.value,
            {error: e.interval for error, e in zip(thresholds, effects, strict=True)},
        )
        for effects in zip(*by_error, strict=True)
    ]


def _is_known(line: Line) -> bool:
    return any(ratio.exists or math.isfinite(ratio.bound) for ratio in line.found.values())


def _draw(
    axes: Axes, found: ByError, style: tuple[str, Any], *, shift: float = 0.0, lw: float = 1.5
) -> None:
    color, dash = style
    exact = {at + shift: r.value for at, r in found.items() if 0 < r.value < math.inf}
    if exact:
        axes.plot(list(exact), list(exact.values()), color=color, ls=dash, lw=lw)
    for at, r in found.items():
        marker = {math.inf: "^", 0: "v"}.get(r.value, "o")
        face = color if marker == "o" else "w"
        axes.plot(at + shift, r.bound, marker, mec=color, mfc=face, ms=5, zorder=3)
        if r.exists:
            ends = [max(r.low, OPEN[0]), min(r.high, OPEN[1])]
            axes.plot([at + shift] * 2, ends, color=color, lw=2.5, alpha=0.35)


def _limits(shown: Sequence[Interval]) -> scales.Limits:
    return scales.ratio_limits(
        [1.0, *(r.bound for r in shown)], [x for r in shown for x in (r.low, r.high)]
    )


def _scale(axes: Axes, thresholds: Sequence[float], limits: scales.Limits) -> None:
    axes.set(yscale="log", ylim=limits, xlabel="training error")
    ticks = scales.ratio_ticks(limits, canvas.TALL, lambda _: canvas.LINE, scales.MANY)
    scales.set_ratio_ticks(axes.yaxis, ticks)
    axes.set_xlim(max(thresholds) + 0.015, min(thresholds) - 0.015)
    axes.xaxis.set_major_locator(FixedLocator(list(thresholds)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda error, _: wording.target(error)))
