"""The points that a trial records, the iterations at which it does, and the rule that ends it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from src.data.batches import iterations_per_epoch
from src.training.settings import TrialSettings

FIGURE_IMAGES = 10_000  # One of CIFAR-10's five files, whose error the program of 2012 printed.
ROUNDING = 1e-9  # Iterations; so that rounding does not put off the end of an epoch.
Row = dict[str, float | int]


class Grid:
    """Iterations at which a trial is measured, changes its rate and ends."""

    def __init__(self, settings: TrialSettings, num_images: int):
        """Derives the iterations from a trial's settings and the size of its training set."""
        files = settings.recipe.file_images
        self.num_images = num_images
        self.per_epoch = iterations_per_epoch(num_images, settings.batch_size, files)
        self.per_point = max(1, int(self.per_epoch / settings.points_per_epoch))
        self.last = self.iteration_of(settings.max_epochs)
        self.drops = sorted(self.iteration_of(each) for each in settings.schedule.known_drops)

    def iteration_of(self, epochs: float) -> int:
        """The first iteration by which so many epochs are done."""
        return max(1, math.ceil(epochs * self.per_epoch - ROUNDING))

    def next_length(self, iteration: int) -> int:
        """Steps from here to the next point: a multiple of `per_point`, a drop of the rate, or the
        end.
        """
        point = (iteration // self.per_point + 1) * self.per_point
        stops = [point, self.last, *(drop for drop in self.drops if drop > iteration)]
        return min(stops) - iteration


@dataclass
class Points:
    """The newest batches of a trial and its rows of metrics.csv, all of it kept in checkpoints.

    Attributes:
        wrong: [W] number of misclassified images per batch of the trailing window, oldest first.
        seen: [W] number of images in each of these batches.
        loss: [W] mean loss of each of these batches.
        iteration: Optimizer updates done.
        rows: One per point.
    """

    wrong: Int[np.ndarray, " W"] = field(default_factory=lambda: np.zeros(0, np.int32))
    seen: Int[np.ndarray, " W"] = field(default_factory=lambda: np.zeros(0, np.int32))
    loss: Float[np.ndarray, " W"] = field(default_factory=lambda: np.zeros(0, np.float32))
    iteration: int = 0
    rows: list[Row] = field(default_factory=list)

    @property
    def window(self) -> dict[str, np.ndarray]:
        """The arrays of a checkpoint; `Points().window` tells their types."""
        return {"wrong": self.wrong, "seen": self.seen, "loss": self.loss}

    def add(self, grid: Grid, window_epochs: float, errors: Any, seconds: float) -> None:
        """Takes the errors of the newest batches and adds a row.

        Args:
            grid: The trial's grid.
            window_epochs: Length of the trailing window in epochs.
            errors: `StepErrors` of arrays [steps].
            seconds: Seconds of training so far, in all.
        """
        self.iteration += len(errors.wrong)
        window = math.ceil(window_epochs * grid.per_epoch - ROUNDING)
        kept = max(window, math.ceil(grid.per_epoch) + len(errors.wrong))
        self.wrong = np.concatenate([self.wrong, errors.wrong])[-kept:]
        self.seen = np.concatenate([self.seen, errors.seen])[-kept:]
        self.loss = np.concatenate([self.loss, errors.loss])[-kept:]
        full = self.iteration >= window
        self.rows.append(
            {
                "iteration": self.iteration,
                "epoch": self.iteration / grid.per_epoch,
                "train_error": self._share(window) if full else math.nan,
                "train_loss": self._mean_loss(window),
                "interval_error": self._share(len(errors.wrong)),
                "test_error": math.nan,
                "train_seconds": seconds,
                "figure_error": self._figure(grid, len(errors.wrong)),
            }
        )

    def _mean_loss(self, newest: int) -> float:
        """The mean over images, of which a batch at the end of a file may have fewer."""
        loss, seen = self.loss[-newest:].astype(np.float64), self.seen[-newest:]
        return float(np.sum(loss * seen) / np.sum(seen))

    def _share(self, newest: int) -> float:
        return float(self.wrong[-newest:].sum() / self.seen[-newest:].sum())

    def _figure(self, grid: Grid, newest: int) -> float:
        """Error of the first 10,000 images of the epoch, at the first point that has seen them.

        In a training set of no more images it is the first fifth of them. A batch at either end
        counts by the share of it that lies inside.
        """
        share = min(FIGURE_IMAGES, grid.num_images) / grid.num_images
        share = min(share, 1 / 5) if grid.num_images <= FIGURE_IMAGES else share
        end = math.floor(self.iteration / grid.per_epoch - share + ROUNDING) + share
        last = end * grid.per_epoch  # In iterations, a fraction where a batch is cut.
        if end < share or self.iteration - newest >= last - ROUNDING:
            return math.nan
        first = (end - share) * grid.per_epoch
        begins = np.arange(self.iteration - len(self.wrong), self.iteration)
        inside = np.clip(np.minimum(begins + 1, last) - np.maximum(begins, first), 0, 1)
        return float((inside * self.wrong).sum() / (inside * self.seen).sum())


def first_at_or_below(values: Sequence[float] | np.ndarray, goal: float) -> int | None:
    """Index of the first point whose number is at or below the goal; None if there is none."""
    return next((index for index, value in enumerate(values) if value <= goal), None)


@dataclass(frozen=True)
class StopRule:
    """When a trial ends: its errors are at the target, its race is lost, or its epochs are over.

    Attributes:
        target: Training error to reach, a fraction.
        readings: The training errors that must reach it, names in `COLUMNS`; the first one counts.
        stop_at_target: Whether the trial ends once all of them have.
        last: Its last iteration.
        limits: Pairs of a training error and the iterations allowed to reach it.
    """

    target: float
    readings: tuple[str, ...]
    stop_at_target: bool
    last: int
    limits: tuple[tuple[float, float], ...] = ()

    def reached(self, rows: list[Row], reading: str | None = None) -> float:
        """First recorded iteration at which a training error is at or below the target, or `inf`.

        Args:
            rows: Rows of metrics.csv.
            reading: One of `readings`; the first if it is not given.
        """
        column = COLUMNS[reading or self.readings[0]]
        index = first_at_or_below([row.get(column, math.nan) for row in rows], self.target)
        return math.inf if index is None else float(rows[index]["iteration"])

    def lost(self, rows: list[Row], iteration: int) -> bool:
        """Whether the trial did not reach some error of the race in the iterations allowed."""
        column = COLUMNS[self.readings[0]]
        errors = [row.get(column, math.nan) for row in rows]
        best = min((error for error in errors if not math.isnan(error)), default=math.inf)
        return any(iteration >= allowed and best > error for error, allowed in self.limits)

    def status(self, rows: list[Row], iteration: int) -> str:
        """`running`, `reached` or `censored`."""
        ended = iteration >= self.last or self.lost(rows, iteration)
        done = all(self.reached(rows, reading) < math.inf for reading in self.readings)
        if done and self.stop_at_target:
            return "reached"
        if ended:
            return "reached" if self.reached(rows) < math.inf else "censored"
        return "running"


COLUMNS = {"online": "train_error", "figure": "figure_error", "frozen": "frozen_error"}
