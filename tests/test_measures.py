"""Each measure on records whose number follows by arithmetic."""

import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

import configs
from configs import base
from src.analysis import intervals, measures
from src.analysis.measures import MEASURES, Measure, get_measure
from src.config.config import Config
from src.fields import ConfigError
from src.records.trial import TrialRecord

NAN = math.nan
EPOCHS = np.arange(1, 9) / 2  # two points an epoch, of 50 iterations


def trial(status: str = "censored", **columns) -> TrialRecord:
    metrics = {
        "iteration": (100 * EPOCHS).astype(int),
        "epoch": EPOCHS,
        "train_error": np.array([NAN, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        "frozen_error": np.linspace(0.8, 0.1, 8),
        "figure_error": np.array(
            [0.8, NAN, 0.6, NAN, 0.4, NAN, 0.2, NAN]
        ),  # after epochs 0, 1, 2, 3
        "test_error": np.array([NAN, 0.7, NAN, 0.5, 0.35, 0.4, 0.3, 0.42]),
        "test_top5_error": np.array([NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0.05]),
    } | columns
    return TrialRecord({"trial": "mine", "status": status}, metrics)


@pytest.mark.parametrize(
    ("name", "target", "bounds"),
    [
        ("iterations", 0.4, (200, 250)),  # the errors fall by 0.1 a point
        ("iterations", 0.8, (50, 100)),  # the first point had no full window yet
        ("iterations", 0.05, (400, math.inf)),
        ("iterations_frozen", 0.8, (0, 50)),
        ("test_error", 0.4, (0.42, 0.42)),
        ("mean_test_error", 0.4, (0.36, 0.36)),  # 0.3 and 0.42, the last epoch of four.
        ("best_test_error", 0.4, (0.3, 0.3)),
        ("equal_test_error", 0.4, (0.35, 0.35)),
        ("equal_test_error", 0.45, (0.425, 0.425)),
        ("train_error", 0.4, (0.1, 0.1)),
        ("test_top5_error", 0.4, (0.05, 0.05)),
    ],
)
def test_a_measure_takes_its_number_from_the_record(name, target, bounds):
    assert MEASURES[name].of(trial(), target) == pytest.approx(bounds)


def test_as_in_the_figure_is_read_by_lines_between_points_an_epoch_apart():
    """Points at epoch 0, 1, 2, 3 are 0.8, 0.6, 0.4, 0.2: down to 0.5 after 1.5 epochs."""
    low, high = MEASURES["iterations_as_in_figure"].of(trial(), 0.5)
    assert (low + high) / 2 == pytest.approx(150)
    assert high - low == 50  # a recording step is left open
    assert MEASURES["iterations_as_in_figure"].of(trial(), 0.1) == (300, math.inf)


def test_a_time_that_no_point_comes_before_is_not_read_from_a_figure():
    measure = MEASURES["iterations_as_in_figure"]
    assert np.isnan(measure.of(trial(), 0.85)).all()  # there at epoch 0
    short = {name: column[:1] for name, column in trial().metrics.items()}
    assert np.isnan(
        measure.of(TrialRecord({"trial": "mine", "status": "censored"}, short), 0.1)
    ).all()


@pytest.mark.parametrize("name", [*MEASURES])
def test_a_trial_that_diverged_has_no_number(name):
    numbers = MEASURES[name].sample([trial(), trial("diverged")], 0.4)
    assert not np.isnan(numbers.low[0])
    assert np.isnan(numbers.low[1])
    assert intervals.compare(MEASURES[name].kind, numbers, numbers).how == "incomplete"


@pytest.mark.parametrize("name", [*MEASURES])
def test_a_trial_without_points_has_no_number_and_no_error(name):
    empty = {column: np.zeros(0) for column in trial().metrics}
    low, high = MEASURES[name].of(TrialRecord({"status": "censored"}, empty), 0.4)
    assert math.isnan(low) or (low, high) == (0, math.inf)


def test_only_times_allow_racing_and_are_compared_by_a_ratio():
    for measure in MEASURES.values():
        assert (measure.kind == "ratio") == measure.allows_racing
        assert measure.words.format(target="25%")


def config_of(**changes) -> Config:
    tree = base.get_config().to_dict()
    tree["compare"] |= changes.pop("compare")
    return Config.read(tree | changes)


@pytest.mark.parametrize(
    ("compare", "words"),
    [
        ({"measure": "test_error"}, "stop_at_target should be False"),
        ({"measure": "iterations_frozen"}, "should begin with 'frozen'"),
        ({"measure": "iterations_as_in_figure"}, "should begin with 'figure'"),
        (
            {"further": ("iterations_frozen",)},
            "config.compare.further = 'iterations_frozen' .*hold 'fr",
        ),
        ({"further": ("nonsense",)}, "config.compare.further = 'nonsense' is not one of"),
        ({"measure": "tset_error"}, "did you mean 'test_error'"),
        ({"measure": "configs.nowhere.thing"}, "No module named"),
        ({"measure": "configs.base.get_config"}, "a Measure is needed"),
    ],
)
def test_what_a_study_cannot_have_is_refused_in_one_line(compare, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        measures.check_measures(config_of(compare=compare))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "compare": {"measure": "iterations_frozen", "field": "variant", "baseline": "a"},
                "readings": ("frozen",),
                "variants": {"a": {}, "b": {"readings": ("online",)}},
            },
            r"\('online',\) should begin with 'frozen' in the arm conv3-modern-relu-b$",
        ),
        (
            {
                "compare": {"measure": "test_error", "field": "stop_at_target", "baseline": False},
                "stop_at_target": False,
                "sweep": {"stop_at_target": (False, True)},
            },
            r"should be False in the arm conv3-modern-relu-stop_at_targetTrue$",
        ),
    ],
)
def test_what_one_arm_does_not_record_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        measures.check_measures(config_of(**changes))


