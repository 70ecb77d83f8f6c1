"""Errors and crops against PyTorch and NumPy."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from src.training import evaluation

pytestmark = pytest.mark.usefixtures("compiled_alike")

torch = pytest.importorskip("torch")


def make_scores(count: int = 200, classes: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(count, classes)).astype(np.float32)
    return scores, rng.integers(0, classes, count).astype(np.int32)


@pytest.mark.parametrize("k", [1, 5])
def test_errors_equal_pytorchs(k):
    scores, labels = make_scores()
    best = torch.topk(torch.tensor(scores), k).indices
    expected = (best != torch.tensor(labels)[:, None]).all(dim=1).numpy()
    found = evaluation.misses(jnp.asarray(scores), jnp.asarray(labels), k)
    np.testing.assert_array_equal(found, expected)
    assert 0 < expected.mean() < 1


@pytest.mark.slow
def test_of_equal_scores_the_lower_class_comes_first():
    scores = jnp.zeros((10, 10)).at[3, 9].set(1)
    labels = jnp.arange(10)
    np.testing.assert_array_equal(
        np.flatnonzero(~evaluation.misses(scores, labels, 5)), [0, 1, 2, 3, 4]
    )
    labels = labels.at[3].set(9)
    found = np.flatnonzero(~evaluation.misses(scores, labels, 1))
    np.testing.assert_array_equal(found, [0, 3])


def test_top_1_is_argmax_and_not_a_number_is_no_answer():
    scores, labels = make_scores(4000)
    scores = np.round(scores, 1)  # many ties
    scores[::7, 5] = np.nan
    found = evaluation.misses(jnp.asarray(scores), jnp.asarray(labels), 1)
    np.testing.assert_array_equal(found, jnp.argmax(scores, axis=1) != labels)


def test_with_fewer_classes_than_five_nothing_is_missed():
    scores, labels = make_scores(classes=3)
    assert not evaluation.misses(jnp.asarray(scores), jnp.asarray(labels), 5).any()


def test_a_padding_label_is_always_missed():
    scores, _ = make_scores()
    assert evaluation.misses(jnp.asarray(scores), jnp.full(200, -1), 5).all()


@pytest.mark.parametrize(("size", "rows", "columns"), [(4, (1, 5), (2, 6)), (5, (0, 5), (1, 6))])
def test_central_crop(size, rows, columns):
    images = jnp.arange(2 * 6 * 8 * 3.0).reshape(2, 6, 8, 3)
    expected = images[:, slice(*rows), slice(*columns)]
    np.testing.assert_array_equal(evaluation.central_crop(images, size, size), expected)


def test_ten_crops_by_their_places():
    images = np.random.default_rng(1).normal(size=(3, 9, 12, 3)).astype(np.float32)
    crops = evaluation.ten_crops(jnp.asarray(images), 6, 7)
    places = [(0, 0), (0, 5), (3, 0), (3, 5), (1, 2)]  # centre: (9 - 6) // 2, (12 - 7) // 2
    for number, (top, left) in enumerate(places):
        expected = images[:, top : top + 6, left : left + 7]
        np.testing.assert_array_equal(crops[number], expected)
        np.testing.assert_array_equal(crops[number + 5], expected[:, :, ::-1])
    assert crops.shape == (10, 3, 6, 7, 3)


def network(params: jnp.ndarray, images: jnp.ndarray) -> jnp.ndarray:
    assert images.shape[1:] == (5, 5, 3)
    return jnp.tanh(images.reshape(len(images), -1)) @ params


@functools.cache
def weights() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(75, 6)).astype(np.float32)


def test_ten_crop_scores_are_the_mean_softmax():
    images = np.random.default_rng(3).normal(size=(4, 8, 8, 3)).astype(np.float32)
    scores = evaluation.make_scores(network, 5, 5, 10)(jnp.asarray(weights()), jnp.asarray(images))
    expected = np.zeros((4, 6))
    for top, left in [(0, 0), (0, 3), (3, 0), (3, 3), (1, 1)]:
        crop = images[:, top : top + 5, left : left + 5]
        for view in (crop, crop[:, :, ::-1]):
            logits = torch.tanh(torch.tensor(view.reshape(4, -1).copy())) @ torch.tensor(weights())
            expected += torch.softmax(logits, dim=1).numpy() / 10
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)


def test_one_crop_is_the_central_one_and_its_logits():
    images = np.random.default_rng(3).normal(size=(4, 8, 8, 3)).astype(np.float32)
    scores = evaluation.make_scores(network, 5, 5, 1)(jnp.asarray(weights()), jnp.asarray(images))
    expected = np.tanh(images[:, 1:6, 1:6].reshape(4, -1)) @ weights()
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
