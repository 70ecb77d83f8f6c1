"""Bars: in images of 8 x 8 pixels each row and column is lit with probability 1/8 (Foldiak 1990).

Each image is stored as one pixel with 64 channels, so that every kernel sees the whole image.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src.pretraining.autoencoder import Autoencoder
from src.pretraining.passes import Convolution
from src.pretraining.rbm import RBM
from src.pretraining.units import BINARY, ZERO_ONE

pytestmark = pytest.mark.slow
SIDE, HIDDEN, BATCH = 8, 24, 50


def make_images(count: int = 2000) -> jax.Array:
    rng = np.random.default_rng(0)
    rows, columns = rng.random((count, SIDE, 1)) < 1 / 8, rng.random((count, 1, SIDE)) < 1 / 8
    return jnp.asarray((rows | columns).astype(np.float32).reshape(count, 1, 1, SIDE**2))


def make_kernel() -> jax.Array:
    values = np.random.default_rng(1).normal(0, 0.05, (1, 1, SIDE**2, HIDDEN))
    return jnp.asarray(values.astype(np.float32))


def trained(loss: Callable[..., Any], params: Any, rate: float, steps: int) -> Any:
    """Parameters after stochastic gradient descent with a momentum of 0.9."""
    images = make_images()

    def step(carry: Any, number: jax.Array) -> Any:
        params, velocity = carry
        key = jax.random.fold_in(jax.random.key(0), number)
        batch = images[jax.random.randint(key, (BATCH,), 0, len(images))]
        grads, _ = jax.grad(loss, has_aux=True)(params, batch, jax.random.split(key, BATCH))
        velocity = jax.tree.map(lambda v, g: 0.9 * v - rate * g, velocity, grads)
        return (jax.tree.map(jnp.add, params, velocity), velocity), None

    start = (params, jax.tree.map(jnp.zeros_like, params))
    return jax.jit(lambda start: jax.lax.scan(step, start, jnp.arange(steps))[0][0])(start)


def nearest_kernel(kernel: jax.Array) -> np.ndarray:
    """For each of the 16 bars [16] its correlation with the kernel most like it."""
    bars = np.zeros((2 * SIDE, SIDE, SIDE))
    for i in range(SIDE):
        bars[i, i], bars[SIDE + i, :, i] = 1, 1
    both = np.corrcoef(bars.reshape(2 * SIDE, -1), np.reshape(kernel, (SIDE**2, HIDDEN)).T)
    return both[: 2 * SIDE, 2 * SIDE :].max(axis=1)


def test_contrastive_divergence_finds_the_bars():
    rbm = RBM(Convolution(), ZERO_ONE, BINARY, sparsity=0.1, sparsity_rate=1.0)
    lit = float(make_images().mean())
    start = {
        "kernel": make_kernel(),
        "bias": jnp.full(HIDDEN, -2.0),
        "visible": {"bias": jnp.full(SIDE**2, np.log(lit / (1 - lit)))},
    }
    assert nearest_kernel(start["kernel"]).max() < 0.6
    params = trained(rbm.loss, start, rate=0.1, steps=3000)
    assert nearest_kernel(params["kernel"]).min() > 0.9


def test_the_autoencoder_explains_95_percent_of_the_variance():
    layer = Autoencoder(Convolution(), jax.nn.relu, noise=0.0)
    params = trained(layer.loss, {"kernel": make_kernel()}, rate=0.2, steps=2000)
    images = make_images()
    error = jnp.mean((layer.reconstruct(params, images) - images) ** 2) / jnp.var(images)
    assert error < 0.05
