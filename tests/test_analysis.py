import math

import numpy as np
import pytest

from src.analysis import comparison, paper
from src.analysis import times as analysis
from src.analysis.study import load_study
from src.analysis.times import Times
from src.records import trial as records
from src.records.trial import TrialRecord
from tests import synthetic, tiny

INF = math.inf


def observed(*iterations: float) -> Times:
    return Times(np.array(iterations, float), np.array(iterations, float))


def censored(*last: float) -> Times:
    return Times(np.array(last, float), np.full(len(last), INF))


def row(rate: float, iterations: float, error: float = 0.2, status: str = "") -> dict:
    return {
        "learning_rate": rate,
        "iterations_to_target": iterations,
        "final_train_error": error,
        "status": status or ("reached" if iterations < INF else "censored"),
    }


def trial(errors: list[float], status: str = "censored") -> TrialRecord:
    """A point every 10 iterations."""
    iterations = 10 * np.arange(1, len(errors) + 1)
    metrics = {"iteration": iterations, "train_error": np.array(errors, float)}
    return TrialRecord({"status": status, "iterations": 10 * len(errors)}, metrics)


class TestIterationsToError:
    errors, iterations = np.array([0.6, 0.4, 0.25, 0.3]), np.array([10, 20, 30, 40])

    @pytest.mark.parametrize(
        ("target", "expected"),
        [(0.6, 10), (0.7, 10), (0.5, 20), (0.25, 30), (0.2499, INF), (0.0, INF), (1.0, 10)],
    )
    def test_is_the_first_point_at_or_below(self, target, expected):
        found = analysis.iterations_to_error(self.errors, self.iterations, target)
        assert found == expected

    @pytest.mark.parametrize("target", [25.0, -0.1, 1.1])
    def test_refuses_what_is_no_fraction(self, target):
        with pytest.raises(ValueError, match=f"target = {target} .* percentage"):
            analysis.iterations_to_error(self.errors, self.iterations, target)

    def test_of_a_run_without_points_is_infinite(self):
        assert analysis.iterations_to_error(np.zeros(0), np.zeros(0, int), 0.25) == INF


class TestOnlineError:
    epochs, error = np.array([0.5, 1.0, 1.5, 2.0]), np.array([0.8, 0.6, 0.4, 0.2])

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            (0.0, 1.0, 0.7),
            (1.0, 2.0, 0.3),
            (0.5, 1.5, 0.5),
            (0.25, 0.75, 0.7),  # half of the first interval, half of the second
            (0.4, 1.0, (0.1 * 0.8 + 0.5 * 0.6) / 0.6),
            (1.5, 2.0, 0.2),
        ],
    )
    def test_weights_intervals_by_their_images_in_the_window(self, start, end, expected):
        found = analysis.online_error(self.epochs, self.error, start, end)
        assert found == pytest.approx(expected)

    def test_is_unknown_where_the_run_had_ended(self):
        assert math.isnan(analysis.online_error(self.epochs, self.error, 1.5, 2.1))


class TestMedian:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([7], 7),
            ([3, 1, 2], 2),
            ([4, 1], 2.5),
            ([1, 2, INF], 2),
            ([1, INF], INF),
            ([1, 2, 3, INF], 2.5),
            ([1, 2, INF, INF], INF),
            ([INF, INF], INF),
        ],
    )
    def test_takes_infinity_as_a_number(self, values, expected):
        assert analysis.median(values) == expected


class TestChooseLearningRate:
    def test_takes_the_lowest_median_over_seeds(self):
        rows = [row(0.1, n) for n in (10, 1000, 900)] + [row(0.2, n) for n in (500, 400, 600)]
        rows += [row(0.3, n) for n in (800, INF, 700)]
        choice = analysis.choose_learning_rate(rows)
        assert choice.rate == 0.2
        assert choice.medians == {0.1: 900, 0.2: 500, 0.3: 800}
        assert not choice.at_edge

    @pytest.mark.parametrize(("best", "at_edge"), [(0.1, True), (0.2, False), (0.3, True)])
    def test_says_when_the_best_is_on_the_edge(self, best, at_edge):
        rows = [row(rate, 100 if rate == best else 200) for rate in (0.1, 0.2, 0.3)]
        assert analysis.choose_learning_rate(rows).at_edge == at_edge

    def test_one_rate_has_no_edge(self):
        assert not analysis.choose_learning_rate([row(0.1, 100)]).at_edge

    def test_where_none_reached_takes_the_lowest_error_and_never_a_diverged_one(self):
        rows = [
            row(0.1, INF, 0.5),
            row(0.2, INF, 0.4),
            row(0.3, INF, 0.3, "diverged"),
            row(0.4, INF, math.nan, "diverged"),
        ]
        assert analysis.choose_learning_rate(rows).rate == 0.2

    def test_a_full_tie_goes_to_the_lowest_rate(self):
        rows = [row(rate, INF, 0.4) for rate in (0.3, 0.1, 0.2)]
        assert analysis.choose_learning_rate(rows).rate == 0.1

    def test_needs_trials(self):
        with pytest.raises(ValueError, match="no selection trials"):
            analysis.choose_learning_rate([])


