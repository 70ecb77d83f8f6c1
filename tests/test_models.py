"""The four-layer networks: sizes by arithmetic, values by an independent network in PyTorch."""

import functools
import importlib
import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import configs
from src import models
from src.models import four_layer

pytestmark = pytest.mark.usefixtures("compiled_alike")

IMAGES = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
# Kernels by the layer files: shape, standard deviation; every bias has the width of its layer.
KERNELS = {
    "conv3": {
        "conv1": ((5, 5, 3, 32), 1e-4),
        "conv2": ((5, 5, 32, 32), 0.01),
        "conv3": ((5, 5, 32, 64), 0.01),
        "fc10": ((4 * 4 * 64, 10), 0.01),
    },
    "conv3_fc64": {
        "conv1": ((5, 5, 3, 32), 1e-4),
        "conv2": ((5, 5, 32, 32), 0.01),
        "conv3": ((5, 5, 32, 64), 0.01),
        "fc64": ((4 * 4 * 64, 64), 0.1),
        "fc10": ((64, 10), 0.1),
    },
    "quick": {
        "conv1": ((5, 5, 3, 32), 1e-4),
        "conv2": ((5, 5, 32, 32), 0.01),
        "conv3": ((5, 5, 32, 64), 0.01),
        "fc64": ((4 * 4 * 64, 64), 0.1),
        "fc10": ((64, 10), 0.1),
    },
    "conv2_local2": {
        "conv1": ((5, 5, 3, 64), 1e-4),
        "conv2": ((5, 5, 64, 64), 0.01),
        "local3": ((8, 8, 9 * 64, 32), 0.04),
        "local4": ((8, 8, 9 * 32, 32), 0.04),
        "fc10": ((8 * 8 * 32, 10), 0.01),
    },
}
PARAMETERS = {  # weights + biases, layer by layer
    "conv3": (75 * 32 + 32) + (25 * 32 * 32 + 32) + (25 * 32 * 64 + 64) + (1024 * 10 + 10),
    "conv3_fc64": (75 * 32 + 32)
    + (25 * 32 * 32 + 32)
    + (25 * 32 * 64 + 64)
    + (1024 * 64 + 64)
    + (64 * 10 + 10),
    "quick": (75 * 32 + 32)
    + (25 * 32 * 32 + 32)
    + (25 * 32 * 64 + 64)
    + (1024 * 64 + 64)
    + (64 * 10 + 10),
    "conv2_local2": (75 * 64 + 64)
    + (25 * 64 * 64 + 64)
    + 64 * (9 * 64 * 32 + 32)
    + 64 * (9 * 32 * 32 + 32)
    + (2048 * 10 + 10),
}


def make(
    name: str, activation: str = "relu", init: str = "paper", classes: int = 10, **options: str
) -> nn.Module:
    given = {"activation": activation, "init_scheme": init, "num_classes": classes}
    return models.make_model(name, **given, **options)


def shapes(model: nn.Module) -> Mapping:
    return jax.tree.map(jnp.shape, jax.eval_shape(model.init, jax.random.key(0), IMAGES)["params"])


@functools.cache
def params_of(name: str, activation: str, init: str) -> Mapping:
    start = jax.jit(make(name, activation, init).init)
    return start(jax.random.key(1), jnp.zeros(IMAGES.shape))["params"]


# --- Sizes. ---


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_shapes_and_parameters_by_arithmetic(name):
    found = shapes(make(name))
    assert {layer: found[layer]["kernel"] for layer in found} == {
        layer: shape for layer, (shape, _) in KERNELS[name].items()
    }
    sizes = [math.prod(s) for s in jax.tree.leaves(found, is_leaf=lambda s: isinstance(s, tuple))]
    assert sum(sizes) == PARAMETERS[name]


def test_the_counts_that_the_layer_files_give():
    assert PARAMETERS["conv3"] == 89_578
    assert PARAMETERS["conv3_fc64"] == 145_578


@pytest.mark.parametrize("name", KERNELS)
def test_one_logit_per_class(name):
    model = make(name, classes=100)
    logits, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), IMAGES)
    assert logits.shape == (2, 100)
    assert logits.dtype == jnp.float32


