"""What is said of three networks whose records are arithmetic."""

import math
from pathlib import Path

import pytest

from src import records, report
from src.reports import curves, networks
from src.reports.comparison import make_groups
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
    header = records.read_study_header(study_dir)
    header |= {"image_shape": [32, 32, 3], "num_classes": 10}
    records.write_study_header(study_dir, header)
    for name, of_seeds in speeds.items():
        for seed, speed in enumerate(of_seeds):
            metrics = falling(speed, 1.0 if name == NETS[0] else seconds)
            fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 100 + seed}
            synthetic.write_trial(study_dir, metrics, model=name, **fields)


def claims(study_dir: Path) -> list[str]:
    return networks.claims(make_groups(records.read_study(study_dir)))


def test_a_faster_network_that_costs_more_is_sooner_in_iterations_alone(tmp_path):
    write_study(tmp_path, {NETS[0]: (1, 1.1), NETS[1]: (2, 2.1)}, seconds=5.0)
    accuracy, loss, vgg, rule = claims(tmp_path)
    assert rule.startswith("Every seed: all")
    assert "lower test error at the end: holds in every seed" in accuracy
    assert "in iterations holds in every seed (" in accuracy
    assert "in seconds of training fails in every seed (" in accuracy
    assert "training loss falls faster than lenet5_modern's**: sooner down to" in loss
    assert "in iterations holds in every seed (" in loss
    assert vgg.startswith("Claim: **vgg11_cifar is more accurate than alexnet_cifar")
    assert vgg.endswith(": not measured yet.")


def test_the_goal_is_what_every_seed_of_the_other_gets_to(tmp_path):
    write_study(tmp_path, dict.fromkeys(NETS, (1, 2)), seconds=1.0)
    accuracy = claims(tmp_path)[0]
    slow, fast = falling(1, 1.0), falling(2, 1.0)
    goal = slow[-1]["test_error"]
    sooner = next(row["iteration"] for row in fast if row["test_error"] <= goal)
    median = (slow[-1]["iteration"] + sooner) / 2
    assert f"down to lenet5_modern's {goal:.1%}: in iterations not decided at this n" in accuracy
    assert f"({median:,.0f} against {median:,.0f})" in accuracy
    assert claims(tmp_path)[-1].startswith("Every seed: all")
    assert "alike would do either in 1 of 6 cases" in claims(tmp_path)[-1]


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ((1.0, 2.0), (3.0, 4.0), "holds in every seed"),
        ((3.0, 4.0), (1.0, 2.0), "fails in every seed"),
        ((1.0, 3.0), (2.0, 4.0), "not decided at this n"),
        ((1.0, 2.0), (2.0, 3.0), "not decided at this n"),
        ((1.0,), (3.0, 4.0), "not decided at this n"),
        ((math.inf, math.inf), (3.0, 4.0), "fails in every seed"),
    ],
)
def test_a_verdict_needs_all_seeds_on_one_side(ours, theirs, words):
    assert networks.verdict(ours, theirs) == words


def test_a_diverged_trial_never_gets_there(tmp_path):
    write_study(tmp_path, {NETS[0]: (1, 1.1)}, seconds=1.0)
    for seed in (100, 101):
        fields = {"recipe": "modern", "learning_rate": 0.02, "seed": seed, "model": NETS[1]}
        synthetic.write_trial(tmp_path, [], status="diverged", iterations=3, **fields)
    accuracy = claims(tmp_path)[0]
    assert "lower test error at the end: fails in every seed (- against" in accuracy
    assert "in iterations fails in every seed (never against" in accuracy


def test_the_report_of_a_study_of_networks_says_how_large_they_are(tmp_path):
    write_study(tmp_path, dict.fromkeys(NETS, (1, 2)), seconds=0.5)
    report.write_report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    lenet = next(line for line in text.splitlines() if line.startswith("| lenet5_modern | "))
    # conv1 5x5x3x6 at 28x28, conv2 5x5x6x16 at 10x10, then 400x120, 120x84 and 84x10
    adds = 450 * 784 + 2400 * 100 + 48_000 + 10_080 + 840
    parameters = 456 + 2416 + 48_120 + 10_164 + 850
    assert lenet.startswith(f"| lenet5_modern | {parameters:,} | {adds:,} | 0.02 | 1000 |")
    assert "![Loss and errors by iterations and by seconds](curves.png)" in text
    assert (tmp_path / "curves.svg").exists()


def test_curves_have_each_measure_by_iterations_and_by_seconds(tmp_path):
    write_study(tmp_path, {NETS[0]: (1, 2)}, seconds=1.0)
    study = records.read_study(tmp_path)
    figure = curves.curves(study, make_groups(study))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["training loss by iterations", "training loss by seconds of training"]
    assert titles[4:] == ["test error by iterations", "test error by seconds of training"]
    drawn = [line.get_xydata() for line in figure.axes[5].lines]
    assert len(drawn) == 2
    last = falling(1, 1.0)[-1]
    assert tuple(drawn[0][-1]) == (last["train_seconds"], last["test_error"])
