"""A trial on its own compiled program: first parameters, splits, going on bit for bit."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src.errors import Stopped
from src.training import checkpoints, program, train
from src.training.program import Program
from tests import tiny
from tests.test_train import IMAGES, make_run

pytestmark = pytest.mark.usefixtures("compiled_alike")


def make_program(**changes: Any) -> Program:
    (arm,) = tiny.make_config(**changes).arms
    parallel = changes.get("parallel", "pmap")
    return Program(arm.settings, tiny.make_dataset(IMAGES), parallel)


@pytest.fixture(scope="module")
def tiny_program() -> Program:
    return make_program()


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_well")
def test_first_parameters_are_those_of_the_initializer_bit_for_bit(tiny_program):
    """They are compiled with less effort."""
    key = jax.random.fold_in(jax.random.key(7), program.INIT_STREAM)
    images = jnp.zeros((1, *tiny_program.input_shape))
    expected = jax.jit(tiny_program.model.init)(key, images)["params"]
    jax.tree.map(np.testing.assert_array_equal, tiny_program.start(7).params, expected)


@pytest.mark.slow
def test_held_out_images_are_the_last_and_are_not_trained_on():
    held_out = make_program(validation_images=10)
    data = tiny.make_dataset(IMAGES)
    assert held_out.num_images == 30
    np.testing.assert_array_equal(held_out.data["train"].images, data.train.images[:30])
    np.testing.assert_array_equal(held_out.data["validation"].images, data.train.images[30:])
    np.testing.assert_array_equal(held_out.data["validation"].labels, data.train.labels[30:])


def test_fewer_images_to_train_on_are_the_first():
    program = make_program(train_images=12, validation_images=10)
    data = tiny.make_dataset(IMAGES)
    np.testing.assert_array_equal(program.data["train"].images, data.train.images[:12])
    np.testing.assert_array_equal(program.data["validation"].images, data.train.images[30:])


# --- Stopping and going on. ---


def final_state(directory: Path, program: Program) -> Any:
    run = make_run(directory)
    like = {"state": program.start(0), **run.points.window}
    arrays, progress, _ = checkpoints.restore(directory / "checkpoints", like, run.of)
    return arrays, progress


@pytest.mark.slow
def test_a_resumed_trial_is_bit_identical_to_an_uninterrupted_one(tmp_path):
    """It stops twice, its newest checkpoint damaged once; images are augmented, the rate falls.

    Parameters, velocities and metrics are compared.
    """
    changes = {"augment__flip": True, "augment__translation": 2, "augment__pca": 0.1}
    changes |= {"schedule__name": "steps", "schedule__boundaries": (1.0, 2.0)}
    tiny_program = make_program(**changes)
    begin = functools.partial(make_run, **changes)
    whole = begin(tmp_path / "whole")
    expected = train.train_trial(whole, tiny_program)
    assert expected["iterations"] == 10
    directory = tmp_path / "stopped"
    complaints: list[str] = []
    for stop_after in (4, 2, 99):
        points = iter(range(1, 100))
        try:
            outcome = train.train_trial(
                begin(directory),
                tiny_program,
                should_stop=lambda n=stop_after, points=points: next(points) == n,
                on_complaint=complaints.append,
            )
        except Stopped:
            newest = max(
                int(p.name) for p in (directory / "checkpoints").iterdir() if p.name.isdigit()
            )
            if stop_after == 2:  # at iteration 6; the one before is of iteration 5
                path = directory / "checkpoints" / str(newest) / "progress.json"
                path.write_bytes(path.read_bytes()[:-9])
    assert len(complaints) == 1
    assert tiny.without_times(outcome) == tiny.without_times(expected)
    (arrays, progress), (wanted, wanted_progress) = (
        final_state(tmp_path / name, tiny_program) for name in ("stopped", "whole")
    )
    for ours, theirs in zip(jax.tree.leaves(arrays), jax.tree.leaves(wanted), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert int(arrays["state"].step) == 10
    for row, other in zip(progress["rows"], wanted_progress["rows"], strict=True):
        assert tiny.without_times(row) == tiny.without_times(other)


@pytest.mark.slow
def test_the_same_seed_twice_is_the_same_and_another_is_not(tiny_program):
    leaves = [
        np.concatenate(
            [np.ravel(leaf) for leaf in jax.tree.leaves(tiny_program.start(seed).params)]
        )
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(leaves[0], leaves[1])
    assert not np.array_equal(leaves[0], leaves[2])


@pytest.mark.slow
def test_the_error_of_a_split_counts_every_image_once(tiny_program):
    params = tiny_program.start(0).params
    data = tiny.make_dataset(IMAGES)
    images = data.test.images.astype(np.float64)
    mean = data.train.images.astype(np.float64).mean((0, 1, 2))
    std = data.train.images.astype(np.float64).std((0, 1, 2))
    pixels = jnp.asarray((images - mean) / std, jnp.float32)
    logits = jax.jit(tiny_program.model.apply)({"params": params}, pixels)
    wrong = np.sum(np.argmax(np.asarray(logits), axis=1) != data.test.labels)
    assert tiny_program.error({"params": params}, "test") == wrong / 24


@pytest.mark.slow
def test_a_test_takes_no_more_images_at_once_than_there_are(tiny_program, monkeypatch):
    """Forty of 40 and of 24 images alike: one program, and not padded to a thousand."""
    asked = []
    testing = tiny_program.source.testing

    def noted(split: str, batch: int, share: Any) -> Any:
        asked.append((split, batch))
        return testing(split, batch, share)

    monkeypatch.setattr(tiny_program.source, "testing", noted)
    for split in ("train", "test"):
        tiny_program.error(tiny_program.start(0).variables, split)
    assert asked == [("train", IMAGES), ("test", IMAGES)]


@pytest.mark.slow
def test_a_rate_and_a_seed_compile_nothing_new(tiny_program):
    tiny_program.prepare(0, 0.02, 1)
    compiled = dict(tiny_program._compiled)
    tiny_program.prepare(5, 0.08, 1)
    assert tiny_program._compiled == compiled


@pytest.mark.slow
def test_input_over_64_is_the_same_net_with_64_times_its_first_kernel():
    """Its rate is 64^2 times as large. Bit for bit, for 64 is a power of two."""
    twelve = np.tile(np.arange(12), (2, 2))[:, :16]
    states = []
    for recipe in (
        {"input": "centered"},
        {"input": "scaled", "layer_rates": {"conv1/kernel": 4096.0}},
    ):
        changes = {f"recipes__modern__{name}": value for name, value in recipe.items()}
        one = make_program(model__activation="tanh", batch_size=16, **changes)
        state = one.start(5)
        kernel = state.params["conv1"]["kernel"] * (64 if recipe["input"] == "scaled" else 1)
        params = {**state.params, "conv1": {**state.params["conv1"], "kernel": kernel / 256}}
        after, _ = one.prepare(5, 0.01, 2)(state._replace(params=params), lambda _: iter([twelve]))
        states.append(jax.device_get(after.params))
    raw, scaled = states
    np.testing.assert_array_equal(raw["conv1"]["kernel"] * 64, scaled["conv1"]["kernel"])
    np.testing.assert_array_equal(raw["conv3"]["kernel"], scaled["conv3"]["kernel"])
