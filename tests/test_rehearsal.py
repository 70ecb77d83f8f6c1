"""Networks and optimizers of one's own are tried first: each mistake has its line."""

import importlib
import re

import pytest

import configs
from src.config.checks import check_data
from src.fields import ConfigError
from src.models import make_model, rehearsal
from src.training.optimizers import check_optimizer
from tests import tiny

pytestmark = pytest.mark.usefixtures("compiled_fast")
SHAPE = (8, 8, 3)
NETWORK = """
import sys, time
import flax.linen as nn, jax, jax.numpy as jnp, numpy as np

class Net(nn.Module):
    num_classes: int
    drop: float = 0.5

    @nn.compact
    def __call__(self, images, keys=None):
        x = nn.Conv(4, (3, 3), name="conv1")(images)
        x = nn.BatchNorm(use_running_average=keys is None, name="norm1")(x)
        x = nn.Dropout(self.drop, deterministic=keys is None)(nn.relu(x))
        x = nn.Dense(self.num_classes, name="fc2")(x.reshape(len(x), -1))
"""


def defined(tmp_path, monkeypatch, text: str) -> str:
    """The module of a config file with this text."""
    name = f"rehearsed_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr("configs.__path__", [*configs.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    return f"configs.{name}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("return x", ""),
        ("print('a word'); return x", ""),
        ("self.variable('noise', 'key', lambda: jax.random.key(7)); return x", ""),
        ("return (x, x) if keys is not None else x", ""),  # auxiliary classifiers
        ("return (x, x) if keys is not None or self.is_initializing() else x", ""),
        ("return x, x", "while testing it must return logits alone; it returns a tuple"),
        ("return [x] if not self.is_initializing() else x", "it returns a list"),
        ("return x.astype(int)", "makes logits of int32; float32 is needed"),
        ("return x.astype(jnp.bfloat16)", "makes logits of bfloat16"),
        ("return jnp.log(-jnp.abs(x) - 1)", "infinities or NaN"),
        ("return x - 9 * x.mean(0, keepdims=True)", "depend on the other images"),
        ("return x[::-1]", "depend on the other images"),
        ("return x + np.random.normal()", "other logits of the same images each time"),
        ("return x * self.param('w', lambda key: np.random.normal(size=()))", "other weights each"),
        ("return x + self.param('w', lambda key: [jnp.zeros(())])[0]", "'w'.* lie in a list: give"),
        ("return x + nn.Dense(10, param_dtype='float16')(x)", "of float16; float32 is needed"),
        ("return x + self.param('n', lambda key: jnp.zeros((), int))", "'n'.* is of int32; fl"),
        ("return x if keys is None else x[:, 0]", "while training, it makes logits \\[4\\]"),
        ("return x if keys is None else x.undefined", "no attribute undefined"),
        ("return nn.Dropout(0.5, deterministic=keys is None, rng_collection='my')(x)", "PRNG"),
        ("return x if keys is None else jnp.sqrt(x * 0)", "gradient is infinite or NaN"),
        ("sys.exit(7)", "SystemExit: 7"),
        ("raise ValueError('my own words')", "my own words"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_network(tmp_path, monkeypatch, last, message):
    module = defined(tmp_path, monkeypatch, f"{NETWORK}        {last}\n")
    model = make_model(f"{module}.Net", activation="relu", init_scheme="modern", num_classes=10)
    found = rehearsal.fault(model, SHAPE)
    assert "\n" not in found
    assert re.search(message, found) if message else found == "", found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("n.value + 1", ""),
        ("n.value + 0.5", "while training, it makes seen of other names, shapes or types"),
        ("jnp.zeros(len(x), int)", "while training, it makes seen of other names, shapes or"),
        ("(n.value, n.value)", "while training, it makes seen of other names, shapes or types"),
    ],
)
def test_what_a_network_keeps_must_stay_of_one_kind(tmp_path, monkeypatch, change, message):
    text = (
        NETWORK.partition("        x = nn.Conv")[0]
        + f"""
        x = nn.Dense(self.num_classes, name="fc")(images.reshape(len(images), -1))
        n = self.variable("seen", "batches", lambda: jnp.int32(0))
        if keys is not None:
            n.value = {change}
        return x
"""
    )
    module = defined(tmp_path, monkeypatch, text)
    model = make_model(f"{module}.Net", activation="relu", init_scheme="modern", num_classes=5)
    assert rehearsal.fault(model, SHAPE)[: len(message) or None] == message


