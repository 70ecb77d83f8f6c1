"""Prepared folders of every kind, in memory and streamed: read the same, or refused in one line."""

import io
import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from src import data
from src.data.cifar10 import load as cifar10
from src.data.cifar10.facts import CLASSES
from src.data.describe import describe
from src.data.splits import image_shape, make_splits
from src.data.write_tfds import Description, Example, png, write_folder
from tests.test_data import joined, jpeg
from tests.test_data_archives import make_batches, original_of, own_cache

__all__ = ["own_cache"]  # a fixture, for this file as well
WAYS = {"in memory": 0, "streamed": 8}
SIDE, NAMES = 8, ("a", "b", "c")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, SIDE, SIDE, 3), np.uint8)


def examples(images: Any = IMAGES, labels: Any = None, prefix: str = "x") -> list[Example]:
    given = np.arange(len(images)) % 3 if labels is None else labels
    encoded = [image if isinstance(image, bytes) else png(image) for image in images]
    return [
        Example(f"{prefix}_{n}", image, int(label))
        for n, (image, label) in enumerate(zip(encoded, given, strict=True))
    ]


def write(
    data_dir: Path, name: str = "small", version: str = "1.0.0", **splits: list[Example]
) -> Path:
    folder = data_dir / name / version
    folder.mkdir(parents=True)
    shape = (None, None, 3)
    splits = splits or {"train": examples(), "test": examples(IMAGES[:6])}
    write_folder(folder, Description(name, version, "", "", shape, NAMES), splits)
    return folder


def change(path: Path, function: Any) -> None:
    """Rewrites a JSON file; `function` changes what it holds in place."""
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))


def load(data_dir: Path, way: str, name: str = "small") -> Any:
    return data.load(name, str(data_dir), stream_size=WAYS[way])


def splits_of(dataset: Any) -> tuple[data.Split, data.Split]:
    """Images and labels of either kind of data set."""
    if isinstance(dataset, data.Stream):
        return tuple(rows.load(np.arange(len(rows))) for rows in (dataset.train, dataset.test))
    return dataset.train, dataset.test


each_way = pytest.mark.parametrize("way", WAYS)


# --- Read: the same images, labels and classes both ways. ---


@each_way
def test_images_labels_and_names_are_those_written(tmp_path, way):
    write(tmp_path)
    dataset = load(tmp_path, way)
    train, test = splits_of(dataset)
    np.testing.assert_array_equal(train.images, IMAGES)
    np.testing.assert_array_equal(train.labels, np.arange(12) % 3)
    np.testing.assert_array_equal(test.images, IMAGES[:6])
    assert (dataset.name, dataset.num_classes, dataset.label_names) == ("small", 3, NAMES)
    assert image_shape(dataset) == (SIDE, SIDE, 3)


@each_way
def test_records_come_in_the_order_of_the_original_files(tmp_path, way):
    order = RNG.permutation(12)
    mixed = [examples()[n] for n in order]
    write(tmp_path, train=mixed, test=examples(IMAGES[:6]))
    np.testing.assert_array_equal(splits_of(load(tmp_path, way))[0].images, IMAGES)


@each_way
@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (("test",), "test"),
        (("validation",), "validation"),
        (("validation", "test"), "test"),
        (("val",), "val"),
        (("extra", "test"), "test"),
    ],
)
def test_one_rule_says_which_split_is_tested_on(tmp_path, way, there, chosen):
    tests = {name: examples(IMAGES[n : n + 3]) for n, name in enumerate(there)}
    write(tmp_path, train=examples(), **tests)
    expected = IMAGES[there.index(chosen) :][:3]
    np.testing.assert_array_equal(splits_of(load(tmp_path, way))[1].images, expected)


@each_way
def test_a_test_split_without_labels_gives_way_to_validation(tmp_path, way):
    """As of ImageNet, whose test images all have the label -1."""
    folder = write(tmp_path, train=examples(), validation=examples(IMAGES[3:6]), test=examples())
    unlabelled = write(tmp_path, "other", train=examples(), test=examples(IMAGES, [-1] * 12))
    (theirs,) = unlabelled.glob("*-test*")
    (ours,) = folder.glob("*-test*")
    ours.write_bytes(theirs.read_bytes())
    np.testing.assert_array_equal(splits_of(load(tmp_path, way))[1].images, IMAGES[3:6])


