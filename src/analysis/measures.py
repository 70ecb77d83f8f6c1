"""Measures, the numbers that a study compares: one row each, or a user's own by dotted name.

A measure takes one number from the record of each trial. Rates are chosen by it, arms are compared
by it, and the report's titles, tables and sentences follow from its words.
"""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from src import own
from src.analysis import curves
from src.analysis.curves import Series
from src.analysis.intervals import Ends, Kind, Sample, sample
from src.config.config import Config
from src.config.schema import Compare
from src.errors import LabError, one_line
from src.fields import ConfigError, one_of
from src.records.trial import FLOAT_COLUMNS, METRIC_COLUMNS, RESULT_COLUMNS, TrialRecord
from src.training.settings import TrialSettings

LAST_PART = 0.25  # Share of a trial's epochs over which the test error is averaged.
UNKNOWN = (math.nan, math.nan)


class MeasureError(LabError):
    """A user's own measure fails. The message is one line."""


@dataclass(frozen=True)
class Measure:
    """One number of a trial, and the words for it.

    Attributes:
        name: Its name in `config.compare.measure`.
        of: (a trial's record, the target training error) -> bounds of its number. They are equal
            for an exact number and a recording step apart for a time, whose upper one is `inf` if
            the trial was stopped before it got there; both are nan if it has no such number.
        kind: Whether arms are compared by a ratio, as times and other counts are, or by a
            difference, which is told in percentage points: the number is a fraction.
        words: The number in words, within a sentence; `{target}` stands for the target.
        better: Whether the smaller or the larger number is the better one.
        reading: For a time, the reading of the training error that it is measured to: `online`,
            `figure` or `frozen`. It must be the first of `config.readings`, by which trials are
            stopped. Empty for all other measures.
        equally_long: Whether it is meaningful only if all trials train for the same time.
    """

    name: str
    of: Callable[[TrialRecord, float], Ends]
    kind: Kind
    words: str
    better: Literal["smaller", "larger"] = "smaller"
    reading: str = ""
    equally_long: bool = False

    @property
    def allows_racing(self) -> bool:
        """Whether a selection trial may be stopped once it can no longer win.

        This holds for times alone: only there can more training not change who is first.
        """
        return bool(self.reading)

    def sample(self, trials: Sequence[TrialRecord], target: float) -> Sample:
        """The numbers of an arm's trials; those of a diverged trial are nan."""
        return sample(
            UNKNOWN if trial.row["status"] == "diverged" else self.bounds(trial, target)
            for trial in trials
        )

    def bounds(self, trial: TrialRecord, target: float) -> Ends:
        """The bounds that `of` gives for a trial.

        Raises:
            MeasureError: If a user's own function fails on it.
        """
        if getattr(self.of, "__module__", "").startswith("src."):
            return self.of(trial, target)
        try:
            low, high = map(float, self.of(trial, target))
        except (Exception, SystemExit) as error:  # The user's code may raise anything.
            raise MeasureError(
                f"measure {self.name!r} fails on the record of {trial.row['trial']}:"
                f" {type(error).__name__}: {one_line(error)}; the records stand: mend it, then"
                " give the same command again, or python -m src.report DIR"
            ) from error
        if fault := self._fault_of(low, high):
            raise MeasureError(f"measure {self.name!r} makes bounds {low:g} to {high:g}{fault}")
        return low, high

    def _fault_of(self, low: float, high: float) -> str:
        """What is wrong with the bounds of a number, "" if nothing."""
        if math.isnan(low) or math.isnan(high):
            same = math.isnan(low) and math.isnan(high)
            return "" if same else ": give nan twice for a number that is unknown"
        if low > high:
            return ": turn them"
        if math.isinf(low):
            return ": let the lower one be where the trial stopped"
        if self.kind == "ratio" and (low < 0 or high == 0):
            return ", of which there is no ratio; let its kind be 'difference'"
        if self.kind == "difference" and math.isinf(high):
            return ", of which there is no difference; let its kind be 'ratio', or give nan twice"
        return ""


