"""Data sets by name: prepared folders, download, cache, fallback, the built-in set, refusals."""

import contextlib
import http.server
import io
import itertools
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from src import data
from src.data import workplace
from src.data import write_tfds as prepare
from src.data.cifar10 import download
from src.data.cifar10 import load as cifar10
from src.data.cifar10.facts import is_original
from src.data.dataset import DataError, Dataset, check_dataset
from src.data.procedural import make_procedural
from src.data.records import file_order
from tests.test_data_archives import (
    BATCH,
    assert_same,
    cifar10_archives,
    make_batches,
    md5,
    original_of,
    own_cache,
    write_archive,
)

ORIGINAL = Path(__file__).parents[2] / "shared" / "tfds"
__all__ = ["own_cache"]  # a fixture, for this file as well


def joined(batches):
    return data.Split(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


@pytest.fixture(scope="module")
def batches():
    return make_batches()


@pytest.fixture
def prepared(tmp_path, batches):
    """A data directory with a small CIFAR-10, prepared by this project."""
    folder = tmp_path / "tfds" / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    prepare.write_prepared(folder, joined(batches[:5]), batches[5])
    return tmp_path / "tfds"


def test_prepared_folder_is_read_by_tfds_itself(prepared, batches):
    builder = tfds.builder_from_directory(prepared / "cifar10" / "3.0.2")
    source = builder.as_data_source("train")
    assert len(source) == 5 * BATCH
    assert builder.info.features["label"].names[9] == "truck"
    for index in (0, 21, 99):
        record = source[index]
        assert record["id"] == b"train_%05d" % index
        np.testing.assert_array_equal(record["image"], joined(batches).images[index])
        assert record["label"] == joined(batches).labels[index]


def test_prepared_folder_round_trip(prepared, batches):
    dataset = cifar10.load_cifar10(prepared, original_of(batches))
    assert dataset.name == "cifar10"
    assert_same(dataset, batches)


def test_folder_of_another_make_is_told_by_content(prepared, batches):
    assert cifar10.load_cifar10(prepared, original_of(batches)).name == "cifar10"
    (prepared / "cifar10/3.0.2/features.json").touch()  # read again, not from the cache
    other = original_of(make_batches(seed=1))
    assert cifar10.load_cifar10(prepared, other).name == "cifar10-unverified"


def test_one_changed_pixel_is_not_the_original(batches):
    train, test, original = joined(batches[:5]), batches[5], original_of(batches)
    assert is_original(train, test, original)
    images = train.images.copy()
    images[50, 3, 4, 1] ^= 1
    assert not is_original(train._replace(images=images), test, original)


def test_shuffled_records_come_back_in_file_order(tmp_path, batches, monkeypatch):
    folder = tmp_path / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    shuffled = {"train": rng.permutation(5 * BATCH), "test": rng.permutation(BATCH)}
    monkeypatch.setattr(prepare, "record_id", lambda name, i: f"{name}_{shuffled[name][i]:05d}")
    train, test = joined(batches[:5]), batches[5]
    mixed = (
        data.Split(*(array[order] for array in split))
        for split, order in ((train, shuffled["train"]), (test, shuffled["test"]))
    )
    prepare.write_prepared(folder, *mixed)
    assert_same(cifar10.load_cifar10(tmp_path, original_of(batches)), batches)


def test_other_ids_keep_the_order_of_the_records():
    ids = [b"train_cat_2970", b"train_cat_0001"]
    assert file_order(ids).tolist() == [0, 1]
    assert file_order([b"", b""]).tolist() == [0, 1]
    assert file_order([b"train_10", b"train_9"]).tolist() == [1, 0]


def jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture
def jpeg_copy(tmp_path, batches, monkeypatch):
    """A data directory whose small CIFAR-10 was stored with loss."""
    folder = tmp_path / "jpeg" / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    monkeypatch.setattr(prepare, "png", jpeg)
    prepare.write_prepared(folder, joined(batches[:5]), batches[5])
    return tmp_path / "jpeg"


def test_jpeg_copy_is_named_by_its_content(jpeg_copy, batches):
    dataset = cifar10.load_cifar10(jpeg_copy, original_of(batches))
    assert dataset.name == "cifar10-jpeg"
    train = joined(batches[:5])
    np.testing.assert_array_equal(dataset.train.labels, train.labels)
    for index in (0, 42):
        with Image.open(io.BytesIO(jpeg(train.images[index]))) as decoded:
            np.testing.assert_array_equal(dataset.train.images[index], np.asarray(decoded))


@pytest.mark.slow
@pytest.mark.skipif(not ORIGINAL.is_dir(), reason="needs ../shared/tfds")
def test_the_original_is_known_by_its_published_sums():
    dataset = data.load("cifar10", str(ORIGINAL))
    assert dataset.name == "cifar10"
    assert len(dataset.train.labels) == 50_000
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10


def test_other_prepared_sets_work_by_name(prepared, batches):
    other = prepared / "cifar_small"
    (prepared / "cifar10").rename(other)
    dataset = data.load("cifar_small", str(prepared))
    assert (dataset.name, dataset.num_classes) == ("cifar_small", 10)
    assert_same(dataset, batches)
    with pytest.raises(data.DataError, match=r"no data set 'cifar_smal'.*nearest: 'cifar_small'"):
        data.load("cifar_smal", str(prepared))


@pytest.mark.parametrize("name", ["../tfds/cifar10", "/etc", "", ".", "./cifar10", "cifar10/"])
def test_names_stay_in_the_data_directory(prepared, name):
    with pytest.raises(data.DataError, match="no data set"):
        data.load(name, str(prepared))


def test_damaged_records_are_refused(prepared, batches):
    [records] = (prepared / "cifar10/3.0.2").glob("*test*")
    whole = records.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:9000] + b"\0" * 99 + whole[9099:], b""):
        records.write_bytes(damaged)
        fault = r"3\.0\.2, split test.*(damaged|record \d+ cannot|is empty).*prepare it again"
        with pytest.raises(data.DataError, match=fault):
            cifar10.load_cifar10(prepared, original_of(batches))


