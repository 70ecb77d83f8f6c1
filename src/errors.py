"""The error that every door turns into one line, and the end of work that was told to stop."""


class LabError(Exception):
    """Something that a person can mend: a file, a flag, a machine.

    The message is one line, with the remedy. Each room derives its own error from this one, and
    `src.doors` prints them all in the same way.
    """


class Stopped(Exception):
    """Work was told to stop, and what was done is saved: the same command goes on from there."""


def one_line(words: object) -> str:
    """An error's message, or another text of a library, as one line of at most 300 letters."""
    return " ".join(str(words).split())[:300]