def get_measure(name: str, field: str = "compare.measure") -> Measure:
    """Finds a measure by its name, or a user's own, such as `configs.mine.my_measure`.

    Args:
        name: The name in the config.
        field: The field that holds it.

    Raises:
        ConfigError: If there is none, with the nearest name.
    """
    if not own.is_own(name):
        one_of(field, name, tuple(MEASURES))
        return MEASURES[name]
    try:
        found = own.find(name)
    except ValueError as error:
        raise ConfigError(f"config.{field} = {name!r}: {error}") from None
    if not isinstance(found, Measure):
        kind = type(found).__name__
        raise ConfigError(f"config.{field} = {name!r} is a {kind}; a Measure is needed")
    if wrong := _fault(found):
        raise ConfigError(f"config.{field} = {name!r}: {wrong}")
    return found


def _fault(measure: Measure) -> str:
    """What is wrong with the words of a measure of one's own, "" if nothing."""
    known: dict[str, tuple[str, ...]] = {"kind": ("ratio", "difference")}
    known |= {"better": ("smaller", "larger"), "reading": ("", "online", "figure", "frozen")}
    for name, values in known.items():
        if (value := getattr(measure, name)) not in values:
            return f"its {name} {value!r} is not one of {', '.join(map(repr, values))}"
    if not (callable(measure.of) and isinstance(measure.name, str)):
        return "its name must be a string, and its `of` a function"
    if measure.name in MEASURES:
        return f"its name {measure.name!r} is that of another measure; give it one of its own"
    try:
        measure.words.format(target="25%")
    except (AttributeError, LookupError, ValueError):
        return f"its words {measure.words!r} must be a text; of braces it may have {{target}} alone"
    return ""


class _Unasked(Exception):
    """A measure asked for a column that the record made for its trial does not have."""


