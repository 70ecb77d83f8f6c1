"""What is recorded of layers while they train, beside arithmetic."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from src import own
from src.training.layers import call_layers, make_layer_statistics
from src.weights import start

pytestmark = pytest.mark.slow
INPUTS = np.array([-3.0, -1.48, -1.46, 0.0, 0.5, 1.46, 1.48, 3.0])  # tanh 1.4722 is 0.9.


class TwoLayers(nn.Module):
    """Gives each pixel twice its value, then ten features of all that an activation makes of it."""

    activation: str
    conv: type[nn.Module] = nn.Conv
    last: Any = nn.Dense

    @nn.compact
    def __call__(self, x: jax.Array, keys: None = None) -> jax.Array:
        x = self.conv(1, (1, 1), kernel_init=nn.initializers.constant(2.0), name="conv1")(x)
        x = {"tanh": jnp.tanh, "relu": nn.relu}[self.activation](x)
        return self.last(10, name="fc10")(x.reshape(len(x), -1))


def measured(activation: str, opt_state=(), conv: type[nn.Module] = nn.Conv) -> dict[str, float]:
    """Of the inputs doubled, as two images of 2 x 2 pixels."""
    model, pixels = TwoLayers(activation, conv), jnp.asarray(INPUTS / 2, jnp.float32)
    pixels = pixels.reshape(2, 2, 2, 1)
    variables = jax.jit(model.init)(jax.random.key(0), pixels)
    found = jax.jit(make_layer_statistics(model, activation))(variables, opt_state, pixels)
    return {name: float(value) for name, value in found.items()}


def test_a_hidden_last_layer_takes_no_other_with_it():
    """One that stands within `nn.vmap`, here over the images."""
    last = nn.vmap(nn.Dense, variable_axes={"params": None}, split_rngs={"params": False})
    model = TwoLayers("relu", last=last)
    pixels = jnp.asarray(INPUTS / 2, jnp.float32).reshape(2, 2, 2, 1)
    variables = model.init(jax.random.key(0), pixels)
    found = make_layer_statistics(model, "relu")(variables, (), pixels)
    assert {name.partition("_")[0] for name in found} == {"conv1"}
    assert float(found["conv1_saturated"]) == 4 / 8


class OfOnesOwn(nn.Module):
    """A last layer whose weights are not called `kernel`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x @ self.param("weights", nn.initializers.ones, (x.shape[-1], 10))


def test_a_last_layer_may_call_its_weights_as_it_likes_and_no_network_need_say_its_activation():
    model = TwoLayers("tanh", last=lambda features, name: OfOnesOwn(name=name))
    pixels = jnp.asarray(INPUTS / 2, jnp.float32).reshape(2, 2, 2, 1)
    variables = model.init(jax.random.key(0), pixels)
    found = make_layer_statistics(model, None)(variables, (), pixels)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {"conv1_deviation": np.std(INPUTS)}
    )


class Transformer(nn.Module):
    """Patches, a table of positions in the network itself, and a head of any name."""

    head: str = "head"

    @nn.compact
    def __call__(self, images: jax.Array, keys: None = None) -> jax.Array:
        x = nn.Dense(4, name="patches")(images.reshape(len(images), 2, -1))
        x = nn.gelu(x + self.param("positions", nn.initializers.ones, (1, 2, 4)))
        return nn.Dense(10, name=self.head)(x.reshape(len(images), -1))


class Around(nn.Module):
    """The same within another module."""

    @nn.compact
    def __call__(self, images: jax.Array, keys: None = None) -> jax.Array:
        return Transformer(name="inner")(images)


class OwnHead(nn.Module):
    """Two layers and, behind them, weights of the network itself, or of a module around them."""

    inside: bool = False
    weights: str = "mine"

    @nn.compact
    def __call__(self, images: jax.Array, keys: None = None) -> jax.Array:
        if self.inside:
            return OwnHead(weights=self.weights, name="inner")(images)
        x = nn.relu(nn.Dense(8, name="fc1")(images.reshape(len(images), -1)))
        x = nn.relu(nn.Dense(6, name="fc2")(x))
        return x @ self.param(self.weights, nn.initializers.ones, (6, 10))


