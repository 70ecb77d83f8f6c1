"""What is said of a claim, and by which words of one vocabulary."""

import dataclasses
import itertools
import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from configs import (
    ablations,
    architectures,
    pretraining,
    pretraining_long,
    relu_vs_tanh,
    relu_vs_tanh_early,
    why_tanh_is_slow,
)
from src.analysis import intervals
from src.analysis.effects import analyse
from src.analysis.groups import trained_apart
from src.analysis.study import load_study
from src.config.arms import axes
from src.config.studies import named_trees
from src.errors import LabError
from src.records import files
from src.records.files import RecordError
from src.reports import claims, evaluated, findings, paper_figures
from src.reports import compose as report
from src.reports.findings import Finding, find
from src.reports.paper_claims import CLAIMS, UNTESTED, Claim
from tests import synthetic

LOWER = Claim("t", "3.3", "-2 points", "s", "relu", "tanh", ("test_error",), -1)
FITS_LESS = Claim(
    "t", "4", "-", "s", "relu", "tanh", ("equal_test_error", "test_error"), -1, rule="overfitting"
)
DEPENDS = Claim(
    "t", "3.1", "-", "s", "relu", "tanh", ("iterations",), 1,
    where=(("recipe", "cuda_convnet"), ("recipe", "modern")), rule="interaction",
)  # fmt: skip


def write_study(study_dir: Path, relu: dict[int, float], tanh: dict[int, float], **fields) -> None:
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
            given = {"recipe": "modern", "learning_rate": 0.02, "seed": seed, "activation": name}
            given |= fields if name == "tanh" else {}
            synthetic.write_trial(study_dir, rows, **given)


def set_column(study_dir: Path, names: Sequence[str], **columns: str) -> None:
    """Writes the records of some trials again, with other words in a column."""
    for path in [path for name in names for path in (study_dir / "trials").glob(name)]:
        record = files.read_sealed(path / "result.json", "")
        record["result"] |= columns
        files.write_sealed(path / "result.json", record)


def found(folder: Path, claim: Claim) -> list[Finding]:
    return find(claim, analyse(load_study(folder)))


RELU, TANH = {1: 0.30, 2: 0.32, 3: 0.31}, {1: 0.27, 2: 0.293, 3: 0.279}


def test_a_row_has_number_interval_data_training_error_and_verdict(tmp_path):
    write_study(tmp_path, RELU, TANH)
    (row,) = found(tmp_path, LOWER)
    test = stats.ttest_ind([*TANH.values()], [*RELU.values()], equal_var=False)
    low, high = test.confidence_interval()
    low, high = math.floor(1000 * low) / 10, math.ceil(1000 * high) / 10
    points = 100 * (np.mean([*TANH.values()]) - np.mean([*RELU.values()]))
    assert row.ours == (
        f"test error at the end {points:+.1f} points (95% interval {low:+.1f} to {high:+.1f},"
        f" n = 3, p = {test.pvalue:.2g}); cifar10-jpeg; one rate for both"
    )
    assert row.trained == "20.1% and 20.1%"  # 0.8 - 0.4 e over the last epoch, to e = 1.997
    assert (row.verdict, row.words) == ("shown", "shown")


def test_rates_that_no_arm_could_choose_are_named(tmp_path):
    rates = {"relu": 0.02, "tanh": 0.08}
    synthetic.write_header(
        tmp_path,
        sweep={"model": {"activation": ["relu", "tanh"]}},
        arm_learning_rates={f"conv3-modern-{name}": [rate] for name, rate in rates.items()},
        fresh_seeds=[*RELU],
        stop_at_target=False,
        max_epochs=2,
    )
    for (name, rate), errors in zip(rates.items(), (RELU, TANH), strict=True):
        for seed, error in errors.items():
            rows = synthetic.make_metrics(lambda e: 0.8 - 0.4 * e, epochs=1.99)
            rows[-1]["test_error"] = error
            given = {"recipe": "modern", "learning_rate": rate, "seed": seed, "activation": name}
            synthetic.write_trial(tmp_path, rows, **given)
    (row,) = found(tmp_path, LOWER)
    assert row.ours.endswith("; rates set before: relu 0.02, tanh 0.08")


def test_the_opposite_of_a_claim_is_contradicted(tmp_path):
    write_study(tmp_path, TANH, RELU)
    assert found(tmp_path, LOWER)[0].verdict == "contradicted"


