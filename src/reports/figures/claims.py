"""All claims that studies have asked, with their intervals, coloured by verdict."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from src.reports.figures.canvas import GREY
from src.reports.figures.forest import Bar, forest

COLORS = {  # Verdict -> colour.
    "shown": "#1b7f5c",
    "contradicted": "#c8441b",
    "no effect larger than": "#0b5394",
    "not decided": GREY,
}
CAPTION = (
    "bars: 95% intervals, each by itself; verdicts take all comparisons of a study into account\n"
    "green: shown; red: contradicted; blue: no effect larger than a margin; grey: not decided, or"
    " no verdict"
)


def draw_claims(bars: Sequence[Bar]) -> Figure:
    """Ratios of times above, differences of errors below."""
    ratios = [bar for bar in bars if bar.found.kind == "ratio"]
    differences = [bar for bar in bars if bar.found.kind == "difference"]
    parts = [("ratio of iterations", ratios), ("difference of errors", differences)]
    return forest(
        [part for part in parts if part[1]],
        title="Claims of the AlexNet paper, and of texts on it, as measured here",
        caption=CAPTION,
    )
