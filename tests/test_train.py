import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from src.config.arms import make_trial
from src.data.sources import Resident, TakeFn
from src.errors import Stopped
from src.records import trial as records
from src.records.files import RecordError
from src.training import checkpoints, train
from src.training.optimizers import Recipe, make_optimizer
from src.training.program import Program
from src.training.settings import Limit
from src.training.step import StepErrors, TrainState
from src.training.trial import Run
from tests import tiny

NAN = math.nan
same = functools.partial(pytest.approx, nan_ok=True)
IMAGES = 40  # in batches of 16: 2.5 iterations an epoch


def make_run(directory: Path, limits: Sequence[tuple[float, float]] = (), **changes: Any) -> Run:
    (arm,) = tiny.make_config(**({"max_epochs": 4.0} | changes)).arms
    trial = make_trial(arm, "selection", 0.02, 0)
    allowed = tuple(Limit(*each) for each in limits)
    return Run(trial, IMAGES, directory, tiny.identity(trial.name), allowed)


class FakeProgram(Program):
    """Counts its steps in the state, and gets so many images of each batch wrong."""

    num_classes = 10

    def __init__(
        self,
        wrong: Sequence[float],
        frozen: Sequence[float] = (),
        validation: Sequence[float] = (),
    ):
        self.wrong = wrong
        self.errors = {"train": list(frozen), "validation": list(validation)}
        self.factors: list[float] = []  # Factors of the rate, one for each call.

    def start(self, seed: int) -> TrainState:
        params = {"w": np.zeros(1, np.float32)}
        return TrainState(jnp.int32(0), params, make_optimizer(0.0, Recipe(), 0.0).init({}))

    def prepare(self, seed: int, learning_rate: float, steps: int) -> Callable[..., Any]:
        def step_fn(state: TrainState, batches: TakeFn, factor: float) -> tuple:
            assert [batch.shape for batch in batches(steps)] == [(steps, 16)]
            self.factors.append(factor)
            first = int(state.step)
            wrong = np.asarray(self.wrong[first : first + steps], np.float32)
            loss = np.where(np.isfinite(wrong), 2.0, wrong).astype(np.float32)
            state = state._replace(step=state.step + steps)
            return state, errors(np.nan_to_num(wrong, posinf=0.0).astype(np.int32), loss)

        return step_fn

    def batches(self, draw: Any, first: int) -> TakeFn:
        return Resident.training(None, draw, first)

    def error(self, params: Any, part: str, top: int = 1) -> float:
        return 0.875 / top if part == "test" else self.errors[part].pop(0)


def errors(wrong: Sequence[int], loss: Sequence[float] | None = None) -> StepErrors:
    """The errors of batches of 16 images."""
    losses = np.ones(len(wrong)) if loss is None else loss
    seen = np.full(len(wrong), 16, np.int32)
    return StepErrors(np.array(wrong, np.int32), np.array(losses, np.float32), seen)


def train_fake(run: Run, wrong: Sequence[float], **options: Any) -> dict[str, Any]:
    return train.train_trial(run, FakeProgram(list(wrong)), **options)


def column(run: Run, name: str) -> list[float]:
    return [row[name] for row in run.points.rows]


# --- What is recorded. ---


def test_the_online_error_is_over_the_batches_of_the_trailing_epoch(tmp_path):
    run = make_run(tmp_path, points_per_epoch=2)  # a point per iteration: 2.5 / 2, rounded down
    losses = [2.0, 1.0, 0.5, 0.25]
    for wrong, loss in zip([16, 12, 8, 1], losses, strict=True):
        run.record(errors([wrong], [loss]), 0.5)
    # An epoch of 2.5 batches: the last three, once there are three.
    assert column(run, "train_error") == same([NAN, NAN, 36 / 48, 21 / 48])
    assert column(run, "train_loss") == [2, 1.5, 3.5 / 3, 1.75 / 3]
    assert column(run, "interval_error") == [1, 12 / 16, 8 / 16, 1 / 16]
    assert column(run, "iteration") == [1, 2, 3, 4]
    assert column(run, "epoch") == [0.4, 0.8, 1.2, 1.6]
    assert column(run, "train_seconds") == [0.5, 1.0, 1.5, 2.0]
    assert all(math.isnan(error) for error in column(run, "test_error"))


