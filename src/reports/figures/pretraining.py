"""Figures of what pre-training learns and how it helps, from records of stacks and trials."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from src.analysis.intervals import Interval
from src.reports.figures import canvas
from src.reports.figures.canvas import DARK, MARGIN, legend_entry, line_style
from src.reports.figures.trained import as_colours, grid_of, place_axes, show_image

PANEL, PICTURE = 2.1, 0.62  # Inches: width of a panel of kernels, side of a picture.


def kernels(found: Mapping[str, Float[np.ndarray, "h w channels kernels"]], caption: str) -> Figure:
    """First-layer kernels side by side: random, pre-trained, fine-tuned, trained from random.

    Each kernel is scaled by its own largest weight, so that small ones can be seen too.
    """
    columns = 8
    rows = -(-next(iter(found.values())).shape[-1] // columns)
    tall = PANEL * rows / columns
    width = MARGIN + (PANEL + MARGIN) * len(found)
    figure = Figure(figsize=(width, 0.75 + tall + 0.14 * len(caption.splitlines())))
    canvas.write_around(figure, "First-layer kernels", caption)
    for number, (title, each) in enumerate(found.items()):
        left = MARGIN + (PANEL + MARGIN) * number
        height = figure.get_size_inches()[1]
        figure.text(left / width, 1 - 0.38 / height, title, va="top")
        show_image(place_axes(figure, left, 0.58, PANEL, tall), grid_of(as_colours(each), columns))
    return figure


def difference_by_labels(
    found: Mapping[str, Mapping[int, Interval]], *, baseline: str, caption: str
) -> Figure:
    """Difference of test error from the baseline, in points, against the number of labels.

    Args:
        found: Arm -> number of labels -> difference, a fraction; below 0 the arm is better.
        baseline: Name of the baseline.
        caption: Small text below the figure.
    """
    marks = [line_style(number) for number in range(len(found))]
    handles = [
        legend_entry(name.replace("_", " "), color=color, ls=dashes, marker="o", ms=4)
        for name, (color, dashes) in zip(found, marks, strict=True)
    ]
    figure, [axes] = canvas.make_panels(
        ["interval: 95%; below 0 it helps"],
        title="What pre-training changes, by the number of labels",
        ylabel=f"test error beside {baseline}, points",
        caption=caption,
        handles=handles,
    )
    axes.axhline(0, color=DARK, lw=0.8, ls=":", zorder=1)
    for number, (each, (color, dashes)) in enumerate(zip(found.values(), marks, strict=True)):
        labels = np.array(list(each)) * 1.04 ** (number - (len(found) - 1) / 2)  # side by side
        value, low, high = (
            np.array([getattr(interval, end) for interval in each.values()])
            for end in ("value", "low", "high")
        )
        axes.plot(labels, value, color=color, ls=dashes, marker="o", ms=4)
        axes.vlines(labels, low, high, color=color, lw=1.2)
    axes.set(xscale="log", xlabel="images with a label")
    axes.set_xticks(
        *zip(*((n, f"{n:,}") for n in sorted({n for each in found.values() for n in each})),
             strict=True)
    )  # fmt: skip
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{round(100 * y, 2):+g}"))
    return figure


def reconstructions(
    images: UInt8[np.ndarray, "N H W C"],
    by_layer: Mapping[str, UInt8[np.ndarray, "N H W C"]],
    caption: str,
) -> Figure:
    """Images, and below them their reconstructions from each layer.

    The numbers in brackets are correlations of all pixels with those of the images.
    """
    rows = {"image": images}
    for name, each in by_layer.items():
        alike = np.corrcoef(images.ravel(), each.ravel())[0, 1]
        rows[f"{name} ({alike:.2f})"] = each
    left, step = 1.05, PICTURE + 0.06
    width = left + step * len(images) + MARGIN
    height = 0.5 + step * len(rows) + 0.14 * len(caption.splitlines()) + 0.1
    figure = Figure(figsize=(width, height))
    canvas.write_around(figure, "Images as the layers of a stack give them back", caption)
    for row, (title, pictures) in enumerate(rows.items()):
        top = 0.42 + step * row
        figure.text(MARGIN / width, 1 - (top + PICTURE / 2) / height, title, va="center")
        for column, picture in enumerate(pictures):
            show_image(place_axes(figure, left + step * column, top, PICTURE, PICTURE), picture)
    return figure
