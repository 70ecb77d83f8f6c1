"""Published archives: byte-exact, in file order, checked; pickles cannot run code."""

import os
import pickle
import tarfile

import numpy as np
import pytest

from src.data.cifar10 import archives as cifar10_archives
from src.data.cifar10 import load as cifar10
from src.data.dataset import DataError
from tests.small_cifar import (
    assert_same,
    make_batches,
    md5,
    original_of,
    write_archive,
)

pytestmark = pytest.mark.usefixtures("own_cache")


VERSIONS = {"binary": cifar10_archives.BINARY, "python": cifar10_archives.PYTHON}


@pytest.mark.parametrize("place", ["", "downloads"])
@pytest.mark.parametrize("form", VERSIONS)
def test_archive_round_trip(tmp_path, form, place):
    batches = make_batches()
    path = write_archive(tmp_path / place, VERSIONS[form], batches)
    original = original_of(batches, **{f"{form}_md5": md5(path)})
    dataset = cifar10.load_cifar10(tmp_path, original)
    assert dataset.name == "cifar10"
    assert dataset.label_names[3] == "cat"
    assert_same(dataset, batches)


@pytest.mark.parametrize("form", VERSIONS)
def test_unpacked_folder_is_told_by_content(tmp_path, form):
    batches = make_batches()
    with tarfile.open(write_archive(tmp_path / "a", VERSIONS[form], batches)) as archive:
        archive.extractall(tmp_path / "b", filter="data")
    dataset = cifar10.load_cifar10(tmp_path / "b", original_of(batches))
    assert dataset.name == "cifar10"
    assert_same(dataset, batches)

    one_bit_off = original_of([*batches[:5], batches[5]._replace(labels=9 - batches[5].labels)])
    folder = tmp_path / "b" / VERSIONS[form].folder
    os.utime(folder / VERSIONS[form].batches[0], ns=(1, 1))  # not the cache's
    assert cifar10.load_cifar10(tmp_path / "b", one_bit_off).name == "cifar10-unverified"


@pytest.mark.parametrize("place", ["", "downloads"])
@pytest.mark.parametrize("form", VERSIONS)
def test_a_stream_of_an_archive_is_prepared_of_it_once(tmp_path, form, place):
    """Nothing is downloaded: the address is nobody's."""
    batches = make_batches()
    path = write_archive(tmp_path / place, VERSIONS[form], batches)
    original = original_of(batches, **{f"{form}_md5": md5(path)}, url="http://127.0.0.1:9/")
    stream = cifar10.stream_cifar10(tmp_path, 32, original)
    assert stream.name == "cifar10"
    rows = np.arange(len(stream.test))
    np.testing.assert_array_equal(stream.test.load(rows).images, batches[5].images)
    np.testing.assert_array_equal(stream.test.load(rows).labels, batches[5].labels)
    path.unlink()
    assert cifar10.stream_cifar10(tmp_path, 32, original).digest == stream.digest


def test_a_stream_of_an_archive_needs_a_folder_that_can_be_written(tmp_path):
    batches = make_batches()
    path = write_archive(tmp_path, cifar10_archives.BINARY, batches)
    original = original_of(batches, binary_md5=md5(path))
    (tmp_path / "cifar10").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot prepare .*stream_size be 0, which .*binary"):
        cifar10.stream_cifar10(tmp_path, 32, original)
    assert cifar10.load_cifar10(tmp_path, original).name == "cifar10"


def test_wrong_checksum_is_refused(tmp_path):
    batches = make_batches()
    path = write_archive(tmp_path, cifar10_archives.BINARY, batches)
    original = original_of(batches, binary_md5=md5(path))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz: checksum .* incomplete"):
        cifar10.load_cifar10(tmp_path, original)


def test_truncated_archive_is_refused(tmp_path):
    batches = make_batches()
    path = write_archive(tmp_path, cifar10_archives.PYTHON, batches)
    path.write_bytes(path.read_bytes()[:-5000])
    original = original_of(batches, python_md5=md5(path))
    with pytest.raises(DataError, match=r"python\.tar\.gz is damaged"):
        cifar10.load_cifar10(tmp_path, original)