def test_a_point_holds_the_batches_since_the_one_before(tmp_path):
    run = make_run(tmp_path, points_per_epoch=1)  # every second iteration: 2.5, rounded down
    for wrong in ([16, 8], [4, 0]):
        run.record(errors(wrong), 0.0)
    assert column(run, "interval_error") == [24 / 32, 4 / 32]
    assert column(run, "train_error") == same([NAN, (8 + 4 + 0) / 48])
    assert column(run, "iteration") == [2, 4]


def test_the_error_as_in_the_figure_is_of_the_first_fifth_of_an_epoch(tmp_path):
    """The first 8 of 40 images: half of batch 0, the second half of batch 2, half of batch 5."""
    run = make_run(tmp_path, points_per_epoch=2)
    for wrong in (4, 16, 6, 16, 16, 2):
        run.record(errors([wrong]), 0.0)
    assert column(run, "figure_error") == same([4 / 16, NAN, 6 / 16, NAN, NAN, 2 / 16])


def test_the_window_is_as_long_as_the_config_says(tmp_path):
    run = make_run(tmp_path, points_per_epoch=2, window_epochs=0.8)  # two of 2.5 batches
    for wrong in (16, 8, 0, 0):
        run.record(errors([wrong]), 0.0)
    assert column(run, "train_error") == same([NAN, 24 / 32, 8 / 32, 0])


def test_due_at_the_first_point_past_every_so_many_epochs(tmp_path):
    def points(every_epochs: float, points_per_epoch: int, batch_size: int = 16) -> list[int]:
        run = make_run(tmp_path, points_per_epoch=points_per_epoch, batch_size=batch_size)
        found = []
        for _ in range(run.grid.per_point, 11, run.grid.per_point):
            run.record(errors([0] * run.grid.per_point), 0.0)
            found += [run.points.iteration] * run.due(every_epochs)
        return found

    assert points(1.0, 2) == [3, 5, 8, 10]  # at 2.5, 5, 7.5 and 10 iterations
    assert points(2.0, 2) == [5, 10]
    assert points(1.0, 1) == [4, 6, 8, 10]  # a point every second iteration
    assert points(0.1, 2) == list(range(1, 11))
    assert points(1000.0, 2) == []
    assert points(2.1, 4, batch_size=12) == [7]  # 2.1 x 40 / 12, which rounding puts beyond 7


def test_an_end_and_a_drop_of_the_rate_fall_on_their_iteration(tmp_path):
    """Ten points an epoch of 2.5 batches are one each; one point an epoch is every second."""
    steps = {"schedule__name": "steps", "schedule__boundaries": (0.4, 2.5)}
    run = make_run(tmp_path, points_per_epoch=1, max_epochs=3.5, stop_at_target=False, **steps)
    fake = FakeProgram([16] * 20)
    outcome = train.train_trial(run, fake)
    # Drops after iterations 1 and 7 (2.5 x 2.5 = 6.25), the end after 9 (3.5 x 2.5 = 8.75).
    assert column(run, "iteration") == [1, 2, 4, 6, 7, 8, 9]
    assert fake.factors == pytest.approx([1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])
    assert outcome["iterations"] == 9


# --- When it stops. ---


def test_target_met_at_the_first_point(tmp_path):
    outcome = train_fake(make_run(tmp_path, target_train_error=0.25, window_epochs=0.4), [4] * 10)
    assert outcome["status"] == "reached"
    assert outcome["iterations_to_target"] == outcome["iterations"] == 1
    assert outcome["epochs_to_target"] == 0.4
    assert outcome["seconds_to_target"] == outcome["train_seconds"]
    assert outcome["final_train_error"] == 0.25
    assert outcome["final_test_error"] == 0.875


def test_target_met_exactly_and_not_one_image_above_it(tmp_path):
    # Over three batches: 12 of 48 is 0.25, 13 of 48 is not.
    outcome = train_fake(make_run(tmp_path), [16, 4, 4, 5, 4, 3, 0])
    assert outcome["iterations_to_target"] == 6  # 4 + 4 + 5 = 13, 4 + 5 + 4 = 13, 5 + 4 + 3 = 12
    assert outcome["iterations"] == 6