def test_an_equal_effect_is_said_to_be_no_larger_than_the_margin(tmp_path):
    write_study(tmp_path, RELU, {1: 0.301, 2: 0.321, 3: 0.308})
    (row,) = found(tmp_path, LOWER)
    assert row.words == "no effect larger than 2 points"


def test_arms_of_different_code_are_confounded(tmp_path):
    write_study(tmp_path, RELU, TANH, commit="another")
    (row,) = found(tmp_path, LOWER)
    assert row.words == "confounded; the arms were trained by different code"
    assert ". The two were trained by different code.\n" in report.compose(
        analyse(load_study(tmp_path))
    )


@pytest.mark.parametrize(
    ("others", "confounded"),
    [
        ({"relu": (1,), "tanh": (2, 3)}, True),  # Both arms have trials of either code.
        ({"relu": (1,), "tanh": ()}, True),
        ({"relu": (1, 2), "tanh": (1, 2)}, False),
    ],
)
def test_arms_are_confounded_where_one_seed_is_of_different_code(tmp_path, others, confounded):
    write_study(tmp_path, RELU, TANH)
    for name, seeds in others.items():
        set_column(tmp_path, [f"*-{name}-*-s{seed}" for seed in seeds], commit="another")
    (row,) = found(tmp_path, LOWER)
    assert row.verdict == ("confounded" if confounded else "shown")


def test_arms_of_different_devices_are_said_to_be(tmp_path):
    write_study(tmp_path, RELU, TANH, device="1 x gpu")
    for claim in (LOWER, FITS_LESS):
        (row,) = found(tmp_path, claim)
        assert row.words == "shown; the two were trained on different devices"


def test_an_arm_without_trials_is_not_said_to_differ(tmp_path):
    write_study(tmp_path, RELU, {})
    for arm in ("relu", "tanh"):
        assert not trained_apart(analyse(load_study(tmp_path)).groups[0].arm(arm), None)


def test_a_claim_about_arms_that_a_study_does_not_have_stays_in_the_table(tmp_path):
    write_study(tmp_path, RELU, TANH)
    of_2012 = dataclasses.replace(LOWER, where=(("recipe", "cuda_convnet"),))
    assert [(row.group, row.ours) for row in found(tmp_path, of_2012)] == [
        ("cuda_convnet", "not compared")
    ]


@pytest.mark.slow
def test_a_factor_outside_the_interval_is_said_also_where_the_direction_is_open(tmp_path):
    synthetic.write_study(tmp_path)
    two_times = Claim("t", "4.2", "2 times", "s", "relu", "tanh", ("iterations",), -1, factor=2.0)
    of_2012, modern = found(tmp_path, two_times)
    assert of_2012.words.endswith("contradicted; 2 times is outside the interval")
    assert modern.remark == "2 times is outside the interval"
    assert "more than 2.4 times the iterations to 25% training error" in of_2012.ours


@pytest.mark.parametrize(
    ("factor", "ends", "words"),
    [
        (5.0, (4.3, 4.953), ", which ends at 4.953"),  # Shown as 4.3 to 5.0, rounded outwards.
        (5.0, (4.3, 4.91), ", which ends at 4.91"),
        (5.0, (5.04, 6.0), ", which ends at 5.04"),
        (1.5, (1.1, 1.492), ", which ends at 1.492"),
        (2.0, (1.1, 1.95), ""),  # Shown as 1.10 to 1.95.
        (5.0, (6.1, 8.2), ""),
    ],
)
def test_an_end_that_rounds_to_the_claimed_factor_is_said_exactly(factor, ends, words):
    claim = Claim("t", "3.1", "", "s", "relu", "tanh", ("iterations",), 1, factor=factor)
    found = findings._factor(claim, intervals.Interval(sum(ends) / 2, *ends, (10, 10), "ratio"))
    assert found == f"{factor:g} times is outside the interval{words}"


def test_an_interaction_is_shown_where_its_interval_leaves_out_one(tmp_path):
    synthetic.write_study(tmp_path, target_train_error=0.35, thresholds=[0.35])
    (row,) = found(tmp_path, DEPENDS)
    assert row.group == "cuda_convnet over modern"
    assert row.verdict == "shown"
    assert " times the ratio (95% interval " in row.ours


