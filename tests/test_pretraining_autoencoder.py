"""The auto-encoder: its loss and gradient are PyTorch's, and what its options do."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src.pretraining.autoencoder import Autoencoder, keep_winners
from src.pretraining.passes import Convolution

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_alike")]

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}


def keys(count: int) -> jax.Array:
    return jax.random.split(jax.random.key(0), count)


@pytest.mark.parametrize(
    ("geometry", "activation", "competition"),
    [
        ((5, 1, 2, 1), "relu", False),
        ((5, 1, 2, 1), "tanh", True),
        ((5, 1, 0, 1), "sigmoid", False),
        ((11, 4, 0, 1), "relu", False),
        ((3, 1, 1, 2), "tanh", False),
    ],
)
def test_loss_and_gradient_are_pytorchs(geometry, activation, competition):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    size, stride, padding, groups = geometry
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 12, 16, 4)) if stride == 1 else rng.normal(size=(2, 27, 23, 4))
    kernel = rng.normal(0, 0.3, (size, size, 4 // groups, 6))

    x = torch.tensor(images.transpose(0, 3, 1, 2))
    weight = torch.tensor(kernel.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    options: dict[str, Any] = {"stride": stride, "padding": padding, "groups": groups}
    code = getattr(torch, activation)(functional.conv2d(x, weight, **options))
    if competition:
        best, places = functional.max_pool2d(code, 2, return_indices=True)
        code = functional.max_unpool2d(best, places, 2)
    expected = functional.mse_loss(functional.conv_transpose2d(code, weight, **options), x)
    expected.backward()

    with jax.enable_x64(True):
        layer = Autoencoder(
            Convolution(stride, padding, groups),
            ACTIVATIONS[activation],
            noise=0.0,
            competition=competition,
        )
        step = jax.jit(jax.value_and_grad(layer.loss, has_aux=True))
        params = {"kernel": jnp.asarray(kernel)}
        (loss, _), grads = step(params, jnp.asarray(images), keys(len(images)))
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    wanted = weight.grad.numpy().transpose(2, 3, 1, 0)
    np.testing.assert_allclose(grads["kernel"], wanted, rtol=1e-10, atol=1e-12)


def test_masked_inputs_are_zero_at_the_rate_of_the_noise():
    """A layer that copies its input of ones: the squared error is 1 where it was masked, elsewhere
    (1 / (1 - noise) - 1)^2 = 1/9.
    """
    layer = Autoencoder(Convolution(), lambda x: x, noise=0.25)
    params, images = {"kernel": jnp.ones((1, 1, 1, 1))}, jnp.ones((40, 50, 50, 1))
    missing = float(layer.loss(params, images, keys(40))[0])
    expected, deviation = 0.25 + 0.75 / 9, 8 / 9 * (0.25 * 0.75) ** 0.5
    assert abs(missing - expected) < 4 * deviation / 100_000**0.5
    alone = [
        float(layer.loss(params, images[i : i + 1], keys(40)[i : i + 1])[0]) for i in range(40)
    ]
    np.testing.assert_allclose(missing, np.mean(alone), rtol=1e-4)
    assert len(set(alone)) > 20  # each image its own mask


def test_errors_are_counted_in_deviations_of_the_input():
    layer = Autoencoder(Convolution(padding=1), jax.nn.relu, deviation=2.0, noise=0.0)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(4, 6, 6, 2)).astype(np.float32))
    nothing = {"kernel": jnp.zeros((3, 3, 2, 5))}
    found, _ = layer.loss(nothing, images, keys(4))
    np.testing.assert_allclose(found, np.mean(np.asarray(images) ** 2) / 4, rtol=1e-6)


def test_only_the_largest_code_of_a_block_is_kept():
    code = jnp.asarray(np.arange(1.0, 16.0).reshape(1, 5, 3, 1))
    kept = np.zeros((5, 3))
    for row, column in ((1, 1), (1, 2), (3, 1), (3, 2), (4, 1), (4, 2)):
        kept[row, column] = 3 * row + column + 1
    np.testing.assert_array_equal(keep_winners(code)[0, :, :, 0], kept)
