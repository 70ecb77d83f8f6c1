"""Points for TensorBoard, read back by TensorBoard: each once, whatever has been killed."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import data
from src.records import event_files
from src.records.event_files import EventFile
from src.study import runner
from tests import tiny

pytestmark = pytest.mark.usefixtures("compiled_alike", "one_device")

DATASET = tiny.make_dataset(64, 16)
FACTS = {
    "dataset": "tiny", "digest": DATASET.digest, "device": "1 x cpu", "jax_version": "0.10",
    "commit": "abc", "image_shape": (8, 8, 3), "num_classes": 10,
}  # fmt: skip


def rows(last: int) -> list[dict[str, Any]]:
    return [
        {
            "iteration": 10 * i,
            "epoch": i / 4,
            "train_error": 1 / i,
            "test_error": 0.5 if i % 2 else math.nan,
        }
        for i in range(1, last + 1)
    ]


def read(trial_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) of every point, as TensorBoard shows them."""
    found = EventAccumulator(str(trial_dir), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(point.step, point.value) for point in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def points(last: int, tag: str) -> list[tuple[int, Any]]:
    """The points that `read` should find."""
    return [
        (row["iteration"], pytest.approx(row[tag]))
        for row in rows(last)
        if not math.isnan(row[tag])
    ]


def test_every_point_is_there_once_as_soon_as_it_is_written(tmp_path):
    events = EventFile(tmp_path)
    for last in (1, 2, 5):
        events.update(rows(last))
        assert read(tmp_path) == {tag: points(last, tag) for tag in ("train_error", "test_error")}
    events.close()


def test_a_successor_replaces_what_ran_ahead_of_its_checkpoint(tmp_path):
    killed = EventFile(tmp_path)
    killed.update(rows(7))
    successor = EventFile(tmp_path)  # goes on from point 4
    successor.update(rows(5))
    assert read(tmp_path)["train_error"] == points(5, "train_error")
    successor.update(rows(6))
    assert read(tmp_path)["train_error"] == points(6, "train_error")
    killed.close()
    successor.close()


def test_a_half_written_point_of_a_killed_process_is_gone(tmp_path):
    killed = EventFile(tmp_path)
    killed.update(rows(3))
    killed.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-7])
    successor = EventFile(tmp_path)
    successor.update(rows(4))
    successor.close()
    assert read(tmp_path)["train_error"] == points(4, "train_error")


def test_a_full_disk_costs_points_not_the_training(tmp_path, monkeypatch):
    events = EventFile(tmp_path)
    events.update(rows(1))

    class Full:
        def write(self, content):
            raise OSError(28, "No space left on device")

        def close(self):
            raise OSError(28, "No space left on device")

    assert events.file is not None
    events.file.close()
    monkeypatch.setattr(events, "file", Full())
    events.update(rows(2))
    events.update(rows(3))
    events.close()
    assert read(tmp_path)["train_error"] == points(3, "train_error")


@pytest.mark.slow
@pytest.mark.parametrize("tensorboard", [True, False])
def test_a_study_writes_them_or_not_and_counts_the_same(tmp_path, monkeypatch, tensorboard):
    monkeypatch.setattr(data, "load", lambda *_, **options: DATASET)
    fields = {"data__name": "tiny", "max_epochs": 1.0, "learning_rates": (0.02,), "workers": 1}
    config = tiny.make_config(**fields, tensorboard=tensorboard)
    runner.run_study(config, tmp_path, FACTS, 1)
    (trial_dir,) = (tmp_path / "trials").iterdir()
    with (trial_dir / "metrics.csv").open() as file:
        points = [(int(r["iteration"]), r["train_error"]) for r in csv.DictReader(file)]
    assert len(points) == 4
    errors = [(iteration, float(error)) for iteration, error in points if error]
    found = list(trial_dir.glob(f"{event_files.PREFIX}*"))
    assert len(found) == tensorboard
    if tensorboard:
        assert read(trial_dir)["train_error"] == [(i, pytest.approx(e)) for i, e in errors]
    # off or on, it is the same question: the study is finished
    other = tiny.make_config(**fields, tensorboard=not tensorboard)
    runner.run_study(other, tmp_path, FACTS, 1)


def test_event_files_of_others_stay_and_no_link_is_followed(tmp_path, monkeypatch):
    theirs = tmp_path / f"{event_files.PREFIX}1700000000.host.123.0"
    theirs.write_bytes(b"of another writer")
    victim = tmp_path / "victim"
    victim.write_text("years of work")
    monkeypatch.setattr(event_files.time, "time", lambda: 1800000000.0)
    (tmp_path / f"{event_files.PREFIX}1800000000").symlink_to(victim)
    events = EventFile(tmp_path)
    events.update([])
    events.close()
    assert theirs.read_bytes() == b"of another writer"
    assert victim.read_text() == "years of work"
