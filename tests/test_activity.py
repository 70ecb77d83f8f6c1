"""Active units of ReLU networks, by arithmetic, and the rows of the table against the records."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from src.records.trial import TrialRecord
from src.reports import activity

RECORDS = Path(__file__).parents[1] / "experiments" / "relu_vs_tanh"
NAN = math.nan


def trial(**saturated: list[float]) -> TrialRecord:
    columns = {f"{layer}_saturated": np.array(shares) for layer, shares in saturated.items()}
    epochs = np.arange(1.0, 1 + max(map(len, saturated.values())))
    return TrialRecord({}, {"epoch": epochs, **columns})


def test_the_last_measured_share_of_the_layers_that_all_trials_measured():
    trials = [
        trial(conv1=[0.5, 0.25, NAN], conv2=[0.9, 0.875, NAN]),
        trial(conv1=[0.5, NAN, 0.75], fc3=[0.1, NAN, 0.1]),
    ]
    found = activity.active_at_end(trials)
    assert {layer: [*shares] for layer, shares in found.items()} == {"conv1": [0.75, 0.25]}
    assert activity.active_at_end([]) == activity.active_at_end([trial(conv1=[NAN])]) == {}


def test_the_interval_of_a_mean():
    """2.776 is Student's quantile of 97.5% for four degrees of freedom, in any table."""
    low, high = activity.mean_interval(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    half = 2.776 * math.sqrt(0.025) / math.sqrt(5)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=1e-4)
    assert all(map(math.isnan, activity.mean_interval(np.array([0.1]))))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ({"conv1": (0.3, 0.47), "conv2": (0.1, 0.2)}, ("shown", "")),
        (
            {"conv1": (0.3, 0.49), "conv2": (0.1, 0.2)},
            ("not decided", "so in conv2, not in conv1"),
        ),
        ({"conv1": (NAN, NAN), "conv2": (0.4, 0.6)}, ("not decided", "not in conv1 and conv2")),
        ({"conv1": (0.6, 0.7), "conv2": (0.53, 0.6)}, ("contradicted", "")),
        ({"conv1": (0.6, 0.7), "conv2": (0.51, 0.6)}, ("not decided", "not in conv1 and conv2")),
    ],
)
def test_few_are_fewer_than_half_by_more_than_two_points_in_every_layer(found, verdict):
    assert activity.judge(found) == verdict


def test_without_records_the_claim_waits():
    (found,) = activity.active_units(None)
    assert (found.group, found.ours) == ("", "-")


def test_the_rows_are_what_the_records_say():
    """Means of the last shares of five seeds, read and added up here."""
    table = (RECORDS.parent / "README.md").read_text()
    for recipe, rate in (("cuda_convnet", 0.002), ("modern", 0.01)):
        (row,) = (
            line
            for line in table.splitlines()
            if line.startswith("| Few units") and f"conv3, {recipe}:" in line
        )
        names = [f"conv3-{recipe}-relu-lr{rate}-s{seed}" for seed in range(100, 105)]
        for layer in ("conv1", "conv2", "conv3"):
            last = []
            for name in names:
                with (RECORDS / "trials" / name / "metrics.csv").open() as file:
                    shares = [point[f"{layer}_saturated"] for point in csv.DictReader(file)]
                last.append(1 - float([share for share in shares if share][-1]))
            assert f"{layer} {100 * sum(last) / 5:.1f}% (" in row
