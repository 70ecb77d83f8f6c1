"""The one interval type, against SciPy and against arithmetic."""

import math

import numpy as np
import pytest
from scipy import stats

from src.analysis import censored, families, intervals, parts, ranks, verdicts
from src.analysis.intervals import Interval, Sample

INF = math.inf


def exact(*values: float) -> Sample:
    return Sample(np.array(values, float), np.array(values, float))


def times(*last_point: float, step: float = 1.0, stopped: tuple[float, ...] = ()) -> Sample:
    """Times reached at recorded points a step apart, and trials that stopped before."""
    low = [*(t - step for t in last_point), *stopped]
    return Sample(np.array(low, float), np.array([*last_point, *[INF] * len(stopped)], float))


def found(low: float, high: float, kind: str = "difference", **fields) -> Interval:
    inner = fields.pop("inner", (low, high))
    return Interval((low + high) / 2, low, high, (5, 5), kind, inner=inner, **fields)


def test_two_times_of_zero_have_no_ratio():
    interval = intervals.compare("ratio", exact(0.0), exact(0.0))
    assert math.isnan(interval.value)
    assert not interval.exists


class TestDifference:
    before, after = exact(0.30, 0.32, 0.31), exact(0.27, 0.30, 0.28)

    def test_is_of_means_with_welchs_interval(self):
        test = stats.ttest_ind(self.after.low, self.before.low, equal_var=False)
        interval = intervals.compare("difference", self.before, self.after)
        assert interval.value == pytest.approx(0.85 / 3 - 0.31)
        assert (interval.low, interval.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
        assert interval.inner == pytest.approx(tuple(test.confidence_interval(0.90)))
        assert interval.p == pytest.approx(test.pvalue)
        assert (interval.n, interval.how) == ((3, 3), "Welch")

    @pytest.mark.parametrize(
        ("after", "how"),
        [
            (exact(0.2), "too few"),
            (exact(0.2, 0.2, 0.2), "no spread"),
            (exact(0.2, math.nan, 0.3), "incomplete"),
            (exact(), "not measured"),
        ],
    )
    def test_without_spread_there_is_no_interval_and_it_says_why(self, after, how):
        interval = intervals.compare("difference", self.before, after)
        assert interval.how == how
        assert not interval.exists
        assert interval.side == 0


class TestRatio:
    def test_is_of_geometric_means_half_a_step_below_the_points(self):
        before, after = times(139, 239, step=78), times(539, 1039, step=78)
        interval = intervals.compare("ratio", before, after)
        assert interval.value == pytest.approx(math.sqrt(500 * 1000 / (100 * 200)))

    def test_has_welchs_interval_on_logarithms(self):
        before, after = times(3003, 3042, 3120, step=39), times(16653, 17000, 16900, step=39)
        logs = [np.log(s.high - 19.5) for s in (after, before)]
        test = stats.ttest_ind(*logs, equal_var=False)
        low, high = np.exp(tuple(test.confidence_interval()))
        interval = intervals.compare("ratio", before, after)
        assert (interval.low, interval.high) == pytest.approx((low, high))
        assert interval.p == pytest.approx(test.pvalue)

    def test_times_that_fall_into_one_step_show_no_spread(self):
        """At one to four steps most arms do: what is printed then is no interval."""
        interval = intervals.compare("ratio", times(78, 78, 78), times(117, 156, 117))
        assert (interval.how, interval.exists) == ("no spread", False)


class TestCensoredRatio:
    def test_agrees_with_scipy_on_the_most_likely_means(self):
        before = times(300, 320, 290, 310, step=5)
        after = times(900, 1000, 950, step=5, stopped=(1010,))
        interval = intervals.compare("ratio", before, after)
        means = []
        for arm in (before, after):
            reached = ~arm.censored
            data = stats.CensoredData(
                interval=np.log(np.stack([arm.low, arm.high], -1)[reached]),
                right=np.log(arm.low[arm.censored]),
            )
            start = {"loc": float(np.log(arm.low).mean()), "scale": 0.05}
            means.append(stats.norm.fit(data, **start)[0])
        assert interval.value == pytest.approx(math.exp(means[1] - means[0]), rel=1e-3)
        assert interval.how == "likelihood"
        assert interval.low < interval.inner[0] < interval.value < interval.inner[1] < interval.high

    def test_nearly_is_welchs_where_almost_nothing_is_censored(self):
        """A trial that stopped beyond all others weighs little, so that the interval is near."""
        rng = np.random.default_rng(1)
        before, after = (np.exp(rng.normal(mean, 0.1, 30)) * 3000 for mean in (0, 1))
        last = float(np.sort(after)[-1])
        full = intervals.compare("ratio", times(*before, step=1), times(*after, step=1))
        rest = sorted(after)[:-1]
        cut = intervals.compare(
            "ratio", times(*before, step=1), times(*rest, step=1, stopped=(last - 1,))
        )
        assert cut.value == pytest.approx(full.value, rel=0.01)
        assert (cut.low, cut.high) == pytest.approx((full.low, full.high), rel=0.02)

    def test_an_end_of_the_interval_is_as_surprising_as_students_quantile(self):
        before, after = times(300, 340, 290), times(900, 1000, stopped=(1010,))
        interval = intervals.compare("ratio", before, after)
        logs = [
            censored.LogTimes(np.log(a.low)[None], np.log(a.high)[None]) for a in (before, after)
        ]
        peak = censored.find_peak(*logs)
        for end in (interval.low, interval.high):
            t = censored.surprise(peak, *logs, np.array([math.log(end)]))
            assert 2 * stats.t.sf(t, peak.freedom) == pytest.approx(0.05, abs=1e-4)

    def test_the_likelihood_of_a_ratio_is_the_highest_on_a_grid(self):
        """At 1 it has two maxima: either arm may be taken to be the widely spread one."""
        arms = times(300, 340, 290), times(900, 1000, stopped=(1010,))
        bounds = [censored.LogTimes(np.log(a.low)[None], np.log(a.high)[None]) for a in arms]
        peak = censored.find_peak(*bounds)
        means, deviations = np.linspace(5, 8, 1501), np.geomspace(1e-3, 5, 150)
        profiles = []
        for arm in arms:
            away = [np.log(x)[:, None, None] - means[:, None] for x in (arm.low, arm.high)]
            below, above = (stats.norm.cdf(distance / deviations) for distance in away)
            with np.errstate(divide="ignore"):
                profiles.append(np.log(above - below).sum(axis=0).max(axis=1))
        excess = 2 * (peak.best.loglik - (profiles[0] + profiles[1]).max())
        t = np.sqrt(peak.freedom * np.expm1(excess / peak.weight))
        interval = intervals.compare("ratio", *arms)
        assert interval.p == pytest.approx(2 * stats.t.sf(t, peak.freedom)[0], rel=0.01)
        assert interval.p > 0.005  # That at the other maximum is 0.002.

    def test_where_none_is_censored_the_degrees_of_freedom_are_welchs(self):
        """Arms of other sizes and spreads, each time known to a tenth of an iteration."""
        arms = [300, 340, 290], [900, 1400, 700, 1000, 1100]
        found = [np.array(arm, float)[None] for arm in arms]
        bounds = [censored.LogTimes(np.log(t - 0.05), np.log(t + 0.05)) for t in found]
        peak = censored.find_peak(*bounds)
        welch = stats.ttest_ind(*map(np.log, arms), equal_var=False)
        assert peak.freedom == pytest.approx(welch.df, rel=1e-3)

    def test_never_reached_is_more_than_and_open_above(self):
        interval = intervals.compare(
            "ratio", times(3003, 3042, 3120, step=39), times(stopped=(20000, 20000, 20000))
        )
        assert interval.value == interval.high == INF
        middle = (2983.5 * 3022.5 * 3100.5) ** (1 / 3)
        assert interval.bounds == pytest.approx((20000 / middle, INF))
        assert 6 < interval.low < interval.bounds[0]
        assert interval.side == 1

    def test_a_baseline_never_reached_is_the_mirror_image(self):
        reached, stopped = times(300, 320, 290), times(stopped=(2000, 2000, 2000))
        one = intervals.compare("ratio", reached, stopped)
        other = intervals.compare("ratio", stopped, reached)
        assert other.value == other.low == 0
        assert other.high == pytest.approx(1 / one.low, rel=1e-3)

    def test_one_trial_a_side_is_bounded_without_an_interval(self):
        interval = intervals.compare("ratio", times(100, step=2), times(stopped=(660,)))
        assert (interval.value, interval.how) == (INF, "too few")
        assert interval.bounds == (pytest.approx(660 / 99), INF)

    def test_neither_reached_says_nothing(self):
        interval = intervals.compare("ratio", times(stopped=(5, 6)), times(stopped=(5, 6)))
        assert math.isnan(interval.value)
        assert interval.bounds == (0, INF)


class TestInteraction:
    cells = (exact(1.0, 1.2, 0.9), exact(2.0, 2.1, 2.4)), (exact(3.0, 3.3, 2.8), exact(5, 5.5, 5.2))

    def test_is_the_difference_of_differences_with_satterthwaites_freedom(self):
        (a, b), (c, d) = [[s.low for s in pair] for pair in self.cells]
        value = d.mean() - c.mean() - b.mean() + a.mean()
        parts = np.array([x.var(ddof=1) / 3 for x in (a, b, c, d)])
        freedom = parts.sum() ** 2 / (parts**2 / 2).sum()
        half = math.sqrt(parts.sum()) * stats.t.ppf(0.975, freedom)
        interval = intervals.interaction("difference", *self.cells)
        assert (interval.value, interval.low, interval.high) == pytest.approx(
            (value, value - half, value + half)
        )

    def test_is_the_ratio_of_ratios_for_times(self):
        interval = intervals.interaction("ratio", *self.cells)
        ratios = [intervals.compare("ratio", *pair).value for pair in self.cells]
        assert interval.value == pytest.approx(ratios[1] / ratios[0])

    def test_of_two_effects_with_censored_trials_stays_open_where_one_is(self):
        reached, never = times(300, 320, 290), times(stopped=(2000, 2000, 1990))
        slow = times(900, 1000, stopped=(1010,))
        interval = intervals.interaction("ratio", (reached, reached), (reached, slow))
        assert interval.how == "MOVER"
        assert interval.low < interval.value < interval.high < INF
        open_above = intervals.interaction("ratio", (reached, reached), (reached, never))
        assert open_above.value == open_above.high == INF
        assert 4 < open_above.low < 2000 / 303  # the second ratio alone is at least 6.6
        assert not intervals.interaction("ratio", (reached, never), (reached, never)).exists

    @pytest.mark.parametrize("turned", [False, True])
    def test_of_two_intervals_has_a_p_of_five_hundredths_where_it_ends_at_no_effect(self, turned):
        """Half-widths 0.6 and 0.8 of logarithms combine to 1, and so reach from e to 1."""

        def of(value: float, half: float) -> intervals.Interval:
            ends = (math.exp(value - half), math.exp(value + half))
            known = {"how": "likelihood", "inner": ends, "bounds": ends, "freedom": 7.0}
            return intervals.Interval(math.exp(value), *ends, (5, 5), "ratio", **known)

        pair = (of(0.0, 0.6), of(1.0, 0.8))
        found = intervals._combined(*(pair[::-1] if turned else pair), (5, 5))
        assert (found.high if turned else found.low) == pytest.approx(1)
        assert found.p == pytest.approx(0.05)
        farther = intervals._combined(of(0.0, 0.6), of(2.0, 0.8), (5, 5))
        assert farther.p == pytest.approx(2 * stats.t.sf(2 * stats.t.ppf(0.975, 7), 7))

    def test_a_trial_of_which_nothing_is_known_changes_no_interval(self):
        before, slow = times(300, 320, 290), times(900, 1000, stopped=(1010,))
        with_it = intervals.compare("ratio", before, times(900, 1000, stopped=(1010, 0.0)))
        without = intervals.compare("ratio", before, slow)
        assert (with_it.low, with_it.high) == (without.low, without.high)
        assert (with_it.n, with_it.bounds[0]) == ((3, 4), 0)

    @pytest.mark.parametrize("turned", [False, True])
    def test_of_a_baseline_with_a_censored_trial_is_bounded_on_one_side(self, turned):
        """The ratio beside that baseline is known to lie below a bound, and so above 0."""
        reached, slow = times(300, 320, 290), times(100, 120, stopped=(500,))
        cells = [(slow, reached), (reached, times(110, 130, 140))]
        interval = intervals.interaction("ratio", *(cells[::-1] if turned else cells))
        assert interval.exists
        low, high = interval.bounds
        assert (low > 0, high == INF) == ((False, False) if turned else (True, True))


class TestShare:
    """Log ratios 1.6 and 0.1 make a whole of 1.5; a part of 0.4 has removed 1.2 of it: 80%."""

    def arms(self, ratio: float, spread: float = 0.05) -> tuple[Sample, Sample]:
        noise = spread * np.array([-1.0, 0.0, 1.0])
        return exact(*np.exp(noise)), exact(*np.exp(ratio + noise))

    def test_is_that_of_the_logarithms(self):
        found = parts.share((self.arms(1.6), self.arms(0.1)), self.arms(0.4))
        assert found.value == pytest.approx(0.8)

    def test_of_two_conditions_that_came_out_equal_is_not_known(self):
        alike = self.arms(1.6)
        assert not parts.share((alike, alike), self.arms(0.4)).exists

    def test_nearly_has_the_interval_of_the_numerator_where_the_whole_is_certain(self):
        whole = self.arms(1.6, spread=1e-4), self.arms(0.1, spread=1e-4)
        part = self.arms(0.4)
        found = parts.share(whole, part)
        effect = intervals.compare("ratio", *part)
        ends = [(1.6 - math.log(end)) / 1.5 for end in (effect.high, effect.low)]
        assert (found.low, found.high) == pytest.approx(tuple(ends), abs=1e-3)

    def test_an_end_is_a_share_that_students_test_just_rejects(self):
        cells = [*self.arms(1.6), *self.arms(0.1), *self.arms(0.4)]
        found = parts.share((self.arms(1.6), self.arms(0.1)), self.arms(0.4))
        signs = (1 - found.low, found.low, -1.0)
        weights = [sign * one for sign in signs for one in (-1.0, 1.0)]
        value, error, freedom = intervals.contrast([np.log(c.low) for c in cells], weights)
        assert 2 * stats.t.sf(abs(value) / error, freedom) == pytest.approx(0.05, abs=1e-6)

    def test_has_no_interval_where_the_whole_itself_is_in_doubt(self):
        found = parts.share((self.arms(0.1, 0.5), self.arms(0.0, 0.5)), self.arms(0.05, 0.5))
        assert not found.exists

    def test_of_a_censored_part_is_not_known(self):
        part = exact(1.0, 1.1, 1.2), times(9, 8, stopped=(9,))
        assert parts.share((self.arms(1.6), self.arms(0.1)), part).how == "incomplete"


class TestRanks:
    first, second = exact(1, 2, 3, 4, 5), exact(2.5, 6, 7, 8, 9)

    def test_is_scipys_exact_test(self):
        p = stats.mannwhitneyu(self.first.low, self.second.low, method="exact").pvalue
        assert ranks.rank_check("difference", self.first, self.second).p == pytest.approx(p)

    def test_shares_tied_ranks_and_counts_all_ways_to_deal_them(self):
        """Ranks 1, 2, 3.5, 5 against 3.5, 6, 7, 8: four of 70 dealings sum to at most 11.5."""
        check = ranks.rank_check("difference", exact(1, 2, 3, 4), exact(3, 5, 6, 7))
        sums = [1 + 2 + 3.5 + 3.5, 1 + 2 + 3.5 + 5]
        at_most = 1 + 2  # {1, 2, 3.5, 3.5}; {1, 2, 3.5, 5} in two ways
        assert sums == [10, 11.5]
        assert check.p == pytest.approx(2 * at_most / 70)

    def test_is_exact_with_ties_whatever_the_number_of_trials(self):
        """With two values alone, the number of larger ones in an arm is hypergeometric."""
        first, second = exact(*[0] * 19, *[1] * 2), exact(*[0] * 7, *[1] * 14)
        p = 2 * stats.hypergeom.cdf(2, 42, 16, 21)
        assert ranks.rank_check("difference", first, second).p == pytest.approx(p, rel=1e-9)
        assert p < 1e-3

    def test_estimates_the_median_of_all_pairs(self):
        check = ranks.rank_check("difference", self.first, self.second)
        pairs = np.sort((self.second.low[:, None] - self.first.low).ravel())
        assert check.value == np.median(pairs)
        # five against five: P(count <= 2) = 4 / 252 = 1.6%, P(count <= 3) = 7 / 252 = 2.8%
        assert (check.low, check.high) == (pairs[2], pairs[-3])

    def test_four_trials_reach_from_the_first_to_the_last_pair(self):
        check = ranks.rank_check("ratio", exact(1, 2, 3, 4), exact(10, 20, 30, 40))
        assert (check.low, check.high) == (10 / 4, 40)  # P(count <= 0) = 1 / 70

    @pytest.mark.parametrize(("n", "m"), [(40, 50), (12, 50), (50, 50)])
    def test_of_many_trials_goes_by_the_normal_distribution(self, monkeypatch, n, m):
        """The same pairs end the interval as of the exact test; p is the normal distribution's."""
        rng = np.random.default_rng(0)
        first, second = exact(*rng.normal(0, 1, n)), exact(*rng.normal(0.4, 1, m))
        whole = ranks.rank_check("difference", first, second)
        monkeypatch.setattr(ranks, "MANY", 10)
        check = ranks.rank_check("difference", first, second)
        assert check[1:] == whole[1:]
        smaller = np.sum(first.low[:, None] > second.low)  # Mann and Whitney's U
        apart = abs(smaller - n * m / 2) - 0.5  # corrected for continuity
        deviation = math.sqrt(n * m * (n + m + 1) / 12)
        assert check.p == pytest.approx(math.erfc(apart / deviation / math.sqrt(2)))

    def test_a_censored_trial_ranks_last_and_leaves_the_interval_open(self):
        check = ranks.rank_check("ratio", exact(1, 2, 3, 4), times(9, 8, 7, step=1, stopped=(9,)))
        assert check.p == pytest.approx(2 / 70)
        assert check.high == INF

    @pytest.mark.parametrize(
        "second", [exact(1, 2, 3), times(9, 8, 7, step=1, stopped=(3,)), exact(1, 2, 3, math.nan)]
    )
    def test_says_nothing_of_three_trials_or_an_unknown_order(self, second):
        assert ranks.rank_check("ratio", exact(1, 2, 3, 4), second) is None


class TestFamilies:
    def test_holm_steps_down_and_never_decreases(self):
        adjusted = families.holm([0.01, 0.04, 0.03])
        assert adjusted == pytest.approx([0.03, 0.06, 0.06])

    def test_a_comparison_without_a_p_makes_the_others_no_more_significant(self):
        """It counts as 1, the largest: Holm's factors are 4, 3 and 2 for the three before it."""
        adjusted = families.holm([0.01, math.nan, 0.04, 0.03])
        assert adjusted == pytest.approx([0.04, math.nan, 0.09, 0.09], nan_ok=True)

    def test_dunnett_takes_arms_of_one_spread_and_one_baseline(self):
        baseline, others = exact(1, 2, 3, 4), [exact(2, 3, 4, 5), exact(4, 5, 6, 7.5)]
        group = [(baseline, others)]
        found = [intervals.compare("difference", baseline, other) for other in others]
        test = stats.dunnett(*(o.low for o in others), control=baseline.low, rng=1)
        assert families.method("difference", group) == "Dunnett"
        adjusted = families.adjusted("difference", group, found)
        assert adjusted == pytest.approx(list(test.pvalue), abs=2e-3)

    def test_holm_where_rounding_is_all_the_spread(self):
        """Three times 0.7 deviate from their mean by the last bit; SciPy warns of such samples."""
        alike = exact(0.7, 0.7, 0.7)
        assert np.std(alike.low, ddof=1) > 0
        assert families.method("difference", [(alike, [alike, alike])]) == "Holm"

    @pytest.mark.parametrize(
        "others", [[exact(2, 3), exact(2, 30)], [times(5, step=1, stopped=(6,))] * 2]
    )
    def test_holm_where_spreads_differ_or_trials_are_censored(self, others):
        group = [(exact(1, 2), others)]
        found = [intervals.compare("ratio", exact(1, 2), other) for other in others]
        assert families.method("ratio", group) == "Holm"
        adjusted = families.adjusted("ratio", group, found)
        assert adjusted == pytest.approx(families.holm([i.p for i in found]), nan_ok=True)

    def test_a_single_comparison_is_left_as_it_is(self):
        pair = exact(1, 2, 3), exact(4, 5, 7)
        found = intervals.compare("difference", *pair)
        group = [(pair[0], [pair[1]])]
        assert families.method("difference", group) == ""
        assert families.adjusted("difference", group, [found]) == [found.p]


class TestVerdicts:
    @pytest.mark.parametrize(
        ("interval", "p", "verdict"),
        [
            (found(0.01, 0.03), 0.01, "shown"),
            (found(-0.03, -0.01), 0.01, "contradicted"),
            (found(0.001, 0.03), 0.08, "not decided"),  # not among so many comparisons
            (found(-0.03, 0.01), 0.3, "not decided"),
            (found(-0.015, 0.01), 0.3, "no effect larger than"),
            (found(0.01, 0.03), math.nan, "shown"),
            (found(0.9, 1.4, "ratio"), 0.2, "no effect larger than"),
            (found(0.6, 1.4, "ratio"), 0.2, "not decided"),
            (found(0.7, 1.6, "ratio", inner=(0.75, 1.45)), 0.2, "no effect larger than"),
            (found(math.nan, math.nan), math.nan, "not decided"),
            (found(6.0, INF, "ratio"), 0.01, "shown"),
        ],
    )
    def test_say_what_the_interval_and_the_family_allow(self, interval, p, verdict):
        assert verdicts.judge(interval, 1, p=p) == verdict

    def test_an_effect_that_would_take_too_many_seeds_cannot_be_tested(self):
        wide = found(-0.09, 0.09)
        assert verdicts.judge(wide, -1, p=0.9, effect=0.01) == "not testable at this budget"
        assert verdicts.judge(wide, -1, p=0.9, effect=0.09) == "not decided"

    def test_two_one_sided_tests_agree_with_scipy(self):
        rng = np.random.default_rng(0)
        for _ in range(50):
            before, after = rng.normal(0, 1, 6), rng.normal(0.3, 1, 6)
            interval = intervals.compare("difference", exact(*before), exact(*after))
            below = stats.ttest_ind(after + 1.2, before, equal_var=False, alternative="greater")
            above = stats.ttest_ind(after - 1.2, before, equal_var=False, alternative="less")
            both = max(below.pvalue, above.pvalue) <= 0.05
            assert verdicts.equivalent(interval, 1.2) == both

    def test_seeds_needed_are_those_of_the_power_formula(self):
        """SDs of 1 and 1, an effect of 1, 80% power, 5%: 2 (1.96 + 0.84)^2 = 15.7."""
        values = np.array([-1.0, 0.0, 1.0])
        interval = intervals.compare("difference", exact(*values), exact(*(values + 0.2)))
        assert verdicts.seeds_needed(interval, 1.0) == 16

    def test_seeds_needed_do_not_depend_on_how_the_spreads_differ(self):
        """SDs of 1.2 and 1.6 have the sum of squares of two of the square root of 2: 2 x 16."""
        values = np.array([-1.0, 0.0, 1.0])
        samples = exact(*(1.2 * values)), exact(*(1.6 * values))
        assert verdicts.seeds_needed(intervals.compare("difference", *samples), 1.0) == 32
