"""Rates of biases and layers that change in mid-training; colours that end; shared crops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from src.data import augment
from src.data.augment import Augment
from src.fields import ConfigError, NamedNumbers
from src.training import optimizers
from src.training.optimizers import Recipe
from src.training.points import Grid
from src.training.schedule import Schedule
from src.training.settings import TrialSettings
from src.training.stages import Change, check_layers, make_stages

pytestmark = pytest.mark.usefixtures("compiled_alike")

PER_EPOCH = 2
MOMENTUM = 0.5


def iteration_of(epochs: float) -> int:
    return math.ceil(epochs * PER_EPOCH)


def as_run() -> Schedule:
    return Schedule(
        "steps",
        0.1,
        (1.0, 3.0),
        bias_boundaries=(2.0,),
        slowed=NamedNumbers({"conv1": 2.5}),
        frozen=NamedNumbers({"conv1": 4.0}),
    )


def test_biases_have_drops_of_their_own():
    """Weights fall at 2 and 6, biases at 4: beside the rate of all, 10 times, as it, 10 times."""
    stages = make_stages(as_run(), iteration_of)
    assert [c.iteration for c in stages.biases] == [2, 4, 6]
    assert [c.factor for c in stages.biases] == pytest.approx([10, 1, 10])
    assert stages.layers == {"conv1": (Change(5, 0.1),)}
    assert stages.frozen == {"conv1": 8}
    assert make_stages(Schedule("steps", 0.1, (1.0,)), iteration_of).biases == ()


@pytest.mark.parametrize("name", ["constant", "plateau"])
@pytest.mark.parametrize("boundaries", [(), (1.0, 3.0)])
def test_biases_have_drops_of_their_own_only_with_steps(name, boundaries):
    """Else the rate of all makes no drops at these epochs, and neither do biases."""
    schedule = Schedule(name, 0.1, boundaries, bias_boundaries=(2.0,))
    assert make_stages(schedule, iteration_of).biases == ()


@pytest.mark.parametrize(("name", "drops"), [("steps", [3, 8]), ("constant", []), ("plateau", [])])
def test_only_steps_are_points_of_the_grid(name, drops):
    """Epochs of 40 / 16 = 2.5 iterations: 1 epoch is over after 3 of them, 3 epochs after 8."""
    settings = TrialSettings(schedule=Schedule(name, 0.1, (1.0, 3.0)), batch_size=16)
    assert Grid(settings, 40).drops == drops


def test_updates_follow_the_stages_by_hand():
    """v <- m v - rate g with the rate of each parameter and iteration; frozen: no update at all."""
    params = {name: {"kernel": jnp.zeros(()), "bias": jnp.zeros(())} for name in ("conv1", "fc2")}
    gradients = jax.tree.map(jnp.ones_like, params)
    stages = make_stages(as_run(), iteration_of)
    recipe = Recipe(momentum=MOMENTUM, bias_rate=2.0)
    state = optimizers.make_optimizer(0.0, recipe, 0.0, stages).init(params)
    velocity = {(layer, kind): 0.0 for layer in params for kind in ("kernel", "bias")}
    for iteration in range(10):
        rate = 0.1 ** ((iteration >= 2) + (iteration >= 6))
        rates = {"kernel": rate, "bias": 2 * 0.1 ** (iteration >= 4)}
        optimizer = optimizers.make_optimizer(jnp.float32(rate), recipe, 0.0, stages)
        updates, state = optimizer.update(gradients, state, params)
        for (layer, kind), before in velocity.items():
            slowed = 0.1 if layer == "conv1" and iteration >= 5 else 1
            velocity[layer, kind] = MOMENTUM * before - rates[kind] * slowed
            frozen = layer == "conv1" and iteration >= 8
            expected = 0 if frozen else velocity[layer, kind]
            assert float(updates[layer][kind]) == pytest.approx(expected, rel=1e-5)


def test_without_stages_the_optimizer_has_the_state_it_had():
    params = {"fc2": {"kernel": jnp.zeros(3), "bias": jnp.zeros(3)}}
    stages = make_stages(Schedule("steps", 0.1, (1.0,)), iteration_of)
    plain, same = (
        optimizers.make_optimizer(0.1, Recipe(), 0.0, *more).init(params)
        for more in ((), (stages,))
    )
    assert jax.tree.structure(plain) == jax.tree.structure(same)
    assert not [x for x in jax.tree.leaves(plain) if x.dtype == jnp.int32]  # no count


def test_all_optimizers_take_stages():
    params = {"conv1": {"kernel": jnp.ones(3), "bias": jnp.ones(3)}}
    stages = make_stages(Schedule(frozen=NamedNumbers({"conv1": 0.5})), iteration_of)
    for name in ("sgd", "nesterov", "adam"):
        optimizer = optimizers.make_optimizer(0.1, Recipe(optimizer=name), 0.1, stages)
        state = optimizer.init(params)
        first, state = optimizer.update(params, state, params)
        second, _ = optimizer.update(params, state, params)
        assert float(jnp.abs(first["conv1"]["kernel"]).min()) > 0
        assert float(optax.tree.norm(second)) == 0


def test_layers_that_the_network_has_not_are_refused():
    params = {"conv1": {"kernel": 0}, "block": {"fc2": {"kernel": 0}}}
    check_layers(params, schedule__frozen=["conv1", "fc2", "block", "conv1/kernel"])
    with pytest.raises(ConfigError, match="conv1/bias: the network has no such layer"):
        check_layers(params, schedule__frozen=["conv1/bias"])
    with pytest.raises(
        ConfigError, match=r"config.schedule.frozen.conv9: .* 'conv1'\?; it has block, fc2, conv1"
    ):
        check_layers(params, schedule__slowed=["fc2"], schedule__frozen=["conv1", "conv9"])


# --- Images. ---

KEYS = jax.random.split(jax.random.key(0), 8)
SHARED = KEYS[jnp.arange(8) // 4 * 4]
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(1, 9, 9, 3)).astype(np.float32))
SAME = jnp.repeat(IMAGES, 8, axis=0)
COLOURS = np.diag([30.0, 20.0, 10.0]).astype(np.float32)


def test_colours_end_after_their_steps():
    fn = augment.make_augment_fn(Augment(pca=0.1), COLOURS, 5)
    changed, after = (fn(SAME, KEYS, KEYS, jnp.int32(step)) for step in (4, 5))
    assert np.abs(np.asarray(changed - SAME)).max() > 0.1
    np.testing.assert_array_equal(after, SAME)


@pytest.mark.slow
def test_shared_keys_share_crop_and_flip_and_nothing_else():
    fn = augment.make_augment_fn(Augment(crop=4, flip=True), COLOURS)
    found = np.asarray(fn(SAME, KEYS, SHARED, jnp.int32(0)))
    for group in (found[:4], found[4:]):
        np.testing.assert_array_equal(group, np.broadcast_to(group[:1], group.shape))
    assert np.abs(found[0] - found[4]).max() > 0
    for own in ({"noise": 1.0}, {"pca": 0.1}):
        fn = augment.make_augment_fn(Augment(**own), COLOURS)
        found = np.asarray(fn(SAME, KEYS, SHARED, jnp.int32(0)))
        assert np.abs(found[0] - found[1]).max() > 0.5
