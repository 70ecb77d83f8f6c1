"""One trial under way: where it stands, what it has recorded, what it saves."""

import functools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from src import hosts
from src.data import batches
from src.records import trial as records
from src.records.files import RecordError
from src.records.trial import Identity
from src.training import checkpoints
from src.training.points import ROUNDING, Grid, Points, Row, StopRule
from src.training.settings import Limit, Trial
from src.training.step import StepErrors, TrainState

COMPANY = "together"  # Column: number of trials in one program.
TIMED = ("train", "compile", "measure", "save")


class Run:
    """A trial under way.

    Attributes:
        grid: The iterations at which it is measured and ends.
        points: What it has recorded.
        rule: When it stops.
        seconds: Seconds spent on each of `TIMED`.
        made_by: Device, versions, commit and so on -> every value it ran with, in order.
        began_with: Columns of its row that name the weights it began with.
        diverged: Whether its loss or a parameter is no longer finite.
    """

    def __init__(
        self,
        trial: Trial,
        num_images: int,
        directory: Path,
        of: Identity,
        limits: Sequence[Limit] = (),
        made_by: Mapping[str, str] | None = None,
        began_with: Mapping[str, str] | None = None,
    ):
        """Starts from the beginning; `restore` goes on from a checkpoint.

        Args:
            trial: The trial to train.
            num_images: Size of the training set.
            directory: The trial's folder, where metrics.csv and checkpoints are kept.
            of: Identity of the trial, written into its checkpoints.
            limits: Limits of a race; a trial that exceeds one has lost it and is censored.
            made_by: Device, versions and commit that train it now. The row of a trial that went on
                elsewhere names all of them.
            began_with: Columns of its row that name the weights of its first state, if its seed
                does not make them all.
        """
        settings = trial.settings
        self.trial, self.settings, self.directory, self.of = trial, settings, directory, of
        self.grid, self.points = Grid(settings, num_images), Points()
        self.rule = StopRule(
            settings.target_train_error,
            settings.readings,
            settings.stop_at_target,
            self.grid.last,
            tuple(limits),
        )
        self.seconds = dict.fromkeys(TIMED, 0.0)
        self.made_by: dict[str, list[str]] = {}
        self._now = dict(made_by or {})
        self.began_with = dict(began_with or {})
        self._sign()
        self.diverged = False
        self.draw = functools.partial(
            batches.batch_indices,
            batch_size=settings.batch_size,
            num_images=num_images,
            seed=trial.seed,
            order=settings.recipe.order,
            file_size=settings.recipe.file_images,
        )

    @property
    def status(self) -> str:
        """`running`, or how the trial ended: `reached`, `censored`, `diverged`."""
        if self.diverged:
            return "diverged"
        return self.rule.status(self.points.rows, self.points.iteration)

    @property
    def rate_factor(self) -> float:
        """What the schedule multiplies the learning rate by from here on.

        It depends on the recorded rows alone, so a trial that is resumed has the rate that it would
        have had.
        """
        schedule, iteration = self.settings.schedule, self.points.iteration
        errors = [row.get("validation_error", math.nan) for row in self.points.rows]
        passed = sum(iteration >= drop for drop in self.grid.drops)
        known = [error for error in errors if not math.isnan(error)]
        return schedule.factor_after(passed, known)

    def due(self, every_epochs: float) -> bool:
        """Whether the newest point is the first one at or past a multiple of `every_epochs`."""
        period = every_epochs * self.grid.per_epoch
        rows = self.points.rows
        before = rows[-2]["iteration"] if len(rows) > 1 else 0
        return (self.points.iteration + ROUNDING) // period > (before + ROUNDING) // period

    def record(self, errors: StepErrors, seconds: float) -> None:
        """Takes the errors [steps] of the newest batches and adds a row.

        If a loss is not finite, the trial has diverged, and no row is added.

        Args:
            errors: Arrays [steps].
            seconds: Seconds that these steps took.
        """
        self.seconds["train"] += seconds
        broken = np.flatnonzero(~np.isfinite(errors.loss))
        if broken.size:
            self.diverged = True
            self.points.iteration += int(broken[0]) + 1
            return
        factor = self.rate_factor  # Read before the iteration advances: these steps' factor.
        self.points.add(self.grid, self.settings.window_epochs, errors, self.seconds["train"])
        if self.settings.schedule.name != "constant":
            self.points.rows[-1]["rate_factor"] = factor

    def take_back(self) -> None:
        """Drops the newest row, because its last update left parameters that are not finite."""
        self.diverged = True
        self.points.rows.pop()

    def save(self, state: TrainState) -> None:
        """Writes a checkpoint and metrics.csv; with several processes only the leader does."""
        if not hosts.is_leader():
            return
        points = self.points
        arrays = {"state": state, **points.window}
        rest = {"iteration": points.iteration, "rows": points.rows, "made_by": self.made_by}
        rest |= {"seconds": self.seconds, "diverged": self.diverged, "began_with": self.began_with}
        if points.rows:  # Without a point it diverged at once, and is over.
            folder = self.directory / "checkpoints"
            checkpoints.save(folder, points.iteration, arrays, rest, self.of)
        records.write_metrics(self.directory, points.rows)

    def restore(self, state: TrainState) -> tuple[TrainState, list[str]]:
        """Goes on from the newest sound checkpoint.

        Args:
            state: The state before the first step; returned if there is no sound checkpoint.

        Returns:
            The state, and a line about every damaged checkpoint.

        Raises:
            RecordError: If a sound checkpoint is another trial's, or began with other weights.
        """
        like = {"state": state, **self.points.window}
        folder = self.directory / "checkpoints"
        mine = checkpoints.restore(folder, like, self.of) if hosts.is_leader() else None
        arrays, rest, complaints = hosts.tell(mine)
        if arrays is None:
            return state, complaints
        self._refuse_other_start(rest.get("began_with", {}))
        self.diverged, self.seconds = rest["diverged"], rest["seconds"]
        self.made_by = rest["made_by"]
        window = {name: arrays[name] for name in self.points.window}
        self.points = Points(**window, iteration=rest["iteration"], rows=rest["rows"])
        self._sign()
        if hosts.is_leader():  # After a kill metrics.csv may be older than the checkpoint.
            records.write_metrics(self.directory, self.points.rows)
        return arrays["state"], complaints

    def _refuse_other_start(self, there: Mapping[str, str]) -> None:
        """Refuses to sign weights that it did not begin with; older checkpoints name none."""
        for column, value in there.items():
            if (now := self.began_with.get(column, "not there")) != value:
                raise RecordError(
                    f"{self.directory} began with other weights than there are now: {column} was"
                    f" {value}, is {now}; restore them from a copy, or move {self.directory} out of"
                    " the study to train it from the beginning"
                )

    def _sign(self) -> None:
        """Appends this run's device, versions and commit to those of earlier runs.

        In how many trials' company it is says only one that has not been alone all the time.
        """
        now = dict(self._now)
        if self.made_by and COMPANY in {*self.made_by, *now}:
            self.made_by.setdefault(COMPANY, ["1"])
            now.setdefault(COMPANY, "1")
        for name, value in now.items():
            self.made_by[name] = list(dict.fromkeys([*self.made_by.get(name, []), value]))

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Adds the time spent inside to the seconds of `what`."""
        start = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - start

    def position(self) -> Row:
        """Where the trial stands, for the progress display; times are seconds.

        It is stopped at iteration `last`, or at `most` if it stays in its race.
        """
        rows, limits = self.points.rows, self.rule.limits
        newest = rows[-1] if rows else {"epoch": 0.0}
        last = self.grid.last
        racing = bool(limits) and self.points.iteration < limits[-1][1]
        return {
            "iteration": self.points.iteration,
            "last": min(last, limits[-1][1]) if racing else last,
            "most": last,
            "epoch": newest["epoch"],
            "train_error": newest.get("train_error", math.nan),
            "interval_error": newest.get("interval_error", math.nan),
            "seconds": sum(self.seconds.values()) - self.seconds["compile"],
        }

    def outcome(self) -> dict[str, Any]:
        """The trial's own part of its row in results.csv."""
        rows = self.points.rows
        reached = self.rule.reached(rows)
        at_target = next((row for row in rows if row["iteration"] == reached), {})
        last = rows[-1] if rows and not self.diverged else {}
        top5 = (
            {"final_test_top5_error": last["test_top5_error"]} if "test_top5_error" in last else {}
        )
        return {
            "status": self.status,
            "iterations_to_target": reached,
            "epochs_to_target": at_target.get("epoch", math.inf),
            "seconds_to_target": at_target.get("train_seconds", math.inf),
            "final_train_error": last.get("train_error", math.nan),
            "final_test_error": last.get("test_error", math.nan),
            "iterations": self.points.iteration,
            **top5,
            **{f"{what}_seconds": seconds for what, seconds in self.seconds.items()},
            **{name: " + ".join(values) for name, values in self.made_by.items()},
            **self.began_with,
        }
