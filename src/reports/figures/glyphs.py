"""Draws letters that the figures' font lacks in another installed font, or spells them out."""

import functools
import logging
from collections.abc import Iterable
from pathlib import Path

from matplotlib import font_manager, ft2font
from matplotlib.figure import Figure
from matplotlib.text import Text

FONT = "DejaVu Sans"  # It comes with Matplotlib, so letters look the same everywhere.


def complete(figure: Figure) -> None:
    """Gives each text of a figure a font for all its letters, or spells out what none has."""
    ticks = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    at_ticks = {axis: [text.get_text() for text in axis.get_ticklabels()] for axis in ticks}
    for text in [each for each in figure.findobj(Text) if isinstance(each, Text)]:
        words = text.get_text()
        if (missing := _missing(words)) and (other := _font_with(missing)):
            logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # It has no bold.
            text.set_fontfamily([FONT, other])
        text.set_text(drawn(words))
    for axis, labels in at_ticks.items():
        if (shown := [drawn(each) for each in labels]) != labels:
            axis.set_ticks(axis.get_ticklocs(), labels=shown)


def drawn(words: str) -> str:
    """The words as they are drawn.

    If no font here has the letters that the figures' font lacks, each is written as its code, such
    as `\\u732b`: boxes would all look the same.
    """
    missing = _missing(words)
    return spelt(words, missing) if missing and not _font_with(missing) else words


def spelt(words: str, letters: Iterable[str]) -> str:
    """The words, with the given letters replaced by their codes."""
    codes = {letter: letter.encode("unicode_escape").decode() for letter in letters}
    return "".join(codes.get(letter, letter) for letter in words)


def _missing(words: str) -> frozenset[str]:
    """Letters that the figures' font lacks."""
    if words.isascii():
        return frozenset()
    known = _letters(font_manager.findfont(FONT))
    return frozenset(each for each in words if ord(each) not in known and not each.isspace())


@functools.cache
def _font_with(letters: frozenset[str]) -> str | None:
    """The first font by name that has all of these letters."""
    for font in sorted(font_manager.fontManager.ttflist, key=lambda each: each.name):
        boxes = font.name.startswith("Last Resort")  # It has a box for each letter there is.
        if not boxes and {ord(each) for each in letters} <= _letters(font.fname):
            return font.name
    return None


@functools.cache
def _letters(file: str) -> frozenset[int]:
    """The letters of a font file; none if it cannot be read."""
    try:
        return frozenset(ft2font.FT2Font(str(Path(file))).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
