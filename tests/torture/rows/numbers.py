"""A. Wrong numbers or names, in silence."""

import csv
import functools
import io
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from src.data import Split, write_tfds
from src.data.cifar10.load import load_cifar10, stream_cifar10
from src.records import provenance
from tests import prepared
from tests import test_data_archives as archives
from tests.torture.rows.room import DRAWN, STREAM, Room, changed, row, texts
from tests.torture.subject import ROOT, apart

RNG = np.random.default_rng(2012)
IMAGES = RNG.integers(0, 256, (320, 8, 8, 3), np.uint8)
TEN = tuple("abcdefghij")


def write_set(
    data_dir: Path,
    name: str,
    *,
    names: tuple[str, ...] = TEN,
    version: str = "1.0.0",
    train: int = 320,
    test: int = 40,
    prefix: str = "x",
) -> Path:
    """Noise of ten classes, as `tests.prepared` writes it."""
    with changed(prepared, "NAMES", names):
        labels = np.arange(train) % len(names)
        return apart(prepared.write)(
            data_dir, name, version,
            train=prepared.examples(IMAGES[:train], labels, prefix),
            test=prepared.examples(IMAGES[:test], np.arange(test) % len(names), prefix),
        )  # fmt: skip


def rows_of(workdir: Path) -> list[dict[str, str]]:
    """results.csv."""
    with open(workdir / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def metrics_of(workdir: Path) -> list[dict[str, str]]:
    """metrics.csv of the only trial."""
    (path,) = workdir.glob("trials/*/metrics.csv")
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@row("A1", "320 images in a folder `cifar10`, and its JPEG copy; in memory and streamed")
def copy_called_cifar10(room: Room) -> None:
    write_set(room.data_dir, "cifar10", version="3.0.2")
    for flags in ((), ("--config.data.stream_size=32",)):
        room.refused(room.run(*room.on("cifar10", *flags)), "50000")
    room.check(not (room.folder / "w").exists(), "a folder was made")
    batches = archives.make_batches()
    original = archives.original_of(batches)
    splits = [Split(*map(np.concatenate, zip(*part, strict=True)))
              for part in (batches[:5], batches[5:])]  # fmt: skip
    for kind, encode in (("", write_tfds.png), ("-jpeg", _jpeg)):
        folder = room.folder / f"copy{kind}"
        (folder / "cifar10" / "3.0.2").mkdir(parents=True)
        with changed(write_tfds, "png", encode):
            apart(write_tfds.write_prepared)(folder / "cifar10" / "3.0.2", *splits)
        for load in (load_cifar10, functools.partial(stream_cifar10, size=32)):
            said = room.fork(lambda: print(load(folder, original=original).name))  # noqa: B023
            room.check(said.lines[-1:] == [f"cifar10{kind}"], f"called {said.lines[-1:]}")


def _jpeg(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG")
    return content.getvalue()


@row("A2", "16-bit PNG: so described, or among 8-bit ones; in memory and streamed")
def sixteen_bits(room: Room) -> None:
    folder = write_set(room.data_dir, "described")
    prepared.change(
        folder / "features.json",
        lambda content: content["featuresDict"]["features"]["image"]["image"].update(
            dtype="uint16", encodingFormat="png"
        ),
    )
    some = [_deep_png() if n == 200 else write_tfds.png(i) for n, i in enumerate(IMAGES)]
    with changed(prepared, "NAMES", TEN):
        apart(prepared.write)(
            room.data_dir, "among",
            train=prepared.examples(some, np.arange(320) % 10),
            test=prepared.examples(IMAGES[:40], np.arange(40) % 10),
        )  # fmt: skip
    for flags in ((), (STREAM,)):
        room.refused(room.run(*room.on("described", *flags)), "uint16", "8 bits")
        room.refused(room.run(*room.on("among", *flags)), "record 200", "more than 8 bits")


def _deep_png() -> bytes:
    content = io.BytesIO()
    Image.fromarray(RNG.integers(0, 65536, (8, 8), np.uint16)).save(content, "PNG")
    return content.getvalue()


@row("A3", "0.1, 0.2 and 1.5 epochs, a point an epoch; a sweep of batch sizes that share no epoch")
def parts_of_an_epoch(room: Room) -> None:
    flags = (*room.tiny, "--config.points_per_epoch=1", "--config.stop_at_target=False")
    for epochs, steps in ((0.2, 1), (1.5, 8), (2.4, 12)):
        work = f"e{epochs}"
        said = room.run(*flags, f"--config.max_epochs={epochs}", f"--workdir={work}")
        room.passed(said)
        room.check(not re.search(r"-\d+ (s|min)\b", said.text), f"time below zero: {said.lines}")
        (result,) = rows_of(room.folder / work)
        room.check(result["iterations"] == str(steps), f"{result['iterations']} for {epochs}")
        report = (room.folder / work / "report.md").read_text()
        trained = f"| {steps / 5:g} |"
        room.check(trained in report, f"{trained} is not in the report of {epochs}")
    sweep = ("--config.sweep.batch_size=(32,128)", "--config.compare.field=batch_size")
    said = room.run(
        *flags, *sweep, "--config.compare.baseline=32", "--config.compare.measure=test_error",
        "--workdir=sizes",
    )  # fmt: skip
    room.passed(said)
    report = (room.folder / "sizes" / "report.md").read_text()
    epochs = {r["iterations"] for r in rows_of(room.folder / "sizes")}
    room.check(epochs == {"5", "2"}, f"{epochs} iterations")
    room.check("1.6" in report, "128 images five quarters of an epoch twice, and no 1.6 epochs")


@row("A4", "a drop of the rate between two points")
def drop_between_points(room: Room) -> None:
    flags = (*room.tiny, "--config.points_per_epoch=1", "--config.max_epochs=2",
             "--config.schedule.name=steps", "--config.stop_at_target=False")  # fmt: skip
    losses = []
    for boundary in ("0.4", "1.6"):
        where = f"b{boundary}"
        said = room.run(*flags, f"--config.schedule.boundaries=({boundary},)", f"--workdir={where}")
        room.passed(said)
        losses.append([m["train_loss"] for m in metrics_of(room.folder / where)])
    dropped = [float(m["rate_factor"]) for m in metrics_of(room.folder / "b0.4")]
    iterations = [m["iteration"] for m in metrics_of(room.folder / "b0.4")]
    room.check(iterations[0] == "2", f"no point at the drop: {iterations}")
    room.check(np.allclose(dropped, [1.0] + [0.1] * (len(dropped) - 1)), f"{dropped}")
    room.check(losses[0][-1] != losses[1][-1], "the drop changed no number")


@row("A5", "targets of 0.5%, 2.5%, 12.5%: report, page and every figure")
def digits_of_thresholds(room: Room) -> None:
    flags = (*room.tiny, "--config.sweep.model.activation=('relu','tanh')", "--config.max_epochs=3",
             "--config.target_train_error=0.125", "--config.fresh_seeds=(1,2)",
             "--config.learning_rates=(0.01,0.02)",
             "--config.thresholds=(0.125,0.025,0.015,0.005)")  # fmt: skip
    room.passed(room.run(*flags))
    report = (room.folder / "w" / "report.md").read_text()
    for share in ("12.5%", "2.5%", "1.5%", "0.5%"):
        room.check(share in report, f"{share} is not in the report")
    roundings = {"12%", "13%", "2%", "3%", "1%"}  # Ticks of an axis are whole: 0%, 10%, ...
    rounded = set(re.findall(r"(?<![\d.])\d+%", report)) & roundings
    room.check(not rounded, f"shares without their digits in the report: {rounded}")
    said = room.fork(lambda: print(json.dumps(texts(room.folder / "w"))))
    drawn = json.loads(said.lines[-1])
    for name, words in drawn.items():
        whole = set(re.findall(r"(?<![\d.])\d+%", " ".join(words))) & roundings
        room.check(not whole, f"shares without their digits in {name}: {whole}")
    shown = " ".join(word for words in drawn.values() for word in words)
    room.check("12.5%" in shown, "12.5% in no figure")
    tiny = room.run(*flags, "--config.target_train_error=0.005", "--workdir=small")
    room.passed(tiny, "0.5% training error")


@row("A6", "labels that are numbers to predict: float32, float64, whole ones without a class")
def labels_to_predict(room: Room) -> None:
    for kind in ("float32", "float64"):
        folder = write_set(room.data_dir, f"regression_{kind}")
        tensor = {
            "pythonClassName": f"{prepared.CORE}.tensor_feature.Tensor",
            "tensor": {"shape": {}, "dtype": kind, "encoding": "none"},
        }
        prepared.change(folder / "features.json", prepared.label_as(tensor))
        for flags in ((), (STREAM,)):
            said = room.run(*room.on(f"regression_{kind}", *flags))
            room.refused(said, kind, "whole numbers")


@row("A8", "a hook's GIT_DIR, another's work tree, an archive within a repository, another's clone")
def commit_of_another(room: Room) -> None:
    other = room.folder / "other"
    for command in (["init", "-q", other], ["-C", other, *_WHO, "commit", "-qm", "x",
                                            "--allow-empty"]):  # fmt: skip
        subprocess.run(["git", *command], check=True, capture_output=True)
    ours = provenance.commit()
    here = str(other / ".git")
    for variables in (
        {"GIT_DIR": here},
        {"GIT_DIR": here, "GIT_WORK_TREE": str(other)},
        {"GIT_DIR": "/nonexistent", "GIT_INDEX_FILE": "/dev/null"},
        {"GIT_CEILING_DIRECTORIES": str(ROOT), "GIT_OBJECT_DIRECTORY": f"{here}/objects"},
    ):
        said = room.run(*room.tiny, f"--workdir=w{room.tried}", **variables)
        room.passed(said)
        (result,) = rows_of(room.folder / f"w{room.tried - 1}")
        room.check(result["commit"] == ours, f"{variables}: {result['commit']}, not {ours}")
    (other / "unpacked" / "src").mkdir(parents=True)
    found = provenance.commit(other / "unpacked")
    room.check(found == "unknown", f"unpacked within another repository: {found}")
    if os.getuid() == 0:
        os.chown(other, 12345, 12345)
        found = provenance.commit(other)
        room.check(re.fullmatch(r"[0-9a-f]{10}", found), f"a clone of another user's: {found}")


_WHO = ("-c", "user.name=a", "-c", "user.email=a@b")


@row("A9", "classes called `$5 & $10 bill`, `$x^$`, in Chinese: Figs. 3 and 4")
def words_that_are_formats(room: Room) -> None:
    names = ("$5 & $10 bill", "$5 & 50% of $10", "猴子 #1", "$x^$", "a_b^c", r"\frac{1}{2}", "<b>",
             "\u202eevil", "é\u0301", "emoji \U0001f600")  # fmt: skip
    write_set(room.data_dir, "named", names=names)
    room.passed(room.run(*room.on("named")))
    (trial,) = (room.folder / "w" / "trials").iterdir()
    said = room.run(str(trial), f"--data_dir={room.data_dir}", door="paper_figures")
    room.passed(said)
    for figure in ("kernels.png", "predictions.svg", "neighbours.png"):
        path = room.folder / "w" / "paper_figures" / figure
        room.check(path.exists(), f"{figure} is missing")


@row("A-digits", "DRAWN as it stands in the list: 0.1 epochs of the built-in images")
def drawn_as_listed(room: Room) -> None:
    said = room.run(*DRAWN, "--config.max_epochs=0.1", "--config.points_per_epoch=1",
                    "--config.stop_at_target=False")  # fmt: skip
    room.passed(said)
    (result,) = rows_of(room.folder / "w")
    room.check(result["iterations"] == "1", f"{result['iterations']} iterations")
    report = (room.folder / "w" / "report.md").read_text()
    room.check("| 0.125 |" in report, "1 of 8 iterations is not said to be 0.125 epochs")
