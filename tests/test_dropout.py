"""Dropout: its rate, its scale in both conventions, and that its masks belong to the images."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src.models.layers.dropout import Dropout

pytestmark = pytest.mark.usefixtures("compiled_alike")

KEYS = jax.random.split(jax.random.key(0), 16)
ONES = jnp.ones((16, 2000))


def dropped(rate: float, keys: jax.Array | None = KEYS, **options: bool) -> np.ndarray:
    return np.asarray(Dropout(rate, name="drop6", **options).apply({}, ONES, keys))


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.7])
def test_the_rate_is_the_share_of_zeros(rate):
    zeros = np.mean(dropped(rate) == 0)
    deviation = np.sqrt(rate * (1 - rate) / ONES.size)
    assert abs(zeros - rate) < 5 * deviation


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_activities_of_an_image_are_dropped_independently(rate):
    kept = dropped(rate) != 0
    alike = rate**2 + (1 - rate) ** 2
    for apart in range(1, 65):  # A word of random bits has 32.
        pairs = kept[:, apart:] == kept[:, :-apart]
        assert abs(np.mean(pairs) - alike) < 5 * np.sqrt(alike * (1 - alike) / pairs.size), apart


def test_maps_are_dropped_place_by_place():
    maps = jnp.ones((16, 5, 7, 3))
    kept = np.asarray(Dropout(0.5, name="drop6").apply({}, maps, KEYS)) != 0
    assert kept.shape == maps.shape
    assert len({image.tobytes() for image in kept}) == len(maps)
    assert np.all(kept.any(axis=0)) and not np.any(kept.all(axis=0))


def test_the_papers_scale_is_at_testing_the_inverted_at_training():
    assert set(np.unique(dropped(0.75, inverted=False))) == {0, 1}
    assert set(np.unique(dropped(0.75, None, inverted=False))) == {0.25}
    assert set(np.unique(dropped(0.75, inverted=True))) == {0, 4}
    assert set(np.unique(dropped(0.75, None, inverted=True))) == {1}


@pytest.mark.parametrize("keys", [KEYS, None], ids=["training", "testing"])
def test_inverted_is_the_papers_with_the_next_weights_halved(keys):
    weights = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    paper = dropped(0.5, keys, inverted=False) @ weights
    inverted = dropped(0.5, keys, inverted=True) @ (0.5 * weights)
    np.testing.assert_allclose(paper, inverted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_mask_belongs_to_its_image_wherever_it_is_in_the_batch():
    whole = dropped(0.5)
    assert not np.array_equal(whole[0], whole[1])
    order = np.array([7, 3, 11])
    part = Dropout(0.5, name="drop6").apply({}, ONES[:3], KEYS[order])
    np.testing.assert_array_equal(part, whole[order])


def test_layers_drop_different_activities():
    class TwoLayers(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, keys: jax.Array) -> tuple[jax.Array, ...]:
            return tuple(Dropout(0.5, name=name)(x, keys) for name in ("drop6", "drop7"))

    first, second = TwoLayers().apply({}, ONES, KEYS)
    agree = np.mean(np.asarray(first) == np.asarray(second))
    assert abs(agree - 0.5) < 5 * 0.5 / np.sqrt(ONES.size)


def test_the_gradient_passes_where_the_activity_did():
    layer = Dropout(0.5, name="drop6")
    grads = jax.grad(lambda x: jnp.sum(layer.apply({}, x, KEYS)))(ONES)
    np.testing.assert_array_equal(grads, layer.apply({}, ONES, KEYS))


def test_no_rate_is_no_layer():
    for keys in (KEYS, None):
        np.testing.assert_array_equal(dropped(0.0, keys, inverted=False), ONES)