@pytest.mark.parametrize("weights", ["mine", "kernel"])
@pytest.mark.parametrize("inside", [False, True])
def test_weights_behind_the_layers_that_a_module_is_around_are_the_last(inside, weights):
    model = OwnHead(inside, weights)
    images = jax.random.normal(jax.random.key(0), (3, 4, 1, 1))
    variables = model.init(jax.random.key(1), images)
    found = make_layer_statistics(model, None)(variables, (), images)
    before = "inner." if inside else ""
    assert [*found] == [f"{before}fc1_deviation", f"{before}fc2_deviation"]
    assert start.last_layer(model, (4, 1, 1)) == ("inner" if inside else weights)
    if not (inside and weights == "kernel"):
        assert call_layers(model, variables, images, "input")[1][-1][1] is None


class Twice(nn.Module):
    """Its last layer is called before its second one, too."""

    @nn.compact
    def __call__(self, images: jax.Array, keys: None = None) -> jax.Array:
        first, last = nn.Dense(6, name="first"), nn.Dense(10, name="last")
        x = first(images.reshape(len(images), -1))
        guess = last(x)
        return last(x + nn.Dense(6, name="second")(guess))


def test_a_last_layer_that_is_called_before_too_is_not_measured_and_the_hidden_ones_are():
    images = jax.random.normal(jax.random.key(0), (3, 4, 1, 1))
    variables = Twice().init(jax.random.key(1), images)
    found = make_layer_statistics(Twice(), None)(variables, (), images)
    assert [*found] == ["first_deviation", "second_deviation"]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Transformer(), ["patches", "head"]),
        (Transformer("output"), ["patches", "output"]),
        (Transformer("input"), ["patches", "input"]),
        (Around(), ["inner/patches", "inner/head"]),
    ],
)
@pytest.mark.parametrize("kept", ["input", "output"])
def test_a_table_in_a_network_or_around_layers_is_no_layer(model, names, kept):
    images = jax.random.normal(jax.random.key(0), (3, 4, 1, 1))
    variables = model.init(jax.random.key(1), images)
    logits, layers = call_layers(model, variables, images, kept)
    assert [name for name, _ in layers] == names
    assert start.last_layer(model, (4, 1, 1)) == names[-1].split("/")[0]
    last = layers[-1][1]
    assert last.shape == {"input": (3, 8), "output": (3, 10)}[kept]
    if kept == "output":
        np.testing.assert_array_equal(last, logits)


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


def test_a_layer_inside_a_transformation_is_measured_as_one_outside():
    assert measured("tanh", conv=nn.remat(nn.Conv)) == measured("tanh")


def test_an_optimizer_with_momentum_for_some_layers_gives_their_steps():
    params = {layer: {"kernel": jnp.full((1, 1, 1, 1), 2.0)} for layer in ("conv1", "fc10")}
    found = {}
    for moved in params:
        labels = {layer: "moved" if layer == moved else "other" for layer in params}
        groups = {"moved": optax.trace(decay=0.9), "other": optax.sgd(0.1)}
        optimizer = optax.multi_transform(groups, labels)
        _, state = optimizer.update(params, optimizer.init(params))
        found[moved] = measured("tanh", state)
    assert found["conv1"]["conv1_step"] == 1
    assert "conv1_step" not in found["fc10"]


def test_each_group_of_parameters_has_a_velocity_of_its_own():
    params = {layer: {"kernel": jnp.full((1, 1, 1, 1), 2.0)} for layer in ("conv1", "fc10")}
    groups = {"conv1": optax.trace(decay=0.5), "fc10": optax.trace(decay=0.9)}
    optimizer = optax.multi_transform(groups, {layer: layer for layer in params})
    _, state = optimizer.update(params, optimizer.init(params))
    _, state = optimizer.update(params, state)
    assert measured("tanh", state)["conv1_step"] == 1.5  # 2 + 0.5 x 2 by a kernel of 2


def test_an_activation_that_mixes_channels_is_measured(monkeypatch):
    """The larger of each pair of channels goes on: of each pair of slopes one is 1, the other 0."""

    def larger(x: jax.Array) -> jax.Array:
        pairs = x.reshape(*x.shape[:-1], -1, 2)
        return jnp.where(pairs == pairs.max(axis=-1, keepdims=True), pairs, 0).reshape(x.shape)

    class Wide(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, keys: None = None) -> jax.Array:
            return nn.Dense(10)(larger(nn.Dense(6, name="fc1")(x)))

    monkeypatch.setattr(own, "find", lambda name: larger)
    images = jax.random.normal(jax.random.key(1), (5, 3))
    variables = Wide().init(jax.random.key(0), images)
    found = make_layer_statistics(Wide(), "configs.mine.larger")(variables, (), images)
    assert float(found["fc1_derivative"]) == float(found["fc1_saturated"]) == 0.5
