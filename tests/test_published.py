"""The published numbers again, from metrics.csv by a few lines of their own.

Reads experiments/ as it is in the repository: a study without records yet is skipped.
"""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
ROWS = ("pooling", "augmentation", "depth", "dropout", "lrn", "towers", "weight_decay")


def header(study: str) -> dict:
    path = EXPERIMENTS / study / "study.json"
    if not path.exists() or "arms" not in (read := json.loads(path.read_text())):
        pytest.skip(f"{study} has no records of this code yet")
    return read


def points(study: str, trial: str) -> list[dict[str, float]]:
    with open(EXPERIMENTS / study / "trials" / trial / "metrics.csv", newline="") as file:
        return [{k: float(v or "nan") for k, v in row.items()} for row in csv.DictReader(file)]


def fresh(study: str, arm: str) -> list[str]:
    """Trials of an arm at the rate that was chosen: the rate of its fresh seeds."""
    seeds = header(study)["config"]["fresh_seeds"]
    names = [path.name for path in (EXPERIMENTS / study / "trials").glob(f"{arm}-lr*")]
    return sorted(name for name in names if int(re.search(r"-s(\d+)$", name)[1]) in seeds)


@pytest.mark.parametrize("study", ["relu_vs_tanh", "relu_vs_tanh_early"])
@pytest.mark.parametrize("recipe", ["cuda_convnet", "modern"])
def test_the_ratio_of_iterations_is_that_of_the_records(study, recipe):
    target = header(study)["config"]["target_train_error"]
    logs: dict[str, list[float]] = {}
    for activation in ("relu", "tanh"):
        for trial in fresh(study, f"conv3-{recipe}-{activation}"):
            rows = points(study, trial)
            at = next((i for i, row in enumerate(rows) if row["train_error"] <= target), None)
            if at is None:
                pytest.skip(f"{trial} was censored: that takes more than a few lines")
            before = rows[at - 1]["iteration"] if at else 0.0
            middle = (before + rows[at]["iteration"]) / 2
            logs.setdefault(activation, []).append(math.log(middle))
    if len(logs) < 2 or min(map(len, logs.values())) < 2:
        pytest.skip(f"{study} is not finished")
    test = stats.ttest_ind(logs["tanh"], logs["relu"], equal_var=False)
    low, high = np.exp(tuple(test.confidence_interval()))
    ratio = math.exp(np.mean(logs["tanh"]) - np.mean(logs["relu"]))
    report = (EXPERIMENTS / study / "report.md").read_text()
    answer = next(line for line in report.splitlines() if f"**conv3, {recipe}**" in line)
    told = re.search(r"are ([\d.]+) times .*interval ([\d.]+) to ([\d.]+)", answer)
    assert told, answer
    assert [float(number) for number in told.groups()] == pytest.approx([ratio, low, high], abs=0.1)


@pytest.mark.parametrize("name", ROWS)
def test_a_difference_of_test_errors_is_that_of_the_records(name):
    study = f"ablations/{name}"
    config = header(study)["config"]
    if config["compare"].get("measure") != "test_error":
        pytest.skip(f"{study} compares something else")
    report = (EXPERIMENTS / study / "report.md").read_text()
    table = report.split("## Measures")[1].split("\n## ")[0]
    means: dict[str, float] = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 3 and cells[2].isdigit():
            means[cells[1]] = float(cells[3].split("%")[0])
    arms = header(study)["arms"]
    assert len(means) == len(arms)
    ours = {}
    for arm in arms:
        ends = [points(study, trial)[-1]["test_error"] for trial in fresh(study, arm)]
        ours[arm] = 100 * float(np.mean(ends))
    assert sorted(means.values()) == pytest.approx(sorted(ours.values()), abs=0.06)


def near_one_epoch(recipe: str) -> list[float]:
    """Saturated share of conv1 of the tanh nets at the point nearest to epoch 1."""
    study = "relu_vs_tanh_early"
    found = []
    for trial in fresh(study, f"conv3-{recipe}-tanh"):
        at = min(points(study, trial), key=lambda row: abs(row["epoch"] - 1))
        found.append(100 * at["conv1_saturated"])
    return found


def test_what_came_of_the_predictions_is_what_the_records_say():
    text = (EXPERIMENTS / "relu_vs_tanh_early" / "predictions.md").read_text()
    report = (EXPERIMENTS / "relu_vs_tanh_early" / "report.md").read_text()
    assert f"| {min(near_one_epoch('cuda_convnet')):.1f}% at least | yes |" in text
    assert f"| {max(near_one_epoch('modern')):.1f}% at most | yes |" in text
    ratios = re.findall(r"are ([\d.]+) times those with relu", report)
    assert f"| {ratios[0]} times | yes |" in text
    assert f"| {ratios[1]} times | yes |" in text
    larger, low = re.search(r"is ([\d.]+) times as large .*interval ([\d.]+) to", report).groups()
    assert f"| {larger}, interval from {low} | yes |" in text
