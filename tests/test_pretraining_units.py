"""Units against sums over copies, SciPy and draws; passes against the definition of a transpose."""

from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import spence

from src.pretraining import units
from src.pretraining.passes import Convolution

X = np.linspace(-6, 8, 57)
COPIES = 0.5 + np.arange(200)
pytestmark = pytest.mark.usefixtures("float64", "compiled_alike")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("x", [X, np.linspace(-700, 700, 29)])
def test_noisy_rectified_units_have_the_dilogarithm_of_their_free_energy(x):
    """Li2(1 - z) is SciPy's spence(z); far off, its two limits."""
    with np.errstate(over="ignore"):
        expected = -spence(1 + np.exp(x))
    expected = np.where(x > 30, x**2 / 2 + np.pi**2 / 6, expected)
    expected = np.where(x < -30, np.exp(x), expected)
    found = units.NOISY_RECTIFIED.log_sum(jnp.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
def test_the_mean_of_noisy_rectified_units_is_softplus_to_the_last_digits():
    x = np.concatenate([np.linspace(-40, 40, 10_001), [-700, -1e-30, 0, 1e-30, 700, np.inf]])
    found = units.NOISY_RECTIFIED.mean(jnp.asarray(x))
    np.testing.assert_allclose(found, np.logaddexp(0, x), rtol=1e-14, atol=0)
    assert np.isnan(units.NOISY_RECTIFIED.mean(jnp.array(jnp.nan)))
    single = x.astype(np.float32)
    found = units.NOISY_RECTIFIED.mean(jnp.asarray(single))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.logaddexp(0, single.astype(float)), rtol=3e-7, atol=1e-38)


def test_noisy_rectified_units_are_sums_of_copies():
    """Nair & Hinton's approximations, within what they leave: .011 of the mean, .0042 of the
    variance.
    """
    chances = sigmoid(X[:, None] - COPIES)
    mean, variance = chances.sum(axis=1), (chances * (1 - chances)).sum(axis=1)
    np.testing.assert_allclose(units.NOISY_RECTIFIED.mean(jnp.asarray(X)), mean, rtol=0, atol=0.011)
    np.testing.assert_allclose(sigmoid(X), variance, rtol=0, atol=0.0042)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ZERO_ONE", "MINUS_PLUS_ONE", "NOISY_RECTIFIED", "MAX_POOLED"])