@each_way
def test_a_set_converted_in_place_is_read(tmp_path, way):
    """What `tfds convert_format` leaves: the old format first, ArrayRecord as an alternative."""
    folder = write(tmp_path)
    formats = {"fileFormat": "tfrecord", "alternativeFileFormats": ["array_record"]}
    change(folder / "dataset_info.json", lambda info: info.update(formats))
    np.testing.assert_array_equal(splits_of(load(tmp_path, way))[0].images, IMAGES)


def write_numbers(monkeypatch: Any, data_dir: Path, labels: Any) -> None:
    """A set with plain numbers for labels, and no list of classes."""
    with monkeypatch.context() as patch:
        patch.setattr(tfds.features, "ClassLabel", lambda names: tfds.features.Scalar(np.int64))
        write(data_dir, train=examples(IMAGES, labels), test=examples(IMAGES, labels))


@each_way
@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ((5, 17, 90210, 3_700_000), ("5", "17", "90210", "3700000")),
        ((-3, 2, 4, 8), ("-3", "2", "4", "8")),
        ((1, 2, 3, 4), ("1", "2", "3", "4")),
        ((0, 1, 2, 3), ()),
    ],
)
def test_numbers_for_labels_are_numbered_as_classes(tmp_path, way, ids, names, monkeypatch):
    labels = np.array(ids)[np.arange(12) % 4]
    write_numbers(monkeypatch, tmp_path, labels)
    dataset = load(tmp_path, way)
    assert (dataset.num_classes, dataset.label_names) == (4, names)
    np.testing.assert_array_equal(splits_of(dataset)[1].labels, np.arange(12) % 4)


def grey(image: np.ndarray) -> bytes:
    return png(image[..., :1])


@each_way
@pytest.mark.parametrize(
    ("encode", "expected"),
    [
        (grey, np.repeat(IMAGES[..., :1], 3, axis=3)),
        (lambda image: png(np.dstack([image, image[..., 0]])), IMAGES),
    ],
    ids=["grey", "transparent"],
)
def test_images_of_other_channels_become_what_the_set_says(tmp_path, way, encode, expected):
    write(tmp_path, train=examples([encode(i) for i in IMAGES]), test=examples(IMAGES[:3]))
    np.testing.assert_array_equal(splits_of(load(tmp_path, way))[0].images, expected)


@each_way
def test_a_set_of_grey_images_stays_grey(tmp_path, way):
    folder = tmp_path / "small" / "1.0.0"
    folder.mkdir(parents=True)
    splits = {"train": examples([grey(i) for i in IMAGES]), "test": examples([grey(IMAGES[0])])}
    write_folder(folder, Description("small", "1.0.0", "", "", (SIDE, SIDE, 1), NAMES), splits)
    np.testing.assert_array_equal(splits_of(load(tmp_path, way))[0].images, IMAGES[..., :1])
    assert image_shape(load(tmp_path, way)) == (SIDE, SIDE, 1)


@each_way
@pytest.mark.parametrize("folder", ["[2026] lab", "a b", "a@2", "ü", "a#b%20", "a$b", "{x}", "a,b"])
def test_folders_may_be_named_anyhow(tmp_path, way, folder):
    write(tmp_path / folder)
    np.testing.assert_array_equal(splits_of(load(tmp_path / folder, way))[0].images, IMAGES)


# --- Versions. ---


def damage(folder: Path, how: str) -> None:
    records = next(folder.glob("*-train*"))
    if how == "half copied":
        records.unlink()
    if how == "emptied":
        records.write_bytes(b"")
    if how == "tfrecord":
        change(folder / "dataset_info.json", lambda info: info.update(fileFormat="tfrecord"))
    if how == "undescribed":
        (folder / "features.json").write_text("{")


@each_way
@pytest.mark.parametrize("how", ["half copied", "emptied", "tfrecord", "undescribed"])
def test_the_highest_version_that_can_be_read_is_used(tmp_path, way, how, capsys):
    for number, version in enumerate(("1.0.0", "1.9.0", "1.10.0", "2.0.0")):
        write(tmp_path, version=version, train=examples(), test=examples(IMAGES[number:][:3]))
    damage(tmp_path / "small" / "2.0.0", how)
    np.testing.assert_array_equal(splits_of(load(tmp_path, way))[1].images, IMAGES[2:5])
    assert "small: version 1.10.0 is used, for a higher one cannot be" in capsys.readouterr().err


