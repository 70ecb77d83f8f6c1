"""Every arm against its baseline by the study's measure: a point and its interval."""

from matplotlib.figure import Figure

from src import wording
from src.analysis.effects import Analysis
from src.reports import sentences
from src.reports.figures.canvas import line_style
from src.reports.figures.caption import caption, seeds
from src.reports.figures.forest import Bar, forest


def effects(analysis: Analysis) -> Figure:
    """The effects of a study, a colour for each of its groups."""
    many = len(analysis.groups) > 1
    bars = [
        Bar(
            f"{effect.group.label}: {effect.arm.value}" if many else effect.arm.value,
            effect.interval,
            sentences.bar_words(effect.interval),
            line_style(analysis.groups.index(effect.group))[0],
        )
        for effect in analysis.effects()
    ]
    return forest(
        [(_axis_words(analysis), bars)],
        caption=caption(analysis, f"bars: 95% intervals, each by itself; {seeds(analysis)}"),
    )


def _axis_words(analysis: Analysis) -> str:
    """What is drawn, in full: the figure has no other title."""
    measure = wording.capital(sentences.measure_words(analysis.measure, analysis.target))
    kind = "ratio to" if analysis.measure.kind == "ratio" else "difference in points from"
    return f"{measure}: {kind} {analysis.study.config.study.compare.baseline}"