# --- Initialization. ---


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_the_paper_recipe_begins_with_the_deviations_of_the_layer_files(name):
    params = params_of(name, "relu", "paper")
    for layer, (_, std) in KERNELS[name].items():
        kernel = np.asarray(params[layer]["kernel"])
        tolerance = 5 / math.sqrt(2 * kernel.size)  # five standard errors
        np.testing.assert_allclose(kernel.std(), std, rtol=tolerance)
        assert abs(kernel.mean()) < 5 * std / math.sqrt(kernel.size)
        np.testing.assert_array_equal(params[layer]["bias"], 0)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_modern_recipe_begins_with_he_for_relu_and_glorot_for_tanh(activation):
    """A local layer counts the inputs of one place, and Glorot stands before the logits."""
    params = params_of("conv2_local2", activation, "modern")
    fans = {"conv1": (75, 25 * 64), "conv2": (25 * 64, 25 * 64), "fc10": (2048, 10)}
    fans |= {"local3": (9 * 64, 32), "local4": (9 * 32, 32)}
    for layer, (inputs, outputs) in fans.items():
        he = activation == "relu" and layer != "fc10"
        std = math.sqrt(2 / inputs) if he else math.sqrt(2 / (inputs + outputs))
        kernel = np.asarray(params[layer]["kernel"])
        np.testing.assert_allclose(kernel.std(), std, rtol=5 / math.sqrt(2 * kernel.size))
        np.testing.assert_array_equal(params[layer]["bias"], 0)


# --- Activations. ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # conv3 pools before its first activation and after the others; conv2_local2 after both
        ("conv3", [(16, 16, 32), (16, 16, 32), (8, 8, 64)]),
        ("conv3_fc64", [(16, 16, 32), (16, 16, 32), (8, 8, 64), (64,)]),
        ("quick", [(16, 16, 32), (16, 16, 32), (8, 8, 64)]),  # none between its last layers
        ("conv2_local2", [(32, 32, 64), (16, 16, 64), (8, 8, 32), (8, 8, 32)]),
    ],
)
def test_the_activation_reaches_every_hidden_layer_at_its_place(monkeypatch, name, expected):
    seen: list[tuple[int, ...]] = []

    def double(x: jax.Array) -> jax.Array:
        seen.append(x.shape[1:])
        return jnp.tanh(x)

    monkeypatch.setattr(four_layer, "get_activation", lambda name: double)
    jax.eval_shape(make(name).init, jax.random.key(0), IMAGES)
    assert seen == expected


@pytest.mark.parametrize("name", KERNELS)
def test_a_network_of_tanh_holds_no_other_nonlinearity_but_its_pools(name):
    model = make(name, "tanh")
    params = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    text = str(jax.make_jaxpr(model.apply)(params, IMAGES))
    layers = len(KERNELS[name]) - (2 if name == "quick" else 1)
    assert text.count(" tanh ") == layers
    for other in (" logistic ", " exp ", " erf "):
        assert other not in text


@pytest.mark.slow
def test_activations_by_name_are_those_of_jax_nn_and_keep_the_shape():
    x = jnp.linspace(-3, 3, 13)
    for name in models.ACTIVATION_NAMES:
        fn = models.get_activation(name)
        assert fn(x).shape == x.shape
        if name != "scaled_tanh":
            assert fn is getattr(jax.nn, name)


def test_activations_by_arithmetic():
    x = np.linspace(-4, 4, 17, dtype=np.float32)
    for name, expected in [
        ("relu", np.maximum(x, 0)),
        ("tanh", (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)),
        ("sigmoid", 1 / (1 + np.exp(-x))),
        ("scaled_tanh", 1.7159 * np.tanh(2 * x / 3)),
        ("softplus", np.log(1 + np.exp(x))),
    ]:
        np.testing.assert_allclose(models.get_activation(name)(jnp.asarray(x)), expected, atol=1e-5)


def test_scaled_tanh_maps_one_to_one():
    value = models.get_activation("scaled_tanh")(jnp.asarray([1.0, -1.0]))
    np.testing.assert_allclose(value, [1, -1], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rellu", "did you mean 'relu'"),
        ("than", "did you mean 'tanh'"),
        ("scaled-tanh", "did you mean 'scaled_tanh'"),
        ("xyz", "known are .*relu.*scaled_tanh"),
        ("softmax", "unknown activation"),  # It is in jax.nn, but mixes the numbers.
        ("initializers", "unknown activation"),  # It is in jax.nn, but is no function.
        ("", "unknown activation"),
        ("configs.nowhere.f", "No module named 'configs.nowhere'; a function of configs/NAME.py"),
        ("configs.base.relu", "no attribute 'relu'"),
        ("configs.base.ConfigDict", "ConfigDict is not something that configs.base defines"),
    ],
)
def test_an_unknown_activation_comes_with_the_nearest(name, message):
    with pytest.raises(ValueError, match=message):
        models.get_activation(name)