class TestTimes:
    def test_are_bounds_where_the_error_was_not_reached(self):
        trials = [trial([0.5, 0.3]), trial([0.5, 0.2]), trial([0.5], "diverged")]
        times = analysis.times_to_error(trials, 0.3)
        np.testing.assert_array_equal(times.at_least, [20, 20, INF])
        np.testing.assert_array_equal(times.at_most, [20, 20, INF])
        times = analysis.times_to_error(trials, 0.2)
        np.testing.assert_array_equal(times.at_least, [20, 20, INF])
        np.testing.assert_array_equal(times.at_most, [INF, 20, INF])


class TestRatio:
    def test_is_of_medians(self):
        found = analysis.bootstrap_ratio(observed(100, 200, 120), observed(600, 700, 480))
        assert found.value == found.at_least == found.at_most == 5
        assert found.seeds == (3, 3)

    def test_interval_of_equal_seeds_is_a_point(self):
        found = analysis.bootstrap_ratio(observed(100, 100), observed(300, 300))
        assert (found.low, found.value, found.high) == (3, 3, 3)

    def test_interval_has_the_quantiles_of_all_resamples(self):
        """Two seeds each: medians 1, 1.5, 2 with probability 1/4, 1/2, 1/4, against a constant."""
        found = analysis.bootstrap_ratio(observed(1, 1), observed(1, 2))
        assert (found.low, found.high) == (1, 2)
        medians = np.median(np.random.default_rng(3).integers(0, 9, (20_000, 9)), axis=1)
        found = analysis.bootstrap_ratio(observed(*np.ones(9)), observed(*np.arange(1, 10)))
        np.testing.assert_allclose(
            (found.low, found.high), np.quantile(medians, (0.025, 0.975)) + 1, atol=1
        )

    def test_covers_the_true_ratio_nearly_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        hits = 0
        for _ in range(200):
            sides = [observed(*rng.lognormal(mean, 0.1, 10)) for mean in (0, math.log(6))]
            found = analysis.bootstrap_ratio(*sides, resamples=500)
            hits += found.low <= 6 <= found.high
        assert 0.88 <= hits / 200 <= 1

    @pytest.mark.parametrize("sides", [(1, 3), (3, 1), (1, 1)])
    def test_a_single_seed_gives_no_interval(self, sides):
        found = analysis.bootstrap_ratio(*(observed(*[100.0] * n) for n in sides))
        assert found.value == 1
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    def test_never_reached_is_infinite_and_bounded_below(self):
        found = analysis.bootstrap_ratio(observed(100, 110, 120), censored(660, 660, 660))
        assert (found.value, found.at_least, found.at_most) == (INF, 6, INF)
        assert found.low == 660 / 120
        assert found.high == INF

    def test_one_of_three_censored_leaves_the_median_known(self):
        other = Times(np.array([300.0, 400, 900]), np.array([300.0, 400, INF]))
        found = analysis.bootstrap_ratio(observed(100, 100, 100), other)
        assert (found.value, found.low, found.high) == (4, 3, INF)

    def test_a_baseline_never_reached_gives_zero_bounded_above(self):
        found = analysis.bootstrap_ratio(censored(500, 500), observed(100, 100))
        assert (found.value, found.at_least, found.at_most) == (0, 0, 0.2)
        assert (found.low, found.high) == (0, 0.2)

    @pytest.mark.parametrize("never", [censored(500, 500), observed(INF, INF)])
    def test_neither_reached_says_nothing(self, never):
        found = analysis.bootstrap_ratio(never, censored(500, 500))
        assert math.isnan(found.value)
        assert (found.at_least, found.at_most, found.low, found.high) == (0, INF, 0, INF)

    def test_a_diverged_other_is_infinitely_slow(self):
        found = analysis.bootstrap_ratio(observed(100, 100), observed(INF, INF))
        assert found == (INF, INF, INF, INF, INF, (2, 2))

    def test_is_the_same_twice_and_depends_on_its_seed(self):
        sides = observed(*range(100, 120)), observed(*range(500, 700, 10))
        assert analysis.bootstrap_ratio(*sides) == analysis.bootstrap_ratio(*sides)
        again = analysis.bootstrap_ratio(*sides, seed=1, resamples=99)
        assert again != analysis.bootstrap_ratio(*sides, resamples=99)

    def test_needs_trials_on_both_sides(self):
        with pytest.raises(ValueError, match="at least one trial on either side"):
            analysis.bootstrap_ratio(observed(), observed(1))

    def test_by_threshold_is_read_from_the_points(self):
        fast, slow = trial([0.5, 0.4, 0.2]), trial([0.6, 0.5, 0.5, 0.4])
        found = analysis.ratio_by_threshold([fast], [slow], [0.6, 0.5, 0.4, 0.25])
        assert [found[t].value for t in (0.6, 0.5, 0.4, 0.25)] == [1, 2, 2, INF]
        assert found[0.25].at_least == 40 / 30


