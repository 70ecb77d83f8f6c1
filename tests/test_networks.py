"""What is said of three networks whose records are arithmetic."""

import re
from pathlib import Path

import numpy as np
import pytest

from src import wording
from src.analysis.effects import Analysis, analyse
from src.analysis.measures import MEASURES
from src.analysis.study import load_study
from src.records import files
from src.records import study as studies
from src.reports import compose as report
from src.reports import networks
from src.reports.figures.networks import curves
from tests import synthetic

NETS = ("lenet5_modern", "alexnet_cifar", "vgg11_cifar")


def falling(speed: float, seconds: float) -> list[dict]:
    """Twenty points; error 1 / (1 + speed * epochs), tested at each, of `seconds` an iteration."""
    rows = synthetic.make_metrics(lambda e: 1 / (1 + speed * e), epochs=2)
    return [
        row | {"test_error": row["train_error"], "train_seconds": seconds * row["iteration"]}
        for row in rows
    ]


def write_study(study_dir: Path, speeds: dict[str, tuple[float, ...]], seconds: float) -> None:
    """Fresh seeds of each network fall at those speeds; LeNet takes 1 s an iteration."""
    synthetic.write_header(
        study_dir,
        sweep={"model": {"name": list(NETS)}},
        compare={"field": "model", "baseline": NETS[0]},
        learning_rates=[0.02],
        augment={"crop": 0},
        recipes={"modern": {"learning_rates": [0.02], "init": "modern"}},
        model_options={"vgg11_cifar": {"width": 0.25}},
    )
    header = studies.read_study_header(study_dir)
    header |= {"image_shape": [32, 32, 3], "num_classes": 10}
    studies.write_study_header(study_dir, header)
    for name, of_seeds in speeds.items():
        for seed, speed in enumerate(of_seeds):
            metrics = falling(speed, 1.0 if name == NETS[0] else seconds)
            fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 100 + seed}
            fields["final_test_error"] = metrics[-1]["test_error"]
            synthetic.write_trial(study_dir, metrics, model=name, **fields)


def analysis_of(study_dir: Path) -> Analysis:
    return analyse(load_study(study_dir))


def claims(study_dir: Path) -> list[str]:
    return networks.claims(analysis_of(study_dir))


def test_a_faster_network_that_costs_more_is_sooner_in_iterations_alone(tmp_path):
    slow, fast = (1, 1.05, 1.1, 1.15), (2, 2.1, 2.2, 2.3)
    write_study(tmp_path, {NETS[0]: slow, NETS[1]: fast}, seconds=5.0)
    accuracy, loss, vgg = claims(tmp_path)
    ends = [[falling(speed, 1.0)[-1]["test_error"] for speed in each] for each in (slow, fast)]
    points = 100 * (np.mean(ends[1]) - np.mean(ends[0]))
    assert f"test error where training stopped {points:+.1f} points (95% interval -" in accuracy
    down = f"shown; down to lenet5_modern's {max(ends[0]):.1%}: "
    assert f"n = 4, p < 0.001): {down}" in accuracy
    assert re.search(
        r" iterations, 0\.\d\d times \(0\.\d\d to 0\.\d\d, p < 0\.001\): shown;", accuracy
    )
    assert re.search(
        r" seconds of training, [\d.]+ times \(\S+ to \S+, p .*\): contradicted", accuracy
    )
    assert "training loss falls faster than lenet5_modern's**: down to" in loss
    assert vgg.startswith("Claim: **vgg11_cifar is more accurate than alexnet_cifar")
    assert vgg.endswith(": not measured yet.")


@pytest.mark.parametrize(
    ("speeds", "margin"),
    [
        ([(1, 1.01, 1.02, 1.03)] * 2, "2 points; down to"),
        ([(1, 1.05, 1.1, 1.15), (1.01, 1.06, 1.11, 1.16)], "a factor of 1.5; "),
    ],
)
def test_a_verdict_of_no_effect_names_its_margin(tmp_path, speeds, margin):
    write_study(tmp_path, dict(zip(NETS, speeds, strict=False)), seconds=1.0)
    assert f": no effect larger than {margin}" in claims(tmp_path)[0]


def test_the_goal_is_what_every_seed_of_the_other_gets_to(tmp_path):
    write_study(tmp_path, dict.fromkeys(NETS, (1, 2)), seconds=1.0)
    accuracy = claims(tmp_path)[0]
    slow, fast = falling(1, 1.0), falling(2, 1.0)
    goal = slow[-1]["test_error"]
    sooner = next(row["iteration"] for row in fast if row["test_error"] <= goal)
    half = synthetic.PER_POINT / 2
    mean = f"{((slow[-1]['iteration'] - half) * (sooner - half)) ** 0.5:,.0f}"
    down = f"down to lenet5_modern's {goal:.1%}: {mean} against {mean} iterations, 1.00 times ("
    assert down in accuracy
    assert ", p = 1): not decided; " in accuracy.split(down)[1]


