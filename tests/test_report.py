"""What a report answers: the ratio or difference, its interval, and when there is none."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from src.analysis import groups, paper, ranks
from src.analysis.effects import analyse
from src.analysis.study import load_study
from src.records import files
from src.records import study as studies
from src.reports import compose as report
from src.reports import tables
from tests import synthetic
from tests.reported import compose, steps, summary, write_pair

CIFAR = {"name": "cifar10", "stream_size": 0}
EQUAL = {"field": "lrn", "baseline": "none", "measure": "equal_test_error"}


def last_points(study_dir: Path, arm: str) -> list[int]:
    """Where the fresh trials of an arm stop, from the files themselves."""
    paths = (study_dir / "trials").glob(f"{arm}-lr*-s10?/metrics.csv")
    return [int(path.read_text().splitlines()[-1].split(",")[0]) for path in paths]


@pytest.mark.slow
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


def test_one_seed_and_equal_seeds_give_no_interval_and_say_why(tmp_path):
    write_pair(tmp_path, [11], [21])
    assert "(no interval, n = 1;" in compose(tmp_path)
    write_pair(tmp_path, [11, 11], [21, 22])
    told = "(no interval: the trials of an arm do not differ, n = 2;"
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


@pytest.mark.parametrize(
    ("relu", "tanh", "words"),
    [
        ([11, 0, 0], [30, 0, 0], "1 of 3 of tanh and 1 of 3 of relu"),
        ([11, 12, 11, 12, 0], [0] * 5, "0 of 5 of tanh and 4 of 5 of relu (95% interval at least"),
        ([0] * 5, [11, 12, 11, 12, 0], "4 of 5 of tanh and 0 of 5 of relu (95% interval at most"),
    ],
)
def test_where_some_of_both_arms_stopped_before_it_no_bound_is_made_up(tmp_path, relu, tanh, words):
    """relu may never have got there, and tanh one point later: the ratio has no bound."""
    write_pair(tmp_path, relu, tanh)
    text = compose(tmp_path)
    start = "tanh against relu: too few trials got to 25% training error to say which does sooner,"
    assert f"{start} {words}" in text
    assert "more than 0" not in text and "less than inf" not in text
    if "interval" in words:
        assert (
            f"unknown ({words.partition('interval ')[2]}" in text.split("## By training error")[1]
        )


@pytest.mark.slow
@pytest.mark.parametrize(("relu", "tanh"), [([11] * 5, [0] * 5), ([0] * 5, [11, 11, 12, 11])])
def test_ranks_give_no_median_where_an_arm_never_got_there(tmp_path, relu, tanh):
    write_pair(tmp_path, relu, tanh)
    (line,) = re.findall(r"^Checked by ranks.*$", compose(tmp_path), re.M)
    assert re.fullmatch(r".*: conv3, modern, tanh: p = 0\.0\d+\.", line)


@pytest.mark.parametrize(("many", "test"), [(4, "exact rank-sum test"), (3, "rank-sum test")])
def test_the_rank_sum_test_is_called_exact_up_to_many_trials(tmp_path, monkeypatch, many, test):
    monkeypatch.setattr(ranks, "MANY", many)
    write_pair(tmp_path, [11, 12, 11, 13], [30, 31, 32, 33])
    text = tables.measures(analyse(load_study(tmp_path)))
    assert f"Checked by ranks (median over all pairs of trials, {test}): " in text


def test_a_diverged_trial_and_one_without_a_number_are_told_apart(tmp_path):
    write_errors(tmp_path, {"none": [0.3, 0.31, 0.32], "paper": [0.29]}, compare=EQUAL)
    fields = {"recipe": "modern", "learning_rate": 0.02, "model": "alexnet_cifar", "lrn": "paper"}
    trial = "alexnet_cifar-modern-relu-lrnpaper-lr0.02-s202"
    synthetic.write_trial(tmp_path, [], trial=trial, seed=202, status="diverged", **fields)
    text = compose(tmp_path)
    assert "1 of 2 trials of paper diverged; 1 of 2 trials of paper have none" in text


def test_a_diverged_trial_is_compared_with_nothing(tmp_path):
    write_pair(tmp_path, [11, 12], [30])
    fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 201, "iterations": 7}
    synthetic.write_trial(tmp_path, [], activation="tanh", status="diverged", **fields)
    text = compose(tmp_path)
    assert "1 of 2 trials of tanh diverged" in text
    assert "did not reach it" not in text


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
    assert (group.label, [arm.value for arm in group.arms]) == ("modern", ["plain", "deep"])
    assert "deep needs 2.8 times as many iterations as plain to reach 25%" in summary(tmp_path)


def test_groups_by_variants_have_the_names_that_their_arms_share_and_are_compared(tmp_path):
    """The recipe is a variant's: it stands in the group's label, and does not tell groups apart."""
    variants = {"new": {}, "old": {"recipe": "cuda_convnet"}}
    sweep = {"model": {"activation": ["relu", "tanh"]}}
    synthetic.write_header(tmp_path, sweep=sweep, variants=variants, learning_rates=[0.02])
    for name, recipe, tanh in (("new", "modern", 12), ("old", "cuda_convnet", 40)):
        for activation, points in (("relu", 10), ("tanh", tanh)):
            for seed in (1, 2):
                trial = f"conv3-{recipe}-{activation}-{name}-lr0.02-s{seed}"
                fields = {"activation": activation, "recipe": recipe, "learning_rate": 0.02}
                fields |= {"trial": trial, "seed": seed, "variant": name}
                synthetic.write_trial(tmp_path, steps(39 * (points + seed)), **fields)
    analysis = analyse(load_study(tmp_path))
    labels = ["conv3, modern, variant new", "conv3, cuda_convnet, variant old"]
    assert [group.label for group in analysis.groups] == labels
    (found,) = analysis.interactions(analysis.measure)
    assert (found.field, found.first, found.second) == ("variant", "new", "old")


@pytest.mark.parametrize("networks", [1, 2])
def test_interactions_that_differ_in_the_same_are_told_apart_by_what_is_shared(tmp_path, networks):
    names = ["conv3", "conv3_fc64"][:networks]
    sweep = {"model": {"name": names, "activation": ["relu", "tanh"]}}
    sweep["recipe"] = ["cuda_convnet", "modern"]
    synthetic.write_header(tmp_path, sweep=sweep)
    table = tables.interactions(analyse(load_study(tmp_path)))
    found = re.findall(r"^\| (recipe: .*?) \| tanh", table, re.MULTILINE)
    start = "recipe: cuda_convnet over modern"
    assert found == ([start] if networks == 1 else [f"{start}, {name}" for name in names])


def test_what_is_shared_has_the_name_of_its_field(tmp_path):
    sweep = {"recipe": ["cuda_convnet", "modern"], "weight_decay": [0.0, 0.5]}
    sweep |= {"batch_size": [64, 128], "model": {"activation": ["relu", "tanh"]}}
    synthetic.write_header(tmp_path, sweep=sweep)
    table = tables.interactions(analyse(load_study(tmp_path)))
    shared = "conv3, weight_decay 0.5, batch_size 64"
    assert table.count(f"| recipe: cuda_convnet over modern, {shared} | tanh |") == 1


@pytest.mark.parametrize(
    ("share", "words"), [(-0.004, "0%"), (0.884, "88%"), (-0.05, "-5%"), (math.nan, "-")]
)
def test_a_share_that_is_rounded_to_nothing_has_no_sign(share, words):
    assert tables._percent(share) == words


def test_while_a_wider_grid_is_unfinished_nothing_is_answered(tmp_path):
    """A report says that trials at the rate of before count no more, and counts them no more."""
    synthetic.write_study(tmp_path)
    header = studies.read_study_header(tmp_path)
    header["config"]["recipes"]["modern"]["learning_rates"] = [0.005, 0.01, 0.02, 0.04]
    studies.write_study_header(tmp_path, header)
    for group in groups.make_groups(load_study(tmp_path)):
        for arm in group.arms:
            done = group.fields["recipe"] == "cuda_convnet"
            assert (len(arm.fresh), len(arm.replaced)) == ((3, 0) if done else (0, 3))


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


@pytest.mark.parametrize(
    ("paper", "words"),
    [
        ([0.30, 0.32, 0.31], "to a tenth of a point the same as with none"),
        ([0.3004, 0.3202, 0.3101], "to a tenth of a point the same as with none"),
        ([0.301, 0.322, 0.313], "0.2 points higher than with none"),
    ],
)
def test_a_difference_that_rounds_to_nothing_has_no_direction(tmp_path, paper, words):
    write_errors(tmp_path, {"none": [0.30, 0.32, 0.31], "paper": paper})
    assert f"With paper the test error at the end is {words}" in compose(tmp_path)


@pytest.mark.slow
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


def test_each_measure_is_said_to_be_adjusted_as_it_is(tmp_path):
    """Test errors spread alike, which is Dunnett's case; best ones do not, which is Holm's."""
    arms = {"none": [0.30, 0.32, 0.31], "paper": [0.28, 0.301, 0.289], "caffe": [0.3, 0.31, 0.32]}
    compare = {"field": "lrn", "baseline": "none", "measure": "test_error"}
    compare["further"] = ["best_test_error"]
    write_errors(tmp_path, arms, compare=compare)
    text = compose(tmp_path)
    told = "p is adjusted for all 2 comparisons"
    assert f"{told} (Dunnett's test)." in text
    for seed in (200, 201, 202):
        of_local = f"alexnet_cifar-modern-relu-lrncaffe-lr0.02-s{seed}"
        rows = synthetic.make_metrics(lambda e: 0.8 - 0.3 * e, epochs=2)
        rows[-1]["test_error"], rows[0]["test_error"] = 0.3 + (seed - 200) / 100, (seed - 199) / 20
        fields = {"recipe": "modern", "learning_rate": 0.02, "model": "alexnet_cifar"}
        synthetic.write_trial(tmp_path, rows, trial=of_local, seed=seed, lrn="caffe", **fields)
    ways = "by Dunnett's test (test error at the end) or Holm's rule (best test error)."
    assert f"{told}, {ways}" in compose(tmp_path)


def test_a_study_may_list_further_measures(tmp_path):
    compare = {"field": "lrn", "baseline": "none", "measure": "test_error"}
    compare["further"] = ["equal_test_error", "best_test_error"]
    write_errors(tmp_path, {"none": [0.3, 0.31], "paper": [0.29, 0.28]}, compare=compare)
    text = compose(tmp_path)
    assert "| test error at 25% training error | best test error |" in text


@pytest.mark.parametrize(
    ("part", "has_shares"),
    [
        ({"order": "shuffled"}, True),
        ({"bias_rate": 3.0, "order": "shuffled"}, False),
        ({}, False),
    ],
)
def test_a_study_of_parts_gives_their_shares(tmp_path, part, has_shares):
    """Ratios of 8, 2 and, without a part, 4: half of the logarithm of 8 / 2 goes with it.

    Other recipes than the first without a part of it explain nothing of the two.
    """
    recipes = {
        "cuda_convnet": {"bias_rate": 2.0, "order": "permuted"},
        "modern": {"bias_rate": 1.0, "order": "shuffled"},
        "without_it": {"bias_rate": 2.0, "order": "permuted"} | part,
    }
    grids = {name: {"learning_rates": [0.02], **fields} for name, fields in recipes.items()}
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
    rows = [line for line in text.splitlines() if line.startswith("| without_it | tanh |")]
    shares = [row for row in rows if "| 50% |" in row or "| 49% |" in row]  # half a step is off
    assert len(shares) == has_shares
    assert ("goes away with a part of cuda_convnet" in text) == has_shares
    apart = "those with cuda_convnet, those with without_it and those with modern were trained by"
    assert apart not in text.lower()
    for path in (tmp_path / "trials").glob("*-modern-*/result.json"):
        record = files.read_sealed(path, "")
        record["result"]["commit"] = "another"
        files.write_sealed(path, record)
    assert (f"{apart} different code.\n" in compose(tmp_path).lower()) == has_shares


def test_what_is_said_beside_the_curves_goes_by_the_arms(tmp_path):
    """The base trial is a conv3 whose window is an epoch; one arm is another network."""
    nets = {"model": {"name": ["conv3", "lenet5"], "activation": ["relu", "tanh"]}}
    sweep = {**nets, "window_epochs": [1.0, 2.0]}
    config = {"learning_rates": [0.02], "fresh_seeds": [200], "data": CIFAR}
    synthetic.write_header(tmp_path, sweep=nets, **config)
    assert paper.curves_beside(load_study(tmp_path)) == {}
    synthetic.write_header(tmp_path, sweep={"model": {"activation": ["relu", "tanh"]}}, **config)
    assert set(paper.curves_beside(load_study(tmp_path))) == {"relu", "tanh"}
    for changed in (
        {"validation_images": 5000},
        {"train_images": 5000},
        {"weight_decay": 0.01},
        {"pretraining": {"method": "conv_rbm"}},
        {"start_from": {"path": "weights.npz"}},
    ):
        activations = {"model": {"activation": ["relu", "tanh"]}}
        synthetic.write_header(tmp_path, sweep=activations, **config, **changed)
        assert paper.curves_beside(load_study(tmp_path)) == {}
    synthetic.write_header(tmp_path, sweep=sweep, validation_images=5000, **config)
    assert load_study(tmp_path).trained_on == "cifar10 (5,000 images held out)"
    synthetic.write_header(tmp_path, sweep=sweep, **config)
    assert "is the error over the last epoch or 2 epochs, known" in compose(tmp_path)


def test_thresholds_are_printed_with_their_digits(tmp_path):
    write_pair(tmp_path, [11, 12], [21, 22], thresholds=[0.5, 0.125, 0.005])
    text = compose(tmp_path)
    assert "| group | arm | reading | 50% | 12.5% | 0.5% |" in text
    assert "| 0% |" not in text


def test_a_study_of_one_arm_says_what_it_came_to(tmp_path):
    synthetic.write_header(
        tmp_path,
        sweep={"model": {"activation": ["relu"]}},
        recipe="modern",
        learning_rates=[0.02],
        fresh_seeds=[1, 2],
        stop_at_target=False,
    )
    for seed, error in ((1, 0.3), (2, 0.4)):
        rows = synthetic.make_metrics(lambda e: 0.5 - 0.2 * e, epochs=1.99)
        rows[-1]["test_error"] = error
        given = {"recipe": "modern", "learning_rate": 0.02, "seed": seed, "activation": "relu"}
        synthetic.write_trial(tmp_path, rows, **given)
    text = compose(tmp_path)
    assert text.startswith("# One network trained: conv3, modern\n")
    assert "test error at the end: 35.0%" in text and "(means, n = 2)." in text
    assert "relative to" not in text
