"""AlexNet drawn as in Fig. 2 of its paper, from the table of its layers."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from src.models.summary import Layer
from src.reports.figures.canvas import DARK, GREY

FRONT, TOP, SIDE = "#dbe7f3", "#eef4fa", "#b9cfe4"
SLANT = (0.30, 0.22)  # Of a box's depth to the right and up, as shares of its height.
GAP = 0.75  # Between boxes.


class Box(NamedTuple):
    """One tower's share of a layer with weights, or the image.

    Attributes:
        name: Name of the layer.
        side: Height and width of its maps in pixels; 0 if it is fully connected.
        features: Number of features of one tower.
        kernel: Height and width of its kernel; 0 if it has none.
        sees_all: Whether it reads both towers.
        pooled: Side of its maps behind the pool that follows; 0 without a pool.
    """

    name: str
    side: int
    features: int
    kernel: int
    sees_all: bool
    pooled: int


def make_boxes(layers: Sequence[Layer], image_size: int, towers: int) -> list[Box]:
    """The boxes from left to right, the image first.

    The number of a kernel's weights tells what it sees: it is size^2 times the features before it,
    in its own tower or in all.
    """
    boxes = [Box("image", image_size, 3, 0, True, 0)]
    before = 3  # Number of features, in all towers, that the next kernel could read.
    for layer in layers:
        if layer.kind == "MaxPool":
            boxes[-1] = boxes[-1]._replace(pooled=layer.output[0])
        if not layer.parameters:
            continue
        features, dense = layer.output[-1], layer.kind == "Dense"
        last = layer is layers[-1]
        weights = layer.parameters // features - 1  # Without the bias.
        kernel = 0 if dense else _root(weights, before)
        sees_all = dense or bool(kernel)
        if not sees_all:
            kernel = _root(weights, before // towers)
        share = features if last else features // towers
        boxes.append(Box(layer.name, 0 if dense else layer.output[0], share, kernel, sees_all, 0))
        before = features
    return boxes


def _root(weights: int, features: int) -> int:
    """Side of a kernel that reads so many features; 0 if there is none."""
    root = math.isqrt(weights // features)
    return root if root**2 * features == weights else 0


def draw(title: str, boxes: Sequence[Box], towers: int) -> Figure:
    """Draws a row of boxes for each tower, and lines between towers if a layer reads both."""
    image = boxes[0].side
    sizes = [_size(box, image) for box in boxes]
    lefts = [sum((w + GAP for w, _ in sizes[:number]), 0.0) for number in range(len(boxes))]
    width, height = lefts[-1] + sizes[-1][0] + 0.9, 2.6 * towers + 0.3
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(0, height))
    axes.axis("off")
    axes.text(-0.35, height - 0.15, title, va="top", fontsize=11, fontweight="bold")
    rows = [[1.45 + 2.6 * tower for tower in range(towers)] for _ in boxes]
    for number in (0, -1):  # The image and the classes belong to both towers.
        rows[number] = [sum(rows[number]) / towers]
    for number, box in enumerate(boxes):
        for row in rows[number]:
            _draw_box(axes, box, lefts[number], row, sizes[number])
        if number:
            start = lefts[number - 1] + sizes[number - 1][0]
            _connect(axes, box, (start, lefts[number]), rows[number - 1], rows[number])
    return figure


def _size(box: Box, image: int) -> tuple[float, float]:
    """Width and height of a box in the figure: by its features, and by its pixels."""
    if not box.side:
        return 0.22, 0.5 + box.features / 2048
    return 0.1 + box.features / 400, 1.5 * math.sqrt(box.side / image)


def _draw_box(axes: Axes, box: Box, left: float, row: float, size: tuple[float, float]) -> None:
    width, height = size
    low, high, right = row - height / 2, row + height / 2, left + width
    over, up = SLANT[0] * height * bool(box.side), SLANT[1] * height * bool(box.side)
    top = [(left, high), (right, high), (right + over, high + up), (left + over, high + up)]
    side = [(right, low), (right, high), (right + over, high + up), (right + over, low + up)]
    front = [(left, low), (right, low), (right, high), (left, high)]
    for face, color in ((top, TOP), (side, SIDE), (front, FRONT)):
        axes.add_patch(Polygon(face, facecolor=color, edgecolor=DARK, lw=0.7, zorder=2))
    shown = f"{box.side} x {box.side} x {box.features}" if box.side else f"{box.features:,}"
    middle = left + width / 2
    axes.text(middle, low - 0.06, f"{box.name}\n{shown}", ha="center", va="top", fontsize=7.5)
    if box.pooled:
        words = f"pool: {box.pooled} x {box.pooled}"
        axes.text(middle, low - 0.36, words, ha="center", va="top", fontsize=6.5, color="#777777")


def _connect(
    axes: Axes, box: Box, span: tuple[float, float], before: list[float], here: list[float]
) -> None:
    for row in here:
        for other in before if box.sees_all else [row]:
            axes.plot(span, (other, row), color=GREY, lw=1, zorder=1)
        if box.kernel:
            label = f"{box.kernel} x {box.kernel}"
            axes.text(span[1] - 0.06, row + 0.05, label, ha="right", fontsize=6.5, color=DARK)
