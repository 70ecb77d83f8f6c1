"""The test error about the first drop of the rate, by arithmetic."""

import math

import numpy as np
import pytest

from src.records.trial import TrialRecord
from src.reports import rate_drops
from tests import synthetic

NAN = math.nan


def trial(errors: list[float], factors: list[float]) -> TrialRecord:
    """Points every half epoch."""
    epochs = 0.5 * np.arange(1, len(errors) + 1)
    columns = {"epoch": epochs, "test_error": np.array(errors), "rate_factor": np.array(factors)}
    return TrialRecord({}, columns)


@pytest.mark.slow
def test_the_lowest_error_before_and_within_two_epochs_after():
    """The rate drops after epoch 2; the error of epoch 4.5 comes too late."""
    errors = [0.5, 0.4, NAN, 0.3, 0.35, NAN, 0.28, 0.29, 0.1]
    factors = [1.0] * 4 + [0.1] * 5
    assert rate_drops.about_drop(trial(errors, factors)) == (0.3, 0.28, 2.0)


def test_a_rate_that_never_drops():
    before, after, epoch = rate_drops.about_drop(trial([0.5, NAN, 0.4], [1.0] * 3))
    assert before == 0.4
    assert math.isnan(after) and math.isnan(epoch)


def test_without_records_the_claim_waits(tmp_path):
    assert rate_drops.first_drop(tmp_path).ours == "-"


@pytest.mark.parametrize("factor", [0.1, 0.01])
def test_any_factor_below_one_is_a_drop(factor):
    assert rate_drops.about_drop(trial([0.5, 0.4], [1.0, factor])) == (0.5, 0.4, 0.5)


@pytest.mark.parametrize("metrics", [{"epoch": np.ones(2)}, {"epoch": np.zeros(0)}])
def test_a_rate_that_is_not_recorded_never_dropped(metrics):
    errors = np.full(len(metrics["epoch"]), 0.4)
    before, after, epoch = rate_drops.about_drop(TrialRecord({}, metrics | {"test_error": errors}))
    assert before == 0.4 if errors.size else math.isnan(before)
    assert math.isnan(after) and math.isnan(epoch)


def test_an_error_that_was_not_measured_near_the_drop_is_not_known():
    before, after, epoch = rate_drops.about_drop(trial([0.5, NAN, NAN], [1.0, 0.1, 0.1]))
    assert (before, epoch) == (0.5, 0.5) and math.isnan(after)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ([0.5, 0.4, 0.3, 0.2], "lowest test error before the first drop 40.0%"),
        ([0.5, 0.4, NAN, NAN], "not tested before the first drop, at epoch "),
    ],
)
def test_the_training_whose_rate_drops_is_told_of(tmp_path, tests, said):
    """That beside it, which keeps its rate, does not record the rate."""
    folder = tmp_path / "alexnet_cifar10"
    rows = synthetic.make_metrics(lambda e: 0.5, epochs=2)[:4]
    for row, error in zip(rows, tests, strict=True):
        row["test_error"] = error
    fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 100}
    synthetic.write_header(
        folder, sweep={"model": {"activation": ["relu", "tanh"]}}, learning_rates=[0.02]
    )
    synthetic.write_trial(folder, rows, activation="relu", **fields)
    rows = [row | {"rate_factor": 1.0 if i < 2 else 0.1} for i, row in enumerate(rows)]
    synthetic.write_trial(folder, rows, activation="tanh", **fields)
    found = rate_drops.first_drop(tmp_path)
    assert "tanh" in found.group
    assert found.ours.startswith(said)
