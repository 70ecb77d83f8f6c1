"""Prints networks as tables, layer by layer.

    python -m src.networks [NAME ...] [--draw DIR]

A table has, for one image, each layer's output shape, its parameters and multiply-adds, and the
height in pixels of the part of the image that an output sees, which is not known of a network of
one's own. Without a name, the totals of all networks are printed. --draw also draws an AlexNet as
in Fig. 2 of its paper.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from src import models, own
from src.errors import LabError
from src.models.alexnet import AlexNet
from src.models.registry import get_network
from src.models.summary import Layer, size_of, summarize
from src.paths import local_path_of
from src.records.files import make_folder, read_bytes
from src.reports.figures import canvas
from src.reports.figures import network as drawing

HEADER = ("layer", "kind", "output", "parameters", "multiply-adds", "sees")


def main(arguments: Sequence[str]) -> int:
    """Prints what the command line asks for.

    Raises:
        LabError: If it names an unknown network, or one that cannot be drawn.
    """
    parser = argparse.ArgumentParser(
        prog="python -m src.networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(models.MODEL_NAMES))
    parser.add_argument(
        "--draw", type=local_path_of("--draw"), metavar="DIR", help="where DIR/NAME.png and .svg go"
    )
    given = parser.parse_args(arguments)
    names = given.names
    try:
        for name in names if given.draw else ():
            _draw(name, given.draw)
        print("\n\n".join(map(describe, names)) if names else _totals())
    except ValueError as error:
        raise LabError(str(error)) from error
    return 0


def describe(name: str) -> str:
    """The table of one network, with its totals."""
    size, classes, layers = _layers(name)
    rows = [
        (
            layer.name,
            layer.kind,
            " x ".join(map(str, layer.output)),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
            "" if layer.receptive_field is None else f"{layer.receptive_field}",
        )
        for layer in layers
    ]
    total = ("total", "", "", *_sums(layers), "")
    title = f"{name}: {size} x {size} x 3 pixels, {classes} classes"
    return f"{title}\n\n{_table([HEADER, *rows, total])}"


def _draw(name: str, folder: Path) -> None:
    size, classes, layers = _layers(name)
    if not issubclass(get_network(name).module, AlexNet):
        raise ValueError(f"{name} cannot be drawn as in Fig. 2: only an AlexNet can")
    towers = models.model_options(name)["towers"]
    boxes, title = drawing.make_boxes(layers, size, towers), f"{name}, {classes:,} classes"
    _refuse_foreign(folder, name, title)
    make_folder(folder)
    with canvas.style():
        canvas.save(drawing.draw(title, boxes, towers), folder / name)


def _refuse_foreign(folder: Path, name: str, title: str) -> None:
    """Takes the place of no file that was not drawn here: our SVG has the title as a comment.

    Raises:
        LabError: Naming the file.
    """
    drawn = folder / f"{name}.svg"
    if drawn.is_file() and f"<!-- {title} -->".encode() in read_bytes(drawn):
        return
    for path in (drawn, folder / f"{name}.png"):
        if os.path.lexists(path):
            raise LabError(
                f"{path} was not drawn by this command, and would be written over; choose another"
                " --draw"
            )


def _totals() -> str:
    header = ("network", "pixels", "classes", "parameters", "multiply-adds")
    rows = []
    for name in models.MODEL_NAMES:
        size, classes, layers = _layers(name)
        rows.append((name, f"{size} x {size}", str(classes), *_sums(layers)))
    return _table([header, *rows])


def _layers(name: str) -> tuple[int, int, list[Layer]]:
    """Image size, number of classes and layers, for ImageNet or, with small images, CIFAR-10."""
    size = models.image_size(name)
    classes = 1000 if size > 32 else 10
    model = models.make_model(name, activation="relu", init_scheme="paper", num_classes=classes)
    layers = summarize(model, size, ours=not own.is_own(name))
    missing = size_of(model, (size, size, 3))["parameters"] - sum(x.parameters for x in layers)
    others = [Layer("other parameters", "", (), missing, 0, None)] if missing else []
    return size, classes, [*layers, *others]


def _sums(layers: list[Layer]) -> tuple[str, str]:
    parameters = sum(layer.parameters for layer in layers)
    return f"{parameters:,}", f"{sum(layer.multiply_adds for layer in layers):,}"


def _table(rows: list[tuple[str, ...]]) -> str:
    """Lines of columns, with numbers aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() and " x " not in cell else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])