@pytest.mark.parametrize("both", [False, True])
def test_an_interaction_is_confounded_where_the_arms_of_one_group_differ_in_code(tmp_path, both):
    """What differs between the groups alone makes no difference to the ratio in either."""
    synthetic.write_study(tmp_path, target_train_error=0.35, thresholds=[0.35])
    set_column(tmp_path, ["*-modern-*" if both else "*-modern-tanh-*"], commit="another")
    (row,) = found(tmp_path, DEPENDS)
    between = "those with cuda_convnet and those with modern were trained by different code"
    assert row.words == (
        f"shown; {between}" if both else "confounded; the arms were trained by different code"
    )


@pytest.mark.slow
def test_interactions_claimed_of_one_study_are_one_family(tmp_path, monkeypatch):
    """Holm: of two claims with the same p, both have twice that."""
    synthetic.write_study(tmp_path, target_train_error=0.35, thresholds=[0.35])
    (asked,) = analyse(load_study(tmp_path)).interactions()
    judged = []
    monkeypatch.setattr(findings.verdicts, "judge", lambda *a, p, **_: judged.append(p) or "shown")
    also = dataclasses.replace(DEPENDS, text="the same again")
    for claims_there in ((DEPENDS,), (DEPENDS, also)):
        monkeypatch.setattr(findings, "CLAIMS", claims_there)
        found(tmp_path, DEPENDS)
    assert judged == [asked.interval.p, 2 * asked.interval.p]


def test_an_interaction_without_a_p_shows_nothing_as_one_of_several(tmp_path, monkeypatch):
    synthetic.write_study(tmp_path)
    analysis = analyse(load_study(tmp_path))
    (asked,) = analysis.interactions()
    assert asked.interval.side and math.isnan(asked.interval.p)  # tanh never arrived in one group
    also = dataclasses.replace(DEPENDS, text="the same again")
    monkeypatch.setattr(findings, "CLAIMS", (DEPENDS,))
    assert find(DEPENDS, analysis)[0].verdict == "shown"
    monkeypatch.setattr(findings, "CLAIMS", (DEPENDS, also))
    assert find(DEPENDS, analysis)[0].verdict == "not decided"


@pytest.mark.parametrize(
    ("equal", "end", "verdict"),
    [
        ("shown", "not decided", "shown"),
        ("not decided", "shown", "shown"),
        ("shown", "contradicted", "contradicted"),
        ("contradicted", "shown", "shown"),
        ("contradicted", "not decided", "contradicted"),
        ("not decided", "no effect larger than", "not decided"),
        ("no effect larger than", "no effect larger than", "no effect larger than"),
    ],
)
def test_overfitting_is_judged_by_test_errors_never_by_a_gap(equal, end, verdict):
    assert findings.judge_overfitting(equal, end) == verdict


def test_a_smaller_gap_alone_shows_nothing(tmp_path):
    """tanh learns less, so its gap is smaller by 20 points; its test error is the same."""
    write_study(tmp_path, RELU, {})
    for seed, error in RELU.items():
        rows = synthetic.make_metrics(lambda e: 0.8 - 0.2 * e, epochs=1.99)
        rows[-1]["test_error"] = error + 0.001 * seed
        fields = {"recipe": "modern", "learning_rate": 0.02, "seed": seed, "activation": "tanh"}
        synthetic.write_trial(tmp_path, rows, **fields)
    (row,) = found(tmp_path, FITS_LESS)
    assert row.verdict == "not decided"
    assert not any("gap" in measure for claim in CLAIMS for measure in claim.measures)


def test_a_study_without_records_or_of_other_arms_says_so(tmp_path):
    (missing,) = find(LOWER, None)
    waiting = claims.claims_table([missing]).split("### Not run yet")[1]
    assert "| t | 3.3 | -2 points | `python -m src.main --config=configs/s.py` |" in waiting
    write_study(tmp_path, {1: 0.3}, {})
    assert found(tmp_path, LOWER)[0].ours == "not measured yet"
    other = Claim("t", "3.3", "-", "s", "relu", "gelu", ("test_error",), -1)
    assert found(tmp_path, other)[0].ours == "not compared"


def test_final_errors_of_trials_that_stop_at_the_target_are_not_compared(tmp_path):
    synthetic.write_study(tmp_path)
    assert {row.ours for row in found(tmp_path, LOWER)} == {"not trained equally long"}


def test_the_command_of_a_study_is_that_of_its_folder():
    command = "python -m src.main --config=configs/ablations.py --config.study=lrn"
    assert claims.study_command("ablations/lrn") == command


