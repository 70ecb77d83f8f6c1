import math

import pytest

from src import wording


@pytest.mark.parametrize(
    ("fraction", "words"),
    [(0.25, "25%"), (0.005, "0.5%"), (0.125, "12.5%"), (0.29, "29%"), (0.0001, "0.01%")],
)
def test_a_target_keeps_its_digits(fraction, words):
    assert wording.target(fraction) == words


def test_points_have_no_negative_zero():
    assert [wording.points(x) for x in (-0.0004, 0.0, -0.0006)] == ["+0.0", "+0.0", "-0.1"]


@pytest.mark.parametrize(
    ("value", "words"),
    [(5.638, "5.6"), (1.091, "1.09"), (0.554, "0.55"), (0.0004, "0.0004"), (1234.5, "1,234")],
)
def test_a_ratio_has_the_digits_it_deserves(value, words):
    assert wording.ratio(value) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (5.24, 6.06, "5.2 to 6.1"),
        (0.763, 1.5501, "0.76 to 1.56"),
        (5.29, math.inf, "at least 5.2"),
        (5.29, 1e5, "at least 5.2"),
        (0.001, 0.195, "at most 0.20"),
        (0.0, math.inf, "any"),
    ],
)
def test_ends_of_a_ratio_are_rounded_outwards_and_not_beyond_reason(low, high, words):
    assert wording.ratio_ends(low, high) == words


def test_ends_of_a_difference_are_rounded_outwards():
    assert wording.points_ends(-0.06281, -0.00004) == "-6.3 to +0.0"
    assert wording.points_ends(0.002, 0.0281) == "+0.2 to +2.9"


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0298, "p = 0.03"),
        (0.001, "p = 0.001"),
        (1e-5, "p < 0.001"),
        (0.0504, "p = 0.0504"),  # Not at most 5%, as 0.05 would be.
        (0.05004, "p = 0.05004"),
        (0.0496, "p = 0.05"),
        (0.05, "p = 0.05"),
    ],
)
def test_a_p_value_has_two_figures(p, words):
    assert wording.p_value(p) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40.0, "40 s"), (89.4, "89 s"), (720.0, "12 min"), (12e3, "3 h 20 min"), (3720.0, "62 min")],
)
def test_a_duration_is_said_as_people_say_it(seconds, words):
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 images"), (1, "1 image"), (3, "3 images"), (12_000, "12,000 images")],
)
def test_one_of_a_thing_is_not_several(number, words):
    assert wording.counted(number, "image") == words


def test_a_cell_cannot_break_its_table():
    text = wording.table(["a", "b"], [["one|two", "three\nfour"]])
    assert text.splitlines() == ["| a | b |", "| --- | --- |", "| one\\|two | three four |"]
