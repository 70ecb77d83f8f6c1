"""The step: its update rule against NumPy, its devices against one another."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from src.data.sources import DeviceSplit
from src.training import microbatches, objective, optimizers
from src.training import step as train_step
from src.training.step import TrainState

pytestmark = pytest.mark.usefixtures("compiled_alike")

BATCH, STEPS, CLASSES, SIZE = 16, 10, 5, 6
RATE = 0.05
Options = dict[str, Any]
RECIPE: Options = {"momentum": 0.9, "bias_rate": 2.0, "weight_decay": 5e-4}


def apply_fn(params: Any, pixels: jax.Array, keys: jax.Array | None) -> jax.Array:
    """Two layers, and noise of each example's own where there are keys, as dropout would be."""
    x = pixels.reshape(pixels.shape[0], -1)
    x = jnp.tanh(x @ params["fc1"]["kernel"] + params["fc1"]["bias"].reshape(1, -1))
    if keys is not None:
        x = x + 0.1 * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)
    return x @ params["fc2"]["kernel"] + params["fc2"]["bias"].reshape(1, -1)


def stateless(apply: Callable[..., Any]) -> Callable[..., Any]:
    """A network that keeps nothing beside its parameters."""
    return lambda params, model_state, pixels, keys: (apply(params, pixels, keys), {})


def make_params() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    sizes = {"fc1": (SIZE * SIZE * 3, 7), "fc2": (7, CLASSES)}
    return {
        name: {
            "kernel": rng.normal(0, 0.3, shape).astype(np.float32),
            "bias": rng.normal(0, 0.3, shape[1:]).astype(np.float32),
        }
        for name, shape in sizes.items()
    }


def make_images(count: int = 40) -> DeviceSplit:
    rng = np.random.default_rng(1)
    return DeviceSplit(
        rng.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8),
        rng.integers(0, CLASSES, count).astype(np.int32),
        np.full((1, 1, 1, 3), 120, np.float32),
        np.full((1, 1, 1, 3), 60, np.float32),
    )


def make_indices(steps: int = STEPS) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 40, (steps, BATCH))


def make_optimizer(
    rate: Any, momentum: float = 0.9, bias_rate: float = 2.0, weight_decay: float = 5e-4
) -> optax.GradientTransformation:
    recipe = optimizers.Recipe(momentum=momentum, bias_rate=bias_rate)
    return optimizers.make_optimizer(rate, recipe, weight_decay)


def run(
    parallel: str,
    devices: Sequence[jax.Device],
    *,
    calls: int = 1,
    steps: int = STEPS,
    apply: Callable[..., jax.Array] = apply_fn,
    data: DeviceSplit | None = None,
    rows: np.ndarray | None = None,
    **options: Any,
) -> tuple[TrainState, np.ndarray, np.ndarray]:
    """State, wrong and loss after `calls` dispatches of `steps` steps."""
    fn = train_step.across_devices(
        train_step.make_train_steps(stateless(apply), make_optimizer, **options),
        parallel,
        5,
        donate_state=True,
        devices=devices,
    )
    place = functools.partial(train_step.replicate, devices=devices)
    params = make_params()
    state = place(TrainState(jnp.int32(0), params, make_optimizer(0.0).init(params)))
    rate, key, data = place((jnp.float32(RATE), jax.random.key(3), data or make_images()))
    wrong, loss = [], []
    for indices in np.split(make_indices(calls * steps) if rows is None else rows, calls):
        state, errors = fn(state, train_step.split_batches(indices, devices), rate, key, data)
        wrong.append(np.asarray(errors.wrong))
        loss.append(np.asarray(errors.loss))
    return state, np.concatenate(wrong), np.concatenate(loss)


