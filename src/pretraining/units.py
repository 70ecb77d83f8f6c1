"""The units of restricted Boltzmann machines.

A hidden unit of total input x has the energy -h x. Its free energy is -log sum_h e^{h x}, and the
derivative of `log_sum` is therefore its mean. A hidden unit is chosen so that its mean is the
activation of the network that is pre-trained; what it learns can then be copied unchanged.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Float, Key, UInt32

# log sum_h e^{h x} of a noisy rectified unit, as a series in softplus(-|x|) (Debye): the factors of
# its odd powers from the third, B_2n / (2n + 1)! with the numbers of Bernoulli. On the interval in
# use, 0 to log 2, what is left out is below 4e-15.
# fmt: off
DEBYE = (
    1 / 36, -1 / 3600, 1 / 211_680, -1 / 10_886_400, 1 / 526_901_760,
    -691 / 2730 / math.factorial(13), 7 / 6 / math.factorial(15),
)
# fmt: on


class HiddenUnit(NamedTuple):
    """Functions of the total input x of hidden units, [..., P, Q, O].

    Attributes:
        mean: Expected state.
        sample: (key of one image, its x [P, Q, O]) -> states.
        log_sum: Minus the free energy, to be summed over all entries of the result.
    """

    mean: Callable[[Array], Array]
    sample: Callable[[Array, Array], Array]
    log_sum: Callable[[Array], Array]


class VisibleUnit(NamedTuple):
    """Functions of what visible units receive from above, their bias, and their state [..., C].

    Attributes:
        mean: (input from above, bias) -> expected state.
        sample: (key of one image, input from above, bias) -> states.
        energy: (states, bias) -> their energy without hidden units, to be summed over all entries.
    """

    mean: Callable[[Array, Array], Array]
    sample: Callable[[Array, Array, Array], Array]
    energy: Callable[[Array, Array], Array]


def draw_uniform(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt32[Array, "*shape"]:
    """Uniform numbers from 0 to 65,535, made of sixteen random bits each.

    `jax.random.bits` uses a whole block of Threefry, 64 bits, for each number, however short, and
    takes as much time on a CPU as the convolutions of a first layer. Here a block makes four.
    """
    count = math.prod(shape)
    blocks = -(-count // 4)
    words = threefry_2x32(jax.random.key_data(key), jnp.arange(2 * blocks, dtype=jnp.uint32))
    halves = jnp.concatenate([words & 0xFFFF, words >> 16])
    return halves[:count].reshape(shape)


def draw_normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Standard normal numbers, rounded to 65,536 equally likely values: 4.3 is the largest."""
    return jnp.take(_normal_values(), draw_uniform(key, shape), mode="clip")


@functools.cache
def _normal_values() -> Float[np.ndarray, "65536"]:
    """The values, in ascending order: to look one up takes less time than to compute it."""
    from scipy.special import ndtri  # noqa: PLC0415

    return ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)


