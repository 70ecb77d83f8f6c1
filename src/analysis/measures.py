"""What a study compares: one row per measure, and measures of one's own by dotted name.

A measure takes one number from the record of each trial. Rates are chosen by it, arms compared by
it, and the report's titles, tables and sentences follow from its words.
"""

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from src.analysis import curves
from src.analysis.curves import Series
from src.analysis.intervals import Ends, Kind, Sample, sample
from src.records.trial import TrialRecord

LAST_PART = 0.25  # of a trial's epochs, for the averaged test error
UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True)
class Measure:
    """One number of a trial, and the words for it.

    Attributes:
        name: As in `config.compare.measure`.
        of: From a trial's record and the study's target training error to the bounds of its
            number: equal for an exact one, a recording step apart for a time, `inf` above where
            the trial was stopped before it got there, nan where it has none.
        kind: Whether arms are compared by a ratio, as times are, or by a difference.
        words: The number in words, within a sentence; `{target}` stands for the target.
        better: Whether the smaller or the larger number is the better one.
        allows_racing: Whether a selection trial may be stopped once it can no longer win. That is
            so only where more training cannot change who is first.
    """

    name: str
    of: Callable[[TrialRecord, float], Ends]
    kind: Kind
    words: str
    better: Literal["smaller", "larger"] = "smaller"
    allows_racing: bool = False

    def sample(self, trials: Sequence[TrialRecord], target: float) -> Sample:
        """The numbers of an arm's trials; those of a diverged trial are nan."""
        return sample(
            UNKNOWN if trial.row["status"] == "diverged" else self.of(trial, target)
            for trial in trials
        )


def get_measure(name: str) -> Measure:
    """The measure of that name, or one's own, such as `configs.mine.my_measure`.

    Raises:
        ValueError: If there is none; the message says what there is.
    """
    if name in MEASURES:
        return MEASURES[name]
    module, _, attribute = name.rpartition(".")
    if not module:
        raise ValueError(f"{name!r} is no measure; there are {', '.join(MEASURES)}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the measure {name!r} cannot be imported: {error}") from error
    if not isinstance(found, Measure):
        raise ValueError(f"{name!r} is a {type(found).__name__}, not a Measure")
    return found


# --- Times. ---


def _online(trial: TrialRecord, target: float) -> Ends:
    return curves.time_to(curves.online(trial.metrics), target)


def _frozen(trial: TrialRecord, target: float) -> Ends:
    return curves.time_to(curves.frozen(trial.metrics), target)


def _as_in_figure(trial: TrialRecord, target: float) -> Ends:
    """Read by lines between points that are an epoch apart, as the paper's curves are; what is left
    open is the recording step.
    """
    metrics = trial.metrics
    if not metrics["epoch"].size:
        return 0.0, math.inf
    series, per_epoch = curves.as_in_figure(metrics), curves.iterations_per_epoch(metrics)
    at = curves.crossing(series, target) * per_epoch
    if math.isinf(at):
        return (float(series.at[-1]) * per_epoch if series.at.size else 0.0), math.inf
    half_a_step = float(np.median(np.diff(metrics["iteration"], prepend=0))) / 2
    return max(0.0, at - half_a_step), at + half_a_step


# --- Errors. ---


def exactly(value: float) -> Ends:
    """The bounds of a number that is known as it is."""
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
    return exactly(curves.value_at(test, metrics["train_error"], target))


# fmt: off
MEASURES: dict[str, Measure] = {measure.name: measure for measure in (
    Measure("iterations", _online, "ratio", "iterations to {target} training error",
            allows_racing=True),
    Measure("iterations_as_in_figure", _as_in_figure, "ratio",
            "iterations to {target} training error, read as in Fig. 1", allows_racing=True),
    Measure("iterations_frozen", _frozen, "ratio",
            "iterations to {target} training error, parameters fixed", allows_racing=True),
    Measure("test_error", _final("test_error"), "difference", "test error at the end"),
    Measure("mean_test_error", _last_quarter, "difference",
            "test error, mean of the last quarter"),
    Measure("equal_test_error", _at_equal_training_error, "difference",
            "test error at {target} training error"),
    Measure("best_test_error", _best, "difference", "best test error"),
    Measure("train_error", _final("train_error"), "difference", "training error at the end"),
    Measure("test_top5_error", _final("test_top5_error"), "difference",
            "top-5 test error at the end"),
)}
# fmt: on
