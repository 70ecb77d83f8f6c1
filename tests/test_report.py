import math
import re
from pathlib import Path

import numpy as np
import pytest

from src.analysis import groups, intervals, paper
from src.analysis.effects import analyse
from src.analysis.intervals import Interval
from src.analysis.study import load_study
from src.errors import LabError
from src.records import trial as records
from src.reports import compose as report
from src.reports import sentences, trials
from tests import synthetic

INF, NAN = math.inf, math.nan


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("study")
    synthetic.write_study(path)
    return path


def compose(study_dir: Path) -> str:
    return report.compose(analyse(load_study(study_dir)))


def summary(study_dir: Path) -> str:
    return report.summary(analyse(load_study(study_dir)))


def steps(iterations: int, error: float = 0.25) -> list[dict]:
    """Points of a run that comes down to `error` at that iteration."""
    rows = synthetic.make_metrics(lambda e: 0.8, epochs=(iterations - 1) / synthetic.PER_EPOCH)
    return [{**row, "train_error": 0.8 if row is not rows[-1] else error} for row in rows]


def write_pair(study_dir: Path, relu: list[int], tanh: list[int], **changes) -> None:
    """Fresh trials that reach 25% after so many points each; 0 never does in 100 points."""
    grid = {"learning_rates": [0.02], "sweep": {"model": {"activation": ["relu", "tanh"]}}}
    grid["fresh_seeds"] = [*range(200, 200 + max(len(relu), len(tanh), 1))]
    synthetic.write_header(study_dir, **(grid | changes))
    for activation, reached in (("relu", relu), ("tanh", tanh)):
        for seed, points in enumerate(reached):
            metrics = steps(39 * (points or 100), 0.25 if points else 0.5)
            fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 200 + seed}
            synthetic.write_trial(study_dir, metrics, activation=activation, **fields)


def last_points(study_dir: Path, arm: str) -> list[int]:
    """Where the fresh trials of an arm stop, from the files themselves."""
    paths = (study_dir / "trials").glob(f"{arm}-lr*-s10?/metrics.csv")
    return [int(path.read_text().splitlines()[-1].split(",")[0]) for path in paths]


def test_the_answer_comes_first(study_dir):
    """All of relu stop at 25%, half a point late; none of tanh is there at its last point."""
    relu, tanh = (last_points(study_dir, f"conv3-cuda_convnet-{a}") for a in ("relu", "tanh"))
    middle = math.exp(np.mean(np.log(np.array(relu) - synthetic.PER_POINT / 2)))
    (last,) = set(tanh)
    title, answer = [line for line in compose(study_dir).splitlines() if line][:2]
    assert title == "# Iterations to 25% training error by activation, relative to relu"
    told = re.match(
        r"- \*\*conv3, cuda_convnet\*\*: tanh needs more than ([\d.]+) times as many iterations as"
        r" relu to reach 25% training error \(95% interval at least ([\d.]+), n = 3,"
        r" p < 0\.001; (.*)",
        answer,
    )
    assert told, answer
    assert told[1] == f"{math.floor(10 * last / middle) / 10:.1f}"
    assert 2 < float(told[2]) < last / middle
    assert told[3] == f"> {last:,} against {middle:,.0f})."


def test_the_ratio_is_of_geometric_means_half_a_step_off(tmp_path):
    write_pair(tmp_path, relu=[11, 13, 20], tanh=[66, 60, 70, 71])  # one relu has not ended yet
    relu, tanh = (
        math.exp(np.mean(np.log(39 * (np.array(points) - 0.5))))
        for points in ([11, 13, 20], [66, 60, 70, 71])
    )
    state, answer = summary(tmp_path).splitlines()[:2]
    assert state == "Not finished: 7 of 8 trials are done."
    assert f"tanh needs {tanh / relu:.1f} times as many iterations as relu to reach 25%" in answer
    assert f", n = 4 and 3, p = 0.011; {tanh:,.0f} against {relu:,.0f})." in answer


def test_the_papers_claim_stands_beside_ours_on_cifar10(study_dir, tmp_path):
    claim = "The paper says that ReLU reaches 25% training error six times faster than tanh"
    text = compose(study_dir)
    assert claim in text
    assert "Its two curves, one run each, give more than 6.1 times at 25%." in text
    assert "`cuda_convnet` is the recipe of 2012, `modern` one of today." in text
    assert "Measured on cifar10-jpeg with 1 x cpu (AMD EPYC)." in text
    assert "not exactly the paper's images" in compose(study_dir)
    write_pair(tmp_path, [10], [20], data={"name": "procedural"})
    text = compose(tmp_path)
    assert "**Procedural images are drawn by code: they are not CIFAR-10" in text
    assert "six times" not in text
    assert "Distance to the paper's curves" not in text
    write_pair(tmp_path, [10], [20], model={"name": "lenet5", "activation": "relu"})
    assert "six times" not in compose(tmp_path)


