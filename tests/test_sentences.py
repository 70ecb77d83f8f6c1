"""Intervals and mean times in words."""

import pytest

from src.analysis import intervals
from src.analysis.effects import Analysis, analyse
from src.analysis.intervals import Interval
from src.analysis.study import load_study
from src.reports import sentences
from tests import synthetic
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


@pytest.fixture
def analysis(tmp_path) -> Analysis:
    """A study whose comparisons have no trials yet."""
    synthetic.write_header(tmp_path)
    return analyse(load_study(tmp_path))


@pytest.mark.parametrize(
    ("ends", "p", "words"),
    [
        ((1.2, 3.3), 0.01, ""),
        ((1.2, 3.3), NAN, ""),
        ((1.2, 3.3), 0.2, " No difference is shown."),  # p is that of all comparisons
        ((0.8, 3.3), 0.2, " No difference is shown."),
    ],
)
def test_a_difference_is_shown_by_its_interval_and_its_adjusted_p(analysis, ends, p, words):
    found = Interval(2.0, *ends, (3, 3), "ratio")
    effect = analysis.effects()[0]._replace(interval=found, p=p)
    assert sentences.conclusion(effect) == words


@pytest.mark.parametrize(("low", "depends"), [(1.2, " So it depends on the recipe."), (0.8, "")])
def test_an_effect_depends_on_a_field_only_where_the_interval_leaves_out_one(
    analysis, low, depends
):
    found = Interval(2.0, low, 3.3, (3, 3), "ratio", p=0.03)
    told = sentences.interaction(analysis, analysis.interactions()[0]._replace(interval=found))
    assert told == (
        "The ratio of tanh to relu is 2.0 times as large with cuda_convnet as with modern (95%"
        f" interval {low:.2f} to 3.3, n = 3, p = 0.03).{depends}"
    )