@each_way
@pytest.mark.parametrize("name", ["small:1.0.0", "small/1.0.0"])
def test_a_name_may_choose_the_version(tmp_path, way, name):
    write(tmp_path, train=examples(), test=examples(IMAGES[5:9]))
    write(tmp_path, version="2.0.0")
    dataset = load(tmp_path, way, name)
    assert dataset.name == "small:1.0.0"
    np.testing.assert_array_equal(splits_of(dataset)[1].images, IMAGES[5:9])


def test_what_is_not_there_is_answered_with_what_is(tmp_path):
    write(tmp_path)
    with pytest.raises(data.DataError, match=r"no version '3\.0\.0'.*the versions 1\.0\.0"):
        data.load("small:3.0.0", str(tmp_path))
    with pytest.raises(data.DataError, match=r"'smal'.*nearest: 'small' \(prepared there: small;"):
        data.load("smal", str(tmp_path))
    with pytest.raises(data.DataError, match=r"prepared there: none; always to be had: cifar10"):
        data.load("small", str(tmp_path / "none"))


# --- Refused in one line that names file or record, and the remedy. ---


def deep(bits: str) -> bytes:
    """A PNG of 16 bits a channel, grey by Pillow or coloured by hand."""
    if bits == "grey":
        buffer = io.BytesIO()
        Image.fromarray(RNG.integers(0, 65536, (SIDE, SIDE)).astype(np.uint16)).save(buffer, "PNG")
        return buffer.getvalue()
    rows = b"".join(b"\0" + RNG.bytes(SIDE * 6) for _ in range(SIDE))
    side = SIDE.to_bytes(4, "big")
    head = (b"IHDR", side + side + b"\x10\x02\0\0\0")
    parts = (head, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = [
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
        for name, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@each_way
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(IMAGES[0])[:70], "cannot be decoded"),
        (jpeg(IMAGES[0])[:200], "cannot be decoded"),
        (b"", "cannot be decoded"),
        (b"<svg/>", "cannot be decoded"),
        (deep("grey"), "more than 8 bits"),
        (deep("colours"), "more than 8 bits"),
    ],
    ids=["cut PNG", "cut JPEG", "empty", "SVG", "16-bit grey", "16-bit colours"],
)
def test_an_image_that_cannot_be_used_is_named(tmp_path, way, content, reason):
    images = [*IMAGES[:7], content, *IMAGES[8:]]
    write(tmp_path, train=examples(images), test=examples(IMAGES[:3]))
    fault = rf"1\.0\.0, split train, record 7 .*{reason}.*prepare the data set again"
    with pytest.raises(data.DataError, match=fault) as error:
        splits_of(load(tmp_path, way))
    assert "\n" not in str(error.value)


def of_type(kind: str) -> Any:
    def set_type(content: Any) -> None:
        content["featuresDict"]["features"]["image"]["image"]["dtype"] = kind

    return set_type


def label_as(feature: dict[str, Any]) -> Any:
    return lambda content: content["featuresDict"]["features"].update(label=feature)


CORE = "tensorflow_datasets.core.features"
TENSOR = {"pythonClassName": f"{CORE}.tensor_feature.Tensor"}
BAD_FEATURES = {
    "uint16": (of_type("uint16"), "'image' has images of uint16; only those of 8 bits"),
    "float32": (of_type("float32"), "(images of|single-channel for) .*float32"),
    "a number to predict": (
        label_as({**TENSOR, "tensor": {"shape": {}, "dtype": "float32", "encoding": "none"}}),
        "'label' is a Tensor of float32",
    ),
    "several labels": (
        label_as(
            {**TENSOR, "tensor": {"shape": {"dimensions": ["3"]}, "dtype": "int64"}},
        ),
        r"'label' is a Tensor of int64 \(3,\)",
    ),
    "text": (
        label_as({"pythonClassName": f"{CORE}.text_feature.Text", "text": {}}),
        "'label' is a Text",
    ),
    "no label": (
        lambda content: content["featuresDict"]["features"].pop("label"),
        r"which feature is the image.*image \(Image\)",
    ),
}


