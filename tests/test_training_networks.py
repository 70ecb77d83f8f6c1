"""Every kind of network trains through the same program, and on eight devices as on one.

The step of each network is lowered in test_lowering.py.
"""

import jax
import numpy as np
import pytest

from src import models
from src.models.registry import NETWORKS
from src.training.program import Program
from src.training.settings import TrialSettings
from src.training.step import StepErrors, TrainState
from tests import tiny

STEPS, BATCH = 2, 16
# The smallest images that a network takes, where these are not of 32 pixels.
SIZES = {
    "alexnet": 67,
    "alexnet_2012": 64,
    "alexnet_cifar": 8,
    "googlenet_cifar": 8,
    "lenet5_modern": 16,
}
SIZES |= dict.fromkeys(("conv3", "conv3_fc64", "conv2_local2"), 8)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_fast")]
# With these every operation that a network has; the others have more layers of them.
KINDS = (
    "conv3", "quick", "conv2_local2", "lenet5", "lenet5_modern", "alexnet", "alexnet_2012",
    "alexnet_cifar", "vgg11_cifar", "googlenet_cifar",
)  # fmt: skip


def train(program: Program, state: TrainState) -> tuple[TrainState, StepErrors]:
    program.start = lambda seed: state  # not compiled again
    step_fn = program.prepare(0, 0.02, STEPS)
    return step_fn(state, lambda steps: iter([np.tile(np.arange(BATCH), (steps, 1))]))


def begin(program: Program) -> TrainState:
    """A state without the program's own initializers, which take long to compile."""
    shapes = jax.eval_shape(program._first_state, np.int32(0))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return zeros._replace(params=tiny.draw_params(program.model, program.input_shape[0]))


def settings_of(name: str) -> TrialSettings:
    narrow = {"width": 0.0625} if "width" in models.model_options(name) else {}
    config = tiny.make_config(
        model__name=name,
        model__activation="tanh",  # Some of so few ReLUs would be dead, and never learn.
        model_options={name: narrow},
        batch_size=BATCH,
    )
    return config.arms[0].settings


def test_no_kind_of_network_is_left_out():
    assert {NETWORKS[name].module for name in KINDS} == {net.module for net in NETWORKS.values()}


@pytest.mark.parametrize("name", KINDS)
def test_a_network_trains_on_eight_devices_as_on_one(monkeypatch, name):
    dataset = tiny.make_dataset(BATCH, 8, size=SIZES.get(name, 32))
    program, devices = Program(settings_of(name), dataset), jax.devices()
    assert len(program.devices) == 8
    begun = begin(program)
    many, errors = jax.device_get(train(program, begun))
    monkeypatch.setattr(jax, "devices", lambda: devices[:1])
    one, others = jax.device_get(train(Program(settings_of(name), dataset), begun))
    np.testing.assert_array_equal(errors.wrong, others.wrong)
    np.testing.assert_allclose(errors.loss, others.loss, rtol=1e-4)
    leaves = zip(*(jax.tree.leaves(s.params) for s in (begun, many, one)), strict=True)
    for before, ours, theirs in leaves:
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        assert np.any(ours != before)
