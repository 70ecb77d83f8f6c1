"""Prepared folders of CIFAR-10: told by their content, read by name, checked, cached."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from src import data
from src.data import write_tfds as prepare
from src.data.cifar10 import load as cifar10
from src.data.cifar10.facts import is_original
from src.data.records import file_order
from tests.small_cifar import BATCH, assert_same, joined, jpeg, make_batches, original_of

pytestmark = pytest.mark.usefixtures("own_cache")


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


def test_cache_is_used_checked_and_replaced(prepared, batches, tmp_path, monkeypatch, capsys):
    original = original_of(batches)
    read = cifar10.read_whole
    reads = []
    monkeypatch.setattr(cifar10, "read_whole", lambda stream: reads.append(1) or read(stream))
    first = cifar10.load_cifar10(prepared, original)
    assert cifar10.load_cifar10(prepared, original).digest == first.digest
    assert len(reads) == 1

    [kept] = (tmp_path / "cache/alexnet-claims/data").glob("cifar10-*")
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
