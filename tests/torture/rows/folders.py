"""E. TFDS folders, read in memory and streamed."""

import io

import numpy as np
from PIL import Image

from src.data.write_tfds import png
from tests import prepared
from tests.torture.rows.numbers import IMAGES, RNG, TEN, rows_of, write_set
from tests.torture.rows.room import STREAM, Room, changed, row
from tests.torture.subject import apart

BOTH_WAYS: tuple[tuple[str, ...], ...] = ((), (STREAM,))


@row("E26", "images of many sizes, and of 16 bits, in memory: the remedy is named")
def many_sizes(room: Room) -> None:
    sizes = [image[: 4 + n % 5] for n, image in enumerate(IMAGES)]
    with changed(prepared, "NAMES", TEN):
        apart(prepared.write)(
            room.data_dir, "varsize",
            train=prepared.examples(sizes, np.arange(320) % 10),
            test=prepared.examples(sizes[:40], np.arange(40) % 10),
        )  # fmt: skip
    said = room.run(*room.on("varsize"))
    room.refused(said, "record 1 is 5 x 8, others are 4 x 8", "config.data.stream_size")
    room.passed(room.run(*room.on("varsize", STREAM)))
    uneven = write_set(room.data_dir, "uneven")
    (uneven / "features.json").write_text(
        (uneven / "features.json").read_text().replace('"uint8"', '"uint16"')
    )
    room.refused(room.run(*room.on("uneven")), "uint16", "8 bits")


@row("E27", "a TFRecord set converted in place, and one that is not")
def converted_in_place(room: Room) -> None:
    folder = write_set(room.data_dir, "cifar100")
    formats = {"fileFormat": "tfrecord", "alternativeFileFormats": ["array_record"]}
    prepared.change(folder / "dataset_info.json", lambda info: info.update(formats))
    other = write_set(room.data_dir, "old")
    prepared.change(other / "dataset_info.json", lambda info: info.update(fileFormat="tfrecord"))
    for number, way in enumerate(BOTH_WAYS):
        room.passed(room.run(*room.on("cifar100", *way), f"--workdir=w{number}"))
        said = room.run(*room.on("old", *way))
        room.refused(said, "tfrecord", f"tfds convert_format --dataset_dir={other}")


@row("E28", "train and validation only; all three; a test split without labels; both ways the same")
def which_split_is_tested_on(room: Room) -> None:
    labels = np.arange(40) % 10
    with changed(prepared, "NAMES", TEN):
        train = prepared.examples(IMAGES, np.arange(320) % 10)
        parts = {
            "validation": prepared.examples(IMAGES[40:80], labels),
            "test": prepared.examples(IMAGES[80:120], labels),
        }
        for name, there in (("two", ("validation",)), ("three", ("validation", "test"))):
            chosen = {each: parts[each] for each in there}
            apart(prepared.write)(room.data_dir, name, train=train, **chosen)
        apart(prepared.write)(room.data_dir, "alone", train=train)
    errors = {}
    for name in ("two", "three"):
        for number, way in enumerate(BOTH_WAYS):
            work = f"{name}{number}"
            room.passed(room.run(*room.on(name, *way), f"--workdir={work}"))
            (result,) = rows_of(room.folder / work)
            errors[name, number] = result["final_test_error"]
    for name in ("two", "three"):
        room.check(errors[name, 0] == errors[name, 1], f"{name}: tested on another split: {errors}")
    for way in BOTH_WAYS:
        room.refused(room.run(*room.on("alone", *way)), "it has: train")


