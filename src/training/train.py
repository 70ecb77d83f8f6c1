"""One trial: step, measure, stop, save."""

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from src.data import batches
from src.records import trial as records
from src.records.trial import Identity
from src.training import checkpoints
from src.training.evaluation import TOP
from src.training.program import Program
from src.training.settings import Limit, Trial
from src.training.step import TrainState

Status = Literal["running", "reached", "censored", "diverged"]
Row = dict[str, float | int]
Limits = tuple[Limit, ...]


class Interrupted(Exception):
    """The trial was told to stop; it has saved itself."""


@dataclass
class Progress:
    """What a trial knows of itself besides its parameters. All of it is in every checkpoint."""

    wrong: np.ndarray  # [W] misclassified images in each batch of the trailing epoch, oldest first
    loss: np.ndarray  # [W] mean loss of the same batches
    iteration: int = 0
    rows: list[Row] = field(default_factory=list)  # of metrics.csv
    made_by: dict[str, list[str]] = field(default_factory=dict)  # each device, version, commit
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("train", "compile", "measure", "save"), 0.0)
    )


class Run:
    """A trial under way: where it stands, what it has recorded, when it must measure, save and
    stop.
    """

    def __init__(
        self,
        trial: Trial,
        images: int,
        directory: Path,
        of: Identity,
        limits: Limits = (),
        made_by: Mapping[str, str] | None = None,
    ):
        """Starts from the beginning; `restore` goes on from a checkpoint.

        Args:
            trial: What is trained.
            images: Size of the training set.
            directory: The trial's; metrics.csv and checkpoints are kept here.
            of: The trial, which its checkpoints name.
            limits: Pairs of a training error and the iterations allowed to reach it; a trial that
                needs more has lost its race and is censored.
            made_by: What trains it: device, versions, commit. A trial that went on with others
                names them all in its row.
        """
        settings = trial.settings
        self.trial, self.settings, self.directory, self.of = trial, settings, directory, of
        self.per_epoch = images / settings.batch_size
        self.per_point = max(1, int(self.per_epoch / settings.points_per_epoch))
        self.limits = limits
        self.last = settings.max_epochs * self.per_epoch
        self.progress = Progress(np.zeros(0, np.int32), np.zeros(0, np.float32))
        self.made_by = dict(made_by or {})
        self._sign()
        self.diverged = False
        self.draw = functools.partial(
            batches.batch_indices,
            batch_size=settings.batch_size,
            num_images=images,
            seed=trial.seed,
            order="shuffled" if settings.recipe.shuffle else "file",
        )

    @property
    def iterations_to_target(self) -> float:
        """First recorded iteration at or below the target; infinity while there is none."""
        target = self.settings.target_train_error
        reached = (row["iteration"] for row in self.progress.rows if row["train_error"] <= target)
        return float(next(reached, math.inf))

    @property
    def status(self) -> Status:
        """`running`, or how the trial ended."""
        ended = self.progress.iteration >= self.last or self.lost
        if self.diverged:
            return "diverged"
        if self.iterations_to_target < math.inf and (ended or self.settings.stop_at_target):
            return "reached"
        return "censored" if ended else "running"

    @property
    def rate_factor(self) -> float:
        """What the schedule multiplies the learning rate by, from here on.

        A function of the rows alone, so a trial that goes on has the rate it would have had.
        """
        errors = [row.get("validation_error", math.nan) for row in self.progress.rows]
        return self.settings.schedule.factor_at(
            self.progress.iteration / self.per_epoch,
            [error for error in errors if not math.isnan(error)],
        )

    @property
    def lost(self) -> bool:
        """Whether some error of the race was not reached in the iterations allowed."""
        best = min((row["train_error"] for row in self.progress.rows), default=math.inf)
        return any(self.progress.iteration >= n and best > error for error, n in self.limits)

    def due(self, every_epochs: float) -> bool:
        """Whether the newest point is the first of a further `every_epochs` epochs."""
        period = every_epochs * self.per_epoch
        return (
            self.progress.iteration // period > (self.progress.iteration - self.per_point) // period
        )

    def record(self, wrong: np.ndarray, loss: np.ndarray, seconds: float) -> None:
        """Takes the errors [points] of the newest batches and adds a row, unless the loss is no
        longer a number.
        """
        progress, batch_size = self.progress, self.settings.batch_size
        progress.seconds["train"] += seconds
        broken = np.flatnonzero(~np.isfinite(loss))
        if broken.size:
            self.diverged = True
            progress.iteration += int(broken[0]) + 1
            return
        window = math.ceil(self.per_epoch)
        factor = self.rate_factor  # of the steps just done: they are not counted yet
        progress.iteration += len(wrong)
        progress.wrong = np.concatenate([progress.wrong, wrong])[-window:]
        progress.loss = np.concatenate([progress.loss, loss])[-window:]
        row = {
            "iteration": progress.iteration,
            "epoch": progress.iteration / self.per_epoch,
            "train_error": float(progress.wrong.sum() / (progress.wrong.size * batch_size)),
            "train_loss": float(progress.loss.mean(dtype=np.float64)),
            "interval_error": float(wrong.sum() / (wrong.size * batch_size)),
            "test_error": math.nan,
            "train_seconds": progress.seconds["train"],
        }
        if self.settings.schedule.name != "constant":
            row["rate_factor"] = factor
        progress.rows.append(row)

    def save(self, state: TrainState) -> None:
        """Writes a checkpoint and metrics.csv."""
        progress = self.progress
        arrays = {"state": state, "wrong": progress.wrong, "loss": progress.loss}
        rest = {
            name: getattr(progress, name) for name in ("iteration", "rows", "made_by", "seconds")
        }
        rest["diverged"] = self.diverged
        if progress.rows:  # diverged before the first point: nothing to go on from
            folder = self.directory / "checkpoints"
            checkpoints.save(folder, progress.iteration, arrays, rest, self.of)
        records.write_metrics(self.directory, progress.rows)

    def restore(self, state: TrainState) -> tuple[TrainState, list[str]]:
        """State of the newest sound checkpoint, `state` if there is none, and complaints about
        damaged ones.
        """
        like = {"state": state, "wrong": self.progress.wrong, "loss": self.progress.loss}
        arrays, rest, complaints = checkpoints.restore(
            self.directory / "checkpoints", like, self.of
        )
        if arrays is None:
            return state, complaints
        self.diverged = rest.pop("diverged")
        self.progress = Progress(arrays["wrong"], arrays["loss"], **rest)
        self._sign()
        records.write_metrics(self.directory, self.progress.rows)  # a kill may have left older ones
        return arrays["state"], complaints

    def _sign(self) -> None:
        """Adds what trains it now to what has trained it before."""
        signed = self.progress.made_by
        for name, value in self.made_by.items():
            signed[name] = list(dict.fromkeys([*signed.get(name, []), value]))

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Adds the time spent inside to the seconds of `what`."""
        start = time.perf_counter()
        yield
        self.progress.seconds[what] += time.perf_counter() - start

    def position(self) -> Row:
        """Where the trial stands, for who watches."""
        progress = self.progress
        newest = progress.rows[-1] if progress.rows else {"epoch": 0.0, "train_error": math.nan}
        return {
            "iteration": progress.iteration,
            "last": min(self.last, self.limits[-1][1]) if self.limits else self.last,
            "epoch": newest["epoch"],
            "train_error": newest["train_error"],
            "seconds": sum(progress.seconds.values()) - progress.seconds["compile"],
        }

    def outcome(self) -> dict[str, Any]:
        """The trial's own part of its row in results.csv."""
        rows, reached = self.progress.rows, self.iterations_to_target
        at_target = next((row for row in rows if row["iteration"] == reached), {})
        last = rows[-1] if rows and not self.diverged else {}
        return {
            "status": self.status,
            "iterations_to_target": reached,
            "epochs_to_target": at_target.get("epoch", math.inf),
            "seconds_to_target": at_target.get("train_seconds", math.inf),
            "final_train_error": last.get("train_error", math.nan),
            "final_test_error": last.get("test_error", math.nan),
            "iterations": self.progress.iteration,
            **(
                {"final_test_top5_error": last["test_top5_error"]}
                if "test_top5_error" in last
                else {}
            ),
            **{f"{what}_seconds": seconds for what, seconds in self.progress.seconds.items()},
            **{name: " + ".join(values) for name, values in self.progress.made_by.items()},
        }


