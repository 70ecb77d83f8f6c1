"""Augmentation: each operation against NumPy at the same draws, and all of them in the step."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src.config import checks
from src.data import Split, augment
from src.data.augment import Augment
from src.data.scaling import colour_components, sum_images
from src.fields import ConfigError
from src.training.program import Program
from tests import tiny
from tests.test_train_step import make_images, run

pytestmark = pytest.mark.usefixtures("compiled_alike")

KEY = jax.random.key(7)
KEYS = jax.random.split(KEY, 400)
GREY = np.eye(3, dtype=np.float32)
NOW = jnp.int32(0)


def make_batch(count: int = 400, height: int = 6, width: int = 8) -> jax.Array:
    images = np.random.default_rng(0).integers(-120, 130, (count, height, width, 3))
    return jnp.asarray(images, jnp.float32)


def test_off_by_default():
    assert augment.make_augment_fn(Augment(), GREY) is None


# --- Places. ---


@pytest.mark.slow
def test_translation_by_every_shift_and_zeros_move_in():
    images = make_batch(height=8)
    moved = jax.vmap(functools.partial(augment.translate, pixels=2))(images, KEYS)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    seen = set()
    for before, after in zip(padded, np.asarray(moved), strict=True):
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(after, before[top : top + 8, left : left + 8])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 25


@pytest.mark.slow
def test_crops_from_every_place_inside():
    images = make_batch()  # 6 x 8: a crop of 5 has 2 x 4 places
    cropped = jax.vmap(functools.partial(augment.random_crop, size=5))(images, KEYS)
    seen = []
    for before, after in zip(images, np.asarray(cropped), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(before, (5, 5, 3))[:, :, 0]
        same = np.argwhere((windows == np.asarray(after)).all(axis=(2, 3, 4)))
        assert len(same) == 1
        seen.append(tuple(same[0]))
    counts = [seen.count((top, left)) for top in range(2) for left in range(4)]
    assert sum(counts) == 400
    assert min(counts) > 50 - 4 * np.sqrt(400 * 1 / 8 * 7 / 8)  # four deviations of the binomial


def test_a_crop_of_the_whole_image_is_the_image():
    image = make_batch(1, 6, 6)[0]
    np.testing.assert_array_equal(augment.random_crop(image, KEY, 6), image)


def test_half_of_the_images_are_mirrored():
    images = make_batch()
    flipped = np.asarray(jax.vmap(augment.random_flip)(images, KEYS))
    same = [np.array_equal(a, b) for a, b in zip(flipped, images, strict=True)]
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, images, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert abs(sum(mirrored) - 200) < 4 * 10  # four deviations of the binomial


# --- Values. ---


def test_noise_is_normal_and_of_its_own_everywhere():
    images = make_batch()
    added = jax.vmap(functools.partial(augment.add_noise, sigma=5.0))(images, KEYS) - images
    values = np.asarray(added).ravel()
    assert abs(values.mean()) < 4 * 5 / np.sqrt(values.size)
    np.testing.assert_allclose(values.std(), 5, rtol=0.02)
    assert abs(np.mean(np.abs(values) < 5) - 0.6827) < 0.01
    covariance = np.cov(np.asarray(added).reshape(-1, 3).T)
    np.testing.assert_allclose(covariance, 25 * np.eye(3), atol=1.0)


def make_colours() -> np.ndarray:
    """Images whose colours vary along (1, 2, 2)/3 with 40 grey levels and little otherwise."""
    rng = np.random.default_rng(1)
    pixels = 120 + 40 * rng.normal(size=(50, 9, 7, 1)) * np.array([1, 2, 2]) / 3
    return np.clip(pixels + rng.normal(0, 4, (50, 9, 7, 3)), 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_colour_noise_is_one_colour_per_image_with_a_tenth_of_the_covariance():
    components = jnp.asarray(colour_components(sum_images([make_colours()])))
    images = jnp.zeros((400, 2, 3, 3))
    add = functools.partial(augment.add_colour, sigma=0.1, components=components)
    noise = np.asarray(jax.vmap(add)(images, KEYS))
    np.testing.assert_array_equal(noise, np.broadcast_to(noise[:, :1, :1], noise.shape))
    weights = np.linalg.solve(components, noise[:, 0, 0].T).T  # the alphas
    np.testing.assert_allclose(weights.std(axis=0), 0.1, rtol=0.15)
    alpha = 0.1 * np.asarray(jax.random.normal(KEYS[3], (3,)))
    np.testing.assert_allclose(noise[3, 0, 0], components @ alpha, rtol=1e-4)


# --- Together. ---

ALL = Augment(crop=5, translation=1, flip=True, noise=2.0, pca=0.1)


@pytest.mark.slow
def test_an_operation_leaves_the_draws_of_the_others_alone():
    images = make_batch(20, 6, 6)
    keys = KEYS[:20]
    flips = augment.make_augment_fn(Augment(flip=True), GREY)(images, keys, keys, NOW)
    both = augment.make_augment_fn(Augment(flip=True, noise=0.01), GREY)(images, keys, keys, NOW)
    np.testing.assert_allclose(both, flips, atol=0.06)
    assert not np.array_equal(both, flips)


@pytest.mark.slow
def test_each_image_is_varied_by_its_own_key_alone():
    images, augment_fn = make_batch(20, 6, 6), jax.jit(augment.make_augment_fn(ALL, GREY))
    together = augment_fn(images, KEYS[:20], KEYS[:20], NOW)
    assert together.shape == (20, 5, 5, 3)
    alone = augment_fn(images[4:5], KEYS[4:5], KEYS[4:5], NOW)
    np.testing.assert_allclose(alone[0], together[4], rtol=1e-5, atol=1e-4)
    twins = augment_fn(jnp.repeat(images[:1], 20, axis=0), KEYS[:20], KEYS[:20], NOW)
    assert not np.allclose(twins[0], twins[1])


@pytest.mark.slow
@pytest.mark.parametrize("shared", [1, 4])  # four images of a batch lie on two of eight devices
def test_eight_devices_equal_one_with_all_of_it(shared):
    augment_fn = augment.make_augment_fn(replace(ALL, crop=0), GREY)
    (eight, wrong, loss), (one, wrong_too, loss_too) = (
        run("pmap", jax.devices()[:devices], augment_fn=augment_fn, shared=shared)
        for devices in (8, 1)
    )
    np.testing.assert_array_equal(wrong, wrong_too)
    np.testing.assert_allclose(loss, loss_too, rtol=1e-4)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
        jax.device_get(eight.params),
        jax.device_get(one.params),
    )


@pytest.mark.slow
def test_the_step_augments_centred_grey_levels():
    """A function that mirrors all images acts as training on mirrored images does."""
    data = make_images()
    mirrored = data._replace(images=data.images[:, :, ::-1])
    seen = []

    def spy(images: jax.Array, *keys_and_step: jax.Array) -> jax.Array:
        jax.debug.callback(lambda found: seen.append(np.asarray(found)), images)
        return images[:, :, ::-1]

    state, *_ = run("pmap", jax.devices()[:1], steps=1, augment_fn=spy)
    jax.effects_barrier()
    assert seen[0].min() >= -120 and seen[0].max() <= 135 and np.abs(seen[0]).max() > 60
    direct, *_ = run("pmap", jax.devices()[:1], steps=1, data=mirrored)
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(direct), strict=True):
        assert ours.tobytes() == theirs.tobytes()


# --- Config. ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment__crop": -1}, r"config\.augment\.crop = -1 should be 0 \(off\) or pixels"),
        ({"augment__translation": -4}, r"config\.augment\.translation = -4 should be 0 \(off\)"),
        ({"augment__noise": -0.5}, r"config\.augment\.noise = -0.5 should be 0 \(off\) or a dev"),
        ({"augment__pca": float("nan")}, r"config\.augment\.pca = nan should be 0"),
        ({"sweep__augment": {"crop": (0, -2)}}, r"config\.sweep\.augment\.crop = -2 should be"),
        ({"sweep__augment": {"flips": (True,)}}, r"sweep\.augment\.flips: .*'augment\.flip'"),
    ],
)
def test_what_cannot_be_done_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny.make_config(**changes)


def test_crops_larger_than_the_images_are_refused():
    arms = tiny.make_config(augment__crop=9).arms
    with pytest.raises(ConfigError, match=r"crop = 9 should be at most 8: images are 8 x 10"):
        checks.check_data(arms, (8, 10, 3), 100)
    checks.check_data(arms, (9, 9, 3), 100)


def test_ten_crops_of_a_crop_that_is_the_image_are_refused():
    arms = tiny.make_config(augment__crop=9, test_crops=10).arms
    with pytest.raises(ConfigError, match=r"test_crops = 10 with config.augment.crop = 9: images"):
        checks.check_data(arms, (9, 9, 3), 100)
    checks.check_data(arms, (9, 10, 3), 100)


@pytest.mark.slow
def test_a_crop_decides_the_size_of_the_network():
    """Pools of stride 2, sizes rounded up: 24 -> 12 -> 6 -> 3, and 4 x 4 for the whole image."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8), np.zeros(20, np.int32))
    dataset = tiny.make_dataset()._replace(train=split, test=split)
    whole, cropped = (
        Program(tiny.make_config(augment__crop=crop).arms[0].settings, dataset) for crop in (0, 24)
    )
    shapes = jax.eval_shape(whole._first_state, np.int32(0)).params
    assert shapes["fc10"]["kernel"].shape == (4 * 4 * 64, 10)
    params = cropped.start(0).params
    assert params["fc10"]["kernel"].shape == (3 * 3 * 64, 10)
    data = jax.device_get(cropped.data["train"])
    pixels = (split.images - data.shift) / data.scale
    logits = jax.jit(cropped._logits)({"params": params}, jnp.asarray(pixels[:, 4:28, 4:28]))
    expected = np.mean(np.argmax(logits, axis=1) != 0)
    assert cropped.error({"params": params}, "test") == expected
