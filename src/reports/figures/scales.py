"""Scales of axes: shares in percent, and ratios with ticks that do not touch."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from src import wording

Limits = tuple[float, float]
WIDEST: Limits = (0.02, 50.0)  # Intervals are drawn as far as this, values wherever they are.
FEW = ((1.0, 2.0, 5.0), (1.0,))  # Ticks in a decade; the first of these that fit are taken.
MANY = ((1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), *FEW)


def set_percents(axis: Axis) -> None:
    """Writes ticks as percents, with all their digits: no two of them read the same."""
    axis.set_major_formatter(FuncFormatter(lambda share, _: wording.target(round(share, 9) + 0.0)))


def ratio_limits(values: Iterable[float], ends: Iterable[float]) -> Limits:
    """Limits of an axis that hold all values, and the ends of intervals that are not very wide.

    Args:
        values: At least one is positive and finite; others are left out.
        ends: Ends of intervals, open ones too.
    """
    shown = [x for x in values if 0 < x < math.inf]
    shown += [min(max(x, WIDEST[0]), WIDEST[1]) for x in ends if 0 < x < math.inf]
    return min(shown) / 1.15, max(shown) * 1.15


def ratio_ticks(
    limits: Limits,
    inches: float,
    room: Callable[[str], float],
    steps: Sequence[Sequence[float]],
) -> list[float]:
    """The most ticks with room for each label.

    Args:
        limits: Of the axis.
        inches: Its length.
        room: Label -> inches of the axis that it takes.
        steps: Ticks in a decade, from many to few.
    """
    low, high = limits
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    ticks: list[float] = []
    for each in steps:
        ticks = [x for n in decades for step in each if low <= (x := step * 10.0**n) <= high]
        if all(
            inches * math.log(b / a) / math.log(high / low) >= (room(times(a)) + room(times(b))) / 2
            for a, b in itertools.pairwise(ticks)
        ):
            break
    return ticks


def set_ratio_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Writes these ticks, and no others, as `0.5x`, `1x`, `2x`."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda x, _: times(x)))


def times(ratio: float) -> str:
    """A ratio on an axis, such as `1.5x`."""
    return f"{ratio:g}x"