def test_how_much_sooner_is_judged_for_all_pairs_of_networks_together(tmp_path):
    """Holm: of three comparisons with the same p each has three times that."""
    write_study(tmp_path, {NETS[0]: (1, 1.1, 1.9), NETS[1]: (2, 2.5, 3.6)}, seconds=1.0)
    (group,) = analysis_of(tmp_path).groups
    pair = (group.arm(NETS[1]), group.baseline)
    goal = networks.highest_last(group.baseline, "test_error")
    ((alone, _),) = networks.races([pair], "test_error", [goal])
    of_three = networks.races([pair] * 3, "test_error", [goal] * 3)
    assert 0.01 < alone.p < 0.3
    assert [race.p for race, _ in of_three] == pytest.approx([3 * alone.p] * 3)


def diverge(study_dir: Path, net: str) -> None:
    """Two seeds of a network that diverge."""
    for seed in (100, 101):
        fields = {"recipe": "modern", "learning_rate": 0.02, "seed": seed, "model": net}
        synthetic.write_trial(study_dir, [], status="diverged", iterations=3, **fields)


def test_a_diverged_trial_never_gets_there(tmp_path):
    write_study(tmp_path, {NETS[0]: (1, 1.1)}, seconds=1.0)
    diverge(tmp_path, NETS[1])
    accuracy = claims(tmp_path)[0]
    assert accuracy.endswith("**: a trial diverged, not decided.")
    assert "shown" not in accuracy


def test_no_loss_falls_to_that_of_a_network_that_diverged(tmp_path):
    write_study(tmp_path, {NETS[1]: (1, 1.1)}, seconds=1.0)
    diverge(tmp_path, NETS[0])
    loss = claims(tmp_path)[1]
    assert loss.endswith("loss falls faster than lenet5_modern's**: a trial diverged, not decided.")
    (legend,) = [text for text in legends(tmp_path) if text.startswith("lenet5_modern")]
    assert legend == "lenet5_modern, rate 0.02 (2 of 2 diverged)"


def test_a_diverged_trial_says_nothing_of_the_time_of_an_iteration(tmp_path):
    """Its seconds are those of a whole interval, its iterations end where it diverged."""
    write_study(tmp_path, {NETS[0]: (1,)}, seconds=1.0)
    fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 101, "model": NETS[0]}
    broken = {"status": "diverged", "iterations": 1, "train_seconds": 99.0}
    synthetic.write_trial(tmp_path, [], **broken, **fields)
    assert "| 1,000 | 2,000 | 0.02 | 1000 |" in networks.table(analysis_of(tmp_path))
    fields |= {"seed": 100, "model": NETS[1]}
    synthetic.write_trial(tmp_path, [], **broken, **fields)
    assert "| 1,000 | 2,000 | 0.02 | - |" in networks.table(analysis_of(tmp_path))


def legends(study_dir: Path) -> list[str]:
    return [text.get_text() for text in curves(analysis_of(study_dir)).legends[0].get_texts()]


def test_one_comparison_has_one_p_value_in_a_report(tmp_path):
    """Of two groups, whose trainings are equally long: as the report's other lines have it.

    The claims are of two pairs, two in each group, and the study has six comparisons.
    """
    write_two_groups(tmp_path)
    analysis = analysis_of(tmp_path)
    accuracy = [line for line in networks.claims(analysis) if "lenet5_modern, and sooner" in line]
    effects = [e for e in analysis.effects(MEASURES["test_error"]) if e.arm.value == NETS[1]]
    assert len(accuracy) == len(effects) == 2
    for line, effect in zip(accuracy, effects, strict=True):
        assert effect.p == pytest.approx(min(1, 6 * effect.interval.p))
        assert f"n = 3, {wording.p_value(effect.p)}): " in line


def test_claims_of_several_groups_are_one_family(tmp_path):
    """Each p-value of the races is twice what it is with one group."""
    write_two_groups(tmp_path / "two")
    write_two_groups(tmp_path / "one", recipes=("modern",))
    of_two, of_one = (claims(tmp_path / name) for name in ("two", "one"))
    p_values = [
        [float(p) for p in re.findall(r"times \(.*?, p = ([\d.]+)\)", line.split("down to")[-1])]
        for line in (of_two[0], of_one[0])
    ]
    assert len(p_values[0]) == len(p_values[1]) == 2
    assert p_values[0] == pytest.approx([2 * p for p in p_values[1]], rel=0.2)