def test_one_seed_and_equal_seeds_give_no_interval_and_say_why(tmp_path):
    write_pair(tmp_path, [11], [21])
    assert "(no interval, n = 1;" in compose(tmp_path)
    write_pair(tmp_path, [11, 11], [21, 22])
    told = "(no interval: an arm's trials fell into one recording step, n = 2;"
    assert told in compose(tmp_path)


def test_an_interval_around_one_shows_no_difference_or_that_none_is_large(tmp_path):
    write_pair(tmp_path, [12, 30, 60], [15, 34, 50])
    assert "). No difference is shown." in compose(tmp_path)
    write_pair(tmp_path, [40, 41, 42, 43], [40, 42, 42, 43])
    assert "). Any difference is smaller than a factor of 1.5." in compose(tmp_path)


def test_neither_reached(tmp_path):
    write_pair(tmp_path, [0, 0], [0, 0])
    text = compose(tmp_path)
    told = "tanh against relu: no trial got to 25% training error."
    assert told in text
    assert "| relu | 2 | > 3,900 |" in text
    assert "On fresh seeds 4 of 4 did not reach it" in text


def test_a_diverged_arm_is_said(tmp_path):
    write_pair(tmp_path, [11, 12], [])
    for seed in (200, 201):
        fields = {"recipe": "modern", "learning_rate": 0.02, "seed": seed, "iterations": 7}
        synthetic.write_trial(tmp_path, [], activation="tanh", status="diverged", **fields)
    text = compose(tmp_path)
    told = "tanh against relu: iterations to 25% training error not known, 2 of 2 trials of tanh"
    assert f"{told} diverged." in text
    assert "| diverged | never, diverged at 7 |" in text
    assert "2 diverged" in text


def test_a_rate_on_the_edge_is_said_at_the_top_and_in_the_table(tmp_path):
    synthetic.write_header(tmp_path, sweep={"model": {"activation": ["relu"]}})
    for rate, points in [(0.01, 13), (0.02, 12), (0.04, 11)]:
        fields = {"recipe": "modern", "learning_rate": rate, "purpose": "selection", "seed": 0}
        synthetic.write_trial(tmp_path, steps(39 * points), **fields)
    text = compose(tmp_path)
    assert "relu: the chosen rate 0.04 is on the edge of its grid" in text.split("## ")[0]
    assert "| 0.01: 507; 0.02: 468; 0.04: 429 | **on the edge: extend the grid** |" in text


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


def test_thousands_of_trials_are_left_to_results_csv(study_dir, monkeypatch):
    count = len(load_study(study_dir).trials)
    name = load_study(study_dir).trials[0].row["trial"]
    text = compose(study_dir)
    assert f"| {name} |" in text
    monkeypatch.setattr(report.trials, "MOST_ROWS", count)
    assert compose(study_dir) == text
    monkeypatch.setattr(report.trials, "MOST_ROWS", count - 1)
    assert f"| {name} |" not in compose(study_dir)
    assert f"Of {count} trials" in compose(study_dir)
    assert "[results.csv](results.csv) has a row for each" in compose(study_dir)


def test_a_study_under_way_says_so(tmp_path):
    synthetic.write_header(tmp_path)
    synthetic.write_trial(tmp_path, steps(390), purpose="selection", seed=0)
    records.write_config(tmp_path / "trials" / "conv3-cuda_convnet-relu-lr0.001-s100", {})
    text = compose(tmp_path)
    assert "**Not finished: 1 of 24 trials are done, 1 more begun.**" in text
    assert "not measured yet" in text
    assert "not chosen yet" in text


