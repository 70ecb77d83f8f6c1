"""Every arm against its baseline by the study's measure: a point and its interval."""

from matplotlib.figure import Figure

from src.analysis.effects import Analysis
from src.reports import sentences
from src.reports.figures.canvas import line_style
from src.reports.figures.caption import caption, seeds
from src.reports.figures.forest import Bar, forest


def effects(analysis: Analysis) -> Figure:
    """The effects of a study, a colour for each of its groups."""
    many, ratio = len(analysis.groups) > 1, analysis.measure.kind == "ratio"
    bars = [
        Bar(
            f"{effect.group.label}: {effect.arm.value}" if many else effect.arm.value,
            effect.interval,
            f"{sentences.value_words(effect.interval)} ({sentences.ends(effect.interval)})",
            line_style(analysis.groups.index(effect.group))[0],
        )
        for effect in analysis.effects()
    ]
    baseline = analysis.study.config.study.compare.baseline
    return forest(
        [(f"{'ratio to' if ratio else 'difference from'} {baseline}", bars)],
        title=sentences.title(analysis),
        caption=caption(analysis, f"bars: 95% intervals, each by itself; {seeds(analysis)}"),
    )
