"""The convolutional RBM against sums over all of its states, in float64."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, softmax

from src.pretraining.passes import Convolution
from src.pretraining.rbm import RBM
from src.pretraining.units import BINARY, MAX_POOLED, MINUS_PLUS_ONE, ZERO_ONE, gaussian

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float64", "compiled_alike")]

# One image of 3 x 3 pixels, two filters of 2 x 2: nine visible units and eight hidden ones.
SIZE, KERNEL, FILTERS, DEVIATION = 3, 2, 2, 0.7
PLACES = (SIZE - KERNEL + 1) ** 2
HIDDEN = {"zero_one": ZERO_ONE, "minus_plus_one": MINUS_PLUS_ONE, "max_pooled": MAX_POOLED}
VISIBLE_STATES = np.array(list(itertools.product((0.0, 1.0), repeat=SIZE**2)))  # [512, 9]


def hidden_states(kind: str) -> np.ndarray:
    """[states, 8], unit (p, q, filter) row by row."""
    if kind == "max_pooled":  # at most one of the four places of a filter
        one = np.concatenate([np.zeros((1, PLACES)), np.eye(PLACES)])
        both = [np.stack(pair, axis=-1).ravel() for pair in itertools.product(one, repeat=FILTERS)]
        return np.array(both)
    values = (0.0, 1.0) if kind == "zero_one" else (-1.0, 1.0)
    return np.array(list(itertools.product(values, repeat=PLACES * FILTERS)))


def make_params(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "kernel": jnp.asarray(rng.normal(0, 0.8, (KERNEL, KERNEL, 1, FILTERS))),
        "bias": jnp.asarray(rng.normal(0, 0.5, FILTERS)),
        "visible": {"bias": jnp.asarray(rng.normal(0, 0.5, 1))},
    }


def connections() -> np.ndarray:
    """[8 hidden, 9 visible, 8 weights]: 1 where that weight joins that pair."""
    found = np.zeros((PLACES * FILTERS, SIZE**2, KERNEL**2 * FILTERS))
    side = SIZE - KERNEL + 1
    for p, q, i, j, f in np.ndindex(side, side, KERNEL, KERNEL, FILTERS):
        pixel, weight = (p + i) * SIZE + q + j, (i * KERNEL + j) * FILTERS + f
        found[(p * side + q) * FILTERS + f, pixel, weight] = 1
    return found


def inputs_of_hidden(params: dict[str, Any], visible: np.ndarray) -> np.ndarray:
    weights = connections() @ np.ravel(params["kernel"])  # [8, 9]
    return visible @ weights.T + np.tile(params["bias"], PLACES)


def energies(params: dict[str, Any], visible: np.ndarray, kind: str, states: np.ndarray) -> Any:
    """[visible states, hidden states], as the modules' docstrings have E."""
    c = float(params["visible"]["bias"][0])
    alone = -c * visible.sum(axis=1)
    if kind == "gaussian":
        alone = ((visible - c) ** 2).sum(axis=1) / (2 * DEVIATION**2)
    return alone[:, None] - inputs_of_hidden(params, visible) @ states.T


def make_rbm(hidden: str, visible: str, **options: Any) -> RBM:
    kind = BINARY if visible == "binary" else gaussian(DEVIATION)
    return RBM(Convolution(), HIDDEN[hidden], kind, **options)


def as_images(visible: np.ndarray) -> jax.Array:
    return jnp.asarray(visible).reshape(-1, SIZE, SIZE, 1)


def as_maps(hidden: np.ndarray) -> jax.Array:
    side = SIZE - KERNEL + 1
    return jnp.asarray(hidden).reshape(-1, side, side, FILTERS)


def some_visible(kind: str) -> np.ndarray:
    if kind == "binary":
        return VISIBLE_STATES
    return np.random.default_rng(1).normal(0.3, 1.2, (40, SIZE**2))


kinds = pytest.mark.parametrize("hidden", list(HIDDEN))
both = pytest.mark.parametrize("visible", ["binary", "gaussian"])


# Compiling is what takes the time here.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


# --- What it says of itself is what its energy says. ---


@kinds
@both
def test_free_energy_is_minus_the_log_of_the_sum_over_hidden_states(hidden, visible):
    params, images = make_params(), some_visible(visible)
    energy = energies(params, images, visible, hidden_states(hidden))
    expected = -np.log(np.exp(-energy).sum(axis=1))
    found = compiled(make_rbm(hidden, visible).free_energy)(params, as_images(images))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@kinds
@both
def test_hidden_units_given_visible_ones(hidden, visible):
    params, images, states = make_params(), some_visible(visible), hidden_states(hidden)
    chances = softmax(-energies(params, images, visible, states), axis=1)
    rbm = make_rbm(hidden, visible)
    found = rbm.hidden.mean(rbm.total_input(params, as_images(images)))
    np.testing.assert_allclose(found, as_maps(chances @ states), rtol=0, atol=1e-12)


