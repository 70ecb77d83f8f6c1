"""Large images from disk: decoding by NumPy, order and position, workers, refusals."""

import io
import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from experiments.streaming import photos
from experiments.streaming.photos import open_stream
from src.data import DataError, loader
from src.data.images import decode
from src.data.loader import host_share, read_batches
from src.data.stream import Stream
from src.data.write_tfds import DatasetInfo, Example, write_folder

pytestmark = pytest.mark.usefixtures("shared_cache")

SIZE, TRAIN, TEST, CLASSES = 24, 20, 7, 3
BATCH_BYTES = 4 * SIZE * SIZE * 3  # Four images.


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    data_dir = tmp_path_factory.mktemp("tfds")
    photos.write_photos(data_dir, train=TRAIN, test=TEST, classes=CLASSES, sides=(30, 70))
    return data_dir / photos.NAME / photos.VERSION


@pytest.fixture(scope="module")
def stream(folder) -> Stream:
    return open_stream("photos", folder, SIZE)


def encoded(pixels: np.ndarray, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


# --- One image. ---


def test_the_central_square_of_a_wide_and_of_a_tall_image():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 30, 3)).astype(np.uint8)
    np.testing.assert_array_equal(decode(encoded(pixels, "PNG"), 16), pixels[:, 7:23])
    tall = np.ascontiguousarray(pixels.swapaxes(0, 1))
    np.testing.assert_array_equal(decode(encoded(tall, "PNG"), 16), tall[7:23])


def test_warped_images_keep_their_borders_and_lose_their_proportions():
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 200  # the left half stays the left half
    warped = decode(encoded(pixels, "PNG"), 16, warped=True)
    np.testing.assert_array_equal(warped[:, :7], 200)
    np.testing.assert_array_equal(warped[:, 9:], 0)


def test_a_smaller_image_is_a_mean_over_the_pixels_concerned():
    """Halved by a triangle two pixels wide on either side: weights 1, 3, 3, 1 of 8."""
    ramp = np.broadcast_to(np.arange(0, 128, 2).reshape(64, 1, 1), (64, 64, 3)).astype(np.uint8)
    halved = decode(encoded(np.ascontiguousarray(ramp), "PNG"), 32)
    expected = ramp[0::2, 0, 0].astype(float) / 2 + ramp[1::2, 0, 0] / 2
    np.testing.assert_allclose(halved[1:-1, 5, 1], expected[1:-1], atol=0.5)


