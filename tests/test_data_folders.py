"""Prepared folders, in memory and streamed: the same images, labels, classes and splits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from src import data
from src.data.dataset import DataError
from src.data.splits import image_shape, make_splits
from src.data.write_tfds import DatasetInfo, Example, png, write_folder
from tests.prepared import (
    IMAGES,
    NAMES,
    SIDE,
    WAYS,
    change,
    each_way,
    examples,
    load,
    splits_of,
    write,
    write_numbers,
)

pytestmark = pytest.mark.usefixtures("own_cache")


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
    order = np.random.default_rng(0).permutation(12)
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
    write_folder(folder, DatasetInfo("small", "1.0.0", "", "", (SIDE, SIDE, 1), NAMES), splits)
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
        write_folder(folder, DatasetInfo("rich", "1.0.0", "", "", (None, None, 3), NAMES), splits)
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


@each_way
@pytest.mark.parametrize("inner", ["small", "small/1.0.0"])
def test_the_folder_of_one_data_set_is_not_that_of_all(tmp_path, way, inner):
    write(tmp_path)
    for name in ("small", "cifar10"):
        with pytest.raises(DataError, match=f"give its parent, {tmp_path}$"):
            load(tmp_path / inner, way, name)
