"""All claims that studies have asked, with their intervals; verdicts by colour and by shape."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from src.reports.figures.canvas import DARK, legend_entry
from src.reports.figures.forest import Bar, forest

UNDECIDED = ("#767676", "D")
LOOKS = {  # Verdict -> colour and shape of its point; in grey print the shape alone tells.
    "shown": ("#1b7f5c", "o"),
    "contradicted": ("#c8441b", "X"),
    "no effect larger than": ("#0b5394", "s"),
    "not decided": UNDECIDED,
}
CAPTION = (
    "bars: 95% intervals, each by itself; a verdict takes all comparisons of its study into account"
    "\nfilled points are values, hollow ones bounds; grey also where a claim cannot be decided here"
)


def verdict_words(verdict: str | None) -> str:
    """A verdict without its margin."""
    return "no large effect" if verdict == "no effect larger than" else verdict or "no verdict"


def draw_claims(bars: Sequence[Bar]) -> Figure:
    """Draws all claims, ratios of times above and differences of errors below."""
    ratios = [bar for bar in bars if bar.found.kind == "ratio"]
    differences = [bar for bar in bars if bar.found.kind == "difference"]
    parts = [
        ("Ratio of iterations", ratios),
        ("Difference of errors, percentage points", differences),
    ]
    handles = [
        legend_entry(verdict_words(verdict), color=color, marker=shape, ls="", ms=5.5)
        for verdict, (color, shape) in LOOKS.items()
    ]
    handles.append(legend_entry("what was claimed", color=DARK, marker="|", ls="", ms=11, mew=1.6))
    return forest(
        [part for part in parts if part[1]],
        caption=CAPTION,
        handles=handles,
    )