def test_target_never_met(tmp_path):
    run = make_run(tmp_path, max_epochs=2.0)
    outcome = train_fake(run, [5] * 20)
    assert outcome["status"] == "censored"
    assert outcome["iterations"] == 5  # 2 epochs of 2.5
    for name in ("iterations_to_target", "epochs_to_target", "seconds_to_target"):
        assert outcome[name] == math.inf
    assert outcome["final_train_error"] == 5 / 16
    metrics = records.read_metrics(tmp_path)
    np.testing.assert_array_equal(metrics["iteration"], [1, 2, 3, 4, 5])
    assert metrics["test_error"][-1] == 0.875


def test_the_last_point_is_the_first_iteration_past_the_last_epoch(tmp_path):
    outcome = train_fake(make_run(tmp_path, max_epochs=1.0), [5] * 20)
    assert outcome["iterations"] == 3  # 2.5 iterations are no whole number


def test_without_stopping_at_the_target_it_goes_on_and_remembers(tmp_path):
    run = make_run(tmp_path, stop_at_target=False, max_epochs=4.0)
    outcome = train_fake(run, [16, 0, 0, 0, 16, 16, 16, 16, 16, 16])
    assert outcome["status"] == "reached"
    assert outcome["iterations_to_target"] == 4
    assert outcome["iterations"] == 10
    assert outcome["final_train_error"] == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_diverged_at_the_first_loss_that_is_no_number(tmp_path, value):
    run = make_run(tmp_path, points_per_epoch=1, max_epochs=10.0)
    outcome = train_fake(run, [16, 12, 12, value, 12, 12])
    assert outcome["status"] == "diverged"
    assert outcome["iterations"] == 4
    assert outcome["iterations_to_target"] == math.inf
    assert math.isnan(outcome["final_train_error"])
    assert math.isnan(outcome["final_test_error"])
    np.testing.assert_array_equal(records.read_metrics(tmp_path)["iteration"], [2])


def test_diverged_before_the_first_point(tmp_path):
    outcome = train_fake(make_run(tmp_path), [math.nan] * 10)
    assert outcome["status"] == "diverged"
    assert outcome["iterations"] == 1
    assert len(records.read_metrics(tmp_path)["iteration"]) == 0


class BrokenAtTheEnd(FakeProgram):
    """Has parameters that are no numbers from a step on, which no loss before it shows."""

    def __init__(self, wrong: Sequence[float], broken_at: int):
        super().__init__(wrong)
        self.broken_at = broken_at

    def prepare(self, seed: int, learning_rate: float, steps: int) -> Callable[..., Any]:
        step_fn = super().prepare(seed, learning_rate, steps)

        def breaking(*arguments: Any) -> tuple:
            state, errors = step_fn(*arguments)
            value = NAN if state.step >= self.broken_at else 0.0
            return state._replace(params={"w": np.full(1, value, np.float32)}), errors

        return breaking


@pytest.mark.parametrize(
    ("wrong", "iterations"),
    [([16] * 10, 10), ([16, 12, 0, 0, 0, 0], 4)],  # the last three batches: 12 of 48
    ids=["at the last iteration", "at the target"],
)
def test_diverged_at_the_very_last_update(tmp_path, wrong, iterations):
    run = make_run(tmp_path)
    assert train_fake(make_run(tmp_path / "sound"), wrong)["iterations"] == iterations
    outcome = train.train_trial(run, BrokenAtTheEnd(wrong, iterations))
    assert outcome["status"] == "diverged"
    assert outcome["iterations"] == iterations
    assert outcome["iterations_to_target"] == math.inf
    assert math.isnan(outcome["final_train_error"])
    assert math.isnan(outcome["final_test_error"])
    assert records.read_metrics(tmp_path)["iteration"].max() < iterations


def test_an_interval_of_one_iteration_is_the_shortest(tmp_path):
    assert make_run(tmp_path, points_per_epoch=1000).grid.per_point == 1


