"""Numbers as people read them: counts, percents, ratios, intervals, durations."""

import math
from collections.abc import Callable, Sequence

# Numbers of views of an image that are averaged.
VIEWS = {1: "one view", 2: "image and mirror", 10: "ten views"}
TOO_SMALL, TOO_LARGE = 0.01, 100.0  # Beyond these the ends of a ratio are not given in figures.


def count(value: float) -> str:
    """A number with separators, such as `12,480` or `12,480.5`."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def percent(fraction: float) -> str:
    """A measured share, such as `24.8%`; `-` for nan and infinity."""
    return f"{fraction:.1%}" if math.isfinite(fraction) else "-"


def target(fraction: float) -> str:
    """A share that somebody chose, with all its digits: `25%`, `12.5%`, `0.5%`."""
    return f"{100 * fraction:.10g}%"


def points(fraction: float) -> str:
    """Percentage points with their sign, such as `+1.2`."""
    return f"{_plain(round(100 * fraction, 1)):+.1f}"


def ratio(value: float, rounded: Callable[[float], float] = round) -> str:
    """A factor: two decimals below 2, then one, none from 100 on.

    Args:
        value: A positive number.
        rounded: `math.floor` or `math.ceil` for the end of an interval.
    """
    if not math.isfinite(value):
        return str(value)
    digits = 2 if value < 2 else (1 if value < 100 else 0)
    shown = rounded(round(value * 10**digits, 6)) / 10**digits
    return f"{shown:,.{digits}f}" if shown or not value else f"{value:.1g}"


def ratio_ends(low: float, high: float) -> str:
    """An interval of a ratio, rounded outwards: `5.2 to 6.1`, `at least 5.2`, `at most 0.20`."""
    if math.isinf(high) or high > TOO_LARGE:
        return f"at least {ratio(low, math.floor)}" if low >= TOO_SMALL else "any"
    upper = ratio(high, math.ceil)
    return f"{ratio(low, math.floor)} to {upper}" if low >= TOO_SMALL else f"at most {upper}"


def points_ends(low: float, high: float) -> str:
    """An interval of a difference in percentage points, rounded outwards: `-0.4 to +2.8`."""
    low, high = math.floor(round(1000 * low, 6)) / 1000, math.ceil(round(1000 * high, 6)) / 1000
    return f"{points(low)} to {points(high)}"


def p_value(p: float) -> str:
    """A p-value, such as `p = 0.03` or `p < 0.001`.

    One that is rounded to 5% has as many digits as say on which side of it it lies.
    """
    if math.isnan(p):
        return "no p"
    if p < 0.001:
        return "p < 0.001"
    digits = (f"{p:.{count}g}" for count in range(2, 17))
    return f"p = {next((each for each in digits if (float(each) <= 0.05) == (p <= 0.05)), p)}"


def duration(seconds: float) -> str:
    """A duration as people say it: 40 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as `1 seed`, `3 seeds` or `10,000 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def capital(words: str) -> str:
    """The words with a capital first letter."""
    return words[:1].upper() + words[1:]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; line breaks and bars in cells would break it, and are replaced."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")


def _plain(number: float) -> float:
    """The same number; a negative zero becomes zero."""
    return number + 0.0
