"""Forest plots: a point and its interval on each line, its label before or above, words beside."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from src.analysis.intervals import Interval
from src.reports.figures import canvas
from src.reports.figures.canvas import DARK, MARGIN

ROW, TALL_ROW, PLOT = 0.26, 0.44, 3.6  # inches: height of a line, width of the plot itself
LETTER = 0.066  # inches, of a label
LONG = 32  # letters: where a label is longer, all stand above their bars


class Bar(NamedTuple):
    """One line of a forest plot.

    Attributes:
        label: To the left of it.
        found: What is drawn.
        words: To the right of it.
        color: Colour of its marks.
        shape: Marker of its point; empty: a circle, or an arrow where the value is not bounded.
        claimed: What others say the value is; nan where they name none.
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
    title: str,
    caption: str,
    handles: Sequence[Line2D] = (),
) -> Figure:
    """Plots below one another, each with its own scale.

    Args:
        parts: The label of an axis and its lines, which are all ratios or all differences.
        title: Title of the figure.
        caption: Small, below it.
        handles: Entries of a legend above the caption.
    """
    bars = [bar for _, each in parts for bar in each]
    longest = max((len(bar.label) for bar in bars), default=0)
    above = longest > LONG
    left = 0.3 if above else 0.3 + LETTER * longest
    right = 0.2 + LETTER * 0.9 * max((len(bar.words) for bar in bars), default=0)
    width = max(left + PLOT + right, 2 * MARGIN + 0.1 * len(title))
    width = max(width, left + LETTER * longest) if above else width
    heights = [(TALL_ROW if above else ROW) * (len(each) + 0.5) for _, each in parts]
    columns = max(1, int(width / 1.4))
    below = 0.2 + 0.14 * len(caption.splitlines()) + 0.2 * math.ceil(len(handles) / columns)
    height = 0.45 + sum(heights) + 0.55 * len(parts) + below
    figure = Figure(figsize=(width, height))
    canvas.write_around(figure, title, caption, handles, columns)
    top = height - 0.45
    for (xlabel, each), tall in zip(parts, heights, strict=True):
        place = (left / width, (top - tall) / height, PLOT / width, tall / height)
        _plot(figure.add_axes(place), each, xlabel, above=above)
        top -= tall + 0.55
    return figure


def _plot(axes: Axes, bars: Sequence[Bar], xlabel: str, *, above: bool) -> None:
    _scale(axes, bars, xlabel)
    for at, bar in enumerate(bars):
        _draw(axes, at, bar)
        if above:
            axes.annotate(
                bar.label,
                (0, at),
                (0, 8),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                annotation_clip=False,
                bbox={"fc": "w", "ec": "none", "pad": 0.6},
            )
    axes.spines["left"].set_visible(not above)
    axes.set_ylim(len(bars) - 0.4, -0.9 if above else -0.6)
    axes.set_yticks(range(len(bars)), ["" if above else bar.label for bar in bars])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _scale(axes: Axes, bars: Sequence[Bar], xlabel: str) -> None:
    ratio = any(bar.found.kind == "ratio" for bar in bars)
    numbers = [x for b in bars for x in (b.found.value, b.found.low, b.found.high, b.claimed)]
    finite = [x for x in numbers if math.isfinite(x) and (x > 0 or not ratio)]
    axes.axvline(1 if ratio else 0, color=DARK, lw=0.8, ls=":", zorder=1)
    if not ratio:
        widest = 1.1 * max((abs(x) for x in finite), default=0.01)
        axes.set(xlim=(-widest, widest), xlabel=f"{xlabel}, points")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(100 * x, 2):+g}"))
        return
    axes.set(xscale="log", xlabel=xlabel)
    axes.set_xlim(max(0.02, min([0.8, *finite]) / 1.15), min(50.0, max([1.25, *finite]) * 1.15))
    axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}x"))


def _draw(axes: Axes, at: int, bar: Bar) -> None:
    found, (low, high) = bar.found, axes.get_xlim()
    if found.exists:
        ends = [max(found.low, low), min(found.high, high)]
        axes.plot(ends, [at, at], color=bar.color, lw=2.5, alpha=0.4, solid_capstyle="butt")
    value, marker = found.value, "o"
    if found.kind == "ratio":
        value = {math.inf: found.bounds[0], 0.0: found.bounds[1]}.get(value, value)
        marker = {math.inf: ">", 0.0: "<"}.get(found.value, "o")
    if math.isfinite(bar.claimed):
        axes.plot(bar.claimed, at, "|", color=DARK, ms=11, mew=1.6, zorder=2)
    if math.isfinite(value):
        face = bar.color if value == found.value else "w"
        axes.plot(value, at, bar.shape or marker, mec=bar.color, mfc=face, ms=5.5, zorder=3)
    color = DARK if found.exists else "#767676"  # the lightest grey that is read on white
    axes.annotate(
        bar.words,
        (1.02, at),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=7.5,
        color=color,
        annotation_clip=False,
    )
