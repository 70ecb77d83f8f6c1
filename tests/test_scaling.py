"""Scaling of the input and axes of the colours, from sums over all images, against NumPy's own."""

import numpy as np
import pytest

from src.data.scaling import colour_components, in_chunks, input_scaling, sum_images
from tests.test_augment import make_colours

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3)).astype(np.uint8)


@pytest.mark.parametrize("cuts", [(), (7,), (1, 2, 30)])
def test_sums_are_numpys_however_the_images_are_cut(cuts):
    sums = sum_images(np.split(IMAGES, cuts))
    whole = IMAGES.astype(np.int64)
    colours = whole.reshape(-1, 3)
    assert sums.num_images == 50
    np.testing.assert_array_equal(sums.pixels, whole.sum(axis=0))
    np.testing.assert_array_equal(sums.products, colours.T @ colours)


def test_chunks_are_the_images_in_order(monkeypatch):
    monkeypatch.setattr("src.data.scaling.CHUNK", 7)
    chunks = list(in_chunks(IMAGES))
    assert [len(chunk) for chunk in chunks] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate(chunks), IMAGES)


def test_no_images_have_no_sums():
    with pytest.raises(ValueError, match="no images"):
        sum_images([])


def test_input_scaling_by_numpy():
    sums = sum_images([IMAGES])
    shift, scale = input_scaling(sums, "centered")
    np.testing.assert_allclose(shift, IMAGES.astype(np.float64).mean(0, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(scale, np.ones((1, 1, 1, 1)))
    shift, scale = input_scaling(sums, "standardized")
    axes = (0, 1, 2)
    np.testing.assert_allclose(shift, IMAGES.mean(axes, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(scale, IMAGES.std(axes, keepdims=True), rtol=1e-6)


def test_input_of_one_colour_is_not_divided_by_zero():
    shift, scale = input_scaling(sum_images([np.full((5, 4, 4, 3), 7, np.uint8)]), "standardized")
    assert np.all(np.isfinite((7 - shift) / scale))


def test_components_are_those_of_the_covariance():
    images = make_colours()
    components = colour_components(sum_images([images]))
    covariance = np.cov(images.reshape(-1, 3).T.astype(np.float64), bias=True)
    np.testing.assert_allclose(components @ components.T, covariance, rtol=1e-4, atol=1e-2)
    gram = components.T @ components  # orthogonal, as long as the deviations
    np.testing.assert_allclose(np.diag(gram), np.linalg.eigvalsh(covariance), rtol=1e-4)
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-2)
    np.testing.assert_allclose(components[:, 2] / 40, np.array([1, 2, 2]) / 3, rtol=0.05)


def test_components_of_one_colour_are_zero():
    sums = sum_images([np.full((3, 4, 4, 3), 77, np.uint8)])
    np.testing.assert_allclose(colour_components(sums), 0, atol=1e-3)
