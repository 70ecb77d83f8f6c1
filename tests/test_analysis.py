"""From records to groups, chosen rates, effects; and the paper's own curves."""

import math

import numpy as np
import pytest
from scipy import stats

from configs import base
from src.analysis import curves, groups, paper
from src.analysis.choice import Choice, choose_rate, replaced_trials
from src.analysis.effects import analyse
from src.analysis.measures import MEASURES, Measure
from src.analysis.study import load_study
from src.config.config import Config
from src.records import trial as records
from src.records.trial import TrialRecord
from tests import synthetic, tiny

INF = math.inf
TIMES = MEASURES["iterations"]


def selected(rate: float, points: float, error: float = 0.2, status: str = "") -> TrialRecord:
    """A selection trial that is down to 25% after so many points of 10 iterations, or never."""
    last = 20 if points == INF else int(points)
    errors = np.full(last, 0.9)
    errors[-1] = error if points < INF else max(error, 0.3)
    metrics = {
        "iteration": 10 * np.arange(1, last + 1),
        "epoch": np.arange(1, last + 1, dtype=float),
        "train_error": errors,
        "test_error": errors + 0.1,
    }
    status = status or ("reached" if points < INF else "censored")
    row = {"learning_rate": rate, "status": status, "iterations": 10 * last}
    row["purpose"] = "selection"
    row["final_train_error"] = errors[-1]
    return TrialRecord(row, metrics)


def chosen(trials: list[TrialRecord], measure: str = "iterations") -> Choice:
    tree = base.get_config().to_dict()
    tree["compare"]["measure"] = measure
    return choose_rate(Config.read(tree), trials)


class TestChooseRate:
    def test_takes_the_best_median_over_seeds(self):
        trials = [selected(0.1, n) for n in (1, 100, 90)] + [selected(0.2, n) for n in (50, 40, 60)]
        trials += [selected(0.3, n) for n in (80, INF, 70)]
        choice = chosen(trials)
        assert choice.rate == 0.2
        assert choice.medians == {0.1: 900, 0.2: 500, 0.3: 800}
        assert not choice.at_edge

    def test_takes_no_rate_that_diverged_where_the_larger_ratio_is_the_better_one(
        self, monkeypatch
    ):
        speed = Measure("speed", lambda trial, _: (5.0, 5.0), "ratio", "speed", better="larger")
        monkeypatch.setitem(MEASURES, "speed", speed)
        trials = [selected(0.1, 5), selected(0.2, 5, status="diverged")]
        assert chosen(trials, "speed").rate == 0.1

    @pytest.mark.parametrize(("best", "at_edge"), [(0.1, True), (0.2, False), (0.3, True)])
    def test_says_when_the_best_is_on_the_edge(self, best, at_edge):
        trials = [selected(rate, 10 if rate == best else 20) for rate in (0.1, 0.2, 0.3)]
        assert chosen(trials).at_edge == at_edge

    def test_one_rate_has_no_edge(self):
        assert not chosen([selected(0.1, 10)]).at_edge

    def test_where_none_reached_takes_the_lowest_error_and_never_a_diverged_one(self):
        trials = [
            selected(0.1, INF, 0.5),
            selected(0.2, INF, 0.4),
            selected(0.3, INF, 0.3, "diverged"),
        ]
        assert chosen(trials).rate == 0.2

    def test_a_full_tie_goes_to_the_lowest_rate(self):
        trials = [selected(rate, INF, 0.4) for rate in (0.3, 0.1, 0.2)]
        assert chosen(trials).rate == 0.1

    def test_goes_by_the_studys_own_measure(self):
        """The second rate is there later, and has the lower test error at the end."""
        trials = [selected(0.1, 10, 0.24), selected(0.2, 15, 0.1)]
        assert chosen(trials).rate == 0.1
        choice = chosen(trials, "test_error")
        assert choice.rate == 0.2
        assert choice.medians == {0.1: pytest.approx(0.34), 0.2: pytest.approx(0.2)}

    def test_needs_trials(self):
        with pytest.raises(ValueError, match="no selection trials"):
            chosen([])


class TestReplacedTrials:
    def test_are_all_until_a_wider_grid_is_done_and_then_those_at_other_rates(self):
        """At 0.2, the best of two rates, a trial on a fresh seed was made; a third rate is new."""
        config = tiny.make_config(learning_rates=(0.1, 0.2, 0.3))
        (arm,), narrow, fresh = config.arms, [selected(0.1, 10), selected(0.2, 5)], selected(0.2, 5)
        fresh.row["purpose"] = "fresh"
        for new, replaced in (
            ([], [fresh]),
            ([selected(0.3, 8)], []),
            ([selected(0.3, 2)], [fresh]),
        ):
            assert replaced_trials(config, arm, [*narrow, fresh, *new]) == replaced


