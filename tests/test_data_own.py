"""Data sets of one's own: a folder of images, arrays, a function of a config file."""

import inspect
import io
import os
import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src import data, doors, write_tfds
from src.data import own_images, tfds_folder
from src.data.dataset import check_dataset
from src.data.image_arrays import read_arrays
from tests import tiny

pytestmark = pytest.mark.usefixtures("own_cache", "in_process")


def save(path: Path, shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def prepare(*arguments: object) -> int:
    return doors.run(write_tfds.main, [str(argument) for argument in arguments])


@pytest.fixture
def pets(tmp_path) -> Path:
    for split, count in (("train", 5), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for n in range(count):
                save(tmp_path / "pets" / split / name / f"{n}.png", seed=100 * label + n)
    (tmp_path / "pets" / "train" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "pets" / "train" / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "pets" / "train" / "cat" / "._0.png").write_bytes(b"x")
    return tmp_path / "pets"


def test_a_folder_of_images_becomes_a_data_set(pets, tmp_path, capsys):
    assert prepare("pets", pets, f"--data_dir={tmp_path / 'tfds'}") == 0
    assert "10 images to train on, 4 to test on, 2 classes" in capsys.readouterr().out
    dataset = data.load("pets", str(tmp_path / "tfds"))
    assert dataset.label_names == ("cat", "dog")
    assert np.bincount(dataset.train.labels).tolist() == [5, 5]
    assert sorted(dataset.train.labels.tolist()) != dataset.train.labels.tolist()  # mixed
    files = {
        np.asarray(Image.open(path)).tobytes(): path.parent.name
        for path in (pets / "train").rglob("[0-9].png")
    }
    for image, label in zip(*dataset.train, strict=True):
        assert files[image.tobytes()] == dataset.label_names[label]
    assert [path.name for path in (tmp_path / "tfds" / "pets").iterdir()] == ["1.0.0"]


def test_the_flags_that_are_said_read_what_was_written(pets, tmp_path, capsys):
    """The higher of two versions is read unless the lower one is named."""
    folder = tmp_path / "my sets"
    for version, named in (("2.0.0", "pets"), ("1.0.0", "pets:1.0.0"), ("3.0.0", "pets")):
        assert prepare("pets", pets, f"--data_dir={folder}", f"--version={version}") == 0
        first, *notes = capsys.readouterr().out.splitlines()
        said = shlex.split(first.partition("; ")[2])
        assert said == [f"--config.data.name={named}", f"--config.data.dir={folder}"]
        found = tfds_folder.find_prepared(tfds_folder.parse_name(named), folder)
        assert found and found.folder.name == version
        told = "note: pets without a version is 2.0.0, the highest there"
        assert notes == ([told] if ":" in named else [])


def test_without_a_test_folder_a_share_of_each_class_is_tested_on(tmp_path):
    for name, count in (("1", 10), ("2", 20), ("10", 3)):
        for n in range(count):
            save(tmp_path / "all" / name / f"{n}.jpg", seed=n)
    assert prepare("all", tmp_path / "all", f"--data_dir={tmp_path}", "--test_fraction=0.2") == 0
    dataset = data.load("all", str(tmp_path))
    assert dataset.label_names == ("1", "2", "10")
    assert np.bincount(dataset.test.labels).tolist() == [2, 4, 1]
    assert np.bincount(dataset.train.labels).tolist() == [8, 16, 2]


def test_of_two_images_of_a_class_one_is_always_trained_on(tmp_path):
    for name in "ab":
        for n in range(2):
            save(tmp_path / "two" / name / f"{n}.png", seed=n)
    assert prepare("two", tmp_path / "two", f"--data_dir={tmp_path}", "--test_fraction=0.9") == 0
    dataset = data.load("two", str(tmp_path))
    for split in (dataset.train, dataset.test):
        assert sorted(split.labels.tolist()) == [0, 1]


def test_images_that_are_all_grey_have_one_channel(tmp_path):
    """Whether their files have one, or three that are alike."""
    pixels = {}
    for label, name in enumerate("ab"):
        for n in range(2):
            grey = save(tmp_path / "grey" / name / f"{n}.png", (8, 8), seed=2 * label + n)
            pixels[grey.tobytes()] = label
        Image.fromarray(grey).convert("RGB").save(tmp_path / "grey" / name / "1.png")
    assert prepare("grey", tmp_path / "grey", f"--data_dir={tmp_path}") == 0
    _, train, test, *_ = data.load("grey", str(tmp_path))
    images = np.concatenate([train.images, test.images])
    assert images.shape == (4, 8, 8, 1)
    labels = [*train.labels, *test.labels]
    assert {x.tobytes(): y for x, y in zip(images, labels, strict=True)} == pixels


def test_images_of_many_sizes_and_forms_are_streamed(tmp_path, capsys):
    for n, (form, shape) in enumerate(
        [("png", (9, 12, 3)), ("bmp", (30, 8, 3)), ("JPG", (9, 9)), ("gif", (11, 9))]
    ):
        for label in "ab":
            save(tmp_path / "mixed" / label / f"{n}.{form}", shape)
    assert prepare("mixed", tmp_path / "mixed", f"--data_dir={tmp_path}") == 0
    with pytest.raises(data.DataError, match="stream_size"):
        data.load("mixed", str(tmp_path))
    stream = data.load("mixed", str(tmp_path), stream_size=8)
    assert stream.train.load(np.arange(6)).images.shape == (6, 8, 8, 3)


@pytest.mark.parametrize("names", [("train_images", "train_labels", "test_images", "test_labels"),
                                   ("x_train", "y_train", "x_test", "y_test")])  # fmt: skip
@pytest.mark.parametrize("form", ["colour", "grey", "column of labels"])
def test_arrays_become_a_data_set(tmp_path, names, form):
    shape = (30, 6, 5) if form == "grey" else (30, 6, 5, 3)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    labels = np.arange(30) % 3
    column = labels[:, None] if form == "column of labels" else labels
    np.savez(
        tmp_path / "a.npz",
        **dict(zip(names, (images, column, images[:9], column[:9]), strict=True)),
    )
    assert prepare("arrays", tmp_path / "a.npz", f"--data_dir={tmp_path}") == 0
    dataset = data.load("arrays", str(tmp_path))
    expected = images[..., None] if form == "grey" else images
    found = {image.tobytes(): label for image, label in zip(*dataset.train, strict=True)}
    assert found == {i.tobytes(): label for i, label in zip(expected, labels, strict=True)}
    assert dataset.num_classes == 3


def test_what_is_no_image_may_lie_beside_the_arrays(tmp_path):
    images, labels = np.zeros((10, 4, 4), np.uint8), np.arange(10) % 2
    beside = {
        "mean": np.zeros((4, 4, 3), np.float32),
        "boxes": np.zeros((10, 5, 4)),
        "features": np.zeros((10, 2, 2, 16), np.uint8),
        "class_names": np.array(["a", "b"]),
    }
    np.savez(tmp_path / "a.npz", images=images, labels=labels, **beside)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("README.txt", "how they were made")
        archive.writestr("__MACOSX/._images.npy", b"\0")
    assert prepare("beside", tmp_path / "a.npz", f"--data_dir={tmp_path}") == 0


@pytest.mark.parametrize(
    ("names", "labels", "told"),
    [
        (["cat", "dog", "wolf"], [0, 1, 2], ("cat", "dog", "wolf")),
        (["cat", "dog", "wolf"], [2, 0, 2], ("cat", "wolf")),  # No image is of a dog.
        ([], [5, 7, 7], ("5", "7")),
    ],
)
def test_classes_in_arrays_have_the_names_that_lie_beside_them(tmp_path, names, labels, told):
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    given = np.array(names, dtype=str)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array(labels), class_names=given)
    assert read_arrays(tmp_path / "a.npz").label_names == told


BAD_ARRAYS = {
    "floats": ({"images": np.zeros((4, 2, 2, 3)), "labels": np.arange(4)}, "uint8"),
    "channels first": (
        {"images": np.zeros((4, 3, 8, 8), np.uint8), "labels": np.arange(4)},
        r"\(4, 3, 8, 8\)",
    ),
    "labels to predict": (
        {"images": np.zeros((4, 2, 2), np.uint8), "labels": np.linspace(0, 1, 4)},
        "labels are whole numbers",
    ),
    "too few labels": (
        {"images": np.zeros((4, 2, 2), np.uint8), "labels": np.zeros(3, int)},
        "4 images and 3 labels",
    ),
    "other names": ({"X": np.zeros(3)}, "has arrays X; wanted are train_images"),
    "objects": (
        {"images": np.array([None]), "labels": np.zeros(1, int)},
        r"images is object \(1,\); images are uint8",
    ),
    "labels of objects": (
        {"images": np.zeros((1, 2, 2), np.uint8), "labels": np.array([None])},
        r"labels is object \(1,\); labels are whole numbers",
    ),
    "several labels": (
        {"images": np.zeros((4, 2, 2), np.uint8), "labels": np.zeros((4, 2), int)},
        r"labels is int64 \(4, 2\); labels are whole numbers",
    ),
    "no height": (
        {"images": np.zeros((4, 0, 8, 3), np.uint8), "labels": np.arange(4)},
        r"a\.npz: images is empty, its shape is \(4, 0, 8, 3\)",
    ),
    "no width": (
        {"images": np.zeros((4, 8, 0), np.uint8), "labels": np.arange(4)},
        r"a\.npz: images is empty, its shape is \(4, 8, 0\)",
    ),
    "one class": (
        {"images": np.zeros((4, 2, 2), np.uint8), "labels": np.full(4, 7)},
        "has only one class",
    ),
    "a third split": (
        {
            f"{split}_{what}": np.zeros((4, 2, 2), np.uint8) if what == "images" else np.arange(4)
            for split in ("train", "val", "test")
            for what in ("images", "labels")
        },
        r"a\.npz has images val_images as well, which would be left out",
    ),
    "test images of another naming": (
        {
            **{"images": np.zeros((4, 2, 2), np.uint8), "labels": np.arange(4)},
            **{"x_test": np.zeros((4, 2, 2, 3), np.uint8), "y_test": np.arange(4)},
        },
        r"a\.npz has images x_test as well",
    ),
    **{
        f"a third split as {kind}": (
            {
                **{"x_train": np.zeros((4, 2, 2), np.uint8), "y_train": np.arange(4)},
                **{"x_test": np.zeros((4, 2, 2), np.uint8), "y_test": np.arange(4)},
                **{"x_val": images, "y_val": np.arange(4)},
            },
            r"a\.npz has images x_val as well, which would be left out",
        )
        for kind, images in {
            "floats": np.zeros((4, 2, 2, 3), np.float32),
            "numbers": np.zeros((4, 2, 2), np.int64),
            "channels first": np.zeros((4, 3, 8, 8), np.uint8),
            "rows": np.zeros((4, 12), np.float32),
        }.items()
    },
    "a third split as floats of another naming": (
        {
            **{"images": np.zeros((4, 2, 2), np.uint8), "labels": np.arange(4)},
            **{"val_images": np.zeros((4, 2, 2)), "val_labels": np.arange(4)},
        },
        r"a\.npz has images val_images as well, which would be left out",
    ),
    **{
        f"class names: {fault}": (
            {
                **{"images": np.zeros((4, 2, 2), np.uint8), "labels": np.arange(4)},
                "class_names": np.array(names),
            },
            message,
        )
        for fault, names, message in [
            ("too few", ["a", "b", "c"], "class_names names labels 0 to 2, and there is a label 3"),
            ("no text", [1, 2, 3, 4], r"class_names is int64 \(4,\); names are text \[classes\]"),
            ("bytes", [b"a"] * 4, r"class_names is \|S1 \(4,\); names are text"),
            ("objects", [None] * 4, r"class_names is object \(4,\); names are text"),
            ("a table", [["a", "b"]] * 2, r"class_names is <U1 \(2, 2\); names are text"),
            ("twice", ["a", "b", "c", "a"], "class_names has 'a', which is there twice"),
            ("empty", ["a", "", "c", "d"], "class_names has '', which is empty; name it otherwise"),
            ("a line", ["a", "b\nc", "d", "e"], r"'b\\nc', which has a character in it"),
            ("a space", ["a", "b ", "d", "e"], "'b ', which begins or ends with a space"),
        ]
    },
    "a label below the names": (
        {
            **{"images": np.zeros((2, 2, 2), np.uint8), "labels": np.array([-1, 0])},
            "class_names": np.array(["a", "b"]),
        },
        "class_names names labels 0 to 1, and there is a label -1",
    ),
    "a label beyond 63 bits": (
        {"images": np.zeros((2, 2, 2), np.uint8), "labels": np.array([5, 2**64 - 1], np.uint64)},
        r"a\.npz has the label 18446744073709551615; the largest is 9223372036854775807",
    ),
    "none": ({"images": np.zeros((0, 2, 2), np.uint8), "labels": np.zeros(0, int)}, "is empty"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_arrays_of_another_kind_are_refused(tmp_path, kind, capsys):
    arrays, message = BAD_ARRAYS[kind]
    np.savez(tmp_path / "a.npz", **arrays)
    refused(capsys, message, tmp_path, "a", tmp_path / "a.npz")


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


IMAGES = npy(np.zeros((4, 8, 8), np.uint8))


def archive(path: Path, images: bytes = IMAGES) -> bytes:
    """Writes images and labels as a .npz file; returns its bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images.npy", images)
        file.writestr("labels.npy", npy(np.arange(4) % 2))
    return path.read_bytes()


def damaged(path: Path) -> None:
    content = bytearray(archive(path))
    begin = content.index(b"images.npy") + len(b"images.npy")
    content[begin : begin + 8] = b"\xff" * 8  # It is no block that zlib knows.
    path.write_bytes(content)


def encrypted(path: Path) -> None:
    content = bytearray(archive(path))
    content[6] |= 1  # The flag of an entry, which stands before it and in the list at the end.
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def packed_otherwise(path: Path) -> None:
    content = bytearray(archive(path))
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 99
    path.write_bytes(content)


def no_array(path: Path) -> None:
    archive(path, b"GIF89a, not an array")


def damaged_header(path: Path) -> None:
    archive(path, IMAGES.replace(b"}", b" "))


def beyond_memory(path: Path) -> None:
    images = IMAGES.replace(b"(4, 8, 8), }          ", b"(4, 80000000, 8000), }")
    assert len(images) == len(IMAGES) and images != IMAGES
    archive(path, images)


def too_few_pixels(path: Path) -> None:
    archive(path, IMAGES[:-1])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damaged, "error: Error -3 while decompressing"),
        (encrypted, "RuntimeError: .*encrypted"),
        (packed_otherwise, "NotImplementedError: That compression method"),
        (no_array, "ValueError: the magic string is not correct"),
        (damaged_header, "TokenError: "),
        (
            beyond_memory,
            r"ValueError: images\.npy says that .* 80000000, 8000\), and has 256 bytes",
        ),
        (too_few_pixels, r"ValueError: images\.npy says that .* \(4, 8, 8\), and has 255 bytes"),
    ],
)
def test_files_of_arrays_that_cannot_be_read_are_refused(tmp_path, spoil, reason, capsys):
    spoil(tmp_path / "a.npz")
    message = rf"a\.npz is neither a folder nor a \.npz file of arrays \({reason}.*; give one that"
    refused(capsys, message, tmp_path, "a", tmp_path / "a.npz")


def test_arrays_that_fill_the_memory_are_refused(tmp_path, monkeypatch, capsys):
    def full(*_: object, **__: object) -> np.ndarray:
        raise MemoryError

    archive(tmp_path / "a.npz")
    monkeypatch.setattr(np.lib.format, "read_array", full)
    message = r"a\.npz has more numbers than the memory holds; write its images as files"
    refused(capsys, message, tmp_path, "a", tmp_path / "a.npz")


def test_a_pipe_in_place_of_a_file_of_arrays_is_refused(tmp_path, capsys):
    """Nobody writes into it: to open it would take for ever."""
    os.mkfifo(tmp_path / "a.npz")
    message = r"a\.npz is no regular file but a pipe or a device; give a file, or move it"
    refused(capsys, message, tmp_path, "a", tmp_path / "a.npz")


def refused(capsys: pytest.CaptureFixture[str], message: str, tmp_path: Path, *given: object):
    """One line, and nothing left behind."""
    assert prepare(*given, f"--data_dir={tmp_path / 'tfds'}") == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "tfds").exists()


def one_class(pets: Path) -> None:
    (pets / "train" / "dog").rename(pets.parent / "dog")


def no_images(pets: Path) -> None:
    for path in (pets / "train" / "dog").iterdir():
        path.unlink()
    (pets / "train" / "dog" / "README.txt").write_text("to follow")


def other_images(pets: Path) -> None:
    for path in (pets / "train" / "dog").iterdir():
        path.rename(path.with_suffix(".webp"))


def some_other_images(pets: Path) -> None:
    (pets / "test" / "cat" / "more").mkdir()
    (pets / "test" / "cat" / "1.png").rename(pets / "test" / "cat" / "more" / "1.TIFF")


def loose_images(pets: Path) -> None:
    for number in range(5):
        (pets / "train" / "dog" / f"{number}.png").rename(pets / "train" / f"{number}.png")


def loose_image_beside_splits(pets: Path) -> None:
    save(pets / "new.JPG")


def class_beside_splits(pets: Path) -> None:
    (pets / "train" / "dog").rename(pets / "dog")


def capitals(pets: Path) -> None:
    (pets / "train").rename(pets / "Train")
    (pets / "test").rename(pets / "Test")


def gerunds(pets: Path) -> None:
    (pets / "train").rename(pets / "training_set")
    (pets / "test").rename(pets / "test_set")


def no_train(pets: Path) -> None:
    (pets / "train").rename(pets / "val")


def two_tests(pets: Path) -> None:
    shutil.copytree(pets / "test", pets / "validation")


def circle(pets: Path) -> None:
    (pets / "train" / "dog" / "all").symlink_to(pets)


def splits_within_classes(pets: Path) -> None:
    for name in ("cat", "dog"):
        for split in ("train", "test"):
            (pets / split / name).rename(pets.parent / split)
            (pets / name).mkdir(exist_ok=True)
            (pets.parent / split).rename(pets / name / split)
    shutil.rmtree(pets / "train")
    shutil.rmtree(pets / "test")


def split_deep_within_a_class(pets: Path) -> None:
    save(pets / "train" / "cat" / "more" / "Validation_set" / "9.png")


def one_folder_for_two_classes(pets: Path) -> None:
    (pets / "train" / "wolf").symlink_to("dog")


def one_folder_for_two_splits(pets: Path) -> None:
    shutil.rmtree(pets / "test" / "cat")
    (pets / "test" / "cat").symlink_to(pets / "train" / "cat")


def one_folder_twice_in_a_class(pets: Path) -> None:
    (pets / "train" / "cat").rename(pets / "cats")
    (pets / "cats").rename(pets.parent / "cats")
    for name in ("some", "others"):
        (pets / "train" / "cat").mkdir(exist_ok=True)
        (pets / "train" / "cat" / name).symlink_to(pets.parent / "cats")


def a_class_within_another(pets: Path) -> None:
    (pets / "train" / "dog" / "more").symlink_to(pets / "train" / "cat")


def pipe(pets: Path) -> None:
    os.mkfifo(pets / "train" / "dog" / "9.png")


def pipe_in_place_of_an_image(pets: Path) -> None:
    os.mkfifo(pets / "pipe.d")
    (pets / "test" / "cat" / "0.png").unlink()
    (pets / "test" / "cat" / "0.png").symlink_to(pets / "pipe.d")


def link_to_nowhere(pets: Path) -> None:
    (pets / "train" / "dog" / "9.png").symlink_to("gone.png")


def invisible_letter(pets: Path) -> None:
    (pets / "train" / "dog").rename(pets / "train" / "dog\u200b")


def tab(pets: Path) -> None:
    (pets / "train" / "dog").rename(pets / "train" / "d\tog")


def space(pets: Path) -> None:
    (pets / "train" / "dog").rename(pets / "train" / "dog ")


def strange_class(pets: Path) -> None:
    (pets / "test" / "dog").rename(pets / "test" / "wolf")


def cut_image(pets: Path) -> None:
    path = pets / "train" / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:60])


def deep_image(pets: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(pets / "train" / "dog" / "3.png")


def page(pets: Path) -> None:
    (pets / "test" / "cat" / "1.png").write_text("<html>404</html>")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (one_class, "1 folder with images; there must be at least two, one for each class"),
        (no_images, r"train/dog has no image \(\.png, .*\); put those of its class into it"),
        (
            other_images,
            r"train/dog/0\.webp is none of \.png, .*; convert .* \(5 such files here\)",
        ),
        (some_other_images, r"test/cat/more/1\.TIFF is none of .* \(1 such file here\)"),
        (loose_images, r"train/0\.png lies in no folder of a class; .* \(5 such files here\)"),
        (loose_image_beside_splits, r"pets/new\.JPG lies in no folder of a class"),
        (
            class_beside_splits,
            "pets/dog is in the way: .* train and one of test, .*, with no class",
        ),
        (capitals, "pets/Test is in the way: where images are split, the folders are train and"),
        (gerunds, "pets/test_set is in the way"),
        (no_train, "pets/test is in the way"),
        (two_tests, "pets has test and validation; keep one of them to test on, and move"),
        (circle, "dog/all is a link to a folder that it lies in; remove it"),
        (splits_within_classes, "cat/test looks like a split within a class, .* as in train/CLASS"),
        (split_deep_within_a_class, "cat/more/Validation_set looks like a split within a class"),
        (one_folder_for_two_classes, "train/wolf is the same folder as .*train/dog, and its im"),
        (one_folder_for_two_splits, "test/cat is the same folder as .*train/cat, and its images"),
        (one_folder_twice_in_a_class, "cat/some is the same folder as .*cat/others, and its im"),
        (a_class_within_another, "dog/more is the same folder as .*train/cat, and its images"),
        (pipe, r"dog/9\.png is no regular file but a pipe or a device; give a file, or move it"),
        (pipe_in_place_of_an_image, r"cat/0\.png is no regular file but a pipe or a device"),
        (link_to_nowhere, r"dog/9\.png cannot be used as an image"),
        (invisible_letter, r"'dog\\u200b', whose name has a character .* cannot be seen, U\+200B;"),
        (tab, r"'d\\tog', whose name has a character in it that cannot be seen, U\+0009; rename"),
        (space, "'dog ', whose name begins or ends with a space; rename the folder"),
        (strange_class, "class 'wolf' that is not among those of train"),
        (cut_image, r"dog/3\.png cannot be used as an image"),
        (deep_image, r"dog/3\.png cannot be used as an image.*8 bits"),
        (page, r"cat/1\.png cannot be used as an image"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(pets, tmp_path, spoil, message, capsys):
    spoil(pets)
    refused(capsys, message, tmp_path, "pets", pets)


@pytest.mark.parametrize("name", ["9.CR2", "9.jxl", "9.jpg_large", "9", "9.any", "9.png.part"])
def test_no_file_that_may_be_an_image_is_left_out(pets, tmp_path, name, capsys):
    save(pets / "9.png")
    (pets / "9.png").rename(pets / "train" / "dog" / name)
    message = rf"dog/{re.escape(name)} is none of .* \(1 such file here\)"
    refused(capsys, message, tmp_path, "pets", pets)


def test_what_is_no_image_may_lie_beside_the_images(pets, tmp_path):
    for name in ("labels.csv", "README.TXT", "0.json", "Thumbs.db", "desktop.ini", ".DS_Store"):
        (pets / "train" / "dog" / name).write_text("no image")
    (pets / "LICENSE").write_text("beside the folders of classes")
    assert prepare("pets", pets, f"--data_dir={tmp_path / 'tfds'}") == 0
    dataset = data.load("pets", str(tmp_path / "tfds"))
    assert np.bincount(dataset.train.labels).tolist() == [5, 5]


def test_folders_of_a_class_are_looked_through_and_those_of_a_system_are_not(pets, tmp_path):
    (pets / "train" / "dog").rename(tmp_path / "dogs")
    (pets / "train" / "dog" / "deep").mkdir(parents=True)
    (pets / "train" / "dog" / "deep" / "linked").symlink_to(tmp_path / "dogs")
    (pets / "train" / "labels.txt").write_text("cat\ndog\n")
    save(pets / "__MACOSX" / "train" / "._0.png")
    save(pets / "train" / ".thumbnails" / "0.png")
    save(pets / "train" / "cat" / ".thumbnails" / "0.png")
    assert prepare("pets", pets, f"--data_dir={tmp_path / 'tfds'}") == 0
    dataset = data.load("pets", str(tmp_path / "tfds"))
    assert dataset.label_names == ("cat", "dog")
    assert np.bincount(dataset.train.labels).tolist() == [5, 5]


def test_a_class_may_begin_as_a_split_does(tmp_path):
    for name in ("valley", "tests_of_time", "trains"):
        for n in range(5):
            save(tmp_path / "places" / name / f"{n}.png", seed=n)
    assert prepare("places", tmp_path / "places", f"--data_dir={tmp_path}") == 0
    names = ("tests_of_time", "trains", "valley")
    assert data.load("places", str(tmp_path)).label_names == names


def test_within_train_a_class_may_be_called_as_splits_are(pets, tmp_path):
    (pets / "train" / "cat").rename(pets / "train" / "train")
    (pets / "test" / "cat").rename(pets / "test" / "train")
    assert prepare("pets", pets, f"--data_dir={tmp_path}") == 0
    assert data.load("pets", str(tmp_path)).label_names == ("dog", "train")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("../x", "PETS"), "NAME = '../x'"),
        (("cifar10", "PETS"), "NAME = 'cifar10'"),
        (("pets", "PETS", "--version=1"), "--version=1 must be three numbers"),
        (("pets", "PETS", "--version=01.0.0"), "--version=01.0.0 must be .* without zeros before"),
        (("pets", "PETS", "--version=1.0.00"), "--version=1.0.00 must be three numbers without"),
        (("pets", "PETS", "--test_fraction=20"), "must lie between 0 and 1"),
        (("pets", "gs://x"), "URL"),
        (("pets", "nowhere"), "neither a folder nor a .npz file"),
    ],
)
def test_commands_that_cannot_be_meant_are_refused(pets, tmp_path, given, message, capsys):
    refused(capsys, message, tmp_path, *(pets if each == "PETS" else each for each in given))


def test_a_data_directory_is_refused_by_the_name_of_its_flag(pets, capsys):
    assert prepare("pets", pets, "--data_dir=s3://x") == 2
    assert capsys.readouterr().err.startswith("error: --data_dir = 's3://x' is a URL")


def test_images_are_not_read_for_a_folder_that_cannot_be_made(pets, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(own_images, "read_folder", lambda _: pytest.fail("they were read"))
    assert prepare("pets", pets, f"--data_dir={tmp_path / 'file' / 'tfds'}") == 2
    assert "is not a folder; choose another --data_dir" in capsys.readouterr().err
    (tmp_path / "tfds" / "pets" / "1.0.0").mkdir(parents=True)
    assert prepare("pets", pets, f"--data_dir={tmp_path / 'tfds'}") == 2
    assert "is there already; choose another --version" in capsys.readouterr().err
    (tmp_path / "tfds" / "pets" / "1.0.0").rename(tmp_path / "tfds" / "pets" / "incomplete")
    (tmp_path / "tfds" / "pets" / "incomplete" / "thesis.txt").touch()
    assert prepare("pets", pets, f"--data_dir={tmp_path / 'tfds'}") == 2
    assert "incomplete holds files that were not left by a prep" in capsys.readouterr().err
    (tmp_path / "tfds" / "pets" / "incomplete").rename(tmp_path / "mine")
    (tmp_path / "tfds" / "pets" / "incomplete").symlink_to(tmp_path / "mine")
    assert prepare("pets", pets, f"--data_dir={tmp_path / 'tfds'}") == 2
    assert "incomplete is a symbolic link, through which" in capsys.readouterr().err


def test_what_is_there_is_not_written_over(pets, tmp_path, capsys):
    arguments = ("pets", pets, f"--data_dir={tmp_path / 'tfds'}")
    (tmp_path / "tfds" / "pets" / "1.0.0").mkdir(parents=True)
    assert prepare(*arguments) == 2
    assert "is there already; choose another --version" in capsys.readouterr().err
    assert prepare(*arguments, "--version=1.0.1") == 0


# --- A function of a config file. ---

GOOD = """
import numpy as np
from src.data import Split, make_dataset
def load():
    images = np.zeros((6, 4, 4, 3), np.uint8)
    labels = np.arange(6, dtype=np.int32) % 2
    return make_dataset("cifar10", Split(images, labels), Split(images, labels), 2, ("a", "b"))
"""


ONE_CLASS = GOOD.replace("% 2", "% 1").replace('2, ("a", "b")', '1, ("a",)')


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Writes configs/mine.py of a project of its own."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [each for each in sys.modules if each.split(".")[0] == "configs"]:
        monkeypatch.delitem(sys.modules, name)
    yield (tmp_path / "configs" / "mine.py").write_text
    for name in [each for each in sys.modules if each.split(".")[0] == "configs"]:
        del sys.modules[name]


def test_a_function_of_a_config_file_gives_the_data_set(mine):
    mine(GOOD)
    dataset = data.load("configs.mine.load")
    assert dataset.name == "configs.mine.load"  # it may not call itself cifar10
    assert dataset.train.labels.tolist() == [0, 1] * 3
    assert data.load("configs.mine.load").digest == dataset.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def other(): pass", "has no attribute 'load'"),
        ("def load(:", "SyntaxError"),
        ("import sys; sys.exit(7)", "SystemExit: 7"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("load = 3", "not a function without arguments"),
        ("def load(path): pass", "not a function without arguments"),
        ("def load(): return 1 / 0", "failed: ZeroDivisionError"),
        ("def load(): import sys; sys.exit(0)", "failed: SystemExit"),
        ("def load(): return None", "returned a NoneType, not a Dataset"),
        ("def load(): return (1, 2)", "returned a tuple, not a Dataset"),
        (
            "from src.data import Dataset\ndef load(): return Dataset('x', 1, 2, 3, (), '')",
            "other things than arrays",
        ),
        (GOOD.replace("np.uint8", "np.float32"), "images must be uint8"),
        (GOOD.replace("% 2", "% 3"), "label 2, outside 0 to 1"),
        (GOOD.replace("np.int32", "np.int64"), "labels must be int32"),
        (GOOD.replace('("a", "b")', '("a", "b", "c")'), "3 names for 2 classes"),
        (ONE_CLASS, "it has 1 classes; a whole number is needed, 2 or more"),
    ],
)
def test_mistakes_in_it_are_one_line_each(mine, text, message):
    mine(text)
    with pytest.raises(data.DataError, match=message) as error:
        data.load("configs.mine.load")
    assert "\n" not in str(error.value)
    assert "configs.mine.load" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 2.0}, "it has 2.0 classes; a whole number is needed, 2 or more"),
        ({"label_names": (0, 1)}, r"names of classes are \(0, 1\), not strings"),
    ],
)
def test_numbers_and_names_of_classes_are_checked_by_type(change, message):
    dataset = tiny.make_dataset(8, 4)._replace(num_classes=2, label_names=())
    with pytest.raises(data.DataError, match=message):
        inspect.unwrap(check_dataset)(dataset._replace(**change), "mine")


@pytest.mark.parametrize("name", ["configs.", "configs.mine", "configs..x.y", "configs.a b.load"])
def test_names_of_no_function_are_refused(name):
    with pytest.raises(data.DataError, match=r"configs\.NAME\.load"):
        data.load(name)


@pytest.mark.parametrize(
    "beside",
    [
        {"x_mean": np.zeros((2, 2), np.float32), "y_mean": np.float32(1)},
        {"x_ids": np.arange(4), "y_ids": np.arange(4)},
        {"x_names": np.array(["a"] * 4), "y_names": np.array(["b"] * 4)},
    ],
)
def test_statistics_and_names_beside_images_are_left_alone(tmp_path, beside):
    arrays = {
        **{"x_train": np.zeros((4, 2, 2), np.uint8), "y_train": np.arange(4)},
        **{"x_test": np.zeros((4, 2, 2), np.uint8), "y_test": np.arange(4)},
    }
    np.savez(tmp_path / "a.npz", **arrays, **beside)
    assert read_arrays(tmp_path / "a.npz").label_names == ("0", "1", "2", "3")
