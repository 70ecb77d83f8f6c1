"""Makes the table of the paper's claims from the records of studies: `python -m src.claims DIR`."""

import sys
from collections.abc import Sequence

from src import doors


def main(arguments: Sequence[str]) -> int:
    """Imports what reads records only now, when the environment is set."""
    from src.reports import claims  # noqa: PLC0415

    return claims.main(arguments)


if __name__ == "__main__":
    sys.exit(doors.run(main, sys.argv[1:]))