@pytest.mark.slow
def test_what_layers_keep_is_averaged_but_for_whole_numbers():
    """Two devices with images of 0 and of 1, after three steps of a network that counts them."""

    def counting(params: Any, kept: Any, pixels: jax.Array, keys: Any) -> Any:
        del keys
        after = {"steps": kept["steps"] + 1, "mean": pixels.mean()}
        return pixels[:, :CLASSES, 0, 0] * params["w"], after

    devices = jax.devices()[:2]
    images = np.zeros((BATCH, SIZE, SIZE, 3), np.uint8)
    images[BATCH // 2 :] = 1
    one = np.float32(1).reshape(1, 1, 1, 1)
    data = DeviceSplit(images, np.zeros(BATCH, np.int32), 0 * one, one)
    fn = train_step.across_devices(
        train_step.make_train_steps(counting, optax.sgd),
        "pmap",
        5,
        donate_state=True,
        devices=devices,
    )
    params = {"w": jnp.float32(1)}
    kept = {"steps": jnp.int32(7), "mean": jnp.float32(0)}
    state = TrainState(jnp.int32(0), params, optax.sgd(0.0).init(params), kept)
    state, rate, key, data = train_step.replicate(
        (state, jnp.float32(0.1), jax.random.key(0), data), devices
    )
    rows = train_step.split_batches(np.tile(np.arange(BATCH), (3, 1)), devices)
    after, _ = fn(state, rows, rate, key, data)
    assert after.model_state["steps"].dtype == jnp.int32
    assert jax.tree.map(float, after.model_state) == {"steps": 10, "mean": 0.5}


# --- The update rule. ---


@pytest.mark.slow
def test_absent_images_of_a_ragged_batch_count_for_nothing():
    """Ten images and copies of six are a batch of ten."""
    indices = make_indices(3)
    ragged = np.concatenate([indices[:, :10], ~indices[:, : BATCH - 10]], axis=1)
    ours = run("pmap", jax.devices()[:2], rows=ragged, ragged=True)
    theirs = run("pmap", jax.devices()[:1], rows=indices[:, :10])
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        ours[0].params,
        theirs[0].params,
    )


def test_copies_have_the_pixels_of_their_image_and_no_label():
    data = make_images()
    images, labels = train_step._fetch(jnp.array([2, 0, ~2, ~0]), data)
    np.testing.assert_array_equal(images, np.asarray(data.images)[[2, 0, 2, 0]])
    assert labels.tolist() == [int(data.labels[2]), int(data.labels[0]), -1, -1]


def velocities(params: dict, gradients: list[dict], rates: list[float], recipe: Options) -> dict:
    """v <- m v - rate (wd w + g); w <- w + v; biases at their own rate and without decay."""
    params = jax.tree.map(np.float64, params)
    velocity = jax.tree.map(np.zeros_like, params)
    for grads, rate in zip(gradients, rates, strict=True):
        for layer in params:
            for name in params[layer]:
                bias = name == "bias"
                step = rate * (recipe["bias_rate"] if bias else 1)
                decay = 0 if bias else recipe["weight_decay"]
                pull = decay * params[layer][name] + grads[layer][name]
                velocity[layer][name] = recipe["momentum"] * velocity[layer][name] - step * pull
                params[layer][name] = params[layer][name] + velocity[layer][name]
    return params


@pytest.mark.parametrize(
    "recipe", [RECIPE, {"momentum": 0.5, "bias_rate": 1.0, "weight_decay": 0.1}]
)
def test_the_update_is_the_papers_across_a_drop_of_the_rate(recipe):
    rng = np.random.default_rng(0)
    params = make_params()
    gradients = [
        jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
        for _ in range(12)
    ]
    rates = [0.05] * 6 + [0.005] * 6
    ours, state = params, make_optimizer(0.0, **recipe).init(params)
    for grads, rate in zip(gradients, rates, strict=True):
        optimizer = make_optimizer(rate, **recipe)
        updates, state = optimizer.update(grads, state, ours)
        ours = optax.apply_updates(ours, updates)
    expected = velocities(params, gradients, rates, recipe)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), ours, expected
    )


def test_adam_is_optax_adamw_whose_decay_spares_the_biases():
    rng = np.random.default_rng(0)
    ours = theirs = params = {"fc1": dict.fromkeys(("kernel", "bias"), np.ones(3, np.float32))}
    recipe = optimizers.Recipe(optimizer="adam", momentum=0.5)
    made = optimizers.make_optimizer(RATE, recipe, 0.1)
    decayed = {"fc1": {"kernel": True, "bias": False}}
    wanted = optax.adamw(RATE, b1=0.5, b2=0.999, weight_decay=0.1, mask=decayed)
    states = made.init(params), wanted.init(params)
    for _ in range(2):
        grads = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
        mine, other = made.update(grads, states[0], ours), wanted.update(grads, states[1], theirs)
        ours, theirs = optax.apply_updates(ours, mine[0]), optax.apply_updates(theirs, other[0])
        states = mine[1], other[1]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), ours, theirs)


