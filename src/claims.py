"""Makes the table of the paper's claims from the records of studies: `python -m src.claims DIR`."""

import sys

from src.reports.claims import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