def test_tfrecord_is_refused_with_the_command_that_converts_it(prepared, batches):
    folder = prepared / "cifar10/3.0.2"
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    with pytest.raises(data.DataError, match=r"prepared as tfrecord.*convert_format.*array_record"):
        cifar10.load_cifar10(prepared, original_of(batches))


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path/site, nothing while `speaks` is not set; bodies cut to `limit` bytes."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        speaks, limit = threading.Event(), None

        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "site"))

        def do_GET(self):
            Handler.speaks.wait()
            super().do_GET()

        def copyfile(self, source, outputfile):
            outputfile.write(source.read(Handler.limit))

        def log_message(self, *args):
            pass

    (tmp_path / "site").mkdir()
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    Handler.url = f"http://127.0.0.1:{site.server_port}/"
    Handler.speaks.set()
    yield Handler
    Handler.speaks.set()
    site.shutdown()
    site.server_close()


@pytest.fixture
def published(tmp_path, server, batches):
    archive = write_archive(tmp_path / "site", cifar10_archives.BINARY, batches)
    return original_of(batches, binary_md5=md5(archive), url=server.url)


def test_download_prepares_once(tmp_path, server, published, batches, capsys):
    home = tmp_path / "new" / "tfds"
    dataset = cifar10.load_cifar10(home, published)
    assert dataset.name == "cifar10"
    assert_same(dataset, batches)
    assert " MB" in capsys.readouterr().err
    assert [path.name for path in (home / "cifar10").iterdir()] == ["3.0.2"]
    assert "train" in " ".join(path.name for path in (home / "cifar10/3.0.2").iterdir())
    again = cifar10.load_cifar10(home, published._replace(url="http://127.0.0.1:9/"))
    assert_same(again, batches)


def test_failed_downloads_leave_nothing(tmp_path, server, published):
    home = tmp_path / "new" / "tfds"
    (tmp_path / "new").mkdir()
    wrong = published._replace(binary_md5="0" * 32)
    with pytest.raises(data.DataError, match="is not what is published or broke off"):
        cifar10.load_cifar10(home, wrong)
    server.limit = 1000
    with pytest.raises(data.DataError, match="broke off"):
        cifar10.load_cifar10(home, published)
    with pytest.raises(data.DataError, match="HTTP Error 404"):
        cifar10.load_cifar10(home, published._replace(url=server.url + "no/"))
    assert list((tmp_path / "new").iterdir()) == []


