"""How fast images stream from JPEG files to training steps at 227 x 227 pixels.

    python -m experiments.streaming.bench

On generated photographs of ImageNet's sizes. Writes record.json beside this file and the tables of
README.md.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from configs import alexnet_as_written
from experiments.streaming import photos, tables
from experiments.streaming.photos import open_stream
from src import environment
from src.config.config import Config
from src.data.loader import read_batches
from src.data.stream import Stream
from src.records import provenance
from src.reports import readme

HERE = Path(__file__).parent
IMAGES, BATCH, SIDES = 256, 32, (375, 500)  # SIDES: least and greatest, of most of ImageNet
WORKERS = (1, 2)
WIDTHS = (1.0, 0.125)  # AlexNet's.
STEPS, ROUNDS = 4, 3


def main() -> None:
    """Measures, writes, prints."""
    environment.configure_jax()
    with tempfile.TemporaryDirectory() as data_dir:
        photos.write_photos(Path(data_dir), train=IMAGES, test=8, classes=10, sides=SIDES)
        folder = Path(data_dir) / photos.NAME / photos.VERSION
        stream = open_stream(photos.NAME, folder, 256)
        record = {
            "cores": environment.usable_cores(),
            "images": IMAGES,
            "batch": BATCH,
            "loader": [measure_loader(stream, count) for count in WORKERS],
            "steps": [measure_steps(stream, width) for width in WIDTHS],
            "provenance": provenance.provenance(),
        }
    (HERE / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    text = tables.render(record)
    readme.fill(HERE / "README.md", "tables", text)
    print(text)


def measure_loader(stream: Stream, workers: int) -> dict[str, Any]:
    """Seconds, and seconds of a core, for all images and nothing else to do; after a warm-up."""
    seconds, core_seconds = [], []
    for _ in range(ROUNDS + 1):
        start, core_start = time.perf_counter(), time.process_time()
        batches = read_batches(stream.train, rows, 0, IMAGES // BATCH, processes=0, threads=workers)
        assert sum(len(batch.labels) for batch in batches) == IMAGES
        seconds.append(time.perf_counter() - start)
        core_seconds.append(time.process_time() - core_start)
    return {"workers": workers, "seconds": seconds[1:], "core_seconds": core_seconds[1:]}


def measure_steps(stream: Stream, width: float) -> dict[str, Any]:
    """Seconds of training steps of AlexNet, and how much of them passed in wait for a batch."""
    from src.training.program import Program  # noqa: PLC0415  (starts JAX)

    config = alexnet_as_written.get_config()
    config.batch_size, config.validation_images, config.model.width = BATCH, 0, width
    config.schedule.name = "constant"
    program = Program(Config.read(config.to_dict()).arms[0].settings, stream)
    step_fn, state = program.prepare(0, 0.01, STEPS), program.start(0)
    waits: list[float] = []
    take = program.batches(lambda first, count: rows(first)[None], 0)
    seconds, waited = [], []
    for _ in range(ROUNDS + 1):
        waits.clear()
        start = time.perf_counter()
        state, _ = step_fn(state, lambda steps: timed(take(steps), waits))
        seconds.append(time.perf_counter() - start)
        waited.append(sum(waits))
    return {"width": width, "steps": STEPS, "seconds": seconds[1:], "waited": waited[1:]}


def rows(number: int) -> np.ndarray:
    """Rows of a batch: all images, again and again."""
    return np.arange(number * BATCH, (number + 1) * BATCH) % IMAGES


def timed(batches: Iterator[Any], waits: list[float]) -> Iterator[Any]:
    """The same batches; how long each was waited for is added to `waits`."""
    start = time.perf_counter()
    for batch in batches:
        waits.append(time.perf_counter() - start)
        yield batch
        start = time.perf_counter()


if __name__ == "__main__":
    main()