@each_way
@pytest.mark.parametrize("kind", BAD_FEATURES)
def test_features_that_are_no_image_with_a_class_are_refused(tmp_path, way, kind):
    folder = write(tmp_path)
    spoil, reason = BAD_FEATURES[kind]
    change(folder / "features.json", spoil)
    with pytest.raises(data.DataError, match=reason):
        load(tmp_path, way)


@each_way
@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("dataset_info.json", b"", "dataset_info.json cannot be read"),
        ("dataset_info.json", b"[]", "holds no description"),
        ("dataset_info.json", b"[" * 100_000, "dataset_info.json cannot be read"),
        ("dataset_info.json", b'{"fileFormat": "array_record"}', "cannot be read as a TFDS"),
        ("features.json", b"{", "features.json cannot be read"),
        ("features.json", b"\xff\xfe", "features.json cannot be read"),
        ("features.json", None, "features.json cannot be read"),
        ("label.labels.txt", b"a\nb\n", "(cannot be read|has 2 names for 3)"),
        ("label.labels.txt", b"a\nb\n\xff\n", "(cannot be read|labels.txt)"),
        ("small-train.array_record-00000-of-00001", None, "train.*No such file"),
        ("small-train.array_record-00000-of-00001", b"", "train.*is empty"),
        ("small-train.array_record-00000-of-00001", bytes(70_000), "train.*damaged"),
        ("small-test.array_record-00000-of-00001", b"text", "test.*(cannot be read|damaged)"),
    ],
)
def test_damaged_files_are_named(tmp_path, way, file, content, reason):
    path = write(tmp_path) / file
    assert path.exists()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(data.DataError, match=f"(?s){reason}") as error:
        load(tmp_path, way)
    assert "\n" not in str(error.value)
    assert "prepare it" in str(error.value)


@each_way
def test_a_file_of_fewer_records_than_described_is_refused(tmp_path, way):
    folder = write(tmp_path)
    fewer = write(tmp_path, "fewer", train=examples(IMAGES[:5]), test=examples())
    (ours,), (theirs,) = folder.glob("*-train*"), fewer.glob("*-train*")
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(data.DataError, match=r"holds 5 records, and should hold 12"):
        load(tmp_path, way)


@each_way
@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [
        ([0, 1, 3] * 4, [0, 1, 2], "split train, record 2 has label 3.* 3 classes"),
        ([0, 1, 2] * 4, [0, -1, 2], "split test, record 1 has label -1"),
    ],
)
def test_labels_outside_the_classes_are_refused(tmp_path, way, train, test, reason):
    wide = Description("small", "1.0.0", "", "", (None, None, 3), [*NAMES, "d"])
    folder = tmp_path / "small" / "1.0.0"
    folder.mkdir(parents=True)
    splits = {"train": examples(IMAGES, train), "test": examples(IMAGES[:3], test)}
    write_folder(folder, wide, splits)
    path = folder / "features.json"
    change(
        path,
        lambda c: c["featuresDict"]["features"]["label"]["classLabel"].update(numClasses="3"),
    )
    (folder / "label.labels.txt").write_text("a\nb\nc\n")
    with pytest.raises(data.DataError, match=reason):
        load(tmp_path, way)


@each_way
def test_a_number_of_its_own_for_each_image_is_no_class(tmp_path, way, monkeypatch):
    write_numbers(monkeypatch, tmp_path, range(100, 112))
    with pytest.raises(data.DataError, match=r"'label' has 12 values in 12 images: it is no class"):
        load(tmp_path, way)


def list_classes(folder: Path, number: int) -> None:
    label = {"classLabel": {"numClasses": str(number)}}
    change(
        folder / "features.json",
        lambda content: content["featuresDict"]["features"]["label"].update(label),
    )
    (folder / "label.labels.txt").unlink()


@each_way
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (3_700_001, "lists 3700001 classes for 12 images: these are ids"),
        (10**12, "lists 1000000000000 classes|cannot be read"),
        (1, "record 1 has label 1|one class alone"),
    ],
)
def test_lists_of_classes_that_cannot_be_meant_are_refused(tmp_path, way, number, reason):
    list_classes(write(tmp_path), number)
    with pytest.raises(data.DataError, match=reason):
        load(tmp_path, way)