class TestPaper:
    curves = paper.read_curves()

    def test_relu_is_down_to_25_percent_at_epoch_6_and_tanh_ends_above_it(self):
        epochs, errors = self.curves["relu"]
        assert (epochs[-1], errors[-1]) == (6, 0.2483)
        epochs, errors = self.curves["tanh"]
        assert (epochs[-1], errors[-1]) == (36, 0.2507)
        assert paper.crossing(self.curves["relu"], 0.25) == pytest.approx(5.89, abs=0.005)
        assert paper.crossing(self.curves["tanh"], 0.25) == INF

    @pytest.mark.parametrize(
        ("threshold", "expected"), [(0.5, 2.1), (0.4, 4.0), (0.35, 5.0), (0.3, 6.0), (0.25, 6.1)]
    )
    def test_ratio_by_threshold(self, threshold, expected):
        found = paper.ratio(self.curves, "relu", "tanh", threshold)
        assert round(found.at_least, 1) == expected
        assert found.value == (INF if threshold == 0.25 else found.at_least)

    def test_crossing_is_linear_between_points(self):
        curve = np.array([0.0, 1.0, 2.0]), np.array([0.8, 0.6, 0.2])
        assert paper.crossing(curve, 0.5) == pytest.approx(1.25)
        assert paper.crossing(curve, 0.6) == 1.0
        assert paper.crossing(curve, 0.9) == 0.0
        assert paper.crossing(curve, 0.1) == INF

    def test_a_point_is_the_error_of_the_first_fifth_of_the_next_epoch(self):
        metrics = {
            "epoch": np.arange(1, 31) / 10,
            "interval_error": np.linspace(0.9, 0.32, 30),  # falls by 0.02 each
        }
        found = paper.points(metrics, (0, 1, 2, 3))
        np.testing.assert_allclose(found[:3], [0.89, 0.69, 0.49])
        assert np.isnan(found[3])

    def test_differences_are_ours_minus_the_papers_at_points_1_to_5(self):
        ours = np.array([0.5719, 0.3767, 0.2209, np.nan, 0.2636])
        found = paper.differences(self.curves["relu"], ours)
        np.testing.assert_allclose(found, [0.1, 0.0, -0.1, np.nan, 0.0], atol=1e-12)


class TestComparison:
    def test_groups_arms_that_differ_in_the_compared_field_alone(self, tmp_path):
        synthetic.write_header(tmp_path)
        groups = comparison.make_groups(load_study(tmp_path))
        assert [group.label for group in groups] == ["conv3, cuda_convnet", "conv3, modern"]
        assert [[arm.value for arm in group.arms] for group in groups] == [["relu", "tanh"]] * 2
        assert [group.baseline.value for group in groups] == ["relu", "relu"]
        assert not any(arm.chosen for group in groups for arm in group.arms)
        assert groups[0].ratios(groups[0].arms[1], [0.25]) == {}

    def test_compares_any_field(self, tmp_path):
        sweep = {"weight_decay": [0.0, 0.0005], "model": {"activation": ["relu", "gelu"]}}
        compare = {"field": "weight_decay", "baseline": 0.0005}
        synthetic.write_header(tmp_path, sweep=sweep, compare=compare, weight_decay=0.0)
        groups = comparison.make_groups(load_study(tmp_path))
        assert [group.label for group in groups] == [
            "conv3, modern, activation relu",
            "conv3, modern, activation gelu",
        ]
        assert groups[0].baseline.value == "0.0005"
        assert [arm.value for arm in groups[0].others] == ["0.0"]

    def test_the_answer_is_measured_on_fresh_seeds_at_the_chosen_rate(self, tmp_path):
        synthetic.write_header(tmp_path, sweep={"model": {"activation": ["relu"]}})
        metrics = synthetic.make_metrics(lambda e: 0.8 / (1 + e), epochs=9, stop_at=0.25)
        for rate, reached in [(0.01, 900.0), (0.02, 800.0), (0.04, INF)]:
            fields = {"recipe": "modern", "learning_rate": rate, "iterations_to_target": reached}
            synthetic.write_trial(tmp_path, metrics, seed=0, purpose="selection", **fields)
        for rate, seed in [(0.02, 100), (0.02, 101), (0.04, 102)]:
            synthetic.write_trial(tmp_path, metrics, recipe="modern", learning_rate=rate, seed=seed)
        study = load_study(tmp_path)
        (arm,) = comparison.make_groups(study)[0].arms
        assert arm.chosen
        assert arm.rate == 0.02
        assert [t.row["seed"] for t in arm.fresh] == [100, 101]
        assert comparison.planned_trials(study) == 3 + 3

    def test_a_trial_stopped_before_the_last_epoch_was_raced(self, tmp_path):
        def finished(epochs: float, purpose: str) -> TrialRecord:
            rows = synthetic.make_metrics(lambda e: 0.5, epochs=epochs)
            row = synthetic.write_trial(tmp_path, rows, purpose=purpose)
            return TrialRecord(row, records.read_metrics(tmp_path / "trials" / row["trial"]))

        config = tiny.make_config(max_epochs=2.0)
        assert comparison.was_raced(finished(1.0, "selection"), config)
        assert not comparison.was_raced(finished(2.0, "selection"), config)
        assert not comparison.was_raced(finished(1.0, "fresh"), config)