def test_unknown_models_and_options_are_refused():
    with pytest.raises(ValueError, match="unknown model 'conv33'; did you mean 'conv3'"):
        make("conv33")
    with pytest.raises(ValueError, match="conv3 has no option 'dropout'"):
        models.make_model(
            "conv3", activation="relu", init_scheme="paper", num_classes=10, dropout=0.5
        )


# --- The same network in PyTorch. ---


def recipe_images(recipe: str) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.float32)
    if recipe == "paper":
        return pixels - pixels.mean(axis=0, keepdims=True)
    return (pixels - pixels.mean((0, 1, 2), keepdims=True)) / pixels.std((0, 1, 2), keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "name", "activation", "lrn"),
    [
        ("paper", "conv3", "relu", "none"),
        ("paper", "conv3", "tanh", "none"),
        ("paper", "conv3", "relu", "within"),
        ("modern", "conv3", "relu", "none"),
        ("modern", "conv3_fc64", "tanh", "none"),
        ("modern", "quick", "relu", "none"),
    ],
)
def test_pytorch_gives_the_same_logits_and_gradients(recipe, name, activation, lrn):
    torch_nets = pytest.importorskip("tests.torch_nets")
    params = params_of(name, activation, recipe)
    if recipe == "paper":  # as after some training: at the start all logits are nearly equal
        first = {**params["conv1"], "kernel": 30 * params["conv1"]["kernel"]}
        params = {**params, "conv1": first}
    model = make(name, activation, recipe, lrn=lrn)
    forward = functools.partial(torch_nets.conv3, name=name, activation=activation, lrn=lrn)
    torch_nets.check_same(model, params, recipe_images(recipe), forward)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(x): return jax.nn.rellu(x)", "has no attribute 'rellu'"),
        ("def f(x) return x", "line 2: expected ':'"),
        ("def f(x): raise KeyError('a')", "KeyError: 'a'"),
        ("def f(x): pass", "returns NoneType"),
        ("def f(x): raise SystemExit(7)", "SystemExit: 7"),
        ("def f(x, y): return x", "missing 1 required positional argument: 'y'"),
        ("def f(x): return x if x > 0 else 0 * x", "truth value"),
        ("def f(x): return x > 0", "of bool: keep the type"),
        ("def f(x): return x.astype(int)", "of int32: keep the type"),
        ("def f(x): return x[:1]", "keep the shape"),
        ("def f(x): return jnp.log(x)", "infinities or NaN"),
        ("def f(x): return x - x.mean(0, keepdims=True)", "depends on the other images"),
        ("def f(x): return x / (1 + jnp.abs(x).max())", "depends on the other images"),
        ("def f(x): return x / x.std()", "depends on the other images"),
        ("def f(x): return x / jnp.linalg.norm(x)", "depends on the other images"),
        ("c = []\ndef f(x): c.append(1); return x * len(c)", "it makes others each time"),
        ("class f: pass", "not a function that the file defines"),
        ("from jax.nn import relu as f", "not something that configs.* defines"),
        ("g = 1", "has no attribute 'f'"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_each_mistake_in_an_activation_of_ones_own_has_its_line(
    tmp_path, monkeypatch, text, message
):
    name = own_file(tmp_path, monkeypatch, text)
    with pytest.raises(ValueError, match=message) as error:
        models.get_activation(name)
    assert "\n" not in str(error.value)


def own_file(tmp_path, monkeypatch, text: str) -> str:
    """The name of `f` in a config file with this text."""
    name = f"mine_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(f"import jax, jax.numpy as jnp\n{text}\n")
    monkeypatch.setattr("configs.__path__", [*configs.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    return f"configs.{name}.f"


@pytest.mark.parametrize(
    "text",
    [
        "import functools\nf = functools.partial(jax.nn.leaky_relu, negative_slope=0.5)",
        "class Leaky:\n    def __call__(self, x): return jax.nn.leaky_relu(x, 0.5)\nf = Leaky()",
        "f = jax.jit(lambda x: jax.nn.leaky_relu(x, 0.5))",
    ],
)
def test_an_activation_of_ones_own_may_be_made_in_any_way(tmp_path, monkeypatch, text):
    found = models.get_activation(own_file(tmp_path, monkeypatch, text))
    np.testing.assert_allclose(found(jnp.array([-2.0, 3.0])), [-1.0, 3.0])
