"""What a report says of its trials: rates, racing, what is missing, what ran them."""

import re

import pytest

from src.analysis.study import load_study
from src.records import trial as records
from src.reports import compose as report
from src.reports import trials
from tests import synthetic
from tests.reported import INF, compose, steps, write_pair


def test_a_rate_on_the_edge_is_said_at_the_top_and_in_the_table(tmp_path):
    synthetic.write_header(tmp_path, sweep={"model": {"activation": ["relu"]}})
    for rate, points in [(0.01, 13), (0.02, 12), (0.04, 11)]:
        fields = {"recipe": "modern", "learning_rate": rate, "purpose": "selection", "seed": 0}
        synthetic.write_trial(tmp_path, steps(39 * points), **fields)
    text = compose(tmp_path)
    assert "relu: the chosen rate 0.04 is on the edge of its grid" in text.split("## ")[0]
    assert "| 0.01: 507; 0.02: 468; 0.04: 429 | **on the edge: extend the grid** |" in text


def test_a_rate_of_which_one_seed_diverged_has_no_median_of_errors(tmp_path):
    synthetic.write_header(
        tmp_path,
        sweep={"model": {"activation": ["relu"]}},
        selection_seeds=[0, 1],
        compare={"field": "activation", "baseline": "relu", "measure": "test_error"},
        stop_at_target=False,
    )
    for rate, status in [(0.01, "censored"), (0.02, "diverged"), (0.04, "censored")]:
        for seed in (0, 1):
            fields = {"recipe": "modern", "learning_rate": rate, "purpose": "selection"}
            diverged = {"status": status} if seed else {}
            rows = synthetic.make_metrics(lambda e: 0.8 - 0.3 * e, epochs=2)
            synthetic.write_trial(tmp_path, rows, seed=seed, **fields, **diverged)
    assert "; 0.02: 1 of 2 diverged; 0.04: " in compose(tmp_path)


def test_rates_on_edges_are_said_once_for_all_arms(tmp_path):
    synthetic.write_header(tmp_path, sweep={"model": {"activation": ["relu", "tanh"]}})
    for activation in ("relu", "tanh"):
        for rate, points in [(0.01, 13), (0.02, 12), (0.04, 11)]:
            fields = {"recipe": "modern", "learning_rate": rate, "purpose": "selection", "seed": 0}
            synthetic.write_trial(tmp_path, steps(39 * points), activation=activation, **fields)
    text = compose(tmp_path)
    assert text.count("on the edge of its grid") == 1
    assert "They are conv3, modern: relu (0.04), tanh (0.04)." in text


def test_what_did_not_happen_is_not_counted(tmp_path):
    write_pair(tmp_path, [11, 12], [13, 14])
    text = compose(tmp_path)
    assert "Of 4 trials 4 reached 25% training error.\n" in text
    assert "| conv3, modern | tanh | 0.02 |\n" in text  # no column of what nothing was chosen by


def test_what_no_trial_reached_has_its_name(tmp_path):
    write_pair(tmp_path, [0, 0], [0, 0])
    text = compose(tmp_path)
    assert "Of 4 trials 4 had not reached 25% training error when their epochs were over." in text


def test_of_those_that_did_not_diverge_some_did_not_reach_it(tmp_path):
    """With a diverged trial in each arm nothing is compared."""
    seeds = [*range(200, 205)]
    write_pair(tmp_path, [10, 11, 12, 0], [13, 14, 15, 0], fresh_seeds=seeds)
    told = "On fresh seeds 2 of 8 did not reach it"
    assert f"{told}; numbers of iterations are compared with these as cens" in compose(tmp_path)
    for activation in ("relu", "tanh"):
        fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 204, "status": "diverged"}
        synthetic.write_trial(tmp_path, [], activation=activation, **fields)
    told = "On fresh seeds 2 of 8 that did not diverge did not reach it.\n"
    assert told in compose(tmp_path)


def test_racing_and_the_last_epoch_are_told_apart(tmp_path):
    config = {"max_epochs": 1, "sweep": {"model": {"activation": ["relu"]}}}
    synthetic.write_header(tmp_path, **config)
    for rate, points, error in [(0.01, 11, 0.4), (0.02, 5, 0.25), (0.04, 5, 0.3)]:
        fields = {"recipe": "modern", "learning_rate": rate, "purpose": "selection", "seed": 0}
        synthetic.write_trial(tmp_path, steps(39 * points, error), **fields)
    text = compose(tmp_path)
    assert "lr0.01-s0 | selection | censored | > 429 |" in text
    assert "lr0.04-s0 | selection | censored by racing | > 195 |" in text
    assert "1 were stopped by racing, 1 had not reached it when their epochs were over" in text


@pytest.mark.parametrize(("slack", "said"), [(1.5, 2), (3.0, 3)])
def test_an_even_number_of_selection_seeds_gives_twice_the_time(tmp_path, slack, said):
    grid = {"learning_rates": [0.02, 0.04], "selection_seeds": [0, 1]}
    write_pair(tmp_path, [10], [20], racing_slack=slack, **grid)
    text = compose(tmp_path)
    assert "had beaten to the target, in less than half the time, was stopped and is cens" in text
    assert f"by rule of thumb, was one {said} times slower to an easier error (racing)" in text