def test_the_distance_to_the_papers_points(tmp_path):
    """A run whose error over [k, k + 0.2] is the paper's, 2 points off at k = 3."""
    relu, tanh = [0.7820, 0.4719, 0.3767, 0.3409, 0.2895, 0.2636], [0.7, 0.6, 0.5055, 0.4, 0.3, 0.2]
    write_pair(tmp_path, [], [])
    for activation, errors in (("relu", relu), ("tanh", tanh)):
        metrics = synthetic.make_metrics(lambda e, t=errors: t[int(e + 0.05)], epochs=5.5)
        fields = {"recipe": "modern", "activation": activation, "learning_rate": 0.02}
        synthetic.write_trial(tmp_path, metrics, seed=200, **fields)
    text = compose(tmp_path)
    assert "| relu | +0.0 | +0.0 | +2.0 | +0.0 | +0.0 | 2.0 | yes |" in text
    assert "| tanh | +4.7 | +1.0 | -6.3 | -13.3 | -22.4 | 22.4 | no |" in text


def test_the_distance_at_the_other_rates(tmp_path):
    epochs, errors = paper.read_curves()["relu"]

    def above(points: float):
        return lambda e: np.interp(math.floor(e), epochs, errors) + points / 100

    grid = {"recipe": "modern", "learning_rates": [0.01, 0.02, 0.04]}
    sweep = {"model": {"activation": ["relu", "tanh"]}}
    synthetic.write_header(tmp_path, sweep=sweep, max_epochs=7, **grid)
    for rate, points, until in ((0.01, -3.5, 7), (0.02, 2, 7), (0.04, 9, 3)):
        metrics = synthetic.make_metrics(above(points), epochs=until)
        fields = {"recipe": "modern", "learning_rate": rate, "seed": 0, "purpose": "selection"}
        synthetic.write_trial(tmp_path, metrics, **fields)
    metrics = synthetic.make_metrics(above(2), epochs=7)
    synthetic.write_trial(tmp_path, metrics, recipe="modern", learning_rate=0.01)
    row = "| +2.0 | +2.0 | +2.0 | +2.0 | +2.0 | 2.0 | yes | 0.01: 3.5; 0.02: 2.0 |"
    assert f"| conv3, modern | relu {row}" in compose(tmp_path)


def test_versions_commits_and_time_are_listed(study_dir, tmp_path):
    text = compose(study_dir)
    assert "- commit: 0123456789" in text
    assert "compile 48 s" in text  # 24 trials of 2 s
    assert "jax 0.10.2, flax 0.12.0" in text
    write_pair(tmp_path, [10], [20])
    fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 205, "commit": "abc-dirty"}
    synthetic.write_trial(tmp_path, steps(390), **fields)
    text = compose(tmp_path)
    assert "Trials were run by different code: 0123456789 (2 trials), abc-dirty (1 trials)." in text
    assert "Trials marked -dirty were run by code that differed from its commit." in text


@pytest.mark.parametrize("column", list(report.MIXED))
def test_a_study_that_mixes_what_changes_last_bits_says_so(tmp_path, column):
    write_pair(tmp_path, [10], [20])
    fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 205, column: "another"}
    synthetic.write_trial(tmp_path, steps(390), **fields)
    assert f"Trials were run {report.MIXED[column]}: " in compose(tmp_path)


def test_a_study_whose_file_of_first_weights_has_changed_says_so(tmp_path):
    for seed, weights in ((100, "aa"), (101, "aa")):
        synthetic.write_trial(tmp_path, steps(390), seed=seed, start_sha256=weights)
    assert "different weights" not in compose(tmp_path)
    synthetic.write_trial(tmp_path, steps(390), seed=102, start_sha256="bb")
    text = compose(tmp_path)
    assert "Trials of conv3-cuda_convnet-relu began with different weights" in text


@pytest.mark.parametrize("name", ["report.md", "report.html", "ratios.png", "training_error.svg"])
def test_a_study_takes_no_file_of_the_users_place(tmp_path, name):
    report.refuse_foreign(tmp_path)
    (tmp_path / "thesis.md").write_text("mine")
    report.refuse_foreign(tmp_path)
    (tmp_path / name).write_text("mine")
    with pytest.raises(LabError, match=f"{name} is of no study"):
        report.refuse_foreign(tmp_path)


def test_the_command_redraws_the_same_bytes_from_records(tmp_path, capsys):
    (tmp_path / "reference").mkdir()
    study_dir = tmp_path / "study"
    write_pair(study_dir, [10, 11], [20, 21])
    written = []
    for _ in range(2):
        assert report.main([str(tmp_path / "reference"), str(study_dir)]) == 0
        files = [path for path in sorted(study_dir.iterdir()) if path.is_file()]
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    assert [path.name for path in files] == [
        "effects.png", "effects.svg", "ratios.png", "ratios.svg", "report.html", "report.md",
        "results.csv", "study.json",
        "training_error.png", "training_error.svg",
    ]  # fmt: skip
    for name in ("training_error", "ratios"):
        assert f"]({name}.png)" in (study_dir / "report.md").read_text()
    assert "tanh needs" in capsys.readouterr().out


