"""A trial on a stream is the trial on the same images in memory, and goes on at the same image."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.streaming import photos
from experiments.streaming.photos import open_stream
from src.config.arms import make_trial
from src.data import Dataset, Stream, sources
from src.data.sources import Streamed
from src.errors import Stopped
from src.training import checkpoints, train
from src.training.program import Program
from src.training.trial import Run
from tests import tiny

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_alike", "shared_cache")]

SIZE, CROP, TRAIN, TEST, CLASSES = 20, 16, 48, 19, 7
CHANGES: dict[str, Any] = {
    "augment__crop": CROP,
    "augment__flip": True,
    "augment__pca": 0.1,
    "validation_images": 8,  # 40 are left: 2.5 iterations an epoch
    "points_per_epoch": 1,  # a point every second iteration
    "test_crops": 10,
    "schedule__name": "plateau",
    "schedule__patience": 1,
}


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> Stream:
    data_dir = tmp_path_factory.mktemp("tfds")
    photos.write_photos(data_dir, train=TRAIN, test=TEST, classes=CLASSES, sides=(24, 40))
    return open_stream("photos", data_dir / photos.NAME / photos.VERSION, SIZE)


@pytest.fixture(scope="module")
def in_memory(stream) -> Dataset:
    train, test = (rows.load(np.arange(len(rows))) for rows in (stream.train, stream.test))
    return Dataset("photos", train, test, CLASSES, stream.label_names, stream.digest)


def begin(directory: Path, dataset: Dataset | Stream) -> tuple[Run, Program]:
    (arm,) = tiny.make_config(**CHANGES).arms
    program = Program(arm.settings, dataset)
    trial = make_trial(arm, "fresh", 0.02, 3)
    return Run(trial, program.num_images, directory, tiny.identity(trial.name)), program


def final_arrays(run: Run, program: Program) -> list[np.ndarray]:
    like = {"state": program.start(0), **run.points.window}
    arrays, *_ = checkpoints.restore(run.directory / "checkpoints", like, run.of)
    return jax.tree.leaves(arrays)


def test_a_stream_trains_as_memory_does_and_goes_on_at_the_same_image(tmp_path, stream, in_memory):
    other, program = begin(tmp_path / "resident", in_memory)
    resident = train.train_trial(other, program)
    run, program = begin(tmp_path / "streamed", stream)
    streamed = train.train_trial(run, program)
    assert tiny.without_times(streamed) == tiny.without_times(resident)
    for ours, theirs in zip(run.points.rows, other.points.rows, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-5)
        assert ours["validation_error"] == pytest.approx(theirs["validation_error"], nan_ok=True)

    stopped, _ = begin(tmp_path / "stopped", stream)
    with pytest.raises(Stopped):
        train.train_trial(stopped, program, should_stop=lambda: stopped.points.iteration == 6)
    resumed, _ = begin(tmp_path / "stopped", stream)
    assert tiny.without_times(train.train_trial(resumed, program)) == tiny.without_times(streamed)
    for ours, theirs in zip(
        final_arrays(resumed, program), final_arrays(run, program), strict=True
    ):
        assert ours.tobytes() == theirs.tobytes()


def test_sums_are_over_all_training_images_and_over_them_alone(stream, in_memory, monkeypatch):
    monkeypatch.setattr("src.data.sources.DECODED_AT_ONCE", 7)  # 40 is no multiple of it
    source = Streamed({"train": stream.train.take(slice(0, 40)), "test": stream.test})
    images = in_memory.train.images[:40].astype(np.int64)
    assert source.sums.num_images == 40
    np.testing.assert_array_equal(source.sums.pixels, images.sum(axis=0))


def test_sums_are_kept_for_the_same_images_alone(stream, monkeypatch):
    def source(rows: slice) -> Streamed:
        return Streamed({"train": stream.train.take(rows), "test": stream.test})

    first = source(slice(0, 30)).sums
    read = sources._read
    monkeypatch.setattr(sources, "_read", lambda *given: pytest.fail("decoded again"))
    again = source(slice(0, 30)).sums
    for ours, theirs in zip(again, first, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    monkeypatch.setattr(sources, "_read", read)
    assert source(slice(1, 31)).sums.pixels.sum() != first.pixels.sum()


def test_every_test_image_comes_once(stream, in_memory):
    source = Streamed({"train": stream.train, "test": stream.test})
    batches = list(source.testing("test", 8))
    assert [batch.images.shape for batch in batches] == [(1, 8, SIZE, SIZE, 3)] * 3
    images = np.concatenate([batch.images[0] for batch in batches])
    labels = np.concatenate([batch.labels[0] for batch in batches])
    np.testing.assert_array_equal(images[:TEST], in_memory.test.images)
    np.testing.assert_array_equal(labels, [*in_memory.test.labels, *[-1] * 5])


def test_errors_of_a_stream_are_those_of_memory(stream, in_memory):
    (_, streamed), (_, resident) = (begin(Path("unused"), data) for data in (stream, in_memory))
    variables = resident.start(1).variables
    for part in ("train", "validation", "test"):
        for top in (1, 5):
            assert streamed.error(variables, part, top) == resident.error(variables, part, top)
