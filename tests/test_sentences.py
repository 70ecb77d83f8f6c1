"""Intervals and mean times in words."""

import pytest

from src.analysis import intervals
from src.analysis.effects import Analysis, analyse
from src.analysis.intervals import Interval
from src.analysis.measures import MEASURES, Measure
from src.analysis.study import load_study
from src.reports import sentences
from tests import synthetic
from tests.reported import INF, NAN


@pytest.mark.parametrize(
    ("value", "words"),
    [("tanh", "tanh"), ("0.5", "ones 0.5"), ("yes", "ones yes"), ("None", "ones None")],
)
def test_a_value_that_says_nothing_alone_has_the_name_of_its_field(value, words):
    assert sentences.arm_words("ones", value) == words


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


@pytest.mark.parametrize(
    ("points", "words"),
    [
        # tanh lowers the error by 5 points with one recipe, by 2 with the other: -5 minus -2
        (-0.03, "3.0 points lower with cuda_convnet than with modern"),
        (0.03, "3.0 points higher with cuda_convnet than with modern"),
        (0.0004, "to a tenth of a point the same with cuda_convnet as with modern"),
    ],
)
def test_differences_of_differences_have_a_direction_and_no_size(tmp_path, points, words):
    synthetic.write_header(tmp_path, compare=OF_ERRORS, stop_at_target=False)
    analysis = analyse(load_study(tmp_path))
    found = Interval(points, points - 0.01, points + 0.01, (3, 3), "difference")
    told = sentences.interaction(analysis, analysis.interactions()[0]._replace(interval=found))
    start = "The test error at the end with tanh, minus that with relu, is "
    assert told.startswith(f"{start}{words} (95% interval ")


OF_ERRORS = {"field": "activation", "baseline": "relu", "measure": "test_error"}


def test_only_times_have_a_goal_to_reach(analysis):
    """The words of a count of one's own may hold any word."""
    count = Measure("dead", lambda *_: (1.0, 1.0), "ratio", "units close to zero")
    time = MEASURES["iterations"]
    found = Interval(2.0, 1.2, 3.3, (3, 3), "ratio")
    for measure, words, told in (
        (count, count.words, "tanh needs 2.0 times as many units close to zero as relu"),
        (time, "iterations to 25% training error", "tanh needs 2.0 times as many iterations as"
         " relu to reach 25% training error"),
    ):  # fmt: skip
        assert sentences._claim(measure, found, words, "tanh", "relu") == told


def test_a_network_alone_says_why_its_number_is_not_known(tmp_path):
    synthetic.write_header(
        tmp_path, sweep={"recipe": ["modern"]}, learning_rates=[0.01],
        compare={"field": "recipe", "baseline": "modern"},
    )  # fmt: skip
    for seed, status in ((100, "reached"), (101, "diverged")):
        metrics = synthetic.make_metrics(lambda e: 1 / (1 + 4 * e), epochs=2, stop_at=0.25)
        kept = metrics if status == "reached" else []
        fields = {"recipe": "modern", "learning_rate": 0.01, "status": status, "iterations": 9}
        synthetic.write_trial(tmp_path, kept, seed=seed, **fields)
    analysis = analyse(load_study(tmp_path))
    told = sentences.alone(analysis, analysis.groups[0])
    assert told.endswith(": - (means, n = 2); 1 of 2 trials of modern diverged.")
