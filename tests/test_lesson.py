"""The teacher's table of docs/lesson.md, again from the records beside it."""

import csv
import re
from pathlib import Path

import pytest

from tests.test_published import EARLY, fresh, points, saturated, time_to

DOCS = Path(__file__).parents[1] / "docs"
DATA = {"procedural": "built-in images", "cifar10": "CIFAR-10"}
TARGET = 0.4  # Training error of step 2.


def table() -> list[dict[str, str]]:
    text = (DOCS / "lesson.md").read_text().split("## For the teacher")[1]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip(" |") for cell in line] for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows]


def cells(data: str) -> list[str]:
    return [row[DATA[data]] for row in table()]


def last(data: str, step: str, recipe: str, activation: str) -> dict[str, float]:
    """The last point of a trial."""
    return trial(data, step, recipe, activation)[-1]


def trial(data: str, step: str, recipe: str, activation: str) -> list[dict[str, float]]:
    folder = DOCS / "lesson" / data / step
    with open(folder / "results.csv", newline="") as file:
        (name,) = [
            row["trial"]
            for row in csv.DictReader(file)
            if (row["recipe"], row["activation"]) == (recipe, activation)
        ]
    return points(folder, name)


def share(value: float) -> str:
    return f"{100 * value:.0f}%"


def errors(data: str, step: str) -> str:
    ends = (last(data, step, "cuda_convnet", name) for name in ("tanh", "relu"))
    return " and ".join(f"{100 * end['train_error']:.1f}%" for end in ends)


@pytest.mark.parametrize("data", DATA)
def test_saturated_shares_and_errors_are_those_of_the_records(data):
    saturated = {
        step: share(last(data, step, "cuda_convnet", "tanh")["conv1_saturated"])
        for step in ("inside", "scaled", "both")
    }
    modern = share(last(data, "inside", "modern", "tanh")["conv1_saturated"])
    told = cells(data)[2:]
    assert told == [
        saturated["inside"],
        modern,
        saturated["scaled"],
        errors(data, "scaled"),
        saturated["both"],
        errors(data, "both"),
        errors(data, "inside"),
    ]


@pytest.mark.parametrize("data", DATA)
def test_times_are_those_of_the_records(data):
    for cell, recipe in zip(cells(data)[:2], ("cuda_convnet", "modern"), strict=True):
        tanh, relu = (
            time_to(trial(data, "quick", recipe, name), "train_error", TARGET)
            for name in ("tanh", "relu")
        )
        ratio, one, other = re.fullmatch(r"([\d.]+) \(([\d,]+) and ([\d,]+)\)", cell).groups()
        assert float(ratio) == pytest.approx(tanh / relu, abs=0.0051 if len(ratio) > 3 else 0.051)
        for words, value in ((one, tanh), (other, relu)):
            assert float(words.replace(",", "")) == pytest.approx(value, abs=0.51)


def test_the_answer_of_five_seeds_is_that_of_their_report():
    text = " ".join((DOCS / "lesson.md").read_text().split())
    report = (EARLY / "report.md").read_text().split("## By training error")[1]
    column = next(line for line in report.splitlines() if line.startswith("| group")).split(" | ")
    at = column.index("40%")
    for recipe in ("cuda_convnet", "modern"):
        row = next(
            line
            for line in report.splitlines()
            if line.startswith(f"| conv3, {recipe} | tanh | online")
        )
        ratio, ends = re.fullmatch(r"(\S+) \((.+)\)", row.split(" | ")[at].strip(" |")).groups()
        assert f"{ratio} ({ends})" in text
    assert f"{min(saturated(EARLY, 'conv3, cuda_convnet')):.1f}% at least" in text
    assert f"{max(saturated(EARLY, 'conv3, modern')):.1f}% at most" in text
    assert len(fresh(EARLY)["conv3, modern", "tanh"]) == 5


def test_the_time_that_it_takes_is_that_of_the_records():
    minutes = {}
    for data in DATA:
        seconds = 0.0
        for path in (DOCS / "lesson" / data).glob("*/results.csv"):
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    parts = ("train", "compile", "measure", "save")
                    seconds += sum(float(row[f"{part}_seconds"]) for part in parts)
        minutes[data] = round(seconds / 60)
    text = " ".join((DOCS / "lesson.md").read_text().split())
    assert f"trained for {minutes['procedural']} minutes of one core in all" in text
    assert f"on CIFAR-10 for {minutes['cifar10']}, beside" in text
