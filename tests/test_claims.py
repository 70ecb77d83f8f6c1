"""What is said of a claim: holds, does not, is not decided, has no records."""

import itertools
import math
from pathlib import Path

import pytest
from scipy import stats

from configs import ablations, relu_vs_tanh
from src.analysis.paired import Estimate
from src.config.arms import axes
from src.config.studies import named_trees
from src.reports import budget, claims
from src.reports import compose as report
from src.reports.paper_claims import CLAIMS, UNTESTED, Claim
from tests import synthetic

SLOWER = Claim("t", "3.1", "6 times", "s", "relu", "tanh", "iterations", "larger", 6.0)
LOWER = Claim("t", "3.3", "-2 points", "s", "relu", "tanh", "test error", "smaller")


def write_study(study_dir: Path, relu: dict[int, float], tanh: dict[int, float]) -> None:
    """Trials of 20 points each, of 39 iterations, by seed with their final test errors."""
    synthetic.write_header(
        study_dir,
        sweep={"model": {"activation": ["relu", "tanh"]}},
        learning_rates=[0.02],
        fresh_seeds=[*relu],
        stop_at_target=False,
        max_epochs=2,
    )
    for name, errors in (("relu", relu), ("tanh", tanh)):
        for seed, error in errors.items():
            rows = synthetic.make_metrics(lambda e: 0.8 - 0.4 * e, epochs=1.99)
            rows[-1]["test_error"] = error
            fields = {"recipe": "modern", "learning_rate": 0.02, "seed": seed, "activation": name}
            synthetic.write_trial(study_dir, rows, **fields)


def row(folder: Path, claim: Claim, monkeypatch) -> str:
    monkeypatch.setattr(claims, "CLAIMS", (claim,))
    return claims.claims_table(folder, "experiments/").splitlines()[4]


@pytest.mark.parametrize(
    ("claim", "found", "words"),
    [
        (LOWER, Estimate(-0.02, -0.03, -0.01, 5), "holds"),
        (LOWER, Estimate(0.02, 0.01, 0.03, 5), "does not hold"),
        (LOWER, Estimate(-0.02, -0.05, 0.01, 3), "not decided at n = 3"),
        (LOWER, Estimate(-0.03, -0.06, -0.00004, 5), "not decided at n = 5"),  # shown as +0.0
        (LOWER, Estimate(-0.02, math.nan, math.nan, 1), "not decided at n = 1"),
        (SLOWER, Estimate(5.0, 4.0, 7.0, 5), "holds; 6 times is within the interval"),
        (SLOWER, Estimate(2.0, 1.5, 2.5, 5), "holds; 6 times is outside the interval"),
        (SLOWER, Estimate(0.5, 0.4, 0.6, 5), "does not hold; 6 times is outside the interval"),
    ],
)
def test_a_verdict_is_said_only_where_the_interval_lies_on_one_side(claim, found, words):
    assert claims.verdict(claim, found, 1.0 if claim is SLOWER else 0.0) == words


def test_points_have_no_negative_zero():
    assert [budget.points(x) for x in (-0.0004, 0.0, -0.0006)] == ["+0.0", "+0.0", "-0.1"]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.5, 2.0, "0.50 to 2.00"),
        (0.001, 2000, "below 0.01 to above 100"),
        (0.01, 100, "0.01 to 100.00"),
    ],
)
def test_bounds_of_a_ratio_beyond_reason_are_not_given_in_figures(low, high, words):
    assert budget.ratio_bounds(Estimate(1.0, low, high, 2)) == words


def test_a_row_has_number_interval_pairs_data_verdict_and_link(tmp_path, monkeypatch):
    write_study(tmp_path / "s", {1: 0.30, 2: 0.32, 3: 0.31}, {1: 0.28, 2: 0.301, 3: 0.289})
    # differences -0.020, -0.019, -0.021: error 0.001 / sqrt(3), times 4.303
    assert row(tmp_path, LOWER, monkeypatch) == (
        "| t | 3.3 | -2 points | conv3, modern: test error -2.0 points (95% interval -2.3 to -1.7,"
        " n = 3 pairs of seeds, cifar10-jpeg) | holds | [s](experiments/s/report.md) |"
    )