@kinds
def test_binary_visible_units_given_hidden_ones(hidden):
    params, states = make_params(), hidden_states(hidden)
    chances = softmax(-energies(params, VISIBLE_STATES, "binary", states), axis=0)
    rbm = make_rbm(hidden, "binary")
    above = rbm.convolution.down(as_maps(states), params["kernel"], SIZE, SIZE)
    found = rbm.visible.mean(above, params["visible"]["bias"])
    np.testing.assert_allclose(found, as_images(chances.T @ VISIBLE_STATES), rtol=0, atol=1e-12)


def test_gaussian_visible_units_given_hidden_ones():
    """E(m + d) - E(m) = d^2 / 2 deviation^2 for every d: m is the mean, the deviation as given."""
    params, states = make_params(), hidden_states("zero_one")
    rbm = make_rbm("zero_one", "gaussian")
    above = rbm.convolution.down(as_maps(states), params["kernel"], SIZE, SIZE)
    mean = np.asarray(rbm.visible.mean(above, params["visible"]["bias"])).reshape(-1, SIZE**2)
    away = np.random.default_rng(2).normal(size=mean.shape)
    at = lambda v: np.diag(energies(params, v, "gaussian", states))  # noqa: E731
    rise = at(mean + away) - at(mean)
    expected = (away**2).sum(axis=1) / (2 * DEVIATION**2)
    np.testing.assert_allclose(rise, expected, rtol=0, atol=1e-11)
    weights, c = connections() @ np.ravel(params["kernel"]), float(params["visible"]["bias"][0])
    np.testing.assert_allclose(mean, c + DEVIATION**2 * states @ weights, rtol=0, atol=1e-12)


# --- Its gradient. ---


def transition(params: dict[str, Any], hidden: str) -> np.ndarray:
    """[512, 512]: chance of the visible state of the column after one Gibbs step from the row's."""
    energy = energies(params, VISIBLE_STATES, "binary", hidden_states(hidden))
    return softmax(-energy, axis=1) @ softmax(-energy, axis=0).T


def slopes(params: dict[str, Any], hidden: str) -> dict[str, Any]:
    """Gradient of the free energy of each visible state: leading axis 512."""
    rbm = make_rbm(hidden, "binary")
    one = lambda p, v: rbm.free_energy(p, v[None])[0]  # noqa: E731
    every = compiled(jax.vmap(jax.grad(one), in_axes=(None, 0)))
    return every(params, as_images(VISIBLE_STATES))


def expected_over(weights: np.ndarray, tree: Any) -> Any:
    return jax.tree.map(lambda x: np.tensordot(weights, np.asarray(x), axes=1), tree)


def data_distribution() -> np.ndarray:
    return np.random.default_rng(3).dirichlet(np.full(len(VISIBLE_STATES), 0.1))