def test_what_every_arm_records_is_taken_whatever_stands_in_their_place():
    compare = {"measure": "test_error", "field": "stop_at_target", "baseline": False}
    sweep = {"stop_at_target": (False,)}
    measures.check_measures(config_of(compare=compare, sweep=sweep, stop_at_target=True))


def test_what_it_can_have_is_taken():
    further = ("iterations_as_in_figure", "test_error")
    measures.check_measures(config_of(compare={"further": further}))
    measures.check_measures(config_of(compare={"measure": "test_error"}, stop_at_target=False))
    frozen = {"measure": "iterations_frozen"}
    measures.check_measures(config_of(compare=frozen, readings=("frozen", "online")))


OWN = """
from src.analysis.measures import Measure, exactly

def _seconds(trial, target):
    return exactly(float(trial.metrics["train_seconds"][-1]))

seconds = Measure("configs.mine_measures.seconds", _seconds, "ratio", "seconds of training")
"""

OWN_BODY = 'return exactly(float(trial.metrics["train_seconds"][-1]))'


def test_a_measure_of_ones_own_is_found_by_its_dotted_name(tmp_path, monkeypatch):
    (tmp_path / "mine_measures.py").write_text(OWN)
    monkeypatch.setattr(configs, "__path__", [*configs.__path__, str(tmp_path)])
    measure = get_measure("configs.mine_measures.seconds")
    numbers = measure.sample([trial(train_seconds=np.array([3.0, 9.0]))], 0.4)
    assert (numbers.low[0], numbers.high[0]) == (9, 9)
    del sys.modules["configs.mine_measures"]


