"""The error that every door turns into one line."""


class LabError(Exception):
    """What a person can mend: a file, a flag, a machine. The message is one line, with the remedy.

    Each room derives its own from it; `src.doors` prints them all the same way.
    """


def one_line(words: object) -> str:
    """An error's message, or other words of a library, without line breaks and not too long."""
    return " ".join(str(words).split())[:300]