class _Made(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        near = difflib.get_close_matches(name, self, n=1, cutoff=0.85)
        raise KeyError(f"{name}; did you mean {near[0]}?") if near else _Unasked(name)


def _try(measure: Measure, name: str, field: str, target: float) -> None:
    """Tries a user's own measure on a record made up for it, before hours are spent on training.

    The record lacks columns that only some trials have; a measure that asks for one is not tried.
    """
    row = dict.fromkeys(RESULT_COLUMNS, "x") | dict.fromkeys(FLOAT_COLUMNS, 0.5)
    row |= {"status": "reached", "seed": 1, "iterations": 30}
    metrics = {column: np.array([0.9, 0.7, 0.5]) for column in METRIC_COLUMNS}
    metrics |= {"iteration": np.array([10, 20, 30]), "epoch": np.array([1.0, 2.0, 3.0])}
    try:
        measure.bounds(TrialRecord(_Made(row), _Made(metrics)), target)
    except MeasureError as error:
        if not isinstance(error.__cause__, _Unasked):
            reason = str(error).partition("fails on the record of x: ")[2] or str(error)
            raise ConfigError(
                f"config.{field} = {name!r}: it fails on a record of three points:"
                f" {reason.partition('; the records stand')[0]}"
            ) from error


def get_measures(compare: Compare) -> dict[str, Measure]:
    """What the config calls a measure -> that measure: the study's own, then the further ones.

    Raises:
        ConfigError: If there is none of a name, or two measures have one name.
    """
    measures: dict[str, Measure] = {}
    for name in (compare.measure, *compare.further):
        field = _field(compare, name)
        measure = get_measure(name, field)
        for other, found in measures.items():
            if found.name == measure.name and other != name:
                raise ConfigError(
                    f"config.{field} = {name!r}: its name {found.name!r} is that of {other!r} too;"
                    " give each its own"
                )
        measures[name] = measure
    return measures


def _field(compare: Compare, name: str) -> str:
    return "compare.measure" if name == compare.measure else "compare.further"


def check_measures(config: Config) -> None:
    """Refuses a study in which the trials of an arm will not record what it compares.

    Raises:
        ConfigError: Naming the field.
    """
    compare, trial = config.study.compare, config.trial
    for name, measure in get_measures(compare).items():
        field, decides = _field(compare, name), name == compare.measure
        if own.is_own(name):
            _try(measure, name, field, trial.target_train_error)
        for arm in config.arms:
            if wrong := _not_recorded(measure, arm.settings, decides=decides):
                alike = _not_recorded(measure, trial, decides=decides) == wrong
                where = "" if alike else f" in the arm {arm.name}"
                raise ConfigError(f"config.{field} = {name!r} {wrong}{where}")


def _not_recorded(measure: Measure, settings: TrialSettings, *, decides: bool) -> str:
    """Why trials with these settings do not record a measure, "" if they do.

    Args:
        measure: The measure.
        settings: The settings of an arm.
        decides: Whether rates are chosen by it, and not only shown.
    """
    if decides and measure.equally_long and settings.stop_at_target:
        return "compares trials that train equally long; config.stop_at_target should be False"
    stops = not decides or settings.readings[0] == measure.reading
    recorded = measure.reading != "frozen" or "frozen" in settings.readings
    if not measure.reading or (stops and recorded):
        return ""
    return (
        f"is not what trials are stopped by: config.readings = {settings.readings} should"
        f" {'begin with' if decides else 'hold'} {measure.reading!r}"
    )


# --- Times. ---


def _online(trial: TrialRecord, target: float) -> Ends:
    return curves.time_to(curves.online(trial.metrics), target)


def _frozen(trial: TrialRecord, target: float) -> Ends:
    return curves.time_to(curves.frozen(trial.metrics), target)


def _as_in_figure(trial: TrialRecord, target: float) -> Ends:
    """Time to the target read by lines between points an epoch apart, as in the paper's figure.

    Its bounds are a recording step apart. It is unknown if the error is at the target at the first
    point, or the trial ends before a second one.
    """
    metrics = trial.metrics
    if not metrics["epoch"].size:
        return 0.0, math.inf
    series, per_epoch = curves.as_in_figure(metrics), curves.iterations_per_epoch(metrics)
    at = curves.crossing(series, target) * per_epoch
    seen = float(series.at[-1]) * per_epoch if series.at.size else 0.0
    if at <= 0 or (math.isinf(at) and seen <= 0):
        return UNKNOWN
    if math.isinf(at):
        return seen, math.inf
    half_a_step = float(np.median(np.diff(metrics["iteration"], prepend=0))) / 2
    return max(0.0, at - half_a_step), at + half_a_step


# --- Errors. ---


def exactly(value: float) -> Ends:
    """The bounds of a number that is known exactly."""
    return value, value


def _final(column: str) -> Callable[[TrialRecord, float], Ends]:
    def of(trial: TrialRecord, target: float) -> Ends:
        del target
        values = trial.metrics.get(column, np.zeros(0))
        return exactly(float(values[-1]) if values.size else math.nan)

    return of


def _of_tested(trial: TrialRecord, reduce: Callable[[np.ndarray], float], start: float) -> Ends:
    """Reduces the test errors after a share of the trial's epochs."""
    epochs, errors = trial.metrics["epoch"], trial.metrics["test_error"]
    late = epochs > start * epochs[-1] if epochs.size else np.zeros(0, bool)
    tested = errors[late & ~np.isnan(errors)]
    return exactly(float(reduce(tested)) if tested.size else math.nan)


def _last_quarter(trial: TrialRecord, target: float) -> Ends:
    del target
    return _of_tested(trial, np.mean, 1 - LAST_PART)


def _best(trial: TrialRecord, target: float) -> Ends:
    del target
    return _of_tested(trial, np.min, 0.0)


def _at_equal_training_error(trial: TrialRecord, target: float) -> Ends:
    metrics = trial.metrics
    test = Series(metrics["iteration"], metrics["test_error"])
    return exactly(curves.value_at(test, curves.frozen(metrics).values, target))


def _final_training_error(trial: TrialRecord, target: float) -> Ends:
    """The last error with fixed parameters, or of the trailing window if that was not measured."""
    del target
    values = curves.frozen(trial.metrics).values
    return exactly(float(values[-1]) if values.size else math.nan)


# fmt: off
MEASURES: dict[str, Measure] = {measure.name: measure for measure in (
    Measure("iterations", _online, "ratio", "iterations to {target} training error",
            reading="online"),
    Measure("iterations_as_in_figure", _as_in_figure, "ratio",
            "iterations to {target} training error, read as in Fig. 1", reading="figure"),
    Measure("iterations_frozen", _frozen, "ratio",
            "iterations to {target} training error, parameters fixed", reading="frozen"),
    Measure("test_error", _final("test_error"), "difference", "test error at the end",
            equally_long=True),
    Measure("mean_test_error", _last_quarter, "difference",
            "test error, mean of the last quarter", equally_long=True),
    Measure("equal_test_error", _at_equal_training_error, "difference",
            "test error at {target} training error"),
    Measure("best_test_error", _best, "difference", "best test error", equally_long=True),
    Measure("train_error", _final_training_error, "difference", "training error at the end",
            equally_long=True),
    Measure("test_top5_error", _final("test_top5_error"), "difference",
            "top-5 test error at the end", equally_long=True),
)}
# fmt: on
