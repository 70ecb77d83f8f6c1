"""Common to all figures: style, panels, caption, and files with the same bytes every time."""

import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from src.records.files import write_atomic
from src.reports.figures import glyphs

COLORS = ("#0b5394", "#c8441b", "#1b7f5c", "#7a3e9d", "#b07d00", "#3d9bd1", "#8c564b", "#d45087")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (6, 1.5, 1.2, 1.5)), (0, (1.2, 1.2)))
MARGIN = 0.12  # Inches, left of titles and captions.
TALL, LINE = 2.6, 0.155  # Inches: heights of a panel and of a line of text.
LETTER, SMALL, BOLD = 0.066, 0.054, 0.095  # Inches: a letter of labels, captions and titles.
BETWEEN = 0.078  # Space between panels, as a share of their width.
FLUSH: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0}
MOST_PANELS = 24  # Further groups are in the tables alone.
GREY, DARK = "#b3b3b3", "#444444"
Share = Literal["none", "all", "row", "col"]
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "figures",
    "font.family": glyphs.FONT,
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.edgecolor": DARK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ebebeb",
    "grid.linewidth": 0.6,
    "xtick.color": DARK,
    "ytick.color": DARK,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fontsize": 8,
    "savefig.dpi": 200,
    "text.parse_math": False,  # Names of arms may hold dollar signs.
}


@contextmanager
def style() -> Iterator[None]:
    """Draws in the same style whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def save(figure: Figure, path: Path) -> None:
    """Writes `path`.svg, whose comment says what it is, then `path`.png, without dates."""
    glyphs.complete(figure)
    drawn = {"png": io.BytesIO(), "svg": io.BytesIO()}
    figure.savefig(drawn["png"], format="png", metadata={"Software": None})
    figure.savefig(drawn["svg"], format="svg", metadata={"Date": None, "Creator": None})
    for suffix in ("svg", "png"):
        write_atomic(path.with_name(f"{path.name}.{suffix}"), drawn[suffix].getvalue())


def make_panels(
    titles: Sequence[str],
    *,
    title: str,
    ylabel: str,
    caption: str,
    handles: Sequence[Line2D] = (),
    legends: Sequence[Sequence[Line2D]] = (),
    sharex: Share = "none",
    sharey: Share = "all",
) -> tuple[Figure, list[Axes]]:
    """Makes a figure with a panel for each of the first `MOST_PANELS` titles.

    Args:
        titles: Titles of the panels.
        title: Title of the figure.
        ylabel: Label of the left panels' y-axes.
        caption: Small text below the figure.
        handles: Entries of a legend for all panels, below them.
        legends: Entries of a legend for each panel, below it, where they cover nothing.
        sharex: Which panels share an x-axis, as in Matplotlib.
        sharey: Which panels share a y-axis.
    """
    if len(titles) > MOST_PANELS:
        caption += f"\nthe first {MOST_PANELS} of {len(titles)} groups"
        titles = titles[:MOST_PANELS]
    columns = 2 if len(titles) % 2 == 0 else min(3, len(titles))
    rows = max(1, math.ceil(len(titles) / columns))
    ylabel = broken(ylabel, TALL)
    left = 0.72 + LINE * ylabel.count("\n")
    width = left + max(4.48, 3.4 * columns + 0.08)
    inside = (width - left - MARGIN) / (columns + BETWEEN * (columns - 1))
    titles = [broken(each, inside, 1.06 * LETTER) for each in titles]
    title = broken(title, width - 2 * MARGIN, BOLD)
    caption = broken(caption, width - 2 * MARGIN, SMALL)
    legend_columns, tall = _fit(handles, width)
    fitted = [_fit(each, inside) for each in legends]
    over = LINE * max((each.count("\n") for each in titles), default=0)
    under = max((height for _, height in fitted), default=0.0)
    top, gap = 0.58 + 0.19 * title.count("\n") + over, 0.75 + over + under
    below = 0.62 + under + tall + 0.14 * len(caption.splitlines())
    height = top + TALL * rows + gap * (rows - 1) + below
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    figure.subplots_adjust(
        left=left / width,
        right=1 - MARGIN / width,
        bottom=below / height,
        top=1 - top / height,
        wspace=BETWEEN,
        hspace=gap / TALL,
    )
    panels: list[Axes] = grid.ravel().tolist()
    for axes in panels[len(titles) :]:
        axes.remove()
    for number, (axes, text) in enumerate(zip(panels, titles, strict=False)):
        axes.set_title(text, loc="left")
        axes.tick_params(labelbottom=True)
        if number % columns == 0:
            axes.set_ylabel(ylabel)
    for axes, entries, (count, _) in zip(panels, legends, fitted, strict=False):
        place = (0, -0.46 / TALL)
        axes.legend(handles=entries, loc="upper left", bbox_to_anchor=place, ncols=count, **FLUSH)
    write_around(figure, title, caption, handles, legend_columns)
    return figure, panels[: len(titles)]


def broken(text: str, width: float, letter: float = LETTER) -> str:
    """The text as it is drawn, in lines of at most so many inches."""
    return "\n".join(
        textwrap.fill(glyphs.drawn(line), int(width / letter), break_on_hyphens=False)
        for line in text.splitlines()
    )


def _fit(handles: Sequence[Line2D], width: float) -> tuple[int, float]:
    """Breaks the labels of a legend to a width; the legend's columns, and its height in inches."""
    for handle in handles:
        handle.set_label(broken(str(handle.get_label()), width - 0.62))
    lines = [str(handle.get_label()).splitlines() for handle in handles]
    longest = max((len(line) for each in lines for line in each), default=0)
    columns = max(1, int(width / (0.62 + 0.065 * longest)))
    further = sum(len(each) - 1 for each in lines if each)
    return columns, 0.2 * math.ceil(len(handles) / columns) + LINE * further


def write_around(
    figure: Figure,
    title: str,
    caption: str,
    handles: Sequence[Line2D] = (),
    legend_columns: int = 1,
) -> None:
    """Writes the title above the panels, and legend and caption below them."""
    width, height = figure.get_size_inches()
    left = MARGIN / width
    figure.text(left, 1 - 0.1 / height, title, va="top", fontsize=11, fontweight="bold")
    figure.text(left, 0.08 / height, caption, va="bottom", fontsize=7, color="#555555")
    if handles:
        figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(left, (0.12 + 0.14 * len(caption.splitlines())) / height),
            ncols=legend_columns,
            **FLUSH,
        )


def line_style(index: int) -> tuple[str, Any]:
    """Colour and dashes of the arm or line of that number; the first is blue and solid.

    Where all colours are used up they come again with other dashes.
    """
    return COLORS[index % len(COLORS)], DASHES[(index + index // len(COLORS)) % len(DASHES)]


def legend_entry(label: str, **properties: Any) -> Line2D:
    """An entry of a legend, drawn as a line with these properties."""
    return Line2D([], [], label=label, **properties)
