"""The test error about the first drop of the rate, by arithmetic."""

import math

import numpy as np
import pytest

from src.records.trial import TrialRecord
from src.reports import rate_drops

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
