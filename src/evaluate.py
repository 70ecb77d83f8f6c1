"""Tests trials and published weights: `python -m src.evaluate TRIAL`, or `--weights=FILE`."""

import sys
from collections.abc import Sequence

from src import doors, environment


def main(arguments: Sequence[str]) -> int:
    """Starts JAX and imports what tests, now that the environment is set."""
    environment.start_jax()
    from src.trained import evaluation  # noqa: PLC0415

    return evaluation.main(arguments)


if __name__ == "__main__":
    sys.exit(doors.run(main, sys.argv[1:]))
