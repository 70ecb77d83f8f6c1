"""Differences paired by seed: SciPy's own paired intervals, and what has none."""

import math

import numpy as np
import pytest
from scipy import stats

from src.analysis import paired
from src.records.trial import TrialRecord

INF = math.inf


def trial(seed: int, test: float = 0.5, train: float = 0.3, reached: float = 100) -> TrialRecord:
    """Comes down to 25% training error at iteration `reached`."""
    row = {"seed": seed, "final_test_error": test, "final_train_error": train}
    last = 1000 if reached == INF else int(reached)
    errors = np.array([0.8, 0.8 if reached == INF else 0.25])
    return TrialRecord(row, {"iteration": np.array([1, last]), "train_error": errors})


BASELINE = [trial(100, 0.50), trial(101, 0.52), trial(102, 0.47)]
OTHER = [trial(102, 0.45), trial(100, 0.49), trial(101, 0.48), trial(7, 0.0)]


@pytest.mark.parametrize("comparisons", [1, 3])
def test_the_interval_is_scipys_of_the_differences_of_equal_seeds(comparisons):
    found = paired.difference(
        BASELINE, OTHER, paired.MEASURES["test error"], comparisons=comparisons
    )
    differences = [-0.01, -0.04, -0.02]  # seeds 100, 101, 102
    level = 1 - 0.05 / comparisons
    expected = stats.t.interval(level, 2, np.mean(differences), stats.sem(differences))
    assert found.value == pytest.approx(-0.07 / 3)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.seeds == 3


def test_two_pairs_decide_only_what_is_far_beyond_their_spread():
    found = paired.student_interval(np.array([0.01, 0.03]))  # error 0.01, times tan(0.95 pi / 2)
    assert (found.low, found.high) == pytest.approx((0.02 - 0.12706, 0.02 + 0.12706), abs=1e-5)


def test_the_gap_is_test_minus_training_error():
    found = paired.difference([trial(1, 0.5, 0.3)], [trial(1, 0.6, 0.35)], paired.MEASURES["gap"])
    assert found.value == pytest.approx(0.05)


def test_no_interval_from_one_pair_nor_from_equal_differences_nor_where_one_diverged():
    for differences in ([0.1], [0.1, 0.1], [0.1, math.nan]):
        found = paired.student_interval(np.array(differences))
        assert math.isnan(found.low)
        assert found.seeds == len(differences)
    assert paired.difference([trial(1)], [trial(2)], paired.MEASURES["gap"]).seeds == 0


def test_the_ratio_of_iterations_is_geometric():
    before = [trial(0, reached=100), trial(1, reached=200)]
    after = [trial(0, reached=200), trial(1, reached=1600)]
    found = paired.iterations_ratio(before, after, 0.25)
    half = stats.t.ppf(0.975, 1) * stats.sem(np.log([2, 8]))
    assert found.value == pytest.approx(4)  # sqrt(2 x 8)
    assert (found.low, found.high) == pytest.approx((4 / math.exp(half), 4 * math.exp(half)))


def test_a_ratio_with_one_that_never_got_there_has_no_value():
    found = paired.iterations_ratio([trial(0), trial(1)], [trial(0), trial(1, reached=INF)], 0.25)
    assert math.isnan(found.value)
    assert found.seeds == 2