class TestPaper:
    paper = paper.read_curves()

    def test_relu_is_down_to_25_percent_at_epoch_6_and_tanh_ends_above_it(self):
        relu, tanh = self.paper["relu"], self.paper["tanh"]
        assert (relu.at[-1], relu.values[-1]) == (6, 0.2483)
        assert (tanh.at[-1], tanh.values[-1]) == (36, 0.2507)
        assert curves.crossing(relu, 0.25) == pytest.approx(5.89, abs=0.005)
        assert curves.crossing(tanh, 0.25) == INF

    @pytest.mark.parametrize(
        ("threshold", "expected"), [(0.5, 2.1), (0.4, 4.0), (0.35, 5.0), (0.3, 6.0), (0.25, 6.1)]
    )
    def test_ratio_by_threshold(self, threshold, expected):
        found = paper.ratio(self.paper, "relu", "tanh", threshold)
        assert round(found.bounds[0], 1) == expected
        assert found.value == (INF if threshold == 0.25 else pytest.approx(found.bounds[0]))
        assert not found.exists  # one run each

    def test_a_point_is_the_recorded_error_of_the_first_fifth_of_the_next_epoch(self):
        metrics = {
            "iteration": 39 * np.arange(1, 31),
            "epoch": np.arange(1, 31) / 10,
            "figure_error": np.full(30, np.nan),
        }
        metrics["figure_error"][[1, 11, 21]] = 0.89, 0.69, 0.49
        found = paper.points(metrics, (0, 1, 2, 3))
        np.testing.assert_array_equal(found, [0.89, 0.69, 0.49, np.nan])

    def test_differences_are_ours_minus_the_papers_at_points_1_to_5(self):
        ours = np.array([0.5719, 0.3767, 0.2209, np.nan, 0.2636])
        found = paper.differences(self.paper["relu"], ours)
        np.testing.assert_allclose(found, [0.1, 0.0, -0.1, np.nan, 0.0], atol=1e-12)


class TestGroups:
    def test_are_of_arms_that_differ_in_the_compared_field_alone(self, tmp_path):
        synthetic.write_header(tmp_path)
        found = groups.make_groups(load_study(tmp_path))
        assert [group.label for group in found] == ["conv3, cuda_convnet", "conv3, modern"]
        assert [[arm.value for arm in group.arms] for group in found] == [["relu", "tanh"]] * 2
        assert [group.baseline.value for group in found] == ["relu", "relu"]
        assert not any(arm.chosen for group in found for arm in group.arms)

    def test_may_be_of_any_field(self, tmp_path):
        sweep = {"weight_decay": [0.0, 0.0005], "model": {"activation": ["relu", "gelu"]}}
        compare = {"field": "weight_decay", "baseline": 0.0005}
        synthetic.write_header(tmp_path, sweep=sweep, compare=compare, weight_decay=0.0)
        found = groups.make_groups(load_study(tmp_path))
        assert [group.label for group in found] == [
            "conv3, modern, activation relu",
            "conv3, modern, activation gelu",
        ]
        assert found[0].baseline.value == "0.0005"
        assert [arm.value for arm in found[0].others] == ["0.0"]

    def test_the_baseline_comes_first_whatever_ran_first(self, tmp_path):
        sweep = {"recipe": ["modern"], "model": {"activation": ["tanh", "relu"]}}
        synthetic.write_header(tmp_path, sweep=sweep)
        (group,) = groups.make_groups(load_study(tmp_path))
        assert [arm.value for arm in group.arms] == ["relu", "tanh"]
        assert group.baseline is group.arms[0]

    def test_the_answer_is_measured_on_fresh_seeds_at_the_chosen_rate(self, tmp_path):
        synthetic.write_header(tmp_path, sweep={"model": {"activation": ["relu"]}})
        for rate, speed in [(0.01, 0.9), (0.02, 1.0), (0.04, 0.1)]:
            metrics = synthetic.make_metrics(lambda e, s=speed: 0.8 / (1 + s * e), epochs=9)
            fields = {"recipe": "modern", "learning_rate": rate}
            synthetic.write_trial(tmp_path, metrics, seed=0, purpose="selection", **fields)
        for rate, seed in [(0.02, 100), (0.02, 101), (0.04, 102)]:
            synthetic.write_trial(tmp_path, metrics, recipe="modern", learning_rate=rate, seed=seed)
        study = load_study(tmp_path)
        (arm,) = groups.make_groups(study)[0].arms
        assert arm.chosen
        assert arm.rate == 0.02
        assert [t.row["seed"] for t in arm.fresh] == [100, 101]
        assert study.config.num_trials == 3 + 3

    def test_a_trial_stopped_before_the_last_epoch_was_raced(self, tmp_path):
        def finished(epochs: float, purpose: str) -> TrialRecord:
            rows = synthetic.make_metrics(lambda e: 0.5, epochs=epochs)
            row = synthetic.write_trial(tmp_path, rows, purpose=purpose)
            return TrialRecord(row, records.read_metrics(tmp_path / "trials" / row["trial"]))

        synthetic.write_header(tmp_path, max_epochs=2)
        config = load_study(tmp_path).config
        assert groups.was_raced(finished(1.0, "selection"), config)
        assert not groups.was_raced(finished(2.0, "selection"), config)
        assert not groups.was_raced(finished(1.0, "fresh"), config)
        rounded = finished(2.0, "selection")
        rounded.metrics["epoch"][-1] = np.nextafter(2, 0)
        assert not groups.was_raced(rounded, config)
        variants = {"long": {"max_epochs": 3.0}, "short": {"max_epochs": 1.0}}
        compare = {"field": "variant", "baseline": "long"}
        synthetic.write_header(tmp_path / "swept", sweep={}, variants=variants, compare=compare)
        swept = load_study(tmp_path / "swept").config
        for name, epochs, raced in (("long", 2.0, True), ("short", 1.0, False)):
            found = finished(epochs, "selection")
            found.row["trial"] = f"conv3-modern-relu-{name}-lr0.02-s0"
            assert groups.was_raced(found, swept) == raced


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    synthetic.write_study(path, fresh_seeds=4)
    return path


