"""Figs. 3 and 4 of the paper for a trained network: its kernels, predictions and neighbours."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.reports.figures.canvas import COLORS, DARK, GREY, MARGIN, write_around

ENLARGED = 8  # pixels of the figure per pixel of an image: viewers of SVG would blur it


def kernels(
    found: Mapping[str, Float[np.ndarray, "h w channels kernels"]], towers: int, caption: str
) -> Figure:
    """Fig. 3: the first layer's kernels, a panel per tower; other views of them follow below."""
    count = next(iter(found.values())).shape[-1] // towers
    columns = 8 if count <= 64 else 16
    side = 3.3 - MARGIN  # Side of a panel, inches.
    width, tall = 3.3 * towers + MARGIN, side * math.ceil(count / columns) / columns
    height = 0.5 + 0.14 * len(caption.splitlines()) + (tall + 0.4) * len(found)
    figure = Figure(figsize=(width, height))
    write_around(figure, "First-layer kernels", caption)
    for row, (title, each) in enumerate(found.items()):
        top, tiles = 0.42 + (tall + 0.4) * row, as_colours(each)
        for tower in range(towers):
            left = MARGIN + 3.3 * tower
            text = f"tower {tower + 1}, {title}" if towers > 1 else title
            figure.text(left / width, 1 - top / height, text, va="top")
            axes = place_axes(figure, left, top + 0.2, side, tall)
            show_image(axes, grid_of(tiles[tower * count :][:count], columns))
    return figure


def predictions(
    images: UInt8[np.ndarray, "N H W C"],
    labels: Int[np.ndarray, " N"],
    probabilities: Float[np.ndarray, "N classes"],
    names: Sequence[str],
    caption: str,
) -> Figure:
    """Fig. 4, left: images with their label and the five most likely ones."""
    columns = 4
    rows, most = math.ceil(len(images) / columns), min(5, probabilities.shape[1])
    width, cell = 7.0, 2.55
    height = 0.5 + cell * rows + 0.14 * len(caption.splitlines())
    figure = Figure(figsize=(width, height))
    write_around(figure, "Test images, and the five most likely classes", caption)
    step = (width - MARGIN) / columns
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        left, top = MARGIN + step * (i % columns), 0.4 + cell * (i // columns)
        size = step - MARGIN
        axes = place_axes(figure, left + size / 2 - 0.6, top, 1.2, 1.2)
        show_image(axes, image)
        axes.set_xlabel(names[label], fontsize=9, labelpad=2)
        best = np.argsort(-probabilities[i], kind="stable")[:most]
        bars = place_axes(figure, left, top + 1.42, size, 0.95)
        _bars(bars, probabilities[i], best, int(label), names)
    return figure


def neighbours(
    queries: UInt8[np.ndarray, "Q H W C"],
    query_labels: Int[np.ndarray, " Q"],
    found: UInt8[np.ndarray, "Q k H W C"],
    found_labels: Int[np.ndarray, "Q k"],
    names: Sequence[str],
    caption: str,
) -> Figure:
    """Fig. 4, right: test images on the left, beside each the training images nearest to it."""
    columns, cell = found.shape[1] + 1, 1.0
    width = MARGIN * 3 + cell * columns
    height = 0.62 + 0.14 * len(caption.splitlines()) + (cell + 0.14) * len(queries)
    figure = Figure(figsize=(width, height))
    write_around(figure, "Test images, and the training images nearest to them", caption)
    for row in range(len(queries)):
        images, labels = [queries[row], *found[row]], [query_labels[row], *found_labels[row]]
        for column, (image, label) in enumerate(zip(images, labels, strict=True)):
            left = MARGIN + cell * column + (MARGIN if column else 0)
            axes = place_axes(figure, left, 0.4 + (cell + 0.14) * row, cell - 0.06, cell - 0.06)
            show_image(axes, image)
            same = label == query_labels[row]
            axes.set_xlabel(
                names[label], fontsize=7, labelpad=1.5, color=DARK if same else COLORS[1]
            )
    return figure


def _bars(
    axes: Axes,
    probabilities: Float[np.ndarray, " classes"],
    best: Int[np.ndarray, " most"],
    label: int,
    names: Sequence[str],
) -> None:
    """Draws bars of the most likely classes; the true one is red, as in the paper."""
    places = range(len(best))
    colours = [COLORS[1] if c == label else COLORS[5] for c in best]
    axes.barh(places, probabilities[best], color=colours, alpha=0.65, height=0.86)
    for place, each in zip(places, best, strict=True):
        axes.text(0.02, place, names[each], va="center", fontsize=7.5)
    axes.set(xlim=(0, 1), ylim=(len(best) - 0.5, -0.5), xticks=[], yticks=[])
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)


def as_colours(found: Float[np.ndarray, "h w channels kernels"]) -> UInt8[np.ndarray, "K h w 3"]:
    """Each kernel as a picture: a weight of 0 is grey, its largest weight full or no colour."""
    largest = np.abs(found).max(axis=(0, 1, 2), keepdims=True)
    pictures = 127.5 * (1 + found / np.where(largest > 0, largest, 1)).transpose(3, 0, 1, 2)
    if pictures.shape[-1] == 1:
        pictures = pictures.repeat(3, axis=-1)
    return pictures.round().astype(np.uint8)


def grid_of(tiles: UInt8[np.ndarray, "K h w 3"], columns: int) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures in a grid, with white lines between them."""
    rows = math.ceil(len(tiles) / columns)
    large = tiles.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
    line = 4
    height, width = large.shape[1] + line, large.shape[2] + line
    sheet = np.full((rows * height - line, columns * width - line, 3), 255, np.uint8)
    for i, tile in enumerate(large):
        top, left = height * (i // columns), width * (i % columns)
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def show_image(axes: Axes, image: UInt8[np.ndarray, "H W C"]) -> None:
    """Draws an image with its pixels as squares; a grey image has one channel."""
    factor = max(1, 256 // image.shape[0]) if image.shape[0] < 128 else 1
    large = image.repeat(factor, axis=0).repeat(factor, axis=1)
    shown = large.repeat(3, axis=-1) if large.shape[-1] == 1 else large
    axes.imshow(shown, interpolation="none", aspect="equal")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def place_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Adds axes at a place given in inches from the upper left corner."""
    whole_width, whole_height = figure.get_size_inches()
    corner = (left / whole_width, 1 - (top + height) / whole_height)
    return figure.add_axes((*corner, width / whole_width, height / whole_height))