@pytest.mark.slow
def test_racing_is_said_as_it_was(study_dir, tmp_path):
    beaten = (
        "A trial that the best rate so far had beaten to the target was stopped and is censored"
    )
    assert f"{beaten}, and so, by rule of thumb, was one 1.5 times slower" in compose(study_dir)
    grid = {"learning_rates": [0.02, 0.04]}
    write_pair(tmp_path, [10], [20], racing_slack=INF, **grid)
    assert f"{beaten} (racing)." in compose(tmp_path)
    write_pair(tmp_path, [10], [20], racing=False, **grid)
    assert "No trial was stopped early." in compose(tmp_path)


@pytest.mark.slow
def test_thousands_of_trials_are_left_to_results_csv(study_dir, monkeypatch):
    count = len(load_study(study_dir).trials)
    name = load_study(study_dir).trials[0].row["trial"]
    text = compose(study_dir)
    assert f"| {name} |" in text
    monkeypatch.setattr(report.trials, "MOST_ROWS", count)
    assert compose(study_dir) == text
    monkeypatch.setattr(report.trials, "MOST_ROWS", count - 1)
    text = compose(study_dir)
    assert f"| {name} |" not in text
    assert f"Of {count} trials" in text
    assert "[results.csv](results.csv) has a row for each" in text


def test_a_study_under_way_says_so(tmp_path):
    synthetic.write_header(tmp_path)
    synthetic.write_trial(tmp_path, steps(390), purpose="selection", seed=0)
    records.write_config(tmp_path / "trials" / "conv3-cuda_convnet-relu-lr0.001-s100", {})
    text = compose(tmp_path)
    assert "**Not finished: 1 of 24 trials are done, 1 more begun.**" in text
    assert "not measured yet" in text
    assert "not chosen yet" in text


def test_versions_commits_and_time_are_listed(study_dir, tmp_path):
    text = compose(study_dir)
    assert "- commit: 0123456789" in text
    assert "compile 48 s" in text  # 24 trials of 2 s
    assert "jax 0.10.2, flax 0.12.0" in text
    write_pair(tmp_path, [10], [20])
    fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 205, "commit": "abc-dirty"}
    synthetic.write_trial(tmp_path, steps(390), **fields)
    text = compose(tmp_path)
    assert "Trials were run by different code: 0123456789 (2 trials), abc-dirty (1 trial)." in text
    assert "Trials marked -dirty were run by code that differed from its commit." in text


@pytest.mark.parametrize("column", list(report.MIXED))
def test_a_study_that_mixes_what_changes_last_bits_says_so(tmp_path, column):
    write_pair(tmp_path, [10], [20])
    fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 205, column: "another"}
    synthetic.write_trial(tmp_path, steps(390), **fields)
    assert f"Trials were run {report.MIXED[column]}: " in compose(tmp_path)


def test_what_divides_the_trials_in_the_same_way_is_one_sentence(tmp_path):
    write_pair(tmp_path, [10], [20])
    fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 205}
    other = {"device": "1 x new", "threads": "16", "jax_version": "9.9"}
    synthetic.write_trial(tmp_path, steps(390), **fields, **other)
    synthetic.write_trial(tmp_path, steps(390), **(fields | {"seed": 206}), xla_flags="--mine")
    first, second = re.findall(r"^Trials were run (.*)$", compose(tmp_path), re.MULTILINE)
    assert first.startswith(
        "on different devices, with different versions of JAX, with different numbers of threads: "
    )
    assert "1 x new, 9.9, 16 (1 trial)" in first
    assert first.count("; ") == 1 and "(3 trials)" in first
    assert second.startswith("with different flags of XLA: ")


def test_a_study_whose_file_of_first_weights_has_changed_says_so(tmp_path):
    for seed, weights in ((100, "aa"), (101, "aa")):
        synthetic.write_trial(tmp_path, steps(390), seed=seed, start_sha256=weights)
    assert "different weights" not in compose(tmp_path)
    synthetic.write_trial(tmp_path, steps(390), seed=102, start_sha256="bb")
    text = compose(tmp_path)
    assert "Trials of conv3-cuda_convnet-relu began with different weights" in text


def test_epochs_are_those_that_were_trained_not_those_that_were_asked_for(tmp_path):
    write_pair(tmp_path, [11, 12], [21, 22], max_epochs=60)
    assert "60" not in compose(tmp_path).split("## Trials")[1].split("## Time")[0]


@pytest.mark.parametrize(
    ("epochs", "words"), [(0.125, "0.125"), (0.1, "0.1"), (1.6, "1.6"), (36.04, "36.0")]
)
def test_parts_of_an_epoch_have_their_digits(epochs, words):
    assert trials._trained(epochs) == words