def write_two_groups(study_dir: Path, recipes: tuple[str, ...] = ("modern", "cuda_convnet")):
    """LeNet, and three that are alike, in either recipe, trained for two epochs each."""
    rates = {name: {"learning_rates": [0.02]} for name in recipes}
    synthetic.write_header(
        study_dir,
        sweep={"recipe": [*recipes], "model": {"name": [*NETS, "conv3"]}},
        compare={"field": "model", "baseline": NETS[0]},
        recipes=rates,
        recipe=recipes[0],
        stop_at_target=False,
    )
    header = studies.read_study_header(study_dir)
    header |= {"image_shape": [32, 32, 3], "num_classes": 10}
    studies.write_study_header(study_dir, header)
    for recipe in recipes:
        fast = (1.5, 1.9, 2.4)
        others = dict.fromkeys((*NETS[1:], "conv3"), fast)
        for name, speeds in {NETS[0]: (1, 1.3, 1.6), **others}.items():
            for seed, speed in enumerate(speeds):
                metrics = falling(speed, 1.0)
                fields = {"recipe": recipe, "learning_rate": 0.02, "seed": 100 + seed}
                fields["final_test_error"] = metrics[-1]["test_error"]
                synthetic.write_trial(study_dir, metrics, model=name, **fields)


@pytest.mark.slow
def test_the_report_of_a_study_of_networks_says_how_large_they_are(tmp_path):
    write_study(tmp_path, dict.fromkeys(NETS, (1, 2)), seconds=0.5)
    report.write_report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    lenet = next(line for line in text.splitlines() if line.startswith("| lenet5_modern | "))
    assert lenet.startswith("| lenet5_modern | 1,000 | 2,000 | 0.02 | 1000 |")  # As recorded.
    assert "![Loss and errors by iterations and by seconds](curves.png)" in text
    assert (tmp_path / "curves.svg").exists()


def test_curves_have_each_measure_by_iterations_and_by_seconds(tmp_path):
    write_study(tmp_path, {NETS[0]: (1, 2)}, seconds=1.0)
    figure = curves(analysis_of(tmp_path))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["training loss by iterations", "training loss by seconds of training"]
    assert titles[4:] == ["test error by iterations", "test error by seconds of training"]
    drawn = [line.get_xydata() for line in figure.axes[5].lines]
    assert len(drawn) == 2
    last = falling(1, 1.0)[-1]
    assert tuple(drawn[0][-1]) == (last["train_seconds"], last["test_error"])


@pytest.mark.parametrize(
    ("changed", "confounded"), [({"commit": "another"}, 5), ({"device": "1 x NVIDIA H200"}, 2)]
)
def test_networks_that_were_trained_otherwise_are_confounded(tmp_path, changed, confounded):
    """By other code in all that is compared, on another device in the two counts of seconds."""
    slow, fast = (1, 1.05, 1.1, 1.15), (2, 2.1, 2.2, 2.3)
    write_study(tmp_path, {NETS[0]: slow, NETS[1]: fast}, seconds=1.0)
    assert "confounded" not in "".join(claims(tmp_path))
    for path in (tmp_path / "trials").glob("alexnet*/result.json"):
        record = files.read_sealed(path, "")
        record["result"] |= changed
        files.write_sealed(path, record)
    told = "".join(claims(tmp_path))
    assert told.count(": confounded, the two were trained ") == confounded


def test_claims_of_several_groups_name_them(tmp_path):
    synthetic.write_header(
        tmp_path, sweep={"model": {"name": list(NETS), "activation": ["relu", "tanh"]}},
        compare={"field": "model", "baseline": NETS[0]}, learning_rates=[0.02],
        model_options={"vgg11_cifar": {"width": 0.25}},
    )  # fmt: skip
    told = claims(tmp_path)
    assert len(told) == 6
    assert [line.partition(": Claim")[0] for line in told[::3]] == [
        f"**{group.label}**" for group in analysis_of(tmp_path).groups
    ]


def test_the_figure_says_of_rates_and_windows_what_is_so(tmp_path):
    write_study(tmp_path, {NETS[0]: (1, 2), NETS[1]: (2, 3)}, seconds=1.0)
    texts = [text.get_text() for text in curves(analysis_of(tmp_path)).texts]
    assert "Loss and errors" in texts  # one rate: none was chosen
    assert any(text.endswith("error are of the trailing epoch") for text in texts)