def write_experiments(root: Path) -> Path:
    """A folder of one study, and the places for the claims in it and beside it."""
    folder = root / "experiments"
    folder.mkdir()
    for path in (folder, root):
        (path / "README.md").write_text("<!-- claims -->\n<!-- /claims -->\n")
    synthetic.write_study(folder / "relu_vs_tanh")
    return folder


@pytest.mark.slow
def test_table_and_figure_stand_in_their_places_and_say_what_was_not_run(tmp_path):
    folder = write_experiments(tmp_path)
    assert claims.main([str(folder)]) == 0
    table = (folder / "README.md").read_text()
    assert "[relu_vs_tanh](relu_vs_tanh/report.md)" in table
    measured, waiting = table.split("### Not run yet")
    assert "not run" not in measured
    assert f"| `python -m src.main {UNTESTED[0].command}` |" in waiting
    assert "lab notes" in table
    top = (tmp_path / "README.md").read_text()
    assert "![Every claim with its interval](claims.png)" in table
    assert '<img src="experiments/claims.png"' in top
    # that of active units; Fig. 3, Fig. 4, averages, the ten views and the drop of the rate
    number = len({claim.text for claim in CLAIMS}) + 1 + 5 + len(UNTESTED)
    # one with a row per recipe, and how it depends on the recipe
    assert f"Of {number} claims 2 are measured so far, in 3 findings: " in top
    assert (folder / "claims.svg").stat().st_size > 1000


def test_a_study_without_a_trial_has_measured_nothing(tmp_path):
    """Its claims wait with their command, that of the interaction too."""
    folder = write_experiments(tmp_path)
    shutil.rmtree(folder / "relu_vs_tanh" / "trials")
    (folder / "relu_vs_tanh" / "results.csv").unlink()
    assert claims.main([str(folder)]) == 0
    measured, waiting = (folder / "README.md").read_text().split("### Not run yet")
    assert "not measured" not in measured
    assert waiting.count("| `python -m src.main --config=configs/relu_vs_tanh.py` |") == len(
        {claim.text for claim in CLAIMS if claim.study == "relu_vs_tanh"}
    )
    assert "claims none is measured yet." in (tmp_path / "README.md").read_text()


def test_what_has_run_and_decides_nothing_does_not_wait(tmp_path):
    path = tmp_path / "paper_figures" / "paper_figures" / "paper_figures.json"
    path.parent.mkdir(parents=True)
    nothing = {"kernels": {"colour_apart_p": None, "colour_of_what_is_learned": None}}
    path.write_text(json.dumps({"runs": [nothing], "dataset": "cifar10"}))
    found = [paper_figures.towers(tmp_path), *evaluated.averages(tmp_path)]
    measured, waiting = claims.claims_table(found).split("### Not run yet")
    assert "all runs: conv1 has learned nothing of colour | - | - |" in measured
    assert evaluated.AVERAGING.text in waiting and paper_figures.TOWERS.text not in waiting
    assert claims.summary(found).endswith("claims none is measured yet.")


