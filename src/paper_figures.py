"""Draws Figs. 3 and 4 of the paper: `python -m src.paper_figures STUDY/trials/TRIAL`."""

import sys
from collections.abc import Sequence

from src import doors, environment


def main(arguments: Sequence[str]) -> int:
    """Starts JAX and imports what draws, now that the environment is set."""
    environment.start_jax()
    from src.trained import report  # noqa: PLC0415

    return report.main(arguments)


if __name__ == "__main__":
    sys.exit(doors.run(main, sys.argv[1:]))
