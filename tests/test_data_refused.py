"""Prepared folders that cannot be used: one line that names file or record, and the remedy."""

import io
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src import data
from src.data.describe import describe
from src.data.write_tfds import DatasetInfo, png, write_folder
from tests.prepared import (
    CORE,
    IMAGES,
    NAMES,
    SIDE,
    WAYS,
    change,
    each_way,
    examples,
    label_as,
    load,
    splits_of,
    write,
    write_numbers,
)
from tests.small_cifar import jpeg

pytestmark = pytest.mark.usefixtures("own_cache")


# --- Refused in one line that names file or record, and the remedy. ---


def deep(bits: str) -> bytes:
    """A PNG of 16 bits a channel, grey by Pillow or coloured by hand."""
    rng = np.random.default_rng(0)
    if bits == "grey":
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 65536, (SIDE, SIDE)).astype(np.uint16)).save(buffer, "PNG")
        return buffer.getvalue()
    rows = b"".join(b"\0" + rng.bytes(SIDE * 6) for _ in range(SIDE))
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
        (b"", r"cannot be decoded .it is damaged, or none of JPEG, PNG"),
        (b"<svg/>", r"cannot be decoded .it is damaged, or none of JPEG, PNG"),
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


CLASS_LABEL = {"pythonClassName": f"{CORE}.class_label_feature.ClassLabel"}
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
    "a video": (
        lambda content: content["featuresDict"]["features"].update(
            image={"pythonClassName": f"{CORE}.video_feature.Video", "video": {}}
        ),
        "cannot be read without tensorflow, .* an Image and a ClassLabel alone",
    ),
    "no label": (
        lambda content: content["featuresDict"]["features"].pop("label"),
        r"which feature is the image.*image \(Image\)",
    ),
}


@each_way
@pytest.mark.parametrize("kind", BAD_FEATURES)
def test_features_that_are_no_image_with_a_class_are_refused(tmp_path, way, kind, capsys):
    folder = write(tmp_path)
    spoil, reason = BAD_FEATURES[kind]
    change(folder / "features.json", spoil)
    with pytest.raises(data.DataError, match=reason):
        load(tmp_path, way)
    assert capsys.readouterr() == ("", "")


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
    wide = DatasetInfo("small", "1.0.0", "", "", (None, None, 3), [*NAMES, "d"])
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
        (1, "record 1 has label 1|only one class"),
        (-3, "'label' has -3 classes"),
    ],
)
def test_lists_of_classes_that_cannot_be_meant_are_refused(tmp_path, way, number, reason):
    list_classes(write(tmp_path), number)
    with pytest.raises(data.DataError, match=reason):
        load(tmp_path, way)


@each_way
def test_a_list_of_classes_without_their_number_is_numbered(tmp_path, way):
    folder = write(tmp_path)
    list_classes(folder, 3)
    change(folder / "features.json", label_as({**CLASS_LABEL, "classLabel": {}}))
    assert load(tmp_path, way).num_classes == 3


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
    fault = r"split train, record 12 is 5 x 8, others are 8 x 8; in a study set config\.data"
    fault += ".*for another command prepare them again"
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
    with pytest.raises(data.DataError, match=r"(not one of TFDS' own features|cannot be read)"):
        load(tmp_path, way)
    assert "payload" not in sys.modules
    assert "unittest.__main__" not in sys.modules


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("../{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "names a file outside"),
        ("{NOTHING}", "split train: .*NOTHING.*; copy it again"),
    ],
)
def test_names_of_files_that_cannot_be_meant_are_refused(tmp_path, template, reason):
    folder = write(tmp_path)

    def rename(info: Any) -> None:
        info["splits"][0]["filepathTemplate"] = template

    change(folder / "dataset_info.json", rename)
    with pytest.raises(data.DataError, match=reason):
        describe(folder)
