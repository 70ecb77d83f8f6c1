"""The screen of a running study: lines that stay and, on a terminal, changing lines below them."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

UP_AND_CLEAR = "\x1b[{}A\r\x1b[J"


class Screen:
    """Lines that stay, and a block of lines below them that is drawn anew in its place."""

    def __init__(self, out: Any = None):
        """Prints to `out`, a stream of text; standard output if it is not given."""
        self.out = out or sys.stdout
        self.is_terminal = self.out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.block: list[str] = []

    def say(self, line: str) -> None:
        """Prints a line that stays; on a terminal it is broken between words, never within one."""
        if self.is_terminal:
            width = shutil.get_terminal_size().columns - 1
            line = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        self.out.write(f"{self._erased()}{line}\n{self._drawn()}")
        self.out.flush()

    def show(self, lines: Sequence[str]) -> None:
        """Sets the lines of the block; only a terminal has one."""
        if self.is_terminal:
            before, size = self._erased(), shutil.get_terminal_size()
            most = max(1, size.lines - 2)
            shown = [*lines[:-1][: most - 1], *lines[-1:]]  # The last line sums up.
            self.block = [line[: size.columns - 1] for line in shown]
            self.out.write(before + self._drawn())
            self.out.flush()

    def leave(self) -> None:
        """Leaves the block as it is; what is printed next stands below it."""
        self.block = []

    def _erased(self) -> str:
        return UP_AND_CLEAR.format(len(self.block)) if self.block else ""

    def _drawn(self) -> str:
        return "".join(f"{line}\n" for line in self.block)