def draw_binary(key: Key[Array, ""], probability: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 with the given probability, rounded to one of 65,537 values, else 0."""
    uniform = draw_uniform(key, probability.shape).astype(jnp.float32)
    return (uniform + 0.5 < 2**16 * probability).astype(probability.dtype)


# --- Hidden units. ---


def _with_slope(fn: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Any:
    """`fn` with a known derivative; derived by JAX it would take one logarithm more."""
    known = jax.custom_jvp(fn)
    known.defjvps(lambda tangent, _, x: slope(x) * tangent)
    return known


def _softplus(x: Array) -> Array:
    """log(1 + e^x), without a logarithm: that takes more than twice as long on a CPU.

    It is max(0, x) + log(1 + u) with u = e^-|x|, which is 2 artanh(z) with z = u / (2 + u), at most
    1/3. Of its series, 2 z^(2k+1) / (2k+1), seven terms are exact to single precision, seventeen to
    double.
    """
    u = jnp.exp(-jnp.abs(x))
    z = u / (2 + u)
    series = jnp.zeros_like(z)
    for k in reversed(range(7 if x.dtype == jnp.float32 else 17)):
        series = 2 / (2 * k + 1) + z**2 * series
    return jax.nn.relu(x) + z * series


def _log_two_cosh(x: Array) -> Array:
    return jnp.abs(x) + jax.nn.softplus(-2 * jnp.abs(x))


def _log_sum_of_copies(x: Array) -> Array:
    """Integral of softplus from minus infinity to x: minus the dilogarithm of -e^x."""
    u = jax.nn.softplus(-jnp.abs(x))
    series = jnp.zeros_like(u)
    for factor in reversed(DEBYE):
        series = factor + u**2 * series
    below = u + u**2 / 4 + u**3 * series
    return jnp.where(x > 0, x**2 / 2 + math.pi**2 / 6 - below, below)


def _rectify_with_noise(key: Array, x: Array) -> Array:
    """Adds normal noise of variance sigmoid(x), and rectifies."""
    noise = draw_normal(key, x.shape).astype(x.dtype)
    return jax.nn.relu(x + noise * jnp.sqrt(jax.nn.sigmoid(x)))


ZERO_ONE = HiddenUnit(
    mean=jax.nn.sigmoid,
    sample=lambda key, x: draw_binary(key, jax.nn.sigmoid(x)),
    log_sum=_with_slope(jax.nn.softplus, jax.nn.sigmoid),
)
MINUS_PLUS_ONE = HiddenUnit(
    mean=jnp.tanh,
    sample=lambda key, x: 2 * draw_binary(key, jax.nn.sigmoid(2 * x)) - 1,
    log_sum=_with_slope(_log_two_cosh, jnp.tanh),
)
# Infinitely many 0/1 units of the same weights, with biases lower by 0.5, 1.5, 2.5, ...: their sum
# has the mean softplus(x), nearly; without its noise it is the network's max(0, x).
# Source: Nair & Hinton (2010), "Rectified linear units improve restricted Boltzmann machines".
NOISY_RECTIFIED = HiddenUnit(
    mean=_softplus,
    sample=_rectify_with_noise,
    log_sum=_with_slope(_log_sum_of_copies, _softplus),
)
BY_ACTIVATION = {"sigmoid": ZERO_ONE, "tanh": MINUS_PLUS_ONE, "relu": NOISY_RECTIFIED}


# --- Probabilistic max pooling: at most one unit of a block is on. ---


def in_blocks(x: Float[Array, "*batch P Q O"], outside: float) -> Float[Array, "*batch R S 4 O"]:
    """The four units of each block of 2 by 2, row by row.

    Args:
        x: A number for every unit.
        outside: The number that fills a block that hangs over the border.
    """
    *batch, rows, columns, channels = x.shape
    odd = [(0, 0)] * len(batch) + [(0, rows % 2), (0, columns % 2), (0, 0)]
    whole = jnp.pad(x, odd, constant_values=outside)
    shape = (*batch, whole.shape[-3] // 2, 2, whole.shape[-2] // 2, 2, channels)
    blocks = jnp.moveaxis(whole.reshape(shape), -4, -3)  # [..., R, S, 2, 2, O]
    return blocks.reshape(*blocks.shape[:-3], 4, channels)


def from_blocks(
    blocks: Float[Array, "*batch R S 4 O"], rows: int, columns: int
) -> Float[Array, "*batch P Q O"]:
    """The inverse of `in_blocks` for the given rows and columns of units."""
    *batch, r, s, _, channels = blocks.shape
    whole = jnp.moveaxis(blocks.reshape(*batch, r, s, 2, 2, channels), -3, -4)
    return whole.reshape(*batch, 2 * r, 2 * s, channels)[..., :rows, :columns, :]


def _blocks_off_or_on(x: Array) -> Array:
    """[..., R, S, 5, O]: zero for the state "all off", then the inputs of the four."""
    blocks = in_blocks(x, -jnp.inf)
    return jnp.concatenate([jnp.zeros_like(blocks[..., :1, :]), blocks], axis=-2)


def _mean_in_blocks(x: Array) -> Array:
    chances = jax.nn.softmax(_blocks_off_or_on(x), axis=-2)
    return from_blocks(chances[..., 1:, :], *x.shape[-3:-1])


def _sample_blocks(key: Array, x: Array) -> Array:
    """Draws a state of each block by the share of [0, 1) that a uniform number falls into."""
    below = jnp.cumsum(jax.nn.softmax(_blocks_off_or_on(x), axis=-2), axis=-2)[..., :-1, :]
    uniform = jax.random.uniform(key, below[..., :1, :].shape, x.dtype)
    passed = (uniform >= below).astype(x.dtype)  # [R, S, 4, O]: ones, then zeros
    on = passed - jnp.concatenate([passed[..., 1:, :], jnp.zeros_like(uniform)], axis=-2)
    return from_blocks(on, *x.shape[-3:-1])


# In each 2 by 2 block of 0/1 units one is on, or none.
# Source: Lee, Grosse, Ranganath & Ng (2009), "Convolutional deep belief networks", section 3.3.
MAX_POOLED = HiddenUnit(
    mean=_mean_in_blocks,
    sample=_sample_blocks,
    log_sum=lambda x: jax.nn.logsumexp(_blocks_off_or_on(x), axis=-2),
)


# --- Visible units. ---


def gaussian(deviation: Float[Array, ""] | float) -> VisibleUnit:
    """Real-valued visible units with a fixed deviation: energy (v - c)^2 / 2 deviation^2."""
    variance = deviation**2

    def sample(key: Array, above: Array, bias: Array) -> Array:
        noise = deviation * draw_normal(key, above.shape).astype(above.dtype)
        return _along(bias, above) + variance * above + noise

    return VisibleUnit(
        mean=lambda above, bias: _along(bias, above) + variance * above,
        sample=sample,
        energy=lambda states, bias: (states - _along(bias, states)) ** 2 / (2 * variance),
    )


BINARY = VisibleUnit(
    mean=lambda above, bias: jax.nn.sigmoid(above + _along(bias, above)),
    sample=lambda key, above, bias: draw_binary(key, jax.nn.sigmoid(above + _along(bias, above))),
    energy=lambda states, bias: -states * _along(bias, states),
)


def _along(bias: Float[Array, " C"], images: Float[Array, "*batch C"]) -> Array:
    return bias.reshape(*(1,) * (images.ndim - 1), -1)