class Malice:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("protocol", range(6))
def test_malicious_pickle_is_refused(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / cifar10_archives.PYTHON.folder
    folder.mkdir()
    for name in cifar10_archives.PYTHON.batches:
        (folder / name).write_bytes(pickle.dumps({"data": Malice()}, protocol))
    with pytest.raises(DataError, match=r"data_batch_1 is damaged or refused .*names .\w+.system"):
        cifar10.load_cifar10(tmp_path)
    assert not (tmp_path / "pwned").exists()


PIXELS = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "has no array"),
        ({"data": PIXELS.astype(np.float32), "labels": [0, 1]}, "has no array"),
        ({"data": PIXELS[:, :-1], "labels": [0, 1]}, r"\(2, 3071\)"),
        ({"data": PIXELS, "labels": [0]}, "1 labels"),
        ({"data": PIXELS, "labels": [0, 10]}, "labels outside 0 to 9"),
        ({"data": PIXELS, "labels": [0, -1]}, "labels outside 0 to 9"),
    ],
)
def test_pickle_of_another_content_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        cifar10_archives.PYTHON.decode(pickle.dumps(content), "batch")


class Reduced:
    """Pickled as a call of NumPy's with arguments and a state of somebody's choice."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def object_pointers() -> Reduced:
    """Raw bytes whose type is then said to be that of objects: NumPy followed them as pointers."""
    kind = Reduced(np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 63))
    state = (1, (1, 8), kind, False, b"A" * 64)
    return Reduced(np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"), state)


def uninitialized() -> Reduced:
    return Reduced(np.ndarray, ((10_000, 3072), np.dtype("u1")))


def of_shape(shape: object, content: object, by_columns: bool = False) -> Reduced:
    kind = Reduced(np.dtype, ("u1", False, True), (3, "|", None, None, None, -1, -1, 0))
    state = (1, shape, kind, by_columns, content)
    return Reduced(np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"), state)


@pytest.mark.parametrize(
    "make",
    [
        object_pointers,
        uninitialized,
        lambda: of_shape((2, 3072), b"too few"),
        lambda: of_shape((2, -3072), b"x" * 6144),
        lambda: of_shape((2.0, 3072), b"x" * 6144),
        lambda: of_shape((2**40, 2**40), b""),
        lambda: of_shape(6144, b"x" * 6144),
        lambda: of_shape((2, 3072), ["x"] * 6144),
        lambda: of_shape((2, 3072), "\u20ac" * 6144),
        lambda: Reduced(np.dtype, ("O",)),
        lambda: Reduced(np.ndarray, ()),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_arrays_that_are_not_plain_bytes_are_refused(make, protocol):
    content = pickle.dumps({"data": make(), "labels": [0, 1]}, protocol)
    with pytest.raises(DataError, match=r"batch (has no array 'data' of bytes|is damaged|asks to)"):
        cifar10_archives.PYTHON.decode(content, "batch")


@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_of_bytes_are_read_however_they_lie(by_columns, protocol):
    planes = np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8)
    array = np.asfortranarray(planes) if by_columns else planes
    content = pickle.dumps({"data": array, "labels": [3, 4]}, protocol)
    images, labels = cifar10_archives.PYTHON.decode(content, "batch")
    np.testing.assert_array_equal(images[1, :, :, 2], planes[1, 2048:].reshape(32, 32))
    assert labels.tolist() == [3, 4]


def test_damaged_pickle_is_refused():
    whole = pickle.dumps({"data": PIXELS, "labels": [0, 1]})
    with pytest.raises(DataError, match="batch is damaged"):
        cifar10_archives.PYTHON.decode(whole[: len(whole) // 2], "batch")


def test_binary_file_of_wrong_length_is_refused():
    with pytest.raises(DataError, match="3072 bytes, not a multiple of 3073"):
        cifar10_archives.BINARY.decode(bytes(3072), "batch")


def test_missing_file_is_named(tmp_path):
    batches = make_batches()
    with tarfile.open(write_archive(tmp_path, cifar10_archives.BINARY, batches)) as archive:
        archive.extractall(tmp_path / "b", filter="data")
    (tmp_path / "b/cifar-10-batches-bin/data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin: No such file"):
        cifar10.load_cifar10(tmp_path / "b", original_of(batches))


def test_label_out_of_range_and_short_split_are_refused(tmp_path):
    batches = make_batches()
    batches[2].labels[4] = 10
    path = write_archive(tmp_path, cifar10_archives.BINARY, batches)
    original = original_of(batches, binary_md5=md5(path))
    with pytest.raises(DataError, match=r"binary\.tar\.gz: split train has label 10, outside 0"):
        cifar10.load_cifar10(tmp_path, original)
    with pytest.raises(DataError, match=r"split train has 100 images, it must have 101"):
        cifar10.load_cifar10(tmp_path, original._replace(sizes=(101, 20)))