@pytest.mark.slow
def test_one_step_is_the_mean_gradient_of_the_batch():
    """Loss and gradients by NumPy, for the softmax of a single layer."""

    def one_layer(params: Any, pixels: jax.Array, keys: jax.Array | None) -> jax.Array:
        del keys
        x = pixels.reshape(pixels.shape[0], -1)[:, :7]
        return x @ params["fc2"]["kernel"] + params["fc2"]["bias"].reshape(1, -1)

    state, wrong, loss = run("pmap", jax.devices(), steps=1, apply=one_layer)
    data, params, rows = make_images(), make_params(), make_indices(1)[0]
    x = ((data.images[rows].astype(np.float64) - 120) / 60).reshape(BATCH, -1)[:, :7]
    logits = x @ params["fc2"]["kernel"] + params["fc2"]["bias"]
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = data.labels[rows]
    grads = (softmax - np.eye(CLASSES)[labels]) / BATCH
    np.testing.assert_allclose(loss, [-np.log(softmax[range(BATCH), labels]).mean()], rtol=1e-5)
    np.testing.assert_array_equal(wrong, [np.sum(logits.argmax(axis=1) != labels)])
    decayed = 5e-4 * params["fc2"]["kernel"] + x.T @ grads
    after = jax.device_get(state.params)["fc2"]
    np.testing.assert_allclose(after["kernel"], params["fc2"]["kernel"] - RATE * decayed, rtol=1e-4)
    np.testing.assert_allclose(
        after["bias"], params["fc2"]["bias"] - 2 * RATE * grads.sum(axis=0), rtol=1e-4
    )


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    exponentials = np.exp(logits.astype(np.float64))
    shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    return float(-np.log(shares[np.arange(len(labels)), labels]).mean())


@pytest.mark.slow
def test_auxiliary_classifiers_weigh_three_tenths_and_the_main_one_is_recorded():
    rng = np.random.default_rng(0)
    labels = np.array([0, 2, 1, 2], np.int32)
    main, first, second = rng.normal(0, 2, (3, 4, 3)).astype(np.float32)
    main_loss, *others = (cross_entropy(x, labels) for x in (main, first, second))
    together, (loss, logits) = objective.losses(
        tuple(map(jnp.asarray, (main, first, second))), jnp.asarray(labels)
    )
    np.testing.assert_allclose(together, main_loss + 0.3 * sum(others), rtol=1e-5)
    np.testing.assert_allclose(loss, main_loss, rtol=1e-5)
    np.testing.assert_array_equal(logits, main)
    alone, (loss, logits) = objective.losses(jnp.asarray(main), jnp.asarray(labels))
    np.testing.assert_allclose([alone, loss], main_loss, rtol=1e-5)
    np.testing.assert_array_equal(logits, main)


# --- Devices. ---


@functools.cache
def after_ten_steps(parallel: str, devices: int) -> tuple[TrainState, np.ndarray, np.ndarray]:
    return run(parallel, jax.devices()[:devices])


@pytest.mark.slow
@pytest.mark.parametrize(("parallel", "devices"), [("shard_map", 8), ("pmap", 1), ("pmap", 2)])
def test_eight_devices_agree_with_one_and_pmap_with_shard_map(parallel, devices):
    """Random numbers included: they belong to the image's place in the global batch."""
    (state, wrong, loss), (other, wrong_too, loss_too) = (
        after_ten_steps("pmap", 8),
        after_ten_steps(parallel, devices),
    )
    assert int(state.step) == int(other.step) == STEPS
    np.testing.assert_array_equal(wrong, wrong_too)
    np.testing.assert_allclose(loss, loss_too, rtol=1e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        jax.device_get((state.params, state.opt_state)),
        jax.device_get((other.params, other.opt_state)),
    )
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), jax.device_get(state.params), make_params()
    )
    assert min(jax.tree.leaves(moved)) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["pmap", "shard_map"])
def test_a_batch_taken_in_parts_is_the_batch_taken_whole(parallel, monkeypatch):
    whole, wrong, loss = after_ten_steps("pmap", 1)
    monkeypatch.setattr(microbatches, "IMAGES_IN_CACHE", 4)
    state, wrong_too, loss_too = run(parallel, jax.devices()[:2])  # twice two parts of four images
    np.testing.assert_array_equal(wrong, wrong_too)
    np.testing.assert_allclose(loss, loss_too, rtol=1e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        jax.device_get(state.params),
        jax.device_get(whole.params),
    )


@pytest.mark.parametrize(
    ("images", "parts"), [(128, 8), (64, 4), (100, 10), (36, 3), (16, 1), (8, 1), (7, 1), (127, 1)]
)
def test_parts_are_equal_and_of_8_to_16_images_where_that_divides_the_batch(images, parts):
    assert microbatches.num_microbatches(images) == parts


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["pmap", "shard_map"])
def test_replicas_are_bit_equal(parallel):
    state, _, _ = after_ten_steps(parallel, 8)
    for leaf in jax.tree.leaves(state):
        replicas = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(replicas) == 8
        assert {replica.shape for replica in replicas} == {leaf.shape}
        assert len({replica.tobytes() for replica in replicas}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["pmap", "shard_map"])
def test_three_steps_trace_once(parallel):
    traces = []

    def counted(*arguments: Any) -> jax.Array:
        traces.append(1)
        return apply_fn(*arguments)

    run(parallel, jax.devices(), calls=1, steps=1, apply=counted)
    once = len(traces)
    run(parallel, jax.devices(), calls=3, steps=1, apply=counted)
    assert once > 0
    assert len(traces) == 2 * once


