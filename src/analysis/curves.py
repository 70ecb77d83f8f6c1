"""Readings of a trial's training error from its recorded points, and when one gets to a target.

Three readings are in use. *Online*: share misclassified among the images of the trailing epoch, as
they were seen; it begins with the first full epoch. *As in the figure*: online error of the first
10,000 images after k epochs, what the program of 2012 printed and Fig. 1 most likely shows.
*Frozen*: the whole training set, parameters fixed.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real

from src.analysis.intervals import Ends
from src.training.points import first_at_or_below

Columns = Mapping[str, np.ndarray]  # Columns of metrics.csv, each [points].


class Series(NamedTuple):
    """Numbers along a trial.

    Attributes:
        at: [P] iterations, or epochs, increasing.
        values: [P] fractions; nan where there is none.
    """

    at: Real[np.ndarray, " points"]
    values: Float[np.ndarray, " points"]


def online(metrics: Columns) -> Series:
    """Training error of the trailing window, nan until a whole window has been seen."""
    return Series(metrics["iteration"], metrics["train_error"])


def frozen(metrics: Columns) -> Series:
    """Training error of fixed parameters where it was measured, else that of the window."""
    column = "frozen_error" if "frozen_error" in metrics else "train_error"
    return Series(metrics["iteration"], metrics[column])


def as_in_figure(metrics: Columns) -> Series:
    """Error of the first 10,000 images after k = 0, 1, 2, ... epochs; `at` is in epochs.

    In a training set of no more images it is that of the first fifth.

    A trial records one in every epoch, for its points are an epoch apart at most. One that diverged
    at once has recorded none, and where a batch is more than an epoch there are none.
    """
    errors = metrics.get("figure_error", np.zeros(0))
    errors = errors[~np.isnan(errors)] if iterations_per_epoch(metrics) >= 1 else np.zeros(0)
    return Series(np.arange(errors.size, dtype=float), errors)


def time_to_value(series: Series, goal: float) -> Ends:
    """Bounds of the time until a series, such as a loss, is at or below `goal`.

    Returns:
        The point before the first such point, and that point itself; the last point and `inf` if
        the trial did not get there: it is reported as "> last", never dropped.
    """
    at, values = series
    index = first_at_or_below(values, goal)
    if index is None:
        return (float(at[-1]) if at.size else 0.0), math.inf
    return float(at[index - 1]) if index else 0.0, float(at[index])


def time_to(series: Series, target: float) -> Ends:
    """Bounds of the iterations to an error: the recording step of the first point at or below it.

    Args:
        series: Errors, with `at` in iterations.
        target: Fraction in [0, 1]; the paper uses 0.25.

    Raises:
        ValueError: If `target` is outside [0, 1], most often because it is a percentage.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.1 and Fig. 1.
    """
    if not 0 <= target <= 1:
        raise ValueError(f"target = {target} should be a fraction in [0, 1]; is it a percentage?")
    return time_to_value(series, target)


def crossing(series: Series, target: float) -> float:
    """The place where straight lines between points come down to the target; `inf` if they do not.

    The paper's figure has points an epoch apart, and is read in this way.
    """
    at, values = series
    index = first_at_or_below(values, target)
    if index is None:
        return math.inf
    if index == 0 or math.isnan(values[index - 1]):
        return float(at[index])
    before, after = float(values[index - 1]), float(values[index])
    part = (before - target) / (before - after)
    return float(at[index - 1] + part * (at[index] - at[index - 1]))


def value_at(series: Series, level: Float[np.ndarray, " points"], target: float) -> float:
    """The series' number where another one of the same trial comes down to a target.

    Interpolated along the trial between the last point above the target and the first at or below
    it, among the points at which both were measured.

    Args:
        series: The numbers in question, such as test errors.
        level: [P] what comes down to the target, such as training errors at the same points.
        target: A fraction in [0, 1].

    Returns:
        nan if the trial did not get there, or was there before the first such point.
    """
    both = ~np.isnan(series.values) & ~np.isnan(level)
    values, level = series.values[both], level[both]
    index = first_at_or_below(level, target)
    if index is None or (index == 0 and level[0] < target):
        return math.nan
    if index == 0:
        return float(values[0])
    part = (level[index - 1] - target) / (level[index - 1] - level[index])
    return float(values[index - 1] + part * (values[index] - values[index - 1]))


def iterations_per_epoch(metrics: Columns) -> float:
    """Optimizer updates in a pass over the training set; nan for a trial without points."""
    if not metrics["epoch"].size:
        return math.nan
    return float(metrics["iteration"][-1] / metrics["epoch"][-1])
