"""Readings of a training error, the first point at or below a target, crossings."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from src.analysis import curves
from src.analysis.curves import Series
from src.training.points import Grid, Points
from tests import tiny

INF, NAN = math.inf, math.nan


def columns(rows) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


class TestFirstAtOrBelow:
    values = np.array([0.6, NAN, 0.25, 0.3])

    @pytest.mark.parametrize(
        ("target", "index"), [(0.6, 0), (0.7, 0), (0.5, 2), (0.25, 2), (0.2499, None), (1.0, 0)]
    )
    def test_is_the_first_such_point_and_skips_what_was_not_measured(self, target, index):
        assert curves.first_at_or_below(self.values, target) == index

    @pytest.mark.parametrize("target", [25.0, -0.1, 1.1])
    def test_refuses_what_is_no_fraction(self, target):
        with pytest.raises(ValueError, match=f"target = {target} .* percentage"):
            curves.time_to(Series(np.arange(4), self.values), target)

    def test_of_a_run_without_points_is_none(self):
        assert curves.first_at_or_below(np.zeros(0), 0.25) is None


class TestTimeTo:
    series = Series(np.array([10, 20, 30, 40]), np.array([0.6, 0.4, 0.25, 0.3]))

    @pytest.mark.parametrize(
        ("target", "bounds"),
        [(0.6, (0, 10)), (0.5, (10, 20)), (0.25, (20, 30)), (0.2, (40, INF))],
    )
    def test_is_the_recording_step_or_all_beyond_the_last_point(self, target, bounds):
        assert curves.time_to(self.series, target) == bounds

    def test_of_a_run_without_points_is_unbounded(self):
        assert curves.time_to(Series(np.zeros(0), np.zeros(0)), 0.25) == (0, INF)


class TestAsInFigure:
    def recorded(
        self, num_images: int, error_at: Callable[[np.ndarray], np.ndarray], **changes: Any
    ) -> dict[str, np.ndarray]:
        """The points of a trial in batches of a fiftieth, by the error of each when it begins."""
        batch = num_images // 50
        (arm,) = tiny.make_config(batch_size=batch, **changes).arms
        grid, points = Grid(arm.settings, num_images), Points()
        while points.iteration < grid.last:
            steps = grid.next_length(points.iteration)
            epoch = (points.iteration + np.arange(steps)) / grid.per_epoch
            wrong = (batch * error_at(epoch)).astype(np.int32)
            seen = np.full(steps, batch, np.int32)
            errors = SimpleNamespace(wrong=wrong, seen=seen, loss=seen / 1.0)
            points.add(grid, arm.settings.window_epochs, errors, 0.0)
        return columns(points.rows)

    def test_is_taken_as_it_was_recorded(self):
        """At the first point that had seen the 10,000 images of the epoch."""
        metrics = {
            "iteration": 10 * np.array([1, 3, 9, 12, 29]),
            "epoch": np.array([0.1, 0.3, 0.9, 1.2, 2.9]),
            "figure_error": np.array([NAN, 0.8, NAN, 0.6, 0.4]),
        }
        series = curves.as_in_figure(metrics)
        np.testing.assert_array_equal(series.at, [0, 1, 2])
        np.testing.assert_array_equal(series.values, [0.8, 0.6, 0.4])

    @pytest.mark.parametrize("num_images", [5_000, 10_001, 50_000, 60_000, 73_257, 1_250_000])
    @pytest.mark.parametrize("points_per_epoch", [1, 10])
    def test_has_a_point_in_every_epoch_of_a_set_of_any_size(self, num_images, points_per_epoch):
        """Of a trial that misses a half of the first epoch's images, a third of the second's."""
        metrics = self.recorded(
            num_images,
            lambda epoch: 1 / (2 + np.floor(epoch)),
            points_per_epoch=points_per_epoch,
        )
        series = curves.as_in_figure(metrics)
        np.testing.assert_array_equal(series.at, [0, 1, 2, 3])
        np.testing.assert_allclose(series.values, [1 / 2, 1 / 3, 1 / 4, 1 / 5], rtol=0.1)

    @pytest.mark.parametrize("num_images", [10_000, 50_000])
    def test_is_of_the_first_fifth_of_an_epoch_however_short_the_window(self, num_images):
        """The first ten of 50 batches have 1% to 10% of their images wrong: 5.5% of them all."""
        ramp = lambda epoch: (50 * epoch + 1) / 100 + 1e-9  # noqa: E731
        found = self.recorded(num_images, ramp, max_epochs=1.0, window_epochs=0.1)["figure_error"]
        np.testing.assert_allclose(found[~np.isnan(found)], [0.055])

    def test_is_empty_where_a_batch_is_more_than_an_epoch(self):
        epochs, errors = np.array([1.5, 3.0, 4.5]), np.array([0.9, 0.8, 0.7])
        found = {"iteration": np.arange(1, 4), "epoch": epochs, "figure_error": errors}
        assert curves.as_in_figure(found).values.size == 0

    def test_of_a_run_without_points_is_empty(self):
        empty = {name: np.zeros(0) for name in ("iteration", "epoch", "interval_error")}
        assert curves.as_in_figure(empty).values.size == 0


class TestCrossing:
    series = Series(np.array([0.0, 1, 2, 3]), np.array([0.9, 0.5, 0.3, 0.4]))

    @pytest.mark.parametrize(
        ("target", "expected"), [(0.9, 0), (0.95, 0), (0.7, 0.5), (0.5, 1), (0.4, 1.5), (0.2, INF)]
    )
    def test_is_on_the_straight_line_between_points(self, target, expected):
        assert curves.crossing(self.series, target) == pytest.approx(expected)


class TestValueAt:
    test_error = Series(np.arange(5.0), np.array([NAN, 0.8, NAN, 0.6, 0.5]))
    train_error = np.array([0.9, 0.7, 0.6, 0.5, 0.1])

    @pytest.mark.parametrize(
        ("target", "expected"),
        [(0.5, 0.6), (0.6, 0.7), (0.3, 0.55), (0.1, 0.5), (0.7, 0.8)],
    )
    def test_is_between_the_points_at_which_both_were_measured(self, target, expected):
        found = curves.value_at(self.test_error, self.train_error, target)
        assert found == pytest.approx(expected)

    @pytest.mark.parametrize("target", [0.05, 0.75])
    def test_is_unknown_where_it_was_never_reached_or_before_the_first_test(self, target):
        assert math.isnan(curves.value_at(self.test_error, self.train_error, target))
