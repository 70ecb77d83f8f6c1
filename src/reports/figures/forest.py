"""Forest plots: a point and its interval on each line, its label before or above, words beside."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from src.analysis.intervals import Interval
from src.reports.figures import canvas, scales
from src.reports.figures.canvas import DARK, LETTER, LINE, MARGIN, SMALL, broken
from src.reports.figures.glyphs import drawn

WIDTH = 3.65  # inches: what a phone shows without scrolling
PLOT = 1.2  # inches, the least width of the plot itself
BAR, GAP = 0.2, 0.07  # inches: height of a bar, space below


class Bar(NamedTuple):
    """One line of a forest plot.

    Attributes:
        label: To the left of it; above it where one of the figure has no room there.
        found: What is drawn.
        words: To the right of it.
        color: Colour of its marks.
        shape: Marker of its point; empty: a circle, or an arrow if the value is not bounded.
        claimed: The value that others claim; nan if they name none.
    """

    label: str
    found: Interval
    words: str
    color: str
    shape: str = ""
    claimed: float = math.nan


def forest(
    parts: Sequence[tuple[str, Sequence[Bar]]],
    *,
    caption: str,
    handles: Sequence[Line2D] = (),
) -> Figure:
    """Plots below one another, each with its own scale, as wide as a phone.

    Args:
        parts: The label of an axis and its lines, which are all ratios or all differences.
        caption: Small, below it.
        handles: Entries of a legend above the caption.
    """
    parts = [(axis, [b._replace(label=drawn(b.label)) for b in each]) for axis, each in parts]
    bars = [bar for _, each in parts for bar in each]
    right = 0.1 + SMALL * max((len(bar.words) for bar in bars), default=0)
    left = 0.2 + LETTER * max((len(bar.label) for bar in bars), default=0)
    above = left + PLOT + right > WIDTH
    left = MARGIN if above else left
    plot = max(PLOT, WIDTH - left - right)
    width = max(WIDTH, left + plot + right)
    caption = broken(caption, width - 2 * MARGIN, SMALL)
    columns = max(1, int(width / 1.4))
    below = 0.2 + 0.14 * len(caption.splitlines()) + 0.2 * math.ceil(len(handles) / columns)
    rows = [[_row(bar, width, above=above) for bar in each] for _, each in parts]
    heights = [sum(_height(bar, above=above) for bar in each) for each in rows]
    labels = [broken(label, width - 2 * MARGIN) for label, _ in parts]
    axis = [0.38 + LINE * len(label.splitlines()) for label in labels]
    height = 0.1 + sum(heights) + sum(axis) + below
    figure = Figure(figsize=(width, height))
    canvas.write_around(figure, "", caption, handles, columns)
    top = height - 0.1
    for each, tall, label, under in zip(rows, heights, labels, axis, strict=True):
        place = (left / width, (top - tall) / height, plot / width, tall / height)
        _plot(figure.add_axes(place), each, plot, above=above)
        figure.text(MARGIN / width, (top - tall - 0.28) / height, label, va="top")
        top -= tall + under
    return figure


def _row(bar: Bar, width: float, *, above: bool) -> Bar:
    return bar._replace(label=broken(bar.label, width - 2 * MARGIN)) if above else bar


def _height(bar: Bar, *, above: bool) -> float:
    """Inches of a line of the plot, with its label where that stands above it."""
    return BAR + GAP + (LINE * len(bar.label.splitlines()) if above else 0)


def _plot(axes: Axes, bars: Sequence[Bar], width: float, *, above: bool) -> None:
    _scale(axes, bars, width)
    places, end = [], 0.0  # inches from the top
    for bar in bars:
        tall = _height(bar, above=above)
        places.append(end + tall - (GAP + BAR / 2 if above else tall / 2))
        _draw(axes, places[-1], bar)
        if above:
            axes.annotate(
                bar.label,
                (0, end),
                xycoords=("axes fraction", "data"),
                va="top",
                annotation_clip=False,
                bbox={"fc": "w", "ec": "none", "pad": 0.6},
            )
        end += tall
    axes.spines["left"].set_visible(not above)
    axes.set_ylim(max(end, BAR), 0)
    axes.set_yticks(places, ["" if above else bar.label for bar in bars])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _scale(axes: Axes, bars: Sequence[Bar], width: float) -> None:
    ratio = any(bar.found.kind == "ratio" for bar in bars)
    values = [x for bar in bars for x in (bar.found.bound, bar.claimed)]
    ends = [x for bar in bars for x in (bar.found.low, bar.found.high)]
    axes.axvline(1 if ratio else 0, color=DARK, lw=0.8, ls=":", zorder=1)
    if not ratio:
        widest = 1.1 * max([0.01, *(abs(x) for x in (*values, *ends) if math.isfinite(x))])
        axes.set(xlim=(-widest, widest))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _points(x)))
        return
    limits = scales.ratio_limits([0.8, 1.25, *values], ends)
    axes.set(xscale="log", xlim=limits)
    ticks = scales.ratio_ticks(limits, width, _room, scales.FEW)
    scales.set_ratio_ticks(axes.xaxis, ticks)


def _room(tick: str) -> float:
    """Inches that the label of a tick takes, with a little space."""
    return 0.05 + LETTER * len(tick)


def _points(difference: float) -> str:
    """Percentage points on an axis: `-2`, `0`, `+2`."""
    rounded = round(100 * difference, 2)
    return f"{rounded:+g}" if rounded else "0"


def _draw(axes: Axes, at: float, bar: Bar) -> None:
    found, (low, high) = bar.found, axes.get_xlim()
    if found.exists:
        ends = [max(found.low, low), min(found.high, high)]
        axes.plot(ends, [at, at], color=bar.color, lw=2.5, alpha=0.4, solid_capstyle="butt")
    value, marker = found.bound, "o"
    if found.kind == "ratio":
        marker = {math.inf: ">", 0.0: "<"}.get(found.value, "o")
    if math.isfinite(bar.claimed):
        axes.plot(bar.claimed, at, "|", color=DARK, ms=11, mew=1.6, zorder=2)
    if math.isfinite(value):
        face = bar.color if value == found.value else "w"
        axes.plot(value, at, bar.shape or marker, mec=bar.color, mfc=face, ms=5.5, zorder=3)
    color = DARK if found.exists else "#767676"  # The lightest readable grey.
    axes.annotate(
        bar.words,
        (1.02, at),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=7,
        color=color,
        annotation_clip=False,
    )
