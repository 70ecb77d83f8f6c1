"""The error that every door turns into one line."""


class LabError(Exception):
    """Something that a person can mend: a file, a flag, a machine.

    The message is one line, with the remedy. Each room derives its own error from this one, and
    `src.doors` prints them all in the same way.
    """


def one_line(words: object) -> str:
    """An error's message, or another text of a library, as one line of at most 300 letters."""
    return " ".join(str(words).split())[:300]
