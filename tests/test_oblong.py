"""Images that are not square: the networks reach over all of their height and width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src import models
from src.models.layers import avg_pool, conv

SIDES = [(32, 48), (48, 32)]
pytestmark = pytest.mark.usefixtures("compiled_alike")


def kernels(name: str, sides: tuple[int, int], **options: object) -> dict:
    model = models.make_model(
        name, activation="relu", init_scheme="modern", num_classes=10, width=0.1, **options
    )
    images = jax.ShapeDtypeStruct((1, *sides, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    return {layer: each["kernel"].shape for layer, each in params.items()}


@pytest.mark.slow
@pytest.mark.parametrize("sides", SIDES)
def test_googlenet_averages_over_the_whole_map(sides):
    """Its parameters are those for square images: one number per feature is left."""
    assert kernels("googlenet_cifar", sides) == kernels("googlenet_cifar", (32, 32))


@pytest.mark.slow
@pytest.mark.parametrize("sides", SIDES)
def test_fc6_in_towers_has_a_weight_for_each_place(sides):
    """Pools halve the sides thrice."""
    found = kernels("alexnet_cifar", sides, crossing=False)
    assert found["fc6"][:2] == (sides[0] // 8, sides[1] // 8)
    assert found["fc7"][:2] == (1, 1)
    assert found.keys() == kernels("alexnet_cifar", (32, 32), crossing=False).keys()


@pytest.mark.parametrize("sides", [(4, 6), (6, 4), (20, 14)])
def test_the_mean_of_a_map_and_its_gradient(sides):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *sides, 3)), jnp.float32)
    summed = lambda x: (jnp.sum(pooled := avg_pool(x, sides, 1)), pooled)  # noqa: E731
    grads, pooled = jax.jit(jax.grad(summed, has_aux=True))(x)
    np.testing.assert_allclose(pooled, x.mean(axis=(1, 2), keepdims=True), atol=1e-6)
    np.testing.assert_allclose(grads, np.full(x.shape, 1 / (sides[0] * sides[1])), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sides", [(3, 5), (5, 3)])
def test_towers_of_kernels_as_large_as_their_maps_are_products_of_matrices(sides):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *sides, 4)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*sides, 2, 6)), jnp.float32)

    def towers(x, kernel):
        halves = [jnp.einsum("bhwi,hwio->bo", x[..., i : i + 2], kernel[..., o : o + 3])
                  for i, o in ((0, 0), (2, 3))]  # fmt: skip
        return jnp.concatenate(halves, axis=-1)[:, None, None]

    value, pullback = jax.vjp(lambda *given: conv(*given, groups=2), x, kernel)
    wanted, wanted_pullback = jax.vjp(towers, x, kernel)
    np.testing.assert_allclose(value, wanted, atol=1e-5)
    for mine, other in zip(pullback(value), wanted_pullback(value), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4)