def test_rows_of_one_study_and_measure_share_its_error_probability(tmp_path, monkeypatch):
    write_study(tmp_path / "s", {1: 0.30, 2: 0.32, 3: 0.31}, {1: 0.28, 2: 0.301, 3: 0.289})
    monkeypatch.setattr(claims, "CLAIMS", (LOWER, LOWER, SLOWER))
    half = 0.001 / 3**0.5 * stats.t.ppf(1 - 0.025 / 2, 2)  # as above, for two
    low, high = math.floor(1000 * (-0.02 - half)) / 10, math.ceil(1000 * (-0.02 + half)) / 10
    assert f"95% interval {low} to {high}, n = 3" in claims.claims_table(tmp_path, "")


def test_iterations_that_were_not_reached_are_bounded_and_undecided(tmp_path, monkeypatch):
    write_study(tmp_path / "s", {1: 0.3, 2: 0.3}, {1: 0.3, 2: 0.3})
    never = synthetic.make_metrics(lambda e: 0.9, epochs=1.99)
    fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 2, "activation": "tanh"}
    synthetic.write_trial(tmp_path / "s", never, **fields)
    found = row(tmp_path, SLOWER, monkeypatch)
    # relu and one tanh at 741, the other not by 780: (741 + 780) / 2 / 741 = 1.026
    assert "more than 1.02 times the iterations to 25% training error (no interval" in found
    assert "| not decided at n = 2 |" in found


def test_a_study_without_records_or_of_other_arms_says_so(tmp_path, monkeypatch):
    assert "| no records yet | - | - |" in row(tmp_path, LOWER, monkeypatch)
    write_study(tmp_path / "s", {1: 0.3}, {})
    assert "conv3, modern: not measured yet | - |" in row(tmp_path, LOWER, monkeypatch)
    assert "not compared | - |" in row(tmp_path, LOWER._replace(other="gelu"), monkeypatch)


def test_final_errors_of_trials_that_stop_at_the_target_are_not_compared(tmp_path, monkeypatch):
    synthetic.write_study(tmp_path / "s")
    assert "not trained equally long | - |" in row(tmp_path, LOWER, monkeypatch)


def test_the_tables_stand_in_both_readmes_and_say_what_was_not_run(tmp_path):
    folder = tmp_path / "experiments"
    folder.mkdir()
    for path in (folder, tmp_path):
        (path / "README.md").write_text("<!-- claims -->\n<!-- /claims -->\n")
    synthetic.write_study(folder / "relu_vs_tanh")
    assert claims.main([str(folder)]) == 0
    assert "[relu_vs_tanh](relu_vs_tanh/report.md)" in (folder / "README.md").read_text()
    top = (tmp_path / "README.md").read_text()
    assert "[relu_vs_tanh](experiments/relu_vs_tanh/report.md)" in top
    assert f"{UNTESTED[0].reason} | not run |" in top


def test_every_claim_is_of_arms_that_its_study_has():
    named = named_trees(ablations.get_config().to_dict(), {})
    studies = {f"ablations/{name}": tree for name, tree in named}
    studies["relu_vs_tanh"] = relu_vs_tanh.get_config().to_dict()
    for claim, role in itertools.product(CLAIMS, ("baseline", "other")):
        config = studies[claim.study]
        values = [str(s.value) for axis in axes(config) for s in axis]
        assert getattr(claim, role) in values
        if claim.measure != "iterations":
            assert config["stop_at_target"] is False


def test_the_report_has_final_errors_and_their_differences(tmp_path):
    write_study(tmp_path, {1: 0.30, 2: 0.32, 3: 0.31}, {1: 0.28, 2: 0.301, 3: 0.289})
    report.write_report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert (
        "after 2 epochs the test error of tanh is 2.0 points below that of relu (95% interval -2.3"
        " to -1.7, n = 3 pairs of seeds)." in text
    )
    assert "| conv3, modern | tanh | 3 | 29.0% (-2.0: -2.3 to -1.7) |" in text
    assert "| 1.00 (no interval) |" in text  # both arms come down alike
    assert "None was chosen: each arm has one." in text
    for name in ("final_errors", "overfitting"):
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000
