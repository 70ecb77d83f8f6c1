"""Redraws reports and figures of studies from their records: `python -m src.report DIR...`."""

import sys
from collections.abc import Sequence

from src import doors


def main(arguments: Sequence[str]) -> int:
    """Imports what draws only now, when the environment is set."""
    from src.reports import compose  # noqa: PLC0415

    return compose.main(arguments)


if __name__ == "__main__":
    sys.exit(doors.run(main, sys.argv[1:]))
