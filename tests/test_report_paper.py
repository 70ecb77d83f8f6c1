"""What a report says of the paper: its claim beside ours, and the distance to its curves."""

import math

import numpy as np
import pytest

from configs import base
from src.analysis import paper
from tests import synthetic
from tests.reported import compose, summary, write_pair

RECIPES = "`cuda_convnet` is the recipe of 2012, `modern` one of today."


@pytest.mark.parametrize(
    ("recipe", "changed", "said"),
    [
        ("cuda_convnet", {}, True),
        ("cuda_convnet", {"learning_rates": [0.1]}, True),
        ("cuda_convnet", {"input": "standardized"}, False),
        ("cuda_convnet", {"layer_rates": {"conv1": 0.1}}, False),
        ("modern", {"momentum": 0.5}, False),
        ("modern", {"optimizer": "adam"}, False),
    ],
)
def test_a_recipe_that_was_changed_is_not_said_to_be_that_of_2012_or_of_today(
    tmp_path, recipe, changed, said
):
    """As configs/base.py has them."""
    recipes = base.get_config().recipes.to_dict()
    recipes[recipe] |= changed
    synthetic.write_header(tmp_path, recipes=recipes)
    assert (RECIPES in summary(tmp_path)) == said


def test_one_point_of_the_papers_curve_is_one(tmp_path):
    """Of 13 and of 14 points, ten an epoch, the first one alone is after a whole epoch."""
    write_pair(tmp_path, [13], [14], data={"name": "cifar10", "stream_size": 0})
    assert "of 1 point |" in compose(tmp_path)


@pytest.mark.slow
def test_the_papers_claim_stands_beside_ours_on_cifar10(study_dir, tmp_path):
    claim = "The paper says that ReLU reaches 25% training error six times faster than tanh"
    text = compose(study_dir)
    assert claim in text
    assert "Its two curves, one run each, give more than 6.1 times at 25%." in text
    assert RECIPES in text
    assert "Measured on cifar10-jpeg with 1 x cpu (AMD EPYC)." in text
    assert "not exactly the paper's images" in text
    write_pair(tmp_path, [10], [20], data={"name": "procedural"})
    text = compose(tmp_path)
    assert "**Procedural images are drawn by code: they are not CIFAR-10" in text
    assert "six times" not in text
    assert "Distance to the paper's curves" not in text
    write_pair(tmp_path, [10], [20], model={"name": "lenet5", "activation": "relu"})
    assert "six times" not in compose(tmp_path)


def test_part_of_the_images_is_said_and_is_not_what_the_paper_trained_on(tmp_path):
    write_pair(tmp_path, [10], [20], train_images=5000)
    text = compose(tmp_path)
    assert "Measured on cifar10-jpeg (5,000 images) with" in text
    assert "six times" not in text
    write_pair(tmp_path, [10], [20], labels=2000)
    assert "Measured on cifar10-jpeg (2,000 labels) with" in compose(tmp_path)
    write_pair(tmp_path, [10], [20], augment={"flip": True})
    assert "six times" not in compose(tmp_path)


def test_views_that_are_averaged_are_said(tmp_path):
    views = "Each test image is seen in ten views, whose scores are averaged."
    write_pair(tmp_path, [10], [20], augment={"crop": 24})
    assert views not in compose(tmp_path)
    write_pair(tmp_path, [10], [20], augment={"crop": 24}, test_crops=10)
    assert views in compose(tmp_path)


def test_nothing_is_said_of_times_that_the_papers_curves_or_ours_do_not_have(tmp_path):
    """Neither of its curves falls to 10%, and none of our trials does to 25%."""
    write_pair(tmp_path, [0, 0], [0, 0])
    text = compose(tmp_path)
    assert "give more than 6.1 times at 25%.\n" in text
    write_pair(tmp_path, [10, 11], [20, 22], target_train_error=0.1)
    text = compose(tmp_path)
    assert "Its two curves, one run each, do not say how it is at 10%.\n" in text
    assert "unknown times" not in text


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