def test_the_command_refuses_damaged_records_by_name(tmp_path, capsys):
    write_pair(tmp_path, [10], [20])
    path = tmp_path / "trials" / "conv3-modern-relu-lr0.02-s200" / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-40])
    assert report.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"error: {path} is not as it was written" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "report.md").exists()


def test_the_command_refuses_what_is_not_there(tmp_path, capsys):
    assert report.main([str(tmp_path / "nowhere")]) == 2
    assert "holds no study.json" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        report.main([])


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((6.0, 5.51, 6.79, 6.0, 6.0), "6.0 [5.5 to 6.8]"),
        ((6.0, 5.59, 6.71, 6.0, 6.0), "6.0 [5.5 to 6.8]"),  # outwards
        ((1.5, 1.2345, 1.75, 1.5, 1.5), "1.50 [1.23 to 1.75]"),
        ((INF, 7.19, INF, 7.59, INF), "more than 7.5 [at least 7.1]"),
        ((0.0, 0.0, 0.301, 0.0, 0.251), "less than 0.26 [at most 0.31]"),
        ((NAN, NAN, NAN, 0.0, INF), "unknown [no interval]"),
        ((4.0, 3.0, INF, 4.0, 4.0), "4.0 [at least 3.0]"),
        ((4.0, NAN, NAN, 4.0, 4.0), "4.0 [no interval]"),
    ],
)
def test_ratios_in_words_never_say_more_than_is_known(bounds, words):
    value, low, high, *known = bounds
    found = Interval(value, low, high, (3, 3), "ratio", bounds=(known[0], known[1]))
    assert f"{sentences.value_words(found)} [{sentences.ends(found)}]" == words


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ([(3217.0, 3257.0)], "3,237"),
        ([(100.0, 100.0), (400.0, 400.0)], "200"),
        ([(100.0, 100.0), (400.0, INF)], "> 200"),
        ([(100.0, 100.0), (NAN, NAN)], "-"),
        ([], "-"),
    ],
)
def test_mean_times_in_words(bounds, words):
    assert sentences.mean(intervals.sample(bounds), "ratio") == words


def test_readmes_with_a_place_for_the_answer_are_given_it(tmp_path):
    study_dir = tmp_path / "experiments" / "relu_vs_tanh"
    synthetic.write_study(study_dir)
    marks = "<!-- answer: experiments/relu_vs_tanh -->{}<!-- /answer: experiments/relu_vs_tanh -->"
    for folder in (study_dir, tmp_path):
        (folder / "README.md").write_text(f"# Title\n{marks.format('')}\nafter\n")
    analysis = analyse(load_study(study_dir))
    report.fill_readmes(study_dir, analysis)
    answer = "\n".join(f"- {line}" for line in report.summary(analysis).splitlines())
    for folder in (study_dir, tmp_path):
        text = (folder / "README.md").read_text().replace("**", "")
        assert text == f"# Title\n{marks.format(chr(10) + answer + chr(10))}\nafter\n"


def test_variants_are_compared_in_one_group_whatever_they_set(tmp_path):
    variants = {"plain": {}, "deep": {"model": {"name": "conv3_fc64"}, "weight_decay": 0.1}}
    compare = {"field": "variant", "baseline": "plain"}
    config = {"sweep": {}, "variants": variants, "compare": compare, "learning_rates": [0.02]}
    synthetic.write_header(tmp_path, weight_decay=0.0, **config)
    for name, model, points in (("plain", "conv3", 11), ("deep", "conv3_fc64", 30)):
        for seed in (1, 2):
            trial = f"{model}-modern-relu-{name}-lr0.02-s{seed}"
            fields = {"trial": trial, "model": model, "recipe": "modern", "learning_rate": 0.02}
            synthetic.write_trial(tmp_path, steps(39 * points), seed=seed, variant=name, **fields)
    (group,) = groups.make_groups(load_study(tmp_path))
    assert (group.label, [arm.value for arm in group.arms]) == ("conv3, modern", ["plain", "deep"])
    assert "deep needs 2.8 times as many iterations as plain to reach 25%" in summary(tmp_path)


