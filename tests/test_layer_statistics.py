"""What is recorded of layers while they train, beside arithmetic."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from src.training.layers import make_layer_statistics

pytestmark = pytest.mark.slow
INPUTS = np.array([-3.0, -1.48, -1.46, 0.0, 0.5, 1.46, 1.48, 3.0])  # tanh 1.4722 is 0.9.


class TwoLayers(nn.Module):
    """Gives each pixel twice its value, then ten features of all that an activation makes of it."""

    activation: str

    @nn.compact
    def __call__(self, x: jax.Array, keys: None = None) -> jax.Array:
        x = nn.Conv(1, (1, 1), kernel_init=nn.initializers.constant(2.0), name="conv1")(x)
        x = {"tanh": jnp.tanh, "relu": nn.relu}[self.activation](x)
        return nn.Dense(10, name="fc10")(x.reshape(len(x), -1))


def measured(activation: str, opt_state=()) -> dict[str, float]:
    """Of the inputs doubled, as two images of 2 x 2 pixels."""
    model, pixels = TwoLayers(activation), jnp.asarray(INPUTS / 2, jnp.float32)
    pixels = pixels.reshape(2, 2, 2, 1)
    variables = jax.jit(model.init)(jax.random.key(0), pixels)
    found = jax.jit(make_layer_statistics(model, activation))(variables, opt_state, pixels)
    return {name: float(value) for name, value in found.items()}


def test_units_of_tanh_are_saturated_beyond_nine_tenths():
    slopes = 1 / np.cosh(INPUTS) ** 2
    assert measured("tanh") == pytest.approx(
        {
            "conv1_deviation": np.std(INPUTS),
            "conv1_saturated": 4 / 8,
            "conv1_derivative": slopes.mean(),
        },
        rel=1e-5,
    )


def test_units_of_relu_are_saturated_where_they_are_zero():
    found = measured("relu")
    assert found["conv1_saturated"] == 4 / 8
    assert found["conv1_derivative"] == 4 / 8


def test_a_step_is_the_newest_update_by_the_weights():
    """The velocity 0.9 v + g of two gradients of 0.1 and 0.3, for a kernel of 2."""
    params = {"conv1": {"kernel": jnp.full((1, 1, 1, 1), 2.0)}}
    momentum = optax.trace(decay=0.9)
    state = momentum.init(params)
    for gradient in (0.1, 0.3):
        gradients = jax.tree.map(lambda leaf, g=gradient: jnp.full_like(leaf, g), params)
        _, state = momentum.update(gradients, state)
    assert measured("tanh", (state,))["conv1_step"] == pytest.approx((0.9 * 0.1 + 0.3) / 2)