def test_two_measures_of_one_name_are_refused(tmp_path, monkeypatch):
    """Else the effects of one would stand in the column of the other."""
    (tmp_path / "twins.py").write_text(f"{OWN}twin = Measure(seconds.name, _seconds, 'ratio', 't')")
    monkeypatch.setattr(configs, "__path__", [*configs.__path__, str(tmp_path)])
    one, two = "configs.twins.seconds", "configs.twins.twin"
    config = config_of(compare={"measure": one, "further": (two,)})
    with pytest.raises(ConfigError, match=rf"further = '{two}': its name '.*' is that of '{one}'"):
        measures.check_measures(config)
    assert list(measures.get_measures(replace(config.study.compare, further=(one,)))) == [one]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return exactly(trial.metrics['tset_error'][-1])", "did you mean test_error?"),
        ("return exactly(trial.row['final_test_eror'])", "did you mean"),
        ("return trial.metrics['test_error'][-1]", "TypeError"),
        ("return trial.metrics['test_error']", "ValueError"),
        ("pass", "TypeError"),
        ("return 2.0, 1.0", "makes bounds 2 to 1"),
        ("return -1.0, -1.0", "makes bounds -1 to -1, of which there is no ratio; let its kind be"),
        ("return 0.0, 0.0", "makes bounds 0 to 0, of which there is no ratio; let its kind be"),
        ("return exactly(float('inf'))", "makes bounds inf to inf: let the lower one be"),
        ("return float('nan'), 2.0", "makes bounds nan to 2: give nan twice"),
        ("return 2.0, float('nan')", "makes bounds 2 to nan: give nan twice"),
        ("raise SystemExit(7)", "SystemExit: 7"),
    ],
)
def test_each_mistake_in_a_measure_of_ones_own_has_its_line(tmp_path, monkeypatch, text, message):
    """Before anything is trained, and again when a report is written."""
    name = f"mistaken_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN.replace(OWN_BODY, text))
    monkeypatch.setattr(configs, "__path__", [*configs.__path__, str(tmp_path)])
    measure = f"configs.{name}.seconds"
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        measures.check_measures(config_of(compare={"measure": measure}))
    assert "\n" not in str(error.value)
    with pytest.raises(measures.MeasureError) as late:
        get_measure(measure).sample([trial(test_error=np.array([0.5, 0.4]))], 0.4)
    assert "\n" not in str(late.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kind", "quotient", "its kind 'quotient' is not one of 'ratio', 'difference'"),
        ("better", "biggest", "its better 'biggest' is not one of 'smaller', 'larger'"),
        ("reading", "shown", "its reading 'shown' is not one of '', 'online'"),
        ("words", "seconds to {error}", "of braces it may have {target} alone"),
        ("words", "seconds {", "of braces it may have {target} alone"),
        ("words", None, "its words None must be a text"),
        ("of", None, "its name must be a string, and its `of` a function"),
        ("name", "train_error", "its name 'train_error' is that of another measure"),
    ],
)
def test_the_words_of_a_measure_of_ones_own_are_checked(
    tmp_path, monkeypatch, field, value, message
):
    """A report needs them, which is written when all is trained."""
    name = f"worded_{tmp_path.name}"
    change = f"object.__setattr__(seconds, {field!r}, {value!r})"  # Types are not checked so.
    (tmp_path / f"{name}.py").write_text(f"{OWN}{change}\n")
    monkeypatch.setattr(configs, "__path__", [*configs.__path__, str(tmp_path)])
    with pytest.raises(ConfigError, match=re.escape(message)):
        measures.check_measures(config_of(compare={"measure": f"configs.{name}.seconds"}))


@pytest.mark.parametrize("column", ["frozen_error", "layer_3_saturated", "test_top5_error"])
def test_a_measure_of_columns_that_only_some_trials_have_is_taken(tmp_path, monkeypatch, column):
    name = f"rare_{tmp_path.name}"
    body = f"return exactly(trial.metrics['{column}'][-1])"
    (tmp_path / f"{name}.py").write_text(OWN.replace(OWN_BODY, body))
    monkeypatch.setattr(configs, "__path__", [*configs.__path__, str(tmp_path)])
    measures.check_measures(config_of(compare={"measure": f"configs.{name}.seconds"}))


@pytest.mark.parametrize("bounds", [(1.0, math.inf), (-math.inf, 1.0), (math.inf, math.inf)])
def test_a_difference_needs_bounds_on_both_sides(bounds):
    mine = Measure("configs.mine.m", lambda *_: bounds, "difference", "mine")
    with pytest.raises(measures.MeasureError, match=r"makes bounds -?(1|inf) to (1|inf)[,:] "):
        mine.bounds(trial(), 0.4)