def test_a_large_jpeg_decoded_at_a_fraction_looks_the_same():
    """Eight times too large: the fast way is within some grey levels of the slow one."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8)).resize((260, 256))
    content = encoded(np.asarray(soft), "JPEG", quality=95)
    slow = Image.open(io.BytesIO(content)).resize(
        (32, 32), Image.Resampling.BILINEAR, (2, 0, 258, 256)
    )
    difference = decode(content, 32).astype(float) - np.asarray(slow)
    assert np.abs(difference).mean() < 4  # Grey levels.


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 4)])
def test_grey_images_and_transparent_ones_become_rgb(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = decode(encoded(pixels, "PNG"), 9)
    expected = np.repeat(pixels[..., None], 3, axis=2) if len(shape) == 2 else pixels[..., :3]
    np.testing.assert_array_equal(found, expected)


# --- The data set. ---


def test_splits_and_names_are_those_of_the_folder(stream):
    assert (len(stream.train), len(stream.test)) == (TRAIN, TEST)
    assert stream.test.files.source.endswith("split validation")
    assert stream.label_names == ("class0", "class1", "class2")
    images, labels = stream.train.load(np.arange(TRAIN))
    assert images.shape == (TRAIN, SIZE, SIZE, 3)
    assert set(labels.tolist()) == {0, 1, 2}
    assert len(np.unique(images.reshape(TRAIN, -1), axis=0)) == TRAIN


def test_part_of_the_rows_and_rows_that_fill_up(stream):
    whole, part = stream.train.load(np.arange(TRAIN)), stream.train.take(slice(5, 9))
    assert len(part) == 4
    images, labels = part.load(np.array([3, ~1, 0, ~3]))
    np.testing.assert_array_equal(images, whole.images[[8, 6, 5, 8]])
    np.testing.assert_array_equal(labels, [whole.labels[8], -1, whole.labels[5], -1])


def test_the_digest_knows_the_size_and_the_files(folder, stream, tmp_path):
    assert open_stream("photos", folder, SIZE).digest == stream.digest
    assert open_stream("photos", folder, SIZE + 1).digest != stream.digest
    photos.write_photos(tmp_path, train=TRAIN, test=TEST, classes=CLASSES, sides=(30, 70), seed=1)
    other = open_stream("photos", tmp_path / photos.NAME / photos.VERSION, SIZE)
    assert other.digest != stream.digest


def test_what_cannot_be_read_is_refused(folder, stream, tmp_path):
    info = json.loads((folder / "dataset_info.json").read_text())
    (tmp_path / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    with pytest.raises(DataError, match="prepared as tfrecord"):
        open_stream("photos", tmp_path, SIZE)


# --- Batches. ---


def rows_of_batch(number: int) -> np.ndarray:
    return np.arange(4 * number, 4 * number + 4) * 7 % TRAIN


def batches(
    stream: Stream, first: int, last: int, processes: int = 0, threads: int = 2
) -> Iterator:
    return read_batches(
        stream.train, rows_of_batch, first, last, processes=processes, threads=threads
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_in_order_from_anywhere(stream, threads):
    found = list(batches(stream, 3, 9, threads=threads))
    assert len(found) == 6
    for number, batch in enumerate(found, start=3):
        expected = stream.train.load(rows_of_batch(number))
        np.testing.assert_array_equal(batch.images, expected.images)
        np.testing.assert_array_equal(batch.labels, expected.labels)


@pytest.mark.slow
def test_worker_processes_give_the_same_and_end(stream):
    found = batches(stream, 1, 100, processes=2)
    for number in (1, 2, 3):
        expected = stream.train.load(rows_of_batch(number))
        np.testing.assert_array_equal(next(found).images, expected.images)
    assert len(multiprocessing.active_children()) == 2
    found.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("free", [0, 2 * (loader.AHEAD + 2) * BATCH_BYTES - 1, None])
def test_shared_memory_that_is_too_small_is_done_without(stream, monkeypatch, capsys, free):
    """64 MB in a container; None: there is no such folder."""

    def disk_usage(path):
        if free is None:
            raise FileNotFoundError(path)
        return SimpleNamespace(free=free)

    monkeypatch.setattr(loader.shutil, "disk_usage", disk_usage)
    monkeypatch.setattr(loader.sys, "platform", "linux")
    loader._say_small.cache_clear()
    for _ in range(2):
        found = batches(stream, 1, 4, processes=2)
        np.testing.assert_array_equal(
            next(found).images, stream.train.load(rows_of_batch(1)).images
        )
        assert multiprocessing.active_children() == []
        found.close()
    assert capsys.readouterr().err.count("/dev/shm is too small") == (free is not None)


def test_processes_decode_where_their_batches_have_room(stream, monkeypatch):
    room = SimpleNamespace(free=2 * (loader.AHEAD + 2) * BATCH_BYTES)
    monkeypatch.setattr(loader.shutil, "disk_usage", lambda path: room)
    assert loader._fits(2 * (loader.AHEAD + 2) * stream.train.num_bytes(len(rows_of_batch(0))))


def test_a_damaged_image_stops_the_batch_it_is_in(tmp_path):
    rng = np.random.default_rng(0)
    images = [encoded(rng.integers(0, 256, (9, 9, 3), np.uint8), "PNG") for _ in range(4)]
    images[3] = images[3][:60]
    folder = tmp_path / "cut" / "1.0.0"
    folder.mkdir(parents=True)
    description = DatasetInfo("cut", "1.0.0", "", "", (9, 9, 3), ("a", "b"))
    examples = [Example(f"x_{n}", image, n % 2) for n, image in enumerate(images)]
    write_folder(folder, description, {"train": examples, "test": examples[:2]})
    train = open_stream("cut", folder, 9).train
    found = read_batches(train, lambda n: np.array([n]), 2, 4, processes=0, threads=1)
    next(found)
    with pytest.raises(DataError, match="split train, record 3 cannot be decoded"):
        next(found)


def test_hosts_share_a_batch_between_them():
    rows = np.arange(12)
    shares = [host_share(rows, host, 3) for host in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    np.testing.assert_array_equal(np.concatenate(shares), rows)