def write_errors(study_dir: Path, arms: dict[str, list[float]], **changes) -> None:
    """Fresh trials of two epochs with those test errors at the end, compared by them."""
    compare = {"field": "lrn", "baseline": "none", "measure": "test_error"}
    fields = {"recipe": "modern", "learning_rate": 0.02, "model": "alexnet_cifar"}
    synthetic.write_header(
        study_dir,
        model={"name": "alexnet_cifar", "activation": "relu"},
        sweep={"model": {"lrn": [*arms]}},
        learning_rates=[0.02],
        stop_at_target=False,
        max_epochs=2,
        fresh_seeds=[200, 201, 202],
        **{"compare": compare, **changes},
    )
    for value, errors in arms.items():
        for seed, error in enumerate(errors):
            rows = synthetic.make_metrics(lambda e: 0.8 - 0.3 * e, epochs=2)
            rows[-1]["test_error"] = error
            trial = f"alexnet_cifar-modern-relu-lrn{value}-lr0.02-s{200 + seed}"
            synthetic.write_trial(
                study_dir, rows, trial=trial, seed=200 + seed, lrn=value, **fields
            )


def test_titles_tables_and_figures_follow_from_the_measure(tmp_path):
    write_errors(tmp_path, {"none": [0.30, 0.32, 0.31], "paper": [0.28, 0.301, 0.289]})
    report.write_report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# Test error at the end by normalization, relative to none\n")
    # means 0.31 and 0.29; Welch by scipy: -0.0449 to +0.0049... the words follow the interval
    assert "With paper the test error at the end is 2.0 points lower than with none" in text
    assert "| alexnet_cifar, modern | none | 3 | 31.0% |" in text
    header = next(line for line in text.splitlines() if line.startswith("| group | arm | n |"))
    assert header == "| group | arm | n | test error at the end | training error at the end |"
    for name in ("effects", "final_errors", "overfitting", "training_error"):
        assert f"]({name}.png)" in text
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000
    assert "Iterations to" not in text.split("## By training error")[0]


def test_a_study_may_list_further_measures(tmp_path):
    compare = {"field": "lrn", "baseline": "none", "measure": "test_error"}
    compare["further"] = ["equal_test_error", "best_test_error"]
    write_errors(tmp_path, {"none": [0.3, 0.31], "paper": [0.29, 0.28]}, compare=compare)
    text = compose(tmp_path)
    assert "| test error at 25% training error | best test error |" in text


def test_a_study_of_parts_gives_their_shares(tmp_path):
    """Ratios of 8, 2 and, without a part, 4: half of the logarithm of 8 / 2 goes with it."""
    recipes = ("cuda_convnet", "modern", "without_it")
    grids = {name: {"learning_rates": [0.02]} for name in recipes}
    config = {"recipes": grids, "fresh_seeds": [200, 201, 202], "thresholds": [0.25]}
    sweep = {"recipe": [*recipes], "model": {"activation": ["relu", "tanh"]}}
    synthetic.write_header(tmp_path, sweep=sweep, **config)
    for recipe, slower in zip(recipes, (8, 2, 4), strict=True):
        for activation, times in (("relu", 1), ("tanh", slower)):
            for seed, points in enumerate((20, 21, 22)):
                fields = {"recipe": recipe, "activation": activation, "learning_rate": 0.02}
                rows = steps(39 * points * times)
                synthetic.write_trial(tmp_path, rows, seed=200 + seed, **fields)
    text = compose(tmp_path)
    row = next(line for line in text.splitlines() if line.startswith("| without_it | tanh |"))
    assert "| 50% |" in row or "| 49% |" in row  # half a step is off each
    assert "Each row is cuda_convnet but for one part" in text


def test_thresholds_are_printed_with_their_digits(tmp_path):
    write_pair(tmp_path, [11, 12], [21, 22], thresholds=[0.5, 0.125, 0.005])
    text = compose(tmp_path)
    assert "| group | arm | reading | 50% | 12.5% | 0.5% |" in text
    assert "| 0% |" not in text


def test_epochs_are_those_that_were_trained_not_those_that_were_asked_for(tmp_path):
    write_pair(tmp_path, [11, 12], [21, 22], max_epochs=60)
    assert "60" not in compose(tmp_path).split("## Trials")[1].split("## Time")[0]


@pytest.mark.parametrize(
    ("epochs", "words"), [(0.125, "0.125"), (0.1, "0.1"), (1.6, "1.6"), (36.04, "36.0")]
)
def test_parts_of_an_epoch_have_their_digits(epochs, words):
    assert trials._trained(epochs) == words
