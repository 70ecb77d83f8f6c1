"""Active units of ReLU networks, by arithmetic, and the rows of the table against the records."""

import csv
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src import models
from src.analysis import intervals
from src.models import lenet
from src.records.trial import TrialRecord
from src.reports import activity
from src.training import layers
from tests import tiny

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
RECORDS = EXPERIMENTS / "why_tanh_is_slow" / "lenet"
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
    low, high = intervals.of_mean(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    half = 2.776 * math.sqrt(0.025) / math.sqrt(5)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=1e-4)
    assert all(map(math.isnan, intervals.of_mean(np.array([0.1]))))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ({"conv1": (0.3, 0.47), "conv2": (0.1, 0.2)}, ("shown", "")),
        (
            {"conv1": (0.3, 0.49), "conv2": (0.1, 0.2)},
            ("not decided", "so in conv2, not in conv1"),
        ),
        ({"conv1": (0.4, 0.6), "conv2": (0.4, 0.6)}, ("not decided", "not in conv1 and conv2")),
        ({"conv1": (NAN, NAN), "conv2": (NAN, NAN)}, ("not decided", "no interval")),
        (
            {"conv1": (0.6, 0.7), "conv2": (0.53, 0.6)},
            ("contradicted", "more than 52% in conv1 and conv2"),
        ),
        (
            {"conv1": (0.6, 0.7), "conv2": (0.1, 0.2), "fc3": (0.3, 0.5)},
            ("contradicted", "more than 52% in conv1; less than 48% in conv2"),
        ),
        ({"conv1": (0.481, 0.75)}, ("not decided", "not in conv1")),
        (
            {"conv1": (0.487, 0.496), "conv2": (0.1, 0.2), "fc3": (0.3, 0.5)},
            ("no effect larger than", "2 points in conv1; less than 48% in conv2"),
        ),
    ],
)
def test_few_are_fewer_than_half_by_more_than_two_points_in_every_layer(found, verdict):
    assert activity.judge(found) == verdict


def test_without_records_the_claim_waits():
    (found,) = activity.active_units(None)
    assert (found.group, found.ours) == ("", "-")


@pytest.mark.slow
def test_relu_stands_right_behind_every_layer_that_is_counted():
    """The network's activations are given its layers' outputs, one for one, and none of a pool."""
    model = models.make_model(
        "lenet5_modern", activation="relu", init_scheme="modern", num_classes=10
    )
    seen: list[Any] = []

    def act(x):
        seen.append(x)
        return jax.nn.relu(x)

    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    params = jax.tree.map(jnp.asarray, tiny.draw_params(model, 32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lenet, "get_activation", lambda name: act)
        _, outputs = layers.call_layers(model, {"params": params}, images, "output")
    assert [name for name, _ in outputs] == ["conv1", "conv2", "fc3", "fc4", "fc5"]
    for given, (_, output) in zip(seen, outputs[:-1], strict=True):
        np.testing.assert_array_equal(given, output)


def test_the_rows_are_what_the_records_say():
    """Means of the last shares of five seeds, read and added up here."""
    table = (EXPERIMENTS / "README.md").read_text()
    for recipe, rate in (("cuda_convnet", 0.004), ("modern", 0.01), ("without_slow_conv1", 0.016)):
        (row,) = (
            line
            for line in table.splitlines()
            if line.startswith("| Few units") and f"lenet5_modern, {recipe}:" in line
        )
        names = [f"lenet5_modern-{recipe}-relu-lr{rate}-s{seed}" for seed in range(100, 105)]
        for layer in ("conv1", "conv2", "fc3", "fc4"):
            last = []
            for name in names:
                with (RECORDS / "trials" / name / "metrics.csv").open() as file:
                    shares = [point[f"{layer}_saturated"] for point in csv.DictReader(file)]
                last.append(1 - float([share for share in shares if share][-1]))
            assert f"{layer} {100 * sum(last) / 5:.1f}% (" in row
