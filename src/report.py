"""Redraws reports and figures of studies from their records: `python -m src.report DIR...`."""

import sys

from src.reports.compose import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