@each_way
@pytest.mark.parametrize("lengths", [["1000000000000"], ["-5"], ["12", "12"], ["0"], []])
def test_numbers_of_records_that_are_not_there_are_refused(tmp_path, way, lengths):
    folder = write(tmp_path)
    change(
        folder / "dataset_info.json", lambda info: info["splits"][0].update(shardLengths=lengths)
    )
    with pytest.raises(data.DataError, match=r"(should hold|No such file|is empty|cannot be read)"):
        load(tmp_path, way)


@each_way
@pytest.mark.parametrize("instead", ["pointer", "dangling link", "folder", "page"])
def test_what_stands_in_for_a_record_file_is_refused(tmp_path, way, instead):
    """Pointers of Git LFS, links of DVC and git-annex, and pages of a server that said no."""
    path = next(write(tmp_path).glob("*-train*"))
    path.unlink()
    if instead == "pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    if instead == "dangling link":
        path.symlink_to("/nowhere/at/all")
    if instead == "folder":
        path.mkdir()
    if instead == "page":
        path.write_text("<html>404</html>" * 9000)
    with pytest.raises(data.DataError, match=r"small-train.*(damaged|No such file).*prepare it"):
        load(tmp_path, way)


def test_images_of_many_sizes_are_refused_in_memory_with_the_remedy(tmp_path):
    write(tmp_path, train=[*examples(), *examples([IMAGES[0, :5]], [0], "y")], test=examples())
    fault = r"split train, record 12 is 5 x 8, others are 8 x 8; set config\.data\.stream_size"
    with pytest.raises(data.DataError, match=fault):
        load(tmp_path, "in memory")
    assert load(tmp_path, "streamed").train.load(np.array([12])).images.shape == (1, 8, 8, 3)


