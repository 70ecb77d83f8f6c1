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
    """Gives a figure a font for all its letters.

    A letter that no font here has is written as its code, such as `\\u732b`: boxes would all look
    the same.
    """
    ticks = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    at_ticks = {axis: [text.get_text() for text in axis.get_ticklabels()] for axis in ticks}
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    words = [*(text.get_text() for text in texts), *(w for each in at_ticks.values() for w in each)]
    missing = _missing("".join(words))
    if not missing:
        return
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # no bold of another font
    if other := _font_with(missing):
        for text in texts:
            text.set_fontfamily([FONT, other])
        return
    for text in texts:
        text.set_text(spelt(text.get_text(), missing))
    for axis, labels in at_ticks.items():
        if missing & set("".join(labels)):
            axis.set_ticks(axis.get_ticklocs(), labels=[spelt(each, missing) for each in labels])


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
