"""The figures of a report: each has its own file and one row here, which draws and links it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from src.analysis.effects import Analysis
from src.analysis.groups import rates_were_chosen
from src.reports import networks
from src.reports.figures import canvas
from src.reports.figures.effects import effects
from src.reports.figures.final_errors import final_errors
from src.reports.figures.learning_rates import learning_rates
from src.reports.figures.networks import curves
from src.reports.figures.overfitting import overfitting
from src.reports.figures.ratios import ratios
from src.reports.figures.saturation import measures_layers, saturation
from src.reports.figures.training_error import training_error


class Row(NamedTuple):
    """One figure.

    Attributes:
        name: Name of its files, `NAME.png` and `NAME.svg`.
        alt: Description for those who cannot see it.
        section: Heading of the report under which it stands; empty: before the first.
        when: Analysis -> whether the study has what it shows.
        draw: Analysis -> the figure.
    """

    name: str
    alt: str
    section: str
    when: Callable[[Analysis], bool]
    draw: Callable[[Analysis], Figure]


def _always(analysis: Analysis) -> bool:
    del analysis
    return True


def _compares(analysis: Analysis) -> bool:
    return bool(analysis.effects())


# fmt: off
FIGURES: tuple[Row, ...] = (
    Row("effects", "Every arm against its baseline, with intervals", "", _compares, effects),
    Row("training_error", "Training error by epoch", "", _always, training_error),
    Row("saturation", "Saturated units of the first layer by epoch", "", measures_layers,
        saturation),
    Row("curves", "Loss and errors by iterations and by seconds", "Networks",
        networks.compares_networks, curves),
    Row("final_errors", "Training and test error at the end by arm", "Measures",
        lambda analysis: analysis.equally_long, final_errors),
    Row("overfitting", "Training and test error by epoch", "Measures",
        lambda analysis: analysis.equally_long, overfitting),
    Row("learning_rates", "The study's measure by learning rate", "Learning rates",
        lambda analysis: rates_were_chosen(analysis.groups), learning_rates),
    Row("ratios", "Ratio of iterations by training error", "By training error",
        _compares, ratios),
)
# fmt: on


def write_figures(study_dir: Path, analysis: Analysis) -> None:
    """Draws every figure that the study has data for into its folder.

    Raises:
        RecordError: If a file cannot be written.
    """
    for row in FIGURES:
        if row.when(analysis):
            with canvas.style():
                canvas.save(row.draw(analysis), study_dir / row.name)


def links(analysis: Analysis, section: str) -> list[str]:
    """Markdown of the figures that stand under a heading."""
    return [
        f"![{row.alt}]({row.name}.png)"
        for row in FIGURES
        if row.section == section and row.when(analysis)
    ]