@pytest.mark.parametrize(
    ("limits", "iterations", "status"),
    [
        (((0.5, 4.0), (0.25, 9.0)), 4, "censored"),  # 50% allowed 4 iterations, needs 5
        (((0.5, 5.0), (0.25, 9.0)), 6, "reached"),  # met at the last moment
        (((0.5, 3.5),), 4, "censored"),  # a limit between two points falls at the next
        (((0.25, 6.0),), 6, "reached"),  # a tie is no loss
        (((32 / 48, 4.0),), 6, "reached"),  # nor is the very error
        (((0.5, 5.0), (0.25, 5.0)), 5, "censored"),
        ((), 6, "reached"),
    ],
)
def test_a_race_is_lost_when_an_error_was_not_reached_in_time(tmp_path, limits, iterations, status):
    run = make_run(tmp_path, limits)
    outcome = train_fake(run, [16, 16, 8, 8, 0, 4, 4, 4, 4, 4])
    expected = [NAN, NAN, 40 / 48, 32 / 48, 16 / 48, 12 / 48]  # over the trailing three
    assert column(run, "train_error") == same(expected[:iterations])
    assert outcome["status"] == status
    assert outcome["iterations"] == iterations


def test_the_frozen_measure_is_of_the_whole_training_set(tmp_path):
    run = make_run(tmp_path, readings=("frozen",))
    outcome = train.train_trial(run, FakeProgram([16] * 10, frozen=[0.5, 0.26, 0.25]))
    assert column(run, "frozen_error") == [0.5, 0.26, 0.25]
    assert column(run, "interval_error") == [1, 1, 1]
    assert outcome["iterations_to_target"] == 3


def test_a_trial_stops_when_all_its_readings_are_at_the_target(tmp_path):
    run = make_run(tmp_path, readings=("online", "figure"), points_per_epoch=2)
    outcome = train_fake(run, [16, 4, 5, 3, 16, 4, 0, 2, 9, 9])
    assert outcome["iterations_to_target"] == 4  # The error is that of the trailing three batches.
    assert outcome["iterations"] == 6  # half of batch 5: 4 of 16
    assert outcome["status"] == "reached"


def test_top_5_is_recorded_at_the_end(tmp_path):
    outcome = train_fake(make_run(tmp_path), [16] * 10)
    assert (outcome["final_test_error"], outcome["final_test_top5_error"]) == (0.875, 0.175)


@pytest.mark.parametrize(("classes", "recorded"), [(5, False), (6, True)])
def test_top_5_of_five_classes_is_not_recorded_since_it_is_never_wrong(tmp_path, classes, recorded):
    fake = FakeProgram([16] * 10)
    fake.num_classes = classes
    outcome = train.train_trial(make_run(tmp_path), fake)
    assert ("final_test_top5_error" in outcome) == recorded


# --- The schedule. ---

PLATEAU = {"schedule__name": "plateau", "schedule__patience": 2, "validation_images": 8}
# One value per epoch of 2.5 iterations, at iterations 3, 5, 8 and 10, 13, 15, 18 and 20.
VALIDATION = [0.5, 0.5, 0.5, 0.4, 0.4, 0.4, 0.3, 0.2]


def make_plateau(directory: Path) -> Run:
    return make_run(directory, max_epochs=8.0, stop_at_target=False, **PLATEAU)


def test_the_rate_falls_after_epochs_without_improvement(tmp_path):
    fake = FakeProgram([16] * 20, validation=VALIDATION)
    run = make_plateau(tmp_path)
    train.train_trial(run, fake)
    # Two epochs in vain by iteration 8, and again by iteration 15.
    expected = [1.0] * 8 + [0.1] * 7 + [0.01] * 5
    assert fake.factors == pytest.approx(expected)
    metrics = records.read_metrics(tmp_path)
    np.testing.assert_allclose(metrics["rate_factor"], expected)
    watched = metrics["validation_error"]
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(watched)), [2, 4, 7, 9, 12, 14, 17, 19])
    np.testing.assert_array_equal(watched[~np.isnan(watched)], VALIDATION)


