import pytest

from src.training.schedule import Schedule, plateaus

OPTIONS = {"factor": 0.1, "boundaries": (2.0, 3.5), "patience": 2, "drops": 3}


@pytest.mark.parametrize(
    ("errors", "patience", "expected"),
    [
        ([], 1, 0),
        ([0.5], 1, 0),
        ([0.5, 0.4, 0.3, 0.2], 1, 0),
        ([0.5, 0.5], 1, 1),  # equal is no improvement
        ([0.5, 0.5], 2, 0),
        ([0.5, 0.6, 0.6], 2, 1),
        ([0.5, 0.6, 0.4, 0.5, 0.3], 2, 0),  # each new best begins the wait again
        ([0.5, 0.6, 0.55, 0.52, 0.51], 2, 2),  # falling, but not below the best
        ([0.5, 0.6, 0.6, 0.6, 0.49, 0.6, 0.6], 2, 2),  # the wait begins again after a drop, too
        ([0.5] * 8, 3, 2),
        ([float("nan")] * 2, 2, 1),
    ],
)
def test_a_plateau_is_so_many_epochs_without_a_new_best(errors, patience, expected):
    assert plateaus(errors, patience) == expected


def test_the_rate_falls_three_times_at_most():
    found = [Schedule("plateau", **OPTIONS).factor_after(0, [0.5] * n) for n in range(12)]
    expected = [1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001, 0.001, 0.001]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("passed", "expected"), [(0, 1), (1, 0.1), (2, 0.01)])
def test_steps_fall_with_their_boundaries_whatever_the_errors(passed, expected):
    assert Schedule("steps", **OPTIONS).factor_after(passed, [0.5] * 9) == pytest.approx(expected)


def test_constant_stays():
    assert Schedule("constant", **OPTIONS).factor_after(2, [0.5] * 99) == 1