@pytest.mark.slow
def test_many_steps_in_one_dispatch_are_the_same_steps():
    state, wrong, loss = run("pmap", jax.devices(), calls=5, steps=2)
    whole, wrong_too, loss_too = after_ten_steps("pmap", 8)
    np.testing.assert_array_equal(wrong, wrong_too)
    np.testing.assert_allclose(loss, loss_too, rtol=1e-6)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        jax.device_get(state.params),
        jax.device_get(whole.params),
    )


@pytest.mark.slow
def test_each_step_and_image_has_random_numbers_of_its_own():
    """Augmentation that marks each image with its number shows them."""
    marks = []

    def augment(images: jax.Array, keys: jax.Array, *others: jax.Array) -> jax.Array:
        numbers = jax.vmap(lambda key: jax.random.bits(key, dtype=jnp.uint32))(keys)
        jax.debug.callback(lambda found: marks.append(np.asarray(found)), numbers)
        return images

    run("pmap", jax.devices(), steps=3, augment_fn=augment)
    jax.effects_barrier()
    eight = np.sort(np.concatenate(marks))
    assert len(set(eight.tolist())) == 3 * BATCH
    marks.clear()
    run("pmap", jax.devices()[:1], steps=3, augment_fn=augment)
    jax.effects_barrier()
    np.testing.assert_array_equal(np.sort(np.concatenate(marks)), eight)


# --- Testing. ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parallel", "devices", "at_once"),
    [("pmap", 8, 16), ("pmap", 1, 16), ("shard_map", 8, 16), ("pmap", 1, 4), ("shard_map", 2, 4)],
)
def test_errors_are_counted_once_per_image_with_an_uneven_last_batch(
    parallel, devices, at_once, monkeypatch
):
    monkeypatch.setattr(microbatches, "IMAGES_IN_CACHE", at_once)
    chosen = jax.devices()[:devices]
    count = train_step.across_devices(
        train_step.make_count_misses(lambda params, images: apply_fn(params, images, None)),
        parallel,
        3,
        donate_state=False,
        devices=chosen,
    )
    params, data = make_params(), make_images()
    rows = np.full((3, BATCH), -1)
    rows.ravel()[:40] = np.arange(40)  # two whole batches and half of one
    place = functools.partial(train_step.replicate, devices=chosen)
    wrong = count(place(params), train_step.split_batches(rows, chosen), place(data))
    x = ((data.images.astype(np.float64) - 120) / 60).reshape(40, -1)
    hidden = np.tanh(x @ params["fc1"]["kernel"] + params["fc1"]["bias"])
    logits = hidden @ params["fc2"]["kernel"] + params["fc2"]["bias"]
    expected = np.sum(logits.argmax(axis=1) != data.labels)
    np.testing.assert_array_equal(wrong, [expected, 0])  # five classes: none beyond the top 5


def test_a_batch_is_split_in_order():
    split = train_step.split_batches(np.arange(32).reshape(2, 16), jax.devices())
    assert split.shape == (2, 8, 2)
    np.testing.assert_array_equal(split[1, 3], [22, 23])
    for device, shard in enumerate(split.addressable_shards):
        assert shard.data.shape == (2, 1, 2)
        np.testing.assert_array_equal(shard.data[0, 0], [2 * device, 2 * device + 1])


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_trials_together_are_each_as_alone(devices):
    """Two trials of their own rate, key, parameters and images."""
    found = jax.devices()[:devices]
    place = functools.partial(train_step.replicate, devices=found)
    across = functools.partial(
        train_step.across_devices, parallel="pmap", arguments=5, donate_state=False, devices=found
    )
    train_steps = train_step.make_train_steps(stateless(apply_fn), make_optimizer)
    params = [jax.tree.map(lambda x, k=k: x * k, make_params()) for k in (1.0, 0.5)]
    states = [TrainState(jnp.int32(0), p, make_optimizer(0.0).init(p)) for p in params]
    rates, keys = jnp.asarray([RATE, RATE / 4]), jax.random.split(jax.random.key(3), 2)
    indices = np.stack([make_indices(), make_indices()[::-1]])
    split = [train_step.split_batches(one, found) for one in indices]
    both = across(train_step.trials_together(train_steps))(
        place(tuple(states)),
        jnp.stack(split, axis=3),
        place(rates),
        place(keys),
        place(make_images()),
    )
    for trial, mine in enumerate(zip(*both, strict=True)):
        alone = across(train_steps)(
            place(states[trial]),
            split[trial],
            place(rates[trial]),
            place(keys[trial]),
            place(make_images()),
        )
        for ours, wanted in zip(jax.tree.leaves(mine), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)