def test_the_mean_is_the_slope_of_the_log_of_the_sum(kind):
    unit = getattr(units, kind)
    x = jnp.asarray(np.random.default_rng(0).normal(0, 2, (5, 5, 3)))
    slope = jax.grad(lambda x: unit.log_sum(x).sum())(x)
    np.testing.assert_allclose(slope, unit.mean(x), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ZERO_ONE", "MINUS_PLUS_ONE", "MAX_POOLED"])
def test_draws_have_the_mean_of_the_unit(kind):
    unit = getattr(units, kind)
    x = jnp.asarray(np.random.default_rng(1).normal(0, 1.5, (3, 5, 2)))
    draws = 20_000
    keys = jax.random.split(jax.random.key(0), draws)
    found = np.asarray(jax.jit(jax.vmap(unit.sample, in_axes=(0, None)))(keys, x))
    error = found.std(axis=0) / draws**0.5
    assert np.all(np.abs(found.mean(axis=0) - unit.mean(x)) < 4 * error)
    assert set(np.unique(found)) == ({-1, 1} if kind == "MINUS_PLUS_ONE" else {0, 1})


def test_normal_draws_are_normal():
    """All values lie where a normal distribution has them, up to the rounding of their chance."""
    values = np.unique(units.draw_normal(jax.random.key(4), (1200, 1000)))
    assert len(values) == 2**16
    chances = np.array([NormalDist().cdf(value) for value in values])
    np.testing.assert_allclose(chances, (np.arange(2**16) + 0.5) / 2**16, rtol=0, atol=1e-7)


@pytest.mark.slow
def test_a_noisy_rectified_draw_is_a_rectified_normal_number():
    """E max(0, x + s n) = x P(n > -x / s) + s p(x / s), by quadrature of the normal density."""
    x = np.array([[[-0.8, 0.0, 0.5, 3.0]]])
    draws = 40_000
    keys = jax.random.split(jax.random.key(1), draws)
    draw = jax.vmap(units.NOISY_RECTIFIED.sample, in_axes=(0, None))
    found = np.asarray(draw(keys, jnp.asarray(x)))
    grid = np.linspace(-9, 9, 20_001)
    density = np.exp(-(grid**2) / 2)
    values = np.maximum(0, x[..., None] + np.sqrt(sigmoid(x))[..., None] * grid)
    expected = (values * density).sum(axis=-1) / density.sum()
    assert np.all(np.abs(found.mean(axis=0) - expected) < 4 * found.std(axis=0) / draws**0.5)


@pytest.mark.slow
def test_at_most_one_of_a_block_is_on():
    x = jnp.full((6, 7, 3), 3.0)
    found = units.MAX_POOLED.sample(jax.random.key(2), x)
    blocks = np.pad(found, ((0, 0), (0, 1), (0, 0))).reshape(3, 2, 4, 2, 3).sum(axis=(1, 3))
    assert set(np.unique(blocks)) == {0, 1}
    assert found.mean() > 0.2  # and few blocks are off


def test_blocks_and_back():
    x = jnp.asarray(np.arange(2 * 5 * 3 * 2.0).reshape(2, 5, 3, 2))
    blocks = units.in_blocks(x, -1.0)
    assert blocks.shape == (2, 3, 2, 4, 2)
    np.testing.assert_array_equal(blocks[1, 0, 0, :, 1], x[1, :2, :2, 1].ravel())
    np.testing.assert_array_equal(blocks[1, 2, 1, :, 0], [x[1, 4, 2, 0], -1, -1, -1])
    np.testing.assert_array_equal(units.from_blocks(blocks, 5, 3), x)


@pytest.mark.slow
def test_binary_draws_round_their_chance_to_the_nearest_of_65537():
    """All sixteen bits are used: a chance of 2^-14 comes up, one of 0 or 1 has no exception."""
    keys = jax.random.split(jax.random.key(3), 1)[0]
    shape = (400, 1000)
    assert units.draw_binary(keys, jnp.zeros(shape)).sum() == 0
    assert units.draw_binary(keys, jnp.ones(shape)).min() == 1
    rare = float(units.draw_binary(keys, jnp.full(shape, 2.0**-14)).sum())
    expected = 400_000 / 2**14
    assert abs(rare - expected) < 4 * expected**0.5


def test_sixteen_bits_are_drawn_without_a_pattern():
    """Both halves of every word, and both words of every block, are new and uniform: as many of
    each quarter of the range, and neighbours at any distance alike do not go together.
    """
    drawn = np.asarray(units.draw_uniform(jax.random.key(5), (64, 1000)))
    assert drawn.dtype == np.uint32
    assert drawn.min() >= 0
    assert drawn.max() <= 2**16 - 1
    quarters = np.bincount((drawn // 2**14).astype(int).ravel(), minlength=4)
    assert np.all(np.abs(quarters - 16_000) < 4 * (64_000 * 3 / 16) ** 0.5)
    flat = drawn.ravel() - drawn.mean()
    for apart in (1, 2, 1000, 16_000, 32_000, 48_000):
        pairs = flat[:-apart] * flat[apart:]
        assert abs(pairs.mean()) < 4 * pairs.std() / len(pairs) ** 0.5
    odd = units.draw_uniform(jax.random.key(5), (7,))
    assert len(set(np.asarray(odd).tolist())) == 7


# Kernel, stride, padding, groups and pixels: conv3, LeNet, AlexNet's five, VGG and GoogLeNet.
GEOMETRIES = [
    (5, 1, 2, 1, (9, 8)),
    (5, 1, 0, 1, (9, 8)),
    (11, 4, 0, 1, (27, 23)),
    (11, 4, 0, 1, (29, 26)),  # the stride leaves pixels over
    (5, 1, 2, 2, (7, 6)),
    (3, 1, 1, 1, (5, 6)),
    (3, 1, 1, 2, (5, 6)),
    (7, 2, 3, 1, (14, 15)),
    (1, 1, 0, 1, (3, 2)),
    (1, 1, 2, 1, (3, 2)),
    (2, 3, 1, 1, (8, 7)),  # pixels that no kernel reads
    (3, 1, 0, 1, (5, 6)),
    (2, 1, 3, 1, (4, 3)),  # hidden units that hear of no pixel
    (4, 1, 1, 1, (7, 6)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "stride", "padding", "groups", "pixels"), GEOMETRIES)
def test_down_is_the_transpose_of_up(size, stride, padding, groups, pixels):
    rng = np.random.default_rng(0)
    convolution = Convolution(stride, padding, groups)
    visible = jnp.asarray(rng.normal(size=(2, *pixels, 4)))
    kernel = jnp.asarray(rng.normal(size=(size, size, 4 // groups, 6)))
    up = convolution.up(visible, kernel)
    hidden = jnp.asarray(rng.normal(size=up.shape))
    down = convolution.down(hidden, kernel, *pixels)
    assert down.shape == visible.shape
    np.testing.assert_allclose(jnp.vdot(up, hidden), jnp.vdot(visible, down), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "stride", "padding", "groups", "pixels"), GEOMETRIES[::2])
def test_gradients_of_down_are_those_of_a_transpose(size, stride, padding, groups, pixels):
    """<down(h, W), g> has the slope up(g, W) in h, and that of <h, up(g, W)> in W: by differences,
    which are exact in a function that is linear in each.
    """
    rng = np.random.default_rng(1)
    convolution = Convolution(stride, padding, groups)
    visible = jnp.asarray(rng.normal(size=(2, *pixels, 4)))
    kernel = jnp.asarray(rng.normal(size=(size, size, 4 // groups, 6)))
    hidden = jnp.asarray(rng.normal(size=convolution.up(visible, kernel).shape))
    product = jax.jit(lambda h, k: jnp.vdot(convolution.down(h, k, *pixels), visible))
    slopes = jax.grad(product, argnums=(0, 1))(hidden, kernel)
    for number, (point, slope) in enumerate(zip((hidden, kernel), slopes, strict=True)):
        step = jnp.asarray(rng.normal(size=point.shape))
        moved = [hidden, kernel]
        moved[number] = point + step
        rise = product(*moved) - product(hidden, kernel)
        np.testing.assert_allclose(jnp.vdot(slope, step), rise, rtol=1e-10)