@pytest.mark.slow
def test_a_network_without_parameters(tmp_path, monkeypatch):
    text = NETWORK.partition("        x = nn.Conv")[0] + "        return images[:, 0, :5, 0]\n"
    module = defined(tmp_path, monkeypatch, text)
    model = make_model(f"{module}.Net", activation="relu", init_scheme="modern", num_classes=5)
    assert "nothing to train" in rehearsal.fault(model, SHAPE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("return optax.scale(-learning_rate)", ""),
        ("return optax.sgd(learning_rate, momentum=recipe.momentum)", ""),
        ("return optax.adamw(learning_rate)", ""),
        ("return optax.scale(-learning_rate if learning_rate > 0 else 0)", "TracerBoolConversion"),
        ("return optax.scale(float(-learning_rate))", "Concret"),
        ("return optax.scale(np.inf)", "infinite or NaN"),
        ("return optax.adaam(learning_rate)", "no attribute 'adaam'"),
        ("return recipe.momentun", "no attribute 'momentun'"),
        ("return learning_rate", "returns float, not an optax.GradientTransformation"),
        ("pass", "returns NoneType"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("return optax.stateless(lambda g, p: jax.tree.map(lambda x: x.sum(), g))", "shapes"),
        ("return optax.stateless(lambda g, p: jax.tree.map(lambda x: x.astype('int32'), g))",
         "shapes and types"),
    ],
)  # fmt: skip
def test_each_mistake_in_an_optimizer(tmp_path, monkeypatch, text, message):
    head = "import jax, numpy as np, optax\ndef mine(learning_rate, recipe):\n    "
    name = f"{defined(tmp_path, monkeypatch, head + text)}.mine"
    if not message:
        check_optimizer(name, "recipes.mine.optimizer")
        return
    with pytest.raises(ConfigError, match=message) as error:
        check_optimizer(name, "recipes.mine.optimizer")
    assert "\n" not in str(error.value)


def test_an_optimizer_that_is_not_there(tmp_path, monkeypatch):
    module = defined(tmp_path, monkeypatch, "import sys\nsys.exit(7)\n")
    with pytest.raises(ConfigError, match=r"sys\.exit|SystemExit: 7"):
        check_optimizer(f"{module}.mine", "recipes.mine.optimizer")


OF_ONE_LAYER = """
import jax, optax
def mine(learning_rate, recipe):
    return optax.masked(optax.sgd(learning_rate), {"conv1": True})
"""
OF_SMALL_BIASES = """
import jax, optax
def mine(learning_rate, recipe):
    return optax.stateless(
        lambda g, p: jax.tree.map(lambda x: x if x.shape != (10,) else x.astype("bfloat16"), g)
    )
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OF_ONE_LAYER, r"conv2.*: ValueError"),
        (OF_SMALL_BIASES, "fc10.*: its updates are not"),
    ],
)
def test_an_optimizer_is_tried_on_the_parameters_of_each_network(
    tmp_path, monkeypatch, text, message
):
    """By itself it is tried on a small layer called conv1, for which these are right."""
    name = f"{defined(tmp_path, monkeypatch, text)}.mine"
    config = tiny.make_config(recipes__modern__optimizer=name)
    with pytest.raises(ConfigError, match=f"mine' fails on the parameters .*{message}"):
        check_data(config.arms, (32, 32, 3), 64)
    check_data(tiny.make_config(recipes__modern__optimizer="adam").arms, (32, 32, 3), 64)
