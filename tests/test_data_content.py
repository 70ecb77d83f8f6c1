"""Data sets by content: what the digest covers, and what CIFAR-10 is called."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src import data
from src.data.cifar10 import load as cifar10
from src.data.cifar10.facts import CLASSES
from src.data.write_tfds import DatasetInfo, Example, png, write_folder
from tests.prepared import (
    IMAGES,
    each_way,
    examples,
    load,
    splits_of,
    write,
)
from tests.small_cifar import joined, jpeg, make_batches, original_of

pytestmark = pytest.mark.usefixtures("own_cache")


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
    description = DatasetInfo("cifar10", "3.0.2", "", "", (32, 32, 3), CLASSES)
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


def test_cifar10_is_called_what_it_is_though_it_was_read_by_another_name(tmp_path):
    """A link to its folder is a data set of its own, which need not be what it is called."""
    original = write_cifar10(tmp_path, png)
    (tmp_path / "mine").symlink_to(tmp_path / "cifar10")
    for _ in range(2):
        assert load(tmp_path, "in memory", "mine").name == "mine"
        assert cifar10.load_cifar10(tmp_path, original).name == "cifar10"
    assert cifar10.stream_cifar10(tmp_path, 32, original).name == "cifar10"


@each_way
def test_any_images_in_a_folder_called_cifar10_are_refused(tmp_path, way):
    write(tmp_path, "cifar10", "3.0.2")
    with pytest.raises(data.DataError, match="must have 50000"):
        load(tmp_path, way, "cifar10")
