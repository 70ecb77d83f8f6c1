"""Points of a trial for TensorBoard, beside metrics.csv: `tensorboard --logdir runs/NAME/trials`.

Each process writes a file of its own, from the first point on, and removes earlier ones: a killed
process may have written points beyond the checkpoint that its successor goes on from. Only the
records count; if these files cannot be written, training goes on without them.
"""

import io
import math
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

PREFIX = "events.out.tfevents."  # TensorBoard looks for files that begin with this.
# Ours end in a number; files of other programs name host and process as well.
_OURS = re.compile(re.escape(PREFIX) + r"([1-9]\d*)", re.ASCII)
KEYS = ("iteration", "epoch")  # Columns that are not plotted.
VERSION = "brain.Event:2"


class EventFile:
    """The event file of one trial, written by this process."""

    def __init__(self, trial_dir: Path):
        """Nothing is written before the first point."""
        self.trial_dir = trial_dir
        self.file: BinaryIO | None = None
        self.written = 0  # Number of rows.

    def update(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds the rows of metrics.csv that it does not hold yet."""
        try:
            if self.file is None:
                self.file, self.written = self._open(), 0
                self.file.write(_record(file_version=VERSION))
            for row in rows[self.written :]:
                self.file.write(_point(row))
            self.file.flush()
            self.written = len(rows)
        except OSError:  # It may hold half a point, so the next point begins another file.
            self.close()

    def close(self) -> None:
        """Closes the file."""
        if self.file is not None:
            with suppress(OSError):
                self.file.close()
        self.file = None

    def _open(self) -> BinaryIO:
        """Opens a new file and removes our earlier ones."""
        names = (path.name for path in self.trial_dir.iterdir())
        old = [int(found[1]) for name in names if (found := _OURS.fullmatch(name))]
        # TensorBoard reads files in the order of their names, and never goes back.
        number = max(int(time.time()), *(before + 1 for before in old), 0)
        file = (self.trial_dir / f"{PREFIX}{number}").open("xb")  # "x" follows no link.
        for before in old:
            (self.trial_dir / f"{PREFIX}{before}").unlink()
        return file


def _point(row: Mapping[str, Any]) -> bytes:
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

    numbers = {name: value for name, value in row.items() if name not in KEYS}
    values = [
        Summary.Value(tag=name, simple_value=value)
        for name, value in numbers.items()
        if not math.isnan(value)  # nan: it was not measured at this point.
    ]
    return _record(step=row["iteration"], summary=Summary(value=values))


def _record(**content: Any) -> bytes:
    """The bytes of an event in the file: its length, itself, and checksums of both."""
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415
    from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415

    framed = io.BytesIO()
    RecordWriter(framed).write(Event(wall_time=time.time(), **content).SerializeToString())
    return framed.getvalue()