class TestEffects:
    def times(self, study_dir, arm: str) -> np.ndarray:
        """Logarithms of the iterations to 35%, half a step off, from the files themselves."""
        found = []
        for path in sorted((study_dir / "trials").glob(f"{arm}-lr*-s10?")):
            lines = (path / "metrics.csv").read_text().splitlines()
            names = lines[0].split(",")
            for line in lines[11:]:  # from the first whole epoch on
                point = dict(zip(names, line.split(","), strict=True))
                if float(point["train_error"]) <= 0.35:
                    found.append(math.log(int(point["iteration"]) - synthetic.PER_POINT / 2))
                    break
        return np.array(found)

    def test_are_what_a_few_lines_find_in_the_same_files(self, study_dir):
        analysis = analyse(load_study(study_dir))
        for effect, recipe in zip(
            analysis.effects(TIMES, 0.35), ("cuda_convnet", "modern"), strict=True
        ):
            relu, tanh = (self.times(study_dir, f"conv3-{recipe}-{a}") for a in ("relu", "tanh"))
            assert len(relu) == len(tanh) == 4
            test = stats.ttest_ind(tanh, relu, equal_var=False)
            low, high = np.exp(tuple(test.confidence_interval()))
            assert effect.interval.value == pytest.approx(math.exp(tanh.mean() - relu.mean()))
            assert (effect.interval.low, effect.interval.high) == pytest.approx((low, high))

    def test_p_values_are_adjusted_for_all_groups_of_the_study(self, study_dir):
        analysis = analyse(load_study(study_dir))
        raw = sorted(effect.interval.p for effect in analysis.effects())
        adjusted = sorted(effect.p for effect in analysis.effects())
        assert adjusted == pytest.approx([2 * raw[0], max(2 * raw[0], raw[1])])
        assert analysis.adjustment(analysis.measure) == "Holm"

    def test_an_interaction_is_the_ratio_of_the_groups_ratios(self, tmp_path):
        synthetic.write_study(tmp_path, fresh_seeds=4, target_train_error=0.35, thresholds=[0.35])
        analysis = analyse(load_study(tmp_path))
        one, two = analysis.effects()
        (found,) = analysis.interactions()
        assert (found.field, found.first, found.second) == ("recipe", "cuda_convnet", "modern")
        assert found.interval.value == pytest.approx(one.interval.value / two.interval.value)
        assert found.interval.how == "Welch"
        assert found.interval.low < found.interval.value < found.interval.high

    def test_every_comparison_is_made_once(self, study_dir):
        analysis = analyse(load_study(study_dir))
        assert analysis.effects() is analysis.effects(TIMES, 0.25)

    def test_trials_train_equally_long_where_no_arm_stops_at_the_target(self, tmp_path):
        compare = {"field": "stop_at_target", "baseline": False}
        for swept, alike in (([False], True), ([False, True], False)):
            synthetic.write_header(tmp_path, sweep={"stop_at_target": swept}, compare=compare)
            assert analyse(load_study(tmp_path)).equally_long == alike

    def test_errors_with_fixed_parameters_are_a_reading_where_all_arms_have_it(self, tmp_path):
        compare = {"field": "variant", "baseline": "a"}
        for other, alike in ({"b": {"readings": ["frozen"]}}, True), ({"b": {}}, False):
            variants = {"a": {"readings": ["frozen"]}, **other}
            synthetic.write_header(tmp_path, sweep={}, variants=variants, compare=compare)
            assert analyse(load_study(tmp_path)).frozen == alike

    def test_as_in_the_figure_is_a_reading_of_its_own(self, study_dir):
        analysis = analyse(load_study(study_dir))
        online, figure = (analysis.effects(measure, 0.35) for measure in analysis.readings)
        assert [m.name for m in analysis.readings] == ["iterations", "iterations_as_in_figure"]
        assert online[0].interval.value != figure[0].interval.value

    def test_final_errors_are_listed_where_all_train_equally_long(self, tmp_path):
        synthetic.write_header(tmp_path, stop_at_target=False)
        assert [m.name for m in analyse(load_study(tmp_path)).measures] == [
            "iterations", "test_error", "train_error",
        ]  # fmt: skip
        synthetic.write_header(tmp_path)
        assert [m.name for m in analyse(load_study(tmp_path)).measures] == ["iterations"]