def test_silent_server_is_given_up_with_ways_out(tmp_path, server, published):
    server.speaks.clear()
    with pytest.raises(data.DataError, match=r"does not answer within 0\.2 seconds") as error:
        cifar10.load_cifar10(tmp_path / "d", published, connect_seconds=0.2)
    message = str(error.value)
    for way in ("--config.data.dir", "TFDS_DATA_DIR", "binary.tar.gz", "data.name=procedural"):
        assert way in message
    assert "\n" not in message
    assert not (tmp_path / "d").exists()


def raw_server(answers):
    """Answers each request with these pieces, one after the other; its address."""
    site = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with site, site.accept()[0] as connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for piece in answers():
                connection.sendall(piece)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{site.getsockname()[1]}/"


HEAD = b"HTTP/1.1 200 OK\r\n"


def endless():
    yield HEAD + b"\r\n"
    while True:
        yield bytes(1 << 16)


def dripping():
    yield HEAD + b"Content-Length: 1000000\r\n\r\n"
    while True:
        yield b"x"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (endless, "sends more than the 10000000 bytes published"),
        (dripping, "sends only [0-9]+ bytes a second"),
        (lambda: [HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc"], "broke off"),
        (lambda: [HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], "broke off"),
        (lambda: [HEAD + b"Content-Length: abc\r\n\r\nabc"], "not what is published"),
        (lambda: [HEAD + b"Content-Length: -5\r\n\r\nabc"], "not what is published"),
        (lambda: [HEAD + b"Content-Length: 99999\r\n\r\nabc"], "not what is published|broke off"),
        (lambda: [b"nonsense\r\n\r\n"], "cannot be had"),
        (lambda: [], "cannot be had"),
        (lambda: [b"HTTP/1.1 503 Busy\r\n\r\n"], "HTTP Error 503"),
        (lambda: [b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"], "cannot be had"),
        (lambda: [HEAD + b"X: " + b"y" * 99_999 + b"\r\n\r\n"], "cannot be had"),
    ],
)
def test_servers_that_misbehave_end_in_one_line(tmp_path, published, answers, message, monkeypatch):
    if answers is dripping:  # a second passes with every look at the clock
        clock = SimpleNamespace(monotonic=itertools.count().__next__)
        monkeypatch.setattr(download, "time", clock)
    bad = published._replace(url=raw_server(answers))
    with pytest.raises(data.DataError, match=message) as error:
        cifar10.load_cifar10(tmp_path / "d", bad, connect_seconds=600.0)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "d").exists()


def test_what_is_prepared_is_on_the_disk_before_it_gets_its_name(tmp_path, published, monkeypatch):
    flushed, rename = set(), os.rename
    sync = workplace.sync
    monkeypatch.setattr(workplace, "sync", lambda path: (sync(path), flushed.add(path.name)))

    def renamed(source, target):
        assert {path.name for path in Path(source).iterdir()} <= flushed
        assert len(flushed) >= 6  # two record files, three descriptions, the folder
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    assert cifar10.load_cifar10(tmp_path / "d", published).name == "cifar10"


def test_folder_that_cannot_be_made_is_named(tmp_path, published):
    (tmp_path / "file").write_text("")
    with pytest.raises(data.DataError, match=r"cannot prepare .*file.*Three ways out"):
        cifar10.load_cifar10(tmp_path / "file", published)


def test_a_folder_of_the_users_is_not_emptied(tmp_path):
    place = tmp_path / "mine" / "incomplete"
    place.mkdir(parents=True)
    (place / "thesis").write_text("years of work")
    with (
        pytest.raises(DataError, match="not left by a preparation; rename it"),
        workplace.workplace(place),
    ):
        pass
    assert (place / "thesis").read_text() == "years of work"


def test_second_process_is_refused_and_a_killed_one_taken_over(tmp_path, published, batches):
    place = tmp_path / "d" / "cifar10" / "incomplete"
    with (
        cifar10.workplace(place),
        pytest.raises(data.DataError, match=r"in use by process \d+.*start again when it is done"),
    ):
        cifar10.load_cifar10(tmp_path / "d", published)
    (place / "3.0.2").mkdir(parents=True)
    (place / ".lock").touch()
    (place / "3.0.2" / "half").write_text("left by a killed process")
    assert_same(cifar10.load_cifar10(tmp_path / "d", published), batches)


def test_cache_is_used_checked_and_replaced(prepared, batches, tmp_path, monkeypatch, capsys):
    original = original_of(batches)
    read = cifar10.read_whole
    reads = []
    monkeypatch.setattr(cifar10, "read_whole", lambda stream: reads.append(1) or read(stream))
    first = cifar10.load_cifar10(prepared, original)
    assert cifar10.load_cifar10(prepared, original).digest == first.digest
    assert len(reads) == 1

    [kept] = (tmp_path / "cache/alexnet-claims/data").glob("images-*")
    whole = kept.read_bytes()
    for damaged in (whole[:-9], b"", whole[:-9] + bytes(9), b"\xff" + whole[1:], whole[:300]):
        kept.write_bytes(damaged)
        assert_same(cifar10.load_cifar10(prepared, original), batches)
        assert "damaged" in capsys.readouterr().err
    assert len(reads) == 6

    [records] = (prepared / "cifar10/3.0.2").glob("*test*")
    records.touch()
    cifar10.load_cifar10(prepared, original)
    assert len(reads) == 7
    assert len(list(kept.parent.iterdir())) == 3  # images, what the records and the folder said


def test_cache_that_cannot_be_written_costs_only_time(prepared, batches, tmp_path, capsys):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert_same(cifar10.load_cifar10(prepared, original_of(batches)), batches)
    assert "not kept for the next start" in capsys.readouterr().err


def test_fallback_is_procedural_and_loud(tmp_path, capsys, monkeypatch):
    few = make_procedural(train_size=10, test_size=10)
    monkeypatch.setattr(data.procedural, "make_procedural", lambda: few)
    with pytest.raises(data.DataError, match="mnist"):
        data.load("mnist", str(tmp_path))
    assert data.load("mnist", str(tmp_path), fallback="procedural").name == "procedural"
    notice = capsys.readouterr().err.strip().splitlines()
    assert len(notice) >= 7
    assert {len(line) for line in notice} == {78}
    assert "THIS IS NOT MNIST" in notice[2]
    assert "no data set 'mnist'" in " ".join(notice)


def test_procedural_is_deterministic_and_balanced():
    first, second = (make_procedural(train_size=400, test_size=200) for _ in range(2))
    assert first.digest == second.digest != make_procedural(1, train_size=400, test_size=200).digest
    assert np.bincount(first.train.labels).tolist() == [40] * 10
    assert np.bincount(first.test.labels).tolist() == [20] * 10
    assert first.train.images.dtype == np.uint8
    assert first.train.images.shape == (400, 32, 32, 3)
    assert first.num_classes == len(first.label_names) == 10
    check_dataset(first, "procedural", (400, 200))
    # in no order of classes, and no image twice
    assert (np.diff(first.train.labels) != 0).mean() > 0.8
    both = np.concatenate([first.train.images, first.test.images])
    assert len(np.unique(both.reshape(600, -1), axis=0)) == 600


@pytest.mark.slow
def test_procedural_has_its_size_and_is_cached(monkeypatch):
    dataset = data.load("procedural")
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (20_000, 4_000)
    monkeypatch.setattr(data.procedural, "make_procedural", lambda: pytest.fail("drawn again"))
    assert data.load("procedural").digest == dataset.digest


IMAGES = np.zeros((4, 8, 8, 3), np.uint8)
LABELS = np.array([0, 1, 2, 3], np.int32)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, "must be uint8"),
        (IMAGES[..., 0], LABELS, r"must be uint8 \[N, H, W, C\]"),
        (IMAGES, LABELS.astype(np.int64), "labels must be int32"),
        (IMAGES, LABELS[:3], r"int32 \(3,\) for 4 images"),
        (IMAGES, LABELS + 1, "label 4, outside 0 to 3"),
        (IMAGES, LABELS - 1, "label -1, outside 0 to 3"),
        (IMAGES[:0], LABELS[:0], "split test is empty"),
        (IMAGES[:, :4], LABELS, r"train images are \(8, 8, 3\), test images \(4, 8, 3\)"),
    ],
)
def test_wrong_arrays_are_refused(images, labels, message):
    train, test = data.Split(IMAGES, LABELS), data.Split(images, labels)
    with pytest.raises(data.DataError, match=f"a file.*{message}"):
        check_dataset(Dataset("x", train, test, 4, (), ""), "a file")
