"""Intervals and mean times in words."""

import pytest

from src.analysis import intervals
from src.analysis.intervals import Interval
from src.reports import sentences
from tests.reported import INF, NAN


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((6.0, 5.51, 6.79, 6.0, 6.0), "6.0 [5.5 to 6.8]"),
        ((6.0, 5.59, 6.71, 6.0, 6.0), "6.0 [5.5 to 6.8]"),  # outwards
        ((1.5, 1.2345, 1.75, 1.5, 1.5), "1.50 [1.23 to 1.75]"),
        ((INF, 7.19, INF, 7.59, INF), "more than 7.5 [at least 7.1]"),
        ((0.0, 0.0, 0.301, 0.0, 0.251), "less than 0.26 [at most 0.31]"),
        ((NAN, NAN, NAN, 0.0, INF), "unknown [no interval]"),
        ((4.0, 3.0, INF, 4.0, 4.0), "4.0 [at least 3.0]"),
        ((4.0, NAN, NAN, 4.0, 4.0), "4.0 [no interval]"),
    ],
)
def test_ratios_in_words_never_say_more_than_is_known(bounds, words):
    value, low, high, *known = bounds
    found = Interval(value, low, high, (3, 3), "ratio", bounds=(known[0], known[1]))
    assert f"{sentences.value_words(found)} [{sentences.ends(found)}]" == words


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ([(3217.0, 3257.0)], "3,237"),
        ([(100.0, 100.0), (400.0, 400.0)], "200"),
        ([(100.0, 100.0), (400.0, INF)], "> 200"),
        ([(100.0, 100.0), (NAN, NAN)], "-"),
        ([(100.0, 100.0), (0.0, INF)], "-"),  # no point was recorded
        ([], "-"),
    ],
)
def test_mean_times_in_words(bounds, words):
    assert sentences.mean(intervals.sample(bounds), "ratio") == words
