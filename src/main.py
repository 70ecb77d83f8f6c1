"""Runs a study: trains its trials, then writes report.md and the figures.

    python -m src.main --config=configs/relu_vs_tanh.py
    python -m src.main --config=configs/relu_vs_tanh.py --help     every field, with its meaning

The same command again goes on where it stopped: finished trials are not repeated.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from src import doors


def main(argv: Sequence[str]) -> int:
    """Does what the command line asks for."""
    from src import laboratory  # noqa: PLC0415  (it imports JAX, whose environment is set now)

    return laboratory.main(argv, __doc__ or "")


def _leave(number: int, frame: FrameType | None) -> None:
    """Answers a signal before or after the trials, when nothing must be saved."""
    del frame
    with suppress(OSError):  # The terminal may be gone.
        os.write(2, b"\nStopped. To go on, give the same command again.\n")
    os._exit(128 + number)


if __name__ == "__main__":
    for number in doors.SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP.
            signal.signal(number, _leave)
    sys.exit(doors.run(main, sys.argv[1:]))