def test_a_resumed_trial_knows_how_long_it_has_waited(tmp_path):
    fake = FakeProgram([16] * 20, validation=VALIDATION)
    for stop_at in (6, 9, 99):  # after one epoch in vain, and right after the drop
        run = make_plateau(tmp_path)
        with contextlib.suppress(Stopped):
            train.train_trial(
                run, fake, should_stop=lambda r=run, at=stop_at: r.points.iteration >= at
            )
    assert fake.factors == pytest.approx([1.0] * 8 + [0.1] * 7 + [0.01] * 5)


def test_a_constant_rate_adds_no_columns(tmp_path):
    train_fake(make_run(tmp_path), [16] * 10)
    # There are more than five classes.
    columns = (*records.METRIC_COLUMNS, "figure_error", "test_top5_error")
    assert tuple(records.read_metrics(tmp_path)) == columns


def test_the_loss_is_the_mean_over_images_as_the_error_is(tmp_path):
    """The last batch of a file may be smaller."""
    run = make_run(tmp_path, points_per_epoch=1)
    seen, loss, wrong = (np.array(each) for each in ([16, 2], [0.25, 4.0], [10, 1]))
    run.record(StepErrors(wrong.astype(np.int32), loss.astype(np.float32), seen), 0.5)
    assert column(run, "interval_error") == [11 / 18]
    assert column(run, "train_loss") == [(16 * 0.25 + 2 * 4.0) / 18]


# --- Stopping and going on. ---


def test_a_stopped_trial_saves_itself_and_goes_on(tmp_path):
    wrong = [16, 15, 14, 13, 12, 11, 10, 9, 8, 7]
    whole = make_run(tmp_path / "whole")
    expected = train_fake(whole, wrong)
    run = make_run(tmp_path / "stopped")
    seen: list[int] = []
    with pytest.raises(Stopped):
        train_fake(
            run,
            wrong,
            on_point=lambda run: seen.append(run.points.iteration),
            should_stop=lambda: len(seen) == 4,
        )
    assert seen == [1, 2, 3, 4]
    resumed = make_run(tmp_path / "stopped")
    outcome = train_fake(resumed, wrong, on_point=lambda run: seen.append(run.points.iteration))
    assert seen == list(range(1, 11))
    assert tiny.without_times(outcome) == tiny.without_times(expected)
    for row, wanted in zip(resumed.points.rows, whole.points.rows, strict=True):
        assert tiny.without_times(row) == tiny.without_times(wanted)
    assert resumed.seconds["train"] > run.seconds["train"]


def test_a_stop_asked_for_at_the_last_point_is_no_interruption(tmp_path):
    run = make_run(tmp_path, window_epochs=0.4)  # The window holds one batch.
    outcome = train_fake(run, [0] * 10, should_stop=lambda: True)
    assert outcome["status"] == "reached"


def stop_after_a_point(directory: Path, **began_with: str) -> None:
    """A trial that begins with other weights than its seed's, stopped at its first point."""
    run = make_run(directory)
    run.began_with = began_with
    with pytest.raises(Stopped):
        train_fake(run, [16] * 10, should_stop=lambda: True)


@pytest.mark.parametrize("now", [{"start_sha256": "b2"}, {}])
def test_a_resumed_trial_does_not_sign_weights_that_it_did_not_begin_with(tmp_path, now):
    stop_after_a_point(tmp_path, start_sha256="a1")
    resumed = make_run(tmp_path)
    resumed.began_with = now
    found = now.get("start_sha256", "not there")
    message = f"other weights than there are now: start_sha256 was a1, is {found}; restore"
    with pytest.raises(RecordError, match=message):
        train_fake(resumed, [16] * 10)
    resumed.began_with = {"start_sha256": "a1"}
    assert train_fake(resumed, [16] * 10)["start_sha256"] == "a1"


def test_a_checkpoint_that_names_no_first_weights_is_gone_on_with(tmp_path, monkeypatch):
    """Those of earlier code."""
    save = checkpoints.save

    def save_without(directory, iteration, arrays, progress, of) -> None:
        del progress["began_with"]
        save(directory, iteration, arrays, progress, of)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", save_without)
        stop_after_a_point(tmp_path, stack_sha256="a1")
    resumed = make_run(tmp_path)
    resumed.began_with = {"stack_sha256": "a1"}
    assert train_fake(resumed, [16] * 10)["stack_sha256"] == "a1"
    assert len(resumed.points.rows) == 10
