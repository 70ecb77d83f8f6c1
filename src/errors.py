"""The error that every door turns into one line."""


class LabError(Exception):
    """What a person can mend: a file, a flag, a machine. The message is one line, with the remedy.

    Each room derives its own from it; `src.doors` prints them all the same way.
    """