def test_a_folder_without_a_study_of_a_claim_is_refused_and_stays_as_it_is(tmp_path):
    synthetic.write_study(tmp_path / "of_no_claim")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LabError, match=re.escape(f"{tmp_path} holds no study of a claim")):
        claims.main([str(tmp_path)])
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_with_a_claim_that_compares_no_arms_is_one(tmp_path):
    (tmp_path / "alexnet_cifar10").mkdir()
    assert claims.main([str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("features", "pixels", "verdict"),
    [
        ((0.72, 0.70, 0.74), (0.28, 0.26, 0.30), "shown"),
        ((0.28, 0.26, 0.30), (0.72, 0.70, 0.74), "contradicted"),
        ((0.30, 0.28, 0.32), (0.28, 0.26, 0.30), "not decided"),
    ],
)
def test_neighbours_are_judged_by_whether_their_intervals_part(tmp_path, features, pixels, verdict):
    ends = ("value", "low", "high")
    near = {"same_class": dict(zip(ends, features, strict=True)), "test_images": 2000}
    near["same_class_by_pixels"] = dict(zip(ends, pixels, strict=True))
    path = tmp_path / "paper_figures" / "paper_figures" / "paper_figures.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"neighbours": near, "dataset": "cifar10", "trial": "t"}))
    row = paper_figures.neighbours(tmp_path)
    assert row.verdict == verdict
    assert f"{features[0]:.1%} ({features[1]:.1%} to {features[2]:.1%}) of them" in row.ours
    path.write_text("{")
    with pytest.raises(RecordError, match="is damaged"):
        paper_figures.neighbours(tmp_path)


@pytest.mark.parametrize(
    ("ps", "words"),
    [
        ((0.001, 0.03, 0.05), "shown; in 3 of 3 runs"),
        ((0.001, 0.06, 0.05), "not decided; in 2 of 3 runs"),
        ((0.001,), "not decided; in 1 of 1 runs"),  # the paper says of every run
    ],
)
def test_towers_are_specialized_where_they_are_in_every_run(tmp_path, ps, words):
    kernels = [{"colour_apart_p": p, "colour_of_what_is_learned": [0.37, 0.08]} for p in ps]
    path = tmp_path / "paper_figures" / "paper_figures" / "paper_figures.json"
    path.parent.mkdir(parents=True)
    runs = [{"kernels": each} for each in kernels]
    path.write_text(json.dumps({"runs": runs, "dataset": "cifar10"}))
    row = paper_figures.towers(tmp_path)
    assert row.words == words
    assert "37.0% and 8.0% (p = 0.001)" in row.ours
    path.write_text(json.dumps({"runs": [{}]}))
    with pytest.raises(RecordError, match="is damaged"):
        paper_figures.towers(tmp_path)


def test_a_run_whose_towers_have_learned_nothing_is_not_one_where_they_specialize(tmp_path):
    learned, none = (
        {"kernels": {"colour_apart_p": p, "colour_of_what_is_learned": shares}}
        for p, shares in ((0.001, [0.37, 0.08]), (None, None))
    )
    path = tmp_path / "paper_figures" / "paper_figures" / "paper_figures.json"
    path.parent.mkdir(parents=True)
    for runs, words in (
        ([learned, learned], "shown; in 2 of 2 runs"),
        ([learned, none, learned], "not decided; in 2 of 3 runs"),
        ([none], "-"),
    ):
        path.write_text(json.dumps({"runs": runs, "dataset": "cifar10"}))
        assert paper_figures.towers(tmp_path).words == words


def test_a_trial_among_the_published_weights_makes_no_row(tmp_path):
    path = tmp_path / claims.PUBLISHED / "mine" / "evaluation.json"
    path.parent.mkdir(parents=True)
    files.write_sealed(path, {"dataset": "tiny", "networks": [{"name": "trial", "errors": {}}]})
    assert claims.published_rows(tmp_path) == []


def test_a_figure_without_any_finding_can_be_drawn(tmp_path):
    claims.write_claims(tmp_path)
    assert (tmp_path / "claims.png").exists()


def test_links_to_the_folder_have_its_name_from_within_it_too(tmp_path, monkeypatch):
    folder = tmp_path / "studies"
    folder.mkdir()
    for place in (folder, tmp_path):
        (place / "README.md").write_text("<!-- claims -->\n<!-- /claims -->\n")
    monkeypatch.chdir(folder)
    claims.write_claims(Path())
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert '<img src="studies/claims.png"' in text
    assert "[studies/README.md](studies/README.md)" in text


@pytest.mark.slow
def test_every_verdict_on_our_records_is_drawn():
    folder = Path(__file__).parent.parent / "experiments"
    found = [*findings.find_all(claims.read_studies(folder)), *evaluated.averages(folder)]
    drawn = [bar.words for bar in claims._bars(found)]
    assert len(drawn) == sum(each.verdict is not None for each in found) > 10


def test_every_claim_is_of_arms_that_its_study_has():
    studies = {}
    configs = (ablations, architectures, pretraining, pretraining_long, relu_vs_tanh)
    for config in (*configs, relu_vs_tanh_early, why_tanh_is_slow):
        folder = config.__name__.rpartition(".")[2]
        for name, tree in named_trees(config.get_config().to_dict(), {}):
            studies[f"{folder}/{name}" if name else folder] = tree
    for claim, role in itertools.product(CLAIMS, ("baseline", "other")):
        values = [str(s.value) for axis in axes(studies[claim.study]) for s in axis]
        assert getattr(claim, role) in values, claim
        assert all(value in values for _, value in claim.where), claim


@pytest.mark.slow
def test_the_report_has_final_errors_and_their_differences(tmp_path):
    write_study(tmp_path, RELU, TANH)
    report.write_report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| conv3, modern | tanh |"))
    assert " (1.00: no interval) | 28.1% (-2.9 points: " in row  # both arms come down alike
    assert "None was chosen: each arm has one." in text
    for name in ("final_errors", "overfitting"):
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000