def test_images_that_memory_does_not_hold_are_refused_with_the_remedy(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr(os, "sysconf", lambda name: 10)
    with pytest.raises(data.DataError, match=r"take .* GB, and this machine has .*stream_size"):
        load(tmp_path, "in memory")


@each_way
@pytest.mark.parametrize("place", ["gs://bucket/tfds", "s3://x", "file:///tmp", "~nosuchuser/x"])
@pytest.mark.parametrize("by", ["field", "variable"])
def test_data_that_is_not_on_this_machine_is_refused(way, place, by, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", place if by == "variable" else "")
    named = "config.data.dir" if by == "field" else "TFDS_DATA_DIR"
    with pytest.raises(data.DataError, match=named):
        data.load("cifar10", place if by == "field" else "", stream_size=WAYS[way])


def test_a_user_without_home_or_cache_still_reads(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    np.testing.assert_array_equal(load(tmp_path, "in memory").train.images, IMAGES)


# --- Nothing that is read runs. ---


@each_way
@pytest.mark.parametrize(
    "name",
    [
        "payload.Label",
        "unittest.__main__.X",
        "tensorflow_datasets.core.features.feature_test.X",
        "tensorflow_datasets.testing.Label",
        "os.system",
        "",
        None,
        ["payload.Label"],
    ],
)
@pytest.mark.parametrize("form", ["today's", "older", "nested", "in the other file"])
def test_features_that_are_not_tfds_own_are_refused_unread(tmp_path, way, name, form, monkeypatch):
    folder = write(tmp_path)
    (tmp_path / "payload.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    feature: Any = {"pythonClassName": name, "classLabel": {"numClasses": "3"}}
    if form == "nested":
        inner = {"feature": feature, "length": "1"}
        kind = f"{CORE}.sequence_feature.Sequence"
        feature = {"pythonClassName": kind, "sequence": inner}
    if form == "older":
        feature = {"type": name, "content": {"num_classes": 3}}
    if form == "in the other file":
        change(folder / "dataset_info.json", lambda info: info.update(features=feature))
    else:
        change(folder / "features.json", label_as(feature))
    with pytest.raises(data.DataError, match=r"(no feature of TFDS itself|cannot be read)"):
        load(tmp_path, way)
    assert "payload" not in sys.modules
    assert "unittest.__main__" not in sys.modules


def test_a_split_that_names_files_outside_its_folder_is_refused(tmp_path):
    folder = write(tmp_path)

    def escape(info: Any) -> None:
        info["splits"][0]["filepathTemplate"] = "../{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"

    change(folder / "dataset_info.json", escape)
    with pytest.raises(data.DataError, match=r"names a file outside"):
        describe(folder)


# --- The digest covers what matters, and nothing else. ---


@each_way
@pytest.mark.parametrize("stranger", [".DS_Store", "Thumbs.db", ".nfs0001", "notes.txt", "z.json"])
def test_files_that_are_not_the_sets_are_no_part_of_it(tmp_path, way, stranger):
    folder = write(tmp_path)
    before = load(tmp_path, way).digest
    (folder / stranger).write_bytes(b"left by another program")
    assert load(tmp_path, way).digest == before


def reorder(folder: Path) -> None:
    (folder / "label.labels.txt").write_text("c\nb\na\n")


def swap_records(folder: Path) -> None:
    """Another image of the same length: two of the test images change places."""
    path = next(folder.glob("*-test*"))
    size = path.stat().st_size
    other = write(
        folder.parents[1], "other", train=examples(), test=examples(IMAGES[[1, 0, 2, 3, 4, 5]])
    )
    path.write_bytes(next(other.glob("*-test*")).read_bytes())
    assert path.stat().st_size == size


def relabel(folder: Path) -> None:
    other = write(folder.parents[1], "other", train=examples(IMAGES, [2] * 12), test=examples())
    next(folder.glob("*-train*")).write_bytes(next(other.glob("*-train*")).read_bytes())


@each_way
@pytest.mark.parametrize("changed", [reorder, swap_records, relabel])
def test_whatever_decides_the_data_changes_the_digest(tmp_path, way, changed):
    folder = write(tmp_path)
    before = load(tmp_path, way).digest
    changed(folder)
    assert load(tmp_path, way).digest != before


@each_way
def test_files_replaced_with_size_and_time_kept_are_read_again(tmp_path, way):
    """As `cp -p`, `rsync -t` and `tar` do."""
    folder = write(tmp_path)
    before = load(tmp_path, way).digest
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    swap_records(folder)
    for path, time in times.items():
        os.utime(path, ns=(time, time))
    assert load(tmp_path, way).digest != before


# --- CIFAR-10 by content, both ways. ---


def write_cifar10(data_dir: Path, encode: Any = png, labels: Any = None) -> Any:
    batches = make_batches()
    train, test = joined(batches[:5]), batches[5]
    folder = data_dir / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    description = Description("cifar10", "3.0.2", "", "", (32, 32, 3), CLASSES)
    splits = {
        name: [
            Example(f"{name}_{n}", encode(image), int(label))
            for n, (image, label) in enumerate(zip(*split, strict=True))
        ]
        for name, split in (
            ("train", train if labels is None else train._replace(labels=labels(train.labels))),
            ("test", test),
        )
    }
    write_folder(folder, description, splits)
    # a seal of the folder's own make proves nothing
    (folder / "original.json").write_text(json.dumps({"digest": "0" * 64}))
    return original_of(batches)


def through_jpeg(image: np.ndarray) -> bytes:
    """What a JPEG copy holds, stored as PNG."""
    with Image.open(io.BytesIO(jpeg(image))) as lossy:
        return png(np.asarray(lossy))


@each_way
@pytest.mark.parametrize(
    ("encode", "labels", "name"),
    [
        (png, None, "cifar10"),
        (jpeg, None, "cifar10-jpeg"),
        (through_jpeg, None, "cifar10-unverified"),
        (png, lambda labels: 9 - labels, "cifar10-unverified"),
    ],
    ids=["original", "jpeg", "jpeg as png", "wrong labels"],
)
def test_cifar10_is_called_what_it_is(tmp_path, way, encode, labels, name):
    original = write_cifar10(tmp_path, encode, labels)
    if way == "in memory":
        assert cifar10.load_cifar10(tmp_path, original).name == name
    else:
        stream = cifar10.stream_cifar10(tmp_path, 32, original)
        assert stream.name == name
        whole = cifar10.load_cifar10(tmp_path, original)
        for ours, theirs in zip(splits_of(stream), splits_of(whole), strict=True):
            np.testing.assert_array_equal(ours.images, theirs.images)
            np.testing.assert_array_equal(ours.labels, theirs.labels)


@each_way
def test_any_images_in_a_folder_called_cifar10_are_refused(tmp_path, way):
    write(tmp_path, "cifar10", "3.0.2")
    with pytest.raises(data.DataError, match="must have 50000"):
        load(tmp_path, way, "cifar10")


# --- What other sets have besides. ---


@each_way
def test_other_features_are_passed_over(tmp_path, way):
    """Boxes and masks, which TFDS' own reader would decode."""
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "mask": tfds.features.LabeledImage(labels=2, shape=(None, None, 1)),
            "objects": tfds.features.Sequence({"bbox": tfds.features.BBoxFeature()}),
            "kind": tfds.features.ClassLabel(names=NAMES),
        }
    )
    folder = tmp_path / "rich" / "1.0.0"
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.features, "FeaturesDict", lambda given: features)
        splits = {"train": rich_examples(IMAGES), "test": rich_examples(IMAGES[:3])}
        write_folder(folder, Description("rich", "1.0.0", "", "", (None, None, 3), NAMES), splits)
    change(folder / "dataset_info.json", lambda info: info.pop("supervisedKeys"))
    (folder / "metadata.json").write_text("{}")
    train, _ = splits_of(load(tmp_path, way, "rich"))
    np.testing.assert_array_equal(train.images, IMAGES)
    np.testing.assert_array_equal(train.labels, np.arange(12) % 3)


class Rich(Example):
    """An example with more than an image and a class."""

    def _asdict(self) -> dict[str, Any]:
        return {
            "image": self.image,
            "mask": png(np.zeros((SIDE, SIDE, 1), np.uint8)),
            "objects": {"bbox": [tfds.features.BBox(0.0, 0.0, 0.5, 0.5)] * self.label},
            "kind": self.label,
        }


def rich_examples(images: np.ndarray) -> list[Example]:
    return [Rich("", png(image), n % 3) for n, image in enumerate(images)]


@each_way
@pytest.mark.parametrize("sizes", [(1, 11), (4, 4, 4), (12, 0), (5, 0, 7)])
def test_records_in_several_files_are_one_split(tmp_path, way, sizes):
    folder = write(tmp_path)
    (whole,) = folder.glob("*-train*")
    stem = whole.name.rpartition("-00000-of-")[0]
    whole.unlink()
    at = 0
    for number, size in enumerate(sizes):
        part = examples()[at : at + size]
        other = write(tmp_path, f"part{number}", train=part, test=part)
        (theirs,) = other.glob("*-train*")
        theirs.rename(folder / f"{stem}-{number:05d}-of-{len(sizes):05d}")
        at += size
    change(
        folder / "dataset_info.json",
        lambda info: info["splits"][0].update(shardLengths=[str(size) for size in sizes]),
    )
    np.testing.assert_array_equal(splits_of(load(tmp_path, way))[0].images, IMAGES)


# --- TFDS itself reads what is written here. ---


def test_tfds_reads_what_is_written(tmp_path):
    folder = write(tmp_path)
    source = tfds.builder_from_directory(folder).as_data_source("train")
    np.testing.assert_array_equal(source[3]["image"], IMAGES[3])


def test_splits_of_a_stream_are_those_of_memory(tmp_path):
    write(tmp_path)
    ours, theirs = (make_splits(load(tmp_path, way), 3, 6) for way in WAYS)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(ours[name].labels, theirs[name].labels)


@each_way
@pytest.mark.parametrize("place", [".", "..", "sub/..", "./", "link"])
def test_folders_may_be_said_in_any_way(tmp_path, way, place, monkeypatch):
    write(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "sub" if place == ".." else tmp_path)
    dataset = data.load("small", place, stream_size=WAYS[way])
    np.testing.assert_array_equal(splits_of(dataset)[0].images, IMAGES)


@each_way
def test_a_description_that_is_kept_follows_its_folder(tmp_path, way):
    write(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    load(tmp_path / "link", way)
    (tmp_path / "link").unlink()
    np.testing.assert_array_equal(splits_of(load(tmp_path / "a", way))[0].images, IMAGES)
    next((tmp_path / "a" / "small" / "1.0.0").glob("*-train*")).unlink()
    with pytest.raises(data.DataError, match="No such file"):
        load(tmp_path / "a", way)