def train_trial(
    run: Run,
    program: Program,
    *,
    state: TrainState | None = None,
    on_point: Callable[[Run], None] = lambda run: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_complaint: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Trains until the target, divergence or the last iteration, going on from the last checkpoint.

    Args:
        run: What to train.
        program: From `make_program` with the settings of the trial's arm.
        state: Before the first step; None: the seed's.
        on_point: Called after every recorded point.
        should_stop: Asked after every recorded point; if it says so, the trial saves itself.
        on_complaint: Called with a line about every damaged checkpoint that was set aside.

    Returns:
        Status, iterations, errors and seconds: the trial's part of its row in results.csv.

    Raises:
        Interrupted: If `should_stop` said so.
    """
    state, complaints = run.restore(state or program.start(run.trial.seed))
    for complaint in complaints:
        on_complaint(complaint)
    with run.timed("compile"):
        step_fn = program.prepare(run.trial.seed, run.trial.learning_rate, run.per_point)
    batches = program.batches(run.draw, run.progress.iteration, run.per_point)
    while run.status == "running":
        start = time.perf_counter()
        state, wrong, loss = step_fn(state, batches, run.rate_factor)
        run.record(wrong, loss, time.perf_counter() - start)
        with run.timed("measure"):
            _measure(run, program, state)
        on_point(run)
        stopping = should_stop() and run.status == "running"
        if stopping or run.status != "running" or run.due(run.settings.checkpoint_every_epochs):
            with run.timed("save"):
                run.save(state)
        if stopping:
            raise Interrupted
    return run.outcome()


def _measure(run: Run, program: Program, state: TrainState) -> None:
    """Fills in the errors of the newest row that need passes of their own."""
    if run.diverged:
        return
    row = run.progress.rows[-1]
    if run.settings.measure == "frozen":
        row["train_error"] = program.error(state.params, "train")
    if run.settings.validation_images:
        row["validation_error"] = math.nan
        if run.due(1.0):
            row["validation_error"] = program.error(state.params, "validation")
    if run.status != "running" or run.due(run.settings.test_every_epochs):
        row["test_error"] = program.error(state.params, "test")
    if run.status != "running" and program.num_classes > TOP:
        row["test_top5_error"] = program.error(state.params, "test", TOP)
