"""Tries rows by name, or all: `python -m tests.torture.rows [A1 H16 ...]`; a table for each."""

import os
import sys
import tempfile
from pathlib import Path

from src import environment
from tests.torture.subject import Subject


def main(names: list[str]) -> int:
    """Prints a line a row; 1 if one failed."""
    with tempfile.TemporaryDirectory(prefix="rows-") as folder:
        subject = Subject(Path(folder))
        os.environ |= subject.environment
        environment.configure_jax()
        from tests.torture import rows  # noqa: PLC0415

        failed = 0
        for found in rows.chosen(names):
            room = rows.try_row(subject, found)
            failed += len(room.failures)
            print(f"| {found.name} | {found.situation} | {room.tried} | {len(room.failures)} |",
                  flush=True)  # fmt: skip
            for failure in room.failures:
                print(f"  FAILED {failure}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
