"""Prints networks as tables, layer by layer: `python -m src.networks [NAME ...] [--draw DIR]`."""

import sys
from collections.abc import Sequence

from src import doors, environment


def main(arguments: Sequence[str]) -> int:
    """Prints what the command line names; importing waits until the environment is set."""
    environment.use_cpu()
    from src.reports import network_tables  # noqa: PLC0415

    return network_tables.main(arguments)


if __name__ == "__main__":
    sys.exit(doors.run(main, sys.argv[1:]))