@row("E31", "labels that are sparse ids: 5, 17, 90210, 3700000; a class list of millions")
def sparse_ids(room: Room) -> None:
    import pytest  # noqa: PLC0415

    ids = np.array([5, 17, 90210, 3_700_000])
    patch = pytest.MonkeyPatch()
    with changed(prepared, "IMAGES", IMAGES[:48]):
        apart(prepared.write_numbers)(patch, room.data_dir, ids[np.arange(48) % 4])
    for number, way in enumerate(BOTH_WAYS):
        said = room.run(*room.on("small", *way), f"--workdir=w{number}")
        room.passed(said)
    (trial,) = (room.folder / "w0" / "trials").iterdir()
    said = room.run(trial, f"--data_dir={room.data_dir}", "--out=out", door="evaluate")
    room.passed(said)
    room.check("90210" in (room.folder / "out" / "report.md").read_text(), "ids are not named")
    folder = write_set(room.data_dir, "listed")
    (folder / "label.labels.txt").unlink()
    (folder / "features.json").write_text(
        (folder / "features.json").read_text().replace('"numClasses": "10"',
                                                       '"numClasses": "3700001"')
    )  # fmt: skip
    for way in BOTH_WAYS:
        room.refused(room.run(*room.on("listed", *way)), "3700001 classes", "these are ids")


@row("E32", "several versions; the highest TFRecord or half copied; an older one asked for; none")
def several_versions(room: Room) -> None:
    for version in ("1.0.0", "1.10.0", "2.0.0", "3.0.0"):
        write_set(room.data_dir, "cifar100", version=version)
    there = room.data_dir / "cifar100"
    prepared.change(
        there / "3.0.0" / "dataset_info.json", lambda info: info.update(fileFormat="tfrecord")
    )
    next((there / "2.0.0").glob("*-train*")).unlink()
    for number, way in enumerate(BOTH_WAYS):
        work = f"--workdir=w{number}"
        said = room.run(*room.on("cifar100", *way), work)
        room.passed(said, "version 1.10.0 is used, for a higher one cannot be")
        for place, name in enumerate(("cifar100:1.0.0", "cifar100/1.0.0")):
            said = room.run(*room.on(name, *way), f"{work}-{place}")
            room.passed(said, "cifar100:1.0.0", what=name)
        room.refused(room.run(*room.on("cifar100:3.0.0", *way)), "tfrecord")
        room.refused(room.run(*room.on("cifar100:9.0.0", *way)), "1.10.0, 1.0.0")
        said = room.run(*room.on("cifar10:3.0.2", *way))
        room.refused(said, "cifar10")


@row("E33", "one truncated JPEG, one that is no image, one empty: which record")
def a_damaged_image(room: Room) -> None:
    content = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (8, 8, 3), np.uint8)).save(content, "JPEG")
    whole = content.getvalue()
    for name, damaged in (
        ("truncated", whole[:-40]), ("page", b"<html>404</html>"), ("empty", b""),
        ("half", png(IMAGES[0])[:60]),
    ):  # fmt: skip
        images = [damaged if n == 200 else png(image) for n, image in enumerate(IMAGES)]
        with changed(prepared, "NAMES", TEN):
            apart(prepared.write)(
                room.data_dir, name,
                train=prepared.examples(images, np.arange(320) % 10),
                test=prepared.examples(IMAGES[:40], np.arange(40) % 10),
            )  # fmt: skip
        for way in BOTH_WAYS:
            said = room.run(*room.on(name, *way), f"--workdir={name}")
            room.refused(said, "split train, record 200", what=name)


@row("E35", "records sorted by class, a part of them, their order kept; a validation part")
def sorted_records(room: Room) -> None:
    with changed(prepared, "NAMES", TEN):
        apart(prepared.write)(
            room.data_dir, "sorted",
            train=prepared.examples(IMAGES, np.sort(np.arange(320) % 10)),
            test=prepared.examples(IMAGES[:40], np.arange(40) % 10),
        )  # fmt: skip
    part = ("--config.train_images=100", "--config.validation_images=50")
    for number, way in enumerate(BOTH_WAYS):
        said = room.run(*room.on("sorted", *way), *part, f"--workdir=w{number}")
        room.passed(said)
        room.check("have no image" not in said.text, f"classes are missing: {said.lines[:3]}")
        ordered = "--config.recipes.modern.order=file"
        said = room.run(*room.on("sorted", *way), ordered, f"--workdir=o{number}")
        room.passed(said, "sorted by class")
        few = "--config.train_images=7"
        said = room.run(
            *room.on("sorted", *way), few, "--config.batch_size=7", f"--workdir=f{number}"
        )
        room.passed(said, "of its 10 classes, 3 have no image")
