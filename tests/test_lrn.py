"""Local response normalization against sums in NumPy and against PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src.models.layers.lrn import LocalResponseNorm, local_response_norm

pytestmark = pytest.mark.usefixtures("compiled_alike")

# Large enough constants for the sum to matter.
OPTIONS = {"n": 5, "k": 2.0, "alpha": 0.3, "beta": 0.75}


def activities(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)


def in_numpy(x: np.ndarray, n: int, k: float, alpha: float, beta: float, kind: str) -> np.ndarray:
    """Place by place, as the papers write it."""
    x = x.astype(np.float64)
    if kind == "constant":
        return x / k**beta
    reach, result = n // 2, np.empty_like(x)
    for b, h, w, c in np.ndindex(x.shape):
        if kind == "within":
            rows, columns = (slice(max(0, i - reach), i + reach + 1) for i in (h, w))
            total = alpha / n**2 * np.sum(x[b, rows, columns, c] ** 2)
        else:
            channels = x[b, h, w, max(0, c - reach) : min(x.shape[3] - 1, c + reach) + 1]
            total = (alpha if kind == "paper" else alpha / n) * np.sum(channels**2)
        result[b, h, w, c] = x[b, h, w, c] / (k + total) ** beta
    return result


KINDS = ("paper", "caffe", "within", "paper_net", "constant")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "beta"), [(5, 0.75), (3, 0.75), (3, 0.5), (1, 1.0), (9, 0.75)])
def test_equal_to_the_sum_place_by_place(kind, n, beta):
    x, options = activities(2, 5, 4, 7), OPTIONS | {"n": n, "beta": beta}
    ours = local_response_norm(jnp.asarray(x), **options, convention=kind)
    np.testing.assert_allclose(ours, in_numpy(x, **options, kind=kind), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["paper", "caffe"])
def test_equal_to_pytorch_whose_alpha_is_caffes(kind):
    torch = pytest.importorskip("torch")
    x, grads = activities(2, 5, 4, 7), activities(2, 5, 4, 7)[::-1].copy()
    fn = functools.partial(local_response_norm, **OPTIONS, convention=kind)
    ours, pull_back = jax.vjp(fn, jnp.asarray(x))
    alpha = OPTIONS["alpha"] * (OPTIONS["n"] if kind == "paper" else 1)
    layer = torch.nn.LocalResponseNorm(5, alpha=alpha, beta=0.75, k=2.0)
    theirs_in = torch.tensor(x.transpose(0, 3, 1, 2)).requires_grad_()
    theirs = layer(theirs_in)
    theirs.backward(torch.tensor(grads.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(ours, theirs.detach().permute(0, 2, 3, 1), rtol=1e-5)
    (ours_grads,) = pull_back(jnp.asarray(grads))
    expected = theirs_in.grad.permute(0, 2, 3, 1)
    np.testing.assert_allclose(ours_grads, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_gradient_within_a_channel_by_differences():
    x, options = activities(1, 4, 4, 2), OPTIONS | {"n": 3}
    fn = functools.partial(local_response_norm, **options, convention="within")
    grads = jax.grad(lambda x: jnp.sum(fn(x) ** 2))(jnp.asarray(x))
    total = lambda x: np.sum(in_numpy(x, **options, kind="within") ** 2)  # noqa: E731
    for place in [(0, 0, 0, 0), (0, 1, 2, 1), (0, 3, 3, 0)]:
        step = np.zeros_like(x, np.float64)
        step[place] = 1e-5
        slope = (total(x + step) - total(x - step)) / 2e-5
        np.testing.assert_allclose(grads[place], slope, rtol=1e-3)


def test_the_layer_has_the_constants_of_the_paper_and_of_caffe():
    x = 100 * activities(2, 3, 3, 8)
    for kind, k in zip(KINDS, (2, 1, 1, 2, 2), strict=True):
        expected = in_numpy(x, n=5, k=k, alpha=1e-4, beta=0.75, kind=kind)
        ours = LocalResponseNorm(kind).apply({}, jnp.asarray(x))
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_towers_do_not_see_one_another(kind):
    x = 100 * activities(2, 3, 3, 8)
    ours = LocalResponseNorm(kind, towers=2).apply({}, jnp.asarray(x))
    k = 1 if kind in ("caffe", "within") else 2
    halves = [in_numpy(x[..., half], 5, k, 1e-4, 0.75, kind) for half in (slice(4), slice(4, 8))]
    np.testing.assert_allclose(ours, np.concatenate(halves, axis=-1), rtol=1e-5)


def test_small_activities_leave_of_the_papers_norm_its_control_alone():
    """On standardized images the paper's k makes a constant factor of 2^-0.75 = 0.5946."""
    x = activities(2, 5, 4, 7) / 3
    ours, control = (
        LocalResponseNorm(kind).apply({}, jnp.asarray(x)) for kind in ("paper", "constant")
    )
    np.testing.assert_allclose(control, 0.5946 * x, rtol=1e-4)
    np.testing.assert_allclose(ours, control, rtol=1e-3)


def test_an_even_neighbourhood_has_no_centre():
    with pytest.raises(ValueError, match="n = 4 should be odd: 2 neighbours on each side make 5"):
        local_response_norm(jnp.ones((1, 1, 1, 8)), **(OPTIONS | {"n": 4}), convention="paper")