@kinds
def test_contrastive_divergence_goes_to_the_gradient_of_the_likelihood(hidden):
    """The chain takes k steps by its own matrix, without sampling; log Z is a sum of all states."""
    params, states, data = make_params(), hidden_states(hidden), data_distribution()

    def minus_log_likelihood(p: dict[str, Any]) -> jax.Array:
        energy = make_rbm(hidden, "binary").free_energy(p, as_images(VISIBLE_STATES))
        return jnp.sum(jnp.asarray(data) * energy) + jax.nn.logsumexp(-energy)

    exact = compiled(jax.grad(minus_log_likelihood))(params)
    energy = energies(params, VISIBLE_STATES, "binary", states)
    model = np.exp(-energy).sum(axis=1) / np.exp(-energy).sum()
    step, slope = transition(params, hidden), slopes(params, hidden)
    by_sums = expected_over(data - model, slope)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-12), exact, by_sums)

    def error(k: int) -> float:
        after = data @ np.linalg.matrix_power(step, k)
        found = expected_over(data - after, slope)
        gaps = jax.tree.map(lambda a, b: np.abs(a - b).max(), found, exact)
        return max(jax.tree.leaves(gaps))

    errors = [error(k) for k in (1, 2, 5, 10, 200)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-3  # one step is not the likelihood's gradient
    assert errors[-1] < 1e-12


def sampled(rbm: RBM, params: Any, images: np.ndarray, batches: int = 300) -> tuple[Any, Any]:
    """Mean of the loss's gradient over batches of chains, and its standard error."""
    size = len(images)

    def one(key: jax.Array) -> Any:
        grads, _ = jax.grad(rbm.loss, has_aux=True)(
            params, as_images(images), jax.random.split(key, size)
        )
        return grads

    keys = jax.random.split(jax.random.key(4), batches)
    found = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
    mean = jax.tree.map(lambda x: np.asarray(x).mean(axis=0), found)
    error = jax.tree.map(lambda x: np.asarray(x).std(axis=0, ddof=1) / batches**0.5, found)
    return mean, error


def check_within_four_errors(found: Any, error: Any, expected: Any) -> None:
    for a, e, b in zip(*map(jax.tree.leaves, (found, error, expected)), strict=True):
        assert np.all(e > 0)
        assert np.all(np.abs(a - b) < 4 * e), (a, b, e)


@kinds
@pytest.mark.parametrize("steps", [1, 2])
def test_sampled_gradient_is_its_expectation(hidden, steps):
    params = make_params()
    start = np.random.default_rng(5).integers(0, 2, (200, SIZE**2)).astype(float)
    rows = (start @ 2.0 ** np.arange(SIZE**2)[::-1]).astype(int)
    before = np.bincount(rows, minlength=512) / len(rows)
    after = before @ np.linalg.matrix_power(transition(params, hidden), steps)
    expected = expected_over((before - after) / PLACES, slopes(params, hidden))
    rbm = make_rbm(hidden, "binary", gibbs_steps=steps)
    check_within_four_errors(*sampled(rbm, params, start), expected)


def test_sampled_gradient_is_its_expectation_with_gaussian_units():
    """After one step v is normal given h, and so is each hidden input: one integral at a time."""
    params = make_params()
    start = np.random.default_rng(6).normal(0.3, 1, (100, SIZE**2))
    states, joins = hidden_states("zero_one"), connections()
    weights, c = joins @ np.ravel(params["kernel"]), float(params["visible"]["bias"][0])
    chances = softmax(inputs_of_hidden(params, start) @ states.T, axis=1).mean(axis=0)
    mean = c + DEVIATION**2 * states @ weights  # [256, 9], of v after the step
    spread = DEVIATION * np.linalg.norm(weights, axis=1)  # [8], of the hidden inputs
    nodes, masses = np.polynomial.hermite_e.hermegauss(80)
    x = inputs_of_hidden(params, mean)[..., None] + spread[:, None] * nodes
    on = expit(x) @ masses / masses.sum()  # [256, 8]
    rise = (expit(x) * expit(-x)) @ masses / masses.sum()
    # E[f(x) v] = E[f] E[v] + E[f'] cov(x, v) (Stein)
    after = np.einsum("s,sj,si->ji", chances, on, mean)
    after += DEVIATION**2 * weights * (chances @ rise)[:, None]
    first = expit(inputs_of_hidden(params, start))
    before = np.einsum("nj,ni->ji", first, start) / len(start)
    per_unit = (chances @ on - first.mean(axis=0)).reshape(PLACES, FILTERS)
    expected = {
        "kernel": np.einsum("ji,jiw->w", after - before, joins).reshape(params["kernel"].shape),
        "bias": per_unit.sum(axis=0),
        "visible": {"bias": np.array([(chances @ mean - start.mean(axis=0)).sum()])},
    }
    expected["visible"]["bias"] /= DEVIATION**2
    expected = jax.tree.map(lambda g: g / PLACES, expected)
    check_within_four_errors(*sampled(make_rbm("zero_one", "gaussian"), params, start), expected)


def test_a_batch_is_its_images_one_by_one():
    """Each image has its own key, so that it does not matter how a batch is split over devices."""
    params, images = make_params(), as_images(some_visible("gaussian")[:6])
    keys = jax.random.split(jax.random.key(7), 6)
    rbm = make_rbm("zero_one", "gaussian", gibbs_steps=2)
    loss_fn = compiled(rbm.loss)
    alone = [loss_fn(params, images[i : i + 1], keys[i : i + 1]) for i in range(6)]
    np.testing.assert_allclose(loss_fn(params, images, keys), np.mean(alone, axis=0), rtol=1e-12)


def test_sparsity_moves_the_biases_alone_and_towards_its_target():
    params, images = make_params(), as_images(some_visible("gaussian"))
    keys = jax.random.split(jax.random.key(8), len(images))
    plain = make_rbm("zero_one", "gaussian")
    sparse = plain._replace(sparsity=0.1, sparsity_rate=5.0)
    (loss, _), grads = compiled(jax.value_and_grad(plain.loss, has_aux=True))(params, images, keys)
    (other, _), drawn = compiled(jax.value_and_grad(sparse.loss, has_aux=True))(
        params, images, keys
    )
    mean = expit(plain.total_input(params, images)).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(other, loss, rtol=1e-12)
    np.testing.assert_allclose(drawn["bias"] - grads["bias"], 5 * (mean - 0.1), rtol=1e-10)
    np.testing.assert_array_equal(drawn["kernel"], grads["kernel"])
