"""Figures of pre-training: everything that is given is drawn, each number where it belongs."""

import numpy as np
import pytest

from src.analysis.intervals import Interval
from src.reports.figures import canvas, pretraining


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value, low, high, (5, 5), "difference")


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_kernels_have_a_panel_each():
    rng = np.random.default_rng(0)
    found = {
        name: rng.normal(size=(5, 5, 3, 32))
        for name in ("random", "pre-trained", "fine-tuned", "from random")
    }
    figure = pretraining.kernels(found, "caption")
    assert len(figure.axes) == 4
    assert set(found) <= set(words(figure))


def test_a_difference_stands_above_its_number_of_labels(tmp_path):
    found = {
        "conv_rbm": {500: interval(-0.03, -0.05, -0.01), 50_000: interval(0.01, -0.02, 0.04)},
        "conv_autoencoder": {500: interval(-0.02, float("nan"), float("nan"))},
    }
    with canvas.style():
        figure = pretraining.difference_by_labels(found, baseline="none", caption="caption")
        canvas.save(figure, tmp_path / "difference")
    [axes] = figure.axes
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(lines[0].get_ydata(), [-0.03, 0.01])
    np.testing.assert_allclose(lines[0].get_xdata(), [500, 50_000], rtol=0.05)
    ends = axes.collections[0].get_segments()
    np.testing.assert_allclose([end[:, 1] for end in ends], [[-0.05, -0.01], [-0.02, 0.04]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["500", "50,000"]
    assert (tmp_path / "difference.svg").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_each_layer_has_a_row_of_pictures(channels):
    shape = (10, 32, 32, channels)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    figure = pretraining.reconstructions(
        images, {"conv1": images, "conv2": 255 - images}, "caption"
    )
    assert len(figure.axes) == 30
    assert {"image", "conv1 (1.00)", "conv2 (-1.00)"} <= set(words(figure))
