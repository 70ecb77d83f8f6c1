"""The fast layers against XLA's plain operations, PyTorch and NumPy loops."""

import functools
import re
from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from src.models.layers import Conv, LocallyConnected, avg_pool, conv, max_pool, winograd
from src.models.layers.once import computed_once

pytestmark = pytest.mark.usefixtures("compiled_alike")
CONVOLUTIONS = [  # height, width, channels in and out, kernel, stride, padding, groups
    (8, 8, 3, 4, 5, 1, 2, 1),  # a first layer
    (8, 8, 4, 6, 3, 1, 1, 2),  # two towers
    (9, 7, 2, 3, 3, 2, 0, 1),  # odd sizes, the last row not reached by the stride
    (10, 9, 3, 2, 4, 3, 1, 1),  # even kernel
    (15, 15, 3, 4, 11, 4, 2, 1),  # AlexNet's first layer, smaller
    (7, 8, 6, 6, 1, 1, 0, 3),  # 1 by 1
    (5, 5, 4, 2, 5, 1, 0, 1),  # the kernel is the image
    (2, 2, 5, 7, 3, 1, 1, 1),  # more pixels in the kernel than in the image: VGG's last stage
    (4, 3, 4, 6, 5, 1, 2, 1),
    (4, 4, 3, 2, 5, 2, 2, 1),  # with a stride
    (4, 4, 40, 34, 5, 1, 2, 1),  # more numbers at all places than stay in the cache
    (4, 4, 40, 34, 5, 2, 2, 1),
    (1, 1, 3, 4, 3, 1, 1, 1),
    (9, 11, 6, 16, 5, 1, 0, 1),  # few channels, columns that two and four do not divide
    (7, 9, 8, 8, 3, 1, 1, 1),  # pairs of columns in products
    (6, 6, 8, 5, 2, 1, 0, 1),
    (5, 4, 8, 16, 3, 1, 3, 1),
    (6, 7, 16, 12, 3, 1, 1, 1),
    (5, 13, 3, 6, 5, 1, 2, 1),
    (6, 6, 2, 2, 2, 1, 1, 1),
    (9, 12, 3, 6, 5, 1, 0, 1),  # blocks of columns
    (6, 8, 5, 16, 3, 1, 0, 1),
    (10, 10, 16, 2, 5, 1, 3, 1),
    (9, 8, 2, 14, 5, 1, 1, 1),  # shares of windows for the images' gradient
    (6, 5, 20, 24, 1, 1, 0, 1),
    (9, 9, 20, 12, 3, 1, 1, 1),  # many pixels: the weights' gradient by windows
    (8, 7, 20, 18, 3, 2, 1, 1),
    (4, 4, 66, 8, 3, 1, 1, 1),  # many channels: the same
    (6, 6, 34, 32, 3, 1, 1, 1),  # Winograd's way
    (6, 5, 100, 96, 3, 1, 1, 1),  # of smaller squares, on a small map
    (9, 9, 50, 48, 3, 1, 0, 1),
    (7, 10, 16, 17, 3, 1, 0, 1),
    (4, 4, 64, 72, 3, 1, 0, 1),  # the result has fewer pixels than the kernel
    (5, 7, 32, 33, 3, 1, 0, 1),
    (3, 4, 32, 36, 3, 1, 2, 1),
    (7, 5, 98, 96, 3, 1, 1, 1),
    (6, 5, 192, 192, 3, 1, 2, 2),
    (4, 4, 20, 18, 3, 1, 4, 1),  # more padding than the kernel reaches
    (9, 7, 26, 24, 5, 1, 2, 1),  # the same of 5 by 5, up to the values and the images' gradient
    (6, 9, 24, 27, 5, 1, 0, 1),
    (5, 8, 26, 24, 5, 1, 4, 1),
    (8, 11, 48, 50, 5, 1, 2, 1),  # the weights' gradient as well
    (9, 6, 50, 48, 5, 1, 1, 1),
    (6, 9, 48, 51, 5, 1, 4, 1),
    (7, 7, 96, 96, 5, 1, 3, 2),
    (7, 7, 96, 96, 5, 1, 0, 2),
    (6, 6, 26, 24, 5, 1, 5, 1),
]
POOLS = [  # height, width, window, stride, padding, ceil_mode
    (8, 8, 3, 2, 0, True),
    (7, 9, 3, 2, 0, True),
    (9, 6, 3, 2, 1, False),
    (7, 8, 3, 2, 1, True),
    (8, 8, 2, 2, 0, False),
    (11, 10, 2, 3, 0, True),  # gaps between windows
    (10, 10, 5, 3, 2, True),
    (20, 20, 3, 2, 0, True),  # above 256 pixels, where the average's gradient goes by rows
    (1, 1, 1, 1, 0, False),
]


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def pullback(fn: Callable[..., jax.Array], *arrays: jax.Array) -> tuple:
    """fn's value, and its gradients for a gradient of normal numbers."""
    value, pull = jax.vjp(fn, *arrays)
    return value, *pull(normal(9, *value.shape))


def value_and_pullback(fn: Callable[..., jax.Array], *arrays: jax.Array) -> tuple:
    """The same, compiled."""
    return jax.jit(functools.partial(pullback, fn))(*arrays)


def assert_same(ours: tuple, plain: tuple, tolerance: float = 2e-5) -> None:
    for mine, theirs in zip(ours, plain, strict=True):
        scale = max(1.0, float(np.abs(theirs).max()))
        np.testing.assert_allclose(np.asarray(mine) / scale, theirs / scale, atol=tolerance)


# --- Convolution. ---


def plain_conv(x: jax.Array, kernel: jax.Array, stride: int, padding: int, groups: int):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_conv_is_xlas_in_values_and_gradients(case):
    height, width, inputs, outputs, size, stride, padding, groups = case
    x = normal(0, 2, height, width, inputs)
    kernel = normal(1, size, size, inputs // groups, outputs)
    ours = functools.partial(conv, stride=stride, padding=padding, groups=groups)
    plain = functools.partial(plain_conv, stride=stride, padding=padding, groups=groups)
    assert_same(
        value_and_pullback(ours, x, kernel),
        value_and_pullback(plain, x, kernel),
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("images", [6, 4, 7])
def test_winograds_way_in_groups_is_xlas(images, size, monkeypatch):
    numbers = (size + 3) ** 2 / 4**2  # for each pixel
    monkeypatch.setattr(winograd, "IN_CACHE", numbers * 6 * 5 * 200 * 3)  # three images or fewer
    x, kernel = normal(0, images, 6, 5, 96), normal(1, size, size, 96, 104)
    plain = functools.partial(plain_conv, stride=1, padding=size // 2, groups=1)
    ours = functools.partial(conv, padding=size // 2)
    jaxpr = str(jax.make_jaxpr(ours)(x, kernel))
    assert "scan[" in jaxpr
    assert "conv_general_dilated" not in jaxpr
    assert_same(value_and_pullback(ours, x, kernel), value_and_pullback(plain, x, kernel), 1e-5)


@pytest.mark.parametrize("way", [*winograd.WAYS.values(), winograd.ON_SMALL_MAPS])
def test_winograds_maps_are_exact(way):
    """In rational numbers; a correlation of whole numbers has no other value."""
    rng = np.random.default_rng(0)
    pixels, weights = (
        [Fraction(int(n)) for n in rng.integers(-9, 10, count)] for count in (way.numbers, way.size)
    )

    def mapped(matrices: tuple, numbers: list) -> list:
        for matrix in reversed(matrices):
            rows = [[Fraction(w).limit_denominator(90) for w in row] for row in matrix.tolist()]
            numbers = [sum(w * n for w, n in zip(row, numbers, strict=True)) for row in rows]
        return numbers

    products = [
        a * b
        for a, b in zip(mapped(way.of_pixels, pixels), mapped(way.of_kernel, weights), strict=True)
    ]
    expected = [
        sum(w * n for w, n in zip(weights, pixels[at:], strict=False)) for at in range(way.side)
    ]
    assert mapped(way.of_result, products) == expected


def test_winograds_squares_are_smaller_on_small_maps_of_many_channels():
    """Where the mapped kernel would leave the cache; and there for the weights' gradient too."""

    def jaxpr(pixels: int, channels: int, *, weights: bool = False) -> str:
        x, kernel = jnp.zeros((2, pixels, pixels, channels)), jnp.zeros((3, 3, channels, channels))
        fn = functools.partial(conv, padding=1)
        grad = lambda k: pullback(fn, x, k)[2]  # noqa: E731
        return str(jax.make_jaxpr(grad if weights else functools.partial(fn, x))(kernel))

    assert "f32[36,2,64]" in jaxpr(4, 64)  # 6 x 6 numbers, a square an image
    assert "f32[16,8,100]" in jaxpr(4, 100)  # 4 x 4 numbers, four squares an image
    assert "f32[36,8,100]" in jaxpr(8, 100)
    assert "f32[36,2,100]" not in jaxpr(4, 100, weights=True)
    assert "f32[36,8,100]" in jaxpr(8, 100, weights=True)


def test_winograds_numbers_of_the_images_are_computed_once(monkeypatch):
    """For the values and for the weights' gradient, if all images are taken at once."""
    x, kernel = jnp.zeros((4, 8, 8, 96)), jnp.zeros((3, 3, 96, 96))

    def jaxpr() -> str:
        fn = functools.partial(conv, padding=1)
        return str(jax.make_jaxpr(lambda k: pullback(lambda k: fn(x, k), k))(kernel))

    once = jaxpr()
    assert "scan[" not in once
    assert once.count("dot_general[") == 4  # values, the gradients of images and kernel, its map
    assert once.count("f32[36,16,96] = reshape") == 3  # the two and the gradients'
    monkeypatch.setattr(winograd, "IN_CACHE", 1)
    assert jaxpr().count("scan[") == 3  # the values and both gradients, image by image


@pytest.mark.parametrize(
    ("size", "pixels", "channels", "weights"),
    [(3, 2, 18, 0), (5, 4, 18, 0), (5, 3, 18, 0), (3, 2, 130, 0), (5, 4, 40, 1)],
)
def test_a_kernel_larger_than_the_map_is_a_matrix_product(size, pixels, channels, weights):
    """XLA would loop over it naively, a hundred times as slow, in both directions."""
    x = jnp.zeros((2, pixels, pixels, channels))
    kernel = jnp.zeros((size, size, channels, channels + 2))
    fn = functools.partial(conv, padding=size // 2)
    values = str(jax.make_jaxpr(fn)(x, kernel))
    grads = str(jax.make_jaxpr(functools.partial(pullback, fn))(x, kernel))
    assert "dot_general" in values
    assert "conv_general_dilated" not in values
    assert grads.count("conv_general_dilated[") == weights  # whose gradient has no such kernel


def test_a_kernel_at_every_place_is_one_matrix_while_it_stays_in_the_cache():
    def jaxpr(pixels: int, inputs: int, *, size: int = 3, padding: int = 1) -> str:
        x, kernel = jnp.zeros((2, pixels, pixels, inputs)), jnp.zeros((size, size, inputs, 64))
        return str(jax.make_jaxpr(functools.partial(conv, padding=padding))(x, kernel))

    assert "f32[1024,256]" in jaxpr(2, 256)  # 2^18 numbers: 4 pixels of 256 in, 4 of 64 out
    assert "f32[2056,256]" not in jaxpr(2, 257)
    assert "f32[2313,64]" in jaxpr(2, 257)  # 9 weights of 257, at one place
    assert "f32[450,64]" in jaxpr(5, 18, size=5, padding=0)  # The kernel is the image.
    assert "f32[162,576]" not in jaxpr(3, 18)  # as many pixels as weights, at 9 places


@pytest.mark.parametrize(("size", "inputs", "outputs"), [(3, 18, 12), (5, 18, 18), (5, 16, 16)])
def test_a_result_larger_than_the_map_is_no_kernel_of_the_weights_gradient(size, inputs, outputs):
    """XLA would loop over it naively too: it is a kernel there, and the images are the map."""
    x, kernel = normal(0, 2, 8, 8, inputs), normal(1, size, size, inputs, outputs)
    fn = functools.partial(conv, padding=size - 1)
    grads = str(jax.make_jaxpr(lambda k: pullback(fn, x, k)[2])(kernel))
    assert grads.count("conv_general_dilated[") == 2  # the values and the images' gradient
    plain = functools.partial(plain_conv, stride=1, padding=size - 1, groups=1)
    assert_same(value_and_pullback(fn, x, kernel), value_and_pullback(plain, x, kernel))


def test_few_channels_take_several_columns_at_once_and_many_do_not():
    def jaxpr(inputs: int, outputs: int, pixels: int = 8) -> str:
        x, kernel = jnp.zeros((2, pixels, pixels, inputs)), jnp.zeros((3, 3, inputs, outputs))
        return str(jax.make_jaxpr(functools.partial(conv, padding=1))(x, kernel))

    assert "f32[3,10,4,32]" in jaxpr(4, 4)  # eight columns: two vectors of 16
    assert "f32[3,4,10,24]" in jaxpr(10, 12)  # two
    assert "f32[3,4,16,28]" in jaxpr(16, 14)
    assert "f32[3,4,4,8]" in jaxpr(4, 4, pixels=4)  # not 3 x 6 pixels on a map of 16
    assert "f32[3,3,18,14]" in jaxpr(18, 14)


def test_up_to_eight_channels_are_paired_in_a_small_kernels_gradient():
    def jaxpr(inputs: int, size: int = 3) -> str:
        x, kernel = jnp.zeros((2, 8, 8, inputs)), jnp.zeros((size, size, inputs, 8))
        fn = functools.partial(pullback, functools.partial(conv, padding=size // 2))
        return str(jax.make_jaxpr(lambda k: fn(x, k)[2])(kernel))

    assert "f32[96,16] = dot_general" in jaxpr(8)  # 3 x 2 pairs of 16; 2 columns of 8
    assert "f32[36,16] = dot_general" in jaxpr(3)
    assert "dot_general[" not in jaxpr(10)
    assert "dot_general[" not in jaxpr(8, size=5)


def test_blocks_of_columns_need_no_padding_and_whole_windows():
    def jaxpr(columns: int, padding: int = 0) -> str:
        x, kernel = jnp.zeros((2, 12, columns, 3)), jnp.zeros((5, 5, 3, 6))
        return str(jax.make_jaxpr(functools.partial(conv, padding=padding))(x, kernel))

    assert "f32[5,2,12,24]" in jaxpr(12)  # 4 columns of 3 channels in, of 6 out
    for other in (jaxpr(13), jaxpr(12, padding=1)):
        assert "f32[5,8,4,24]" in other  # four columns too, and a channel of zeros


def test_shares_of_windows_where_columns_would_be_products_with_zeros():
    def convolutions(inputs: int, outputs: int, padding: int) -> int:
        x, kernel = jnp.zeros((2, 14, 14, inputs)), jnp.zeros((5, 5, inputs, outputs))
        fn = functools.partial(pullback, functools.partial(conv, padding=padding))
        return str(jax.make_jaxpr(lambda x: fn(x, kernel)[1])(x)).count("conv_general_dilated[")

    assert convolutions(6, 16, padding=0) == 2  # the values and the weights' gradient, not used
    assert convolutions(8, 8, padding=2) == 3


def test_conv_by_hand():
    x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    kernel = jnp.asarray([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
    # Cross-correlation, not turned around: 1*0 + 2*1 + 3*3 + 4*4 = 27, and so on.
    np.testing.assert_array_equal(conv(x, kernel)[0, :, :, 0], [[27, 37], [57, 67]])


@pytest.mark.slow
def test_conv_under_vmap_is_one_convolution_per_seed():
    x, kernels = normal(0, 3, 2, 6, 6, 3), normal(1, 3, 3, 3, 3, 4)
    ours = jax.vmap(functools.partial(pullback, functools.partial(conv, padding=1)))
    plain = functools.partial(plain_conv, stride=1, padding=1, groups=1)
    got = jax.jit(ours)(x, kernels)
    for i in range(3):
        want = value_and_pullback(plain, x[i], kernels[i])
        assert_same(tuple(array[i] for array in got), want)


def test_conv_keeps_bfloat16():
    y, *grads = value_and_pullback(
        lambda x, k: conv(x, k, padding=1).astype(jnp.float32),
        normal(0, 1, 4, 4, 2).astype(jnp.bfloat16),
        normal(1, 3, 3, 2, 2).astype(jnp.bfloat16),
    )
    assert y.shape == (1, 4, 4, 2)
    assert {g.dtype for g in grads} == {jnp.dtype(jnp.bfloat16)}


def test_a_transposition_computed_once_is_done_there():
    """Not as a change of layout, after which the reader would move the numbers."""
    fn = lambda x: jnp.sum(computed_once(lambda x: x.transpose(3, 1, 2, 0), x) ** 2, axis=-1)  # noqa: E731
    text = jax.jit(fn).lower(jnp.ones((4, 5, 6, 7))).compile().as_text()
    (layout,) = re.findall(r"= \(f32\[7,5,6,4\]\{([\d,]+)\}\) conditional\(", text)
    assert layout == "3,2,1,0"


@pytest.mark.slow
def test_conv_module_adds_its_bias():
    x = normal(0, 2, 6, 6, 4)
    module = Conv(6, 3, stride=2, padding=1, groups=2, bias_init=jax.nn.initializers.normal(1.0))
    params = module.init(jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, params) == {"kernel": (3, 3, 2, 6), "bias": (6,)}
    plain = plain_conv(x, params["kernel"], 2, 1, 2) + params["bias"].reshape(1, 1, 1, 6)
    np.testing.assert_allclose(module.apply({"params": params}, x), plain, atol=1e-5)


@pytest.mark.usefixtures("compiled_well")
@pytest.mark.parametrize(("layer", "alike"), [(conv, True), (plain_conv, False)])
def test_the_weight_gradient_is_as_fast_inside_a_scan_as_outside(layer, alike):
    """JAX's own is 40 times slower there: XLA's quick way is for one order of dimensions alone."""
    x, kernel = normal(0, 4, 8, 8, 3), normal(1, 5, 5, 3, 8)
    grad = jax.grad(
        lambda k, scale: jnp.sum(jnp.sin(scale * layer(x, k, stride=1, padding=2, groups=1)))
    )
    scanned = jax.jit(lambda k: lax.scan(lambda k, s: (k + grad(k, s), 0), k, jnp.ones(4))[0])
    text = scanned.lower(kernel).compile().as_text()
    orders = re.findall(r" convolution\(.*dim_labels=([\w>-]+)", text)
    assert orders
    assert (set(orders) == {"b01f_01io->b01f"}) == alike


# --- Pooling. ---


def padding_of(case: tuple) -> tuple[tuple[int, int], ...]:
    """The padding that XLA needs, by PyTorch's documented size of the result."""
    height, width, window, stride, padding, ceil_mode = case
    pads = []
    for size in (height, width):
        room = size + 2 * padding - window
        count = -(-room // stride) + 1 if ceil_mode else room // stride + 1
        if ceil_mode and (count - 1) * stride >= size + padding:
            count -= 1
        pads.append((padding, max(0, (count - 1) * stride + window - size - padding)))
    return (0, 0), *pads, (0, 0)


def plain_sum_or_max(x: jax.Array, case: tuple, start: float, combine: Callable) -> jax.Array:
    *_, window, stride, _, _ = case
    y = lax.reduce_window(
        x, start, combine, (1, window, window, 1), (1, stride, stride, 1), padding_of(case)
    )
    rows, columns = (  # a floored window may leave pixels over, which must not add a window
        (size + before + after - window) // stride + 1
        for size, (before, after) in zip(x.shape[1:3], padding_of(case)[1:3], strict=True)
    )
    return y[:, :rows, :columns]


def plain_max_pool(x: jax.Array, case: tuple) -> jax.Array:
    return plain_sum_or_max(x, case, -jnp.inf, lax.max)


def plain_avg_pool(x: jax.Array, case: tuple) -> jax.Array:
    total = plain_sum_or_max(x, case, 0.0, lax.add)
    return total / plain_sum_or_max(jnp.ones_like(x), case, 0.0, lax.add)


@pytest.mark.slow
@pytest.mark.parametrize("case", POOLS, ids=str)
@pytest.mark.parametrize(
    ("ours", "plain"), [(max_pool, plain_max_pool), (avg_pool, plain_avg_pool)]
)
def test_pools_are_xlas_in_values_and_gradients(case, ours, plain):
    height, width, window, stride, padding, ceil_mode = case
    x = normal(0, 2, height, width, 3)
    fn = functools.partial(ours, window=window, stride=stride, padding=padding, ceil_mode=ceil_mode)
    assert_same(
        value_and_pullback(fn, x),
        value_and_pullback(functools.partial(plain, case=case), x),
    )


@pytest.mark.slow
def test_a_window_may_have_more_pixels_than_a_byte_can_number():
    x = normal(0, 1, 17, 17, 2)
    value, grads = value_and_pullback(functools.partial(max_pool, window=17, stride=1), x)
    np.testing.assert_array_equal(value, x.max(axis=(1, 2), keepdims=True))
    assert (np.asarray(grads) != 0).sum() == 2


@pytest.mark.slow
@pytest.mark.parametrize("case", POOLS[::3], ids=str)
def test_pools_are_pytorchs_in_values_and_gradients(case):
    torch = pytest.importorskip("torch")
    height, width, window, stride, padding, ceil_mode = case
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    average = functools.partial(torch.nn.functional.avg_pool2d, count_include_pad=False)
    for ours, theirs in [(max_pool, torch.nn.functional.max_pool2d), (avg_pool, average)]:
        fn = functools.partial(ours, window=window, **options)
        value, grads = value_and_pullback(fn, jnp.asarray(x))
        images = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
        pooled = theirs(images, window, **options)
        upstream = torch.tensor(np.asarray(normal(9, *value.shape)).transpose(0, 3, 1, 2))
        pooled.backward(upstream)
        np.testing.assert_allclose(value, pooled.detach().numpy().transpose(0, 2, 3, 1), atol=1e-6)
        np.testing.assert_allclose(grads, images.grad.numpy().transpose(0, 2, 3, 1), atol=1e-5)


def test_pooling_with_ceil_takes_32_to_16_to_8_to_4_and_without_to_15():
    for pool, size, ceil_mode, pooled in [
        (max_pool, 32, True, 16),
        (avg_pool, 16, True, 8),
        (avg_pool, 8, True, 4),
        (max_pool, 32, False, 15),
    ]:
        fn = functools.partial(pool, window=3, stride=2, ceil_mode=ceil_mode)
        assert jax.eval_shape(fn, jnp.zeros((1, size, size, 1))).shape == (1, pooled, pooled, 1)


def test_the_average_at_a_border_is_over_real_pixels():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    # Windows of 3 by 3 at a stride of 2: at the right two columns are left, in the corner 2 by 2.
    expected = [[5, (2 + 3 + 6 + 7 + 10 + 11) / 6], [(36 + 10 + 24) / 7, (10 + 11 + 14 + 15) / 4]]
    expected[1][0] = (8 + 9 + 10 + 12 + 13 + 14) / 6
    np.testing.assert_allclose(avg_pool(x, 3, 2, ceil_mode=True)[0, :, :, 0], expected)


@pytest.mark.parametrize("fill", [0.0, -3.0, 2.5])
def test_the_gradient_of_a_tie_goes_to_the_first_maximum_row_by_row(fill):
    grad_fn = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x, 3, 2, ceil_mode=True))))
    grads = grad_fn(jnp.full((1, 4, 4, 1), fill))
    expected = np.zeros((4, 4))
    expected[:3:2, :3:2] = 1  # the upper left of each window
    np.testing.assert_array_equal(grads[0, :, :, 0], expected)


def test_a_pixel_that_wins_several_windows_gets_the_sum_of_their_gradients():
    x = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)
    weights = jnp.asarray([1.0, 10.0, 100.0, 1000.0]).reshape(1, 2, 2, 1)
    grads = jax.jit(jax.grad(lambda x: jnp.sum(weights * max_pool(x, 3, 2))))(x)
    assert float(grads[0, 2, 2, 0]) == 1111
    assert float(grads.sum()) == 1111


def test_padding_never_is_the_maximum():
    y = max_pool(jnp.full((1, 3, 3, 1), -5.0), 3, 2, padding=1)
    np.testing.assert_array_equal(y, np.full((1, 2, 2, 1), -5.0))


def test_pools_under_vmap_pool_each():
    x = normal(0, 3, 2, 7, 7, 2)
    for pool in (max_pool, avg_pool):
        fn = functools.partial(
            pullback, functools.partial(pool, window=3, stride=2, ceil_mode=True)
        )
        value, _ = jax.jit(jax.vmap(fn))(x)
        alone = [jax.jit(fn)(images)[0] for images in x]
        np.testing.assert_allclose(value, np.stack(alone), atol=1e-6)


# --- Locally connected. ---


@pytest.mark.slow
def test_locally_connected_by_loops():
    x = normal(0, 2, 4, 5, 3)
    module = LocallyConnected(2, 3, padding=1, bias_init=jax.nn.initializers.normal(1.0))
    params = jax.tree.map(np.asarray, module.init(jax.random.key(0), x)["params"])
    assert params["kernel"].shape == (4, 5, 27, 2)
    padded = np.pad(np.asarray(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.empty((2, 4, 5, 2))
    for image, p, q in np.ndindex(2, 4, 5):
        patch = padded[image, p : p + 3, q : q + 3].ravel()  # height, width, channel
        expected[image, p, q] = patch @ params["kernel"][p, q] + params["bias"][p, q]
    np.testing.assert_allclose(module.apply({"params": params}, x), expected, atol=1e-5)


def test_locally_connected_with_one_kernel_everywhere_is_a_convolution():
    x, kernel = normal(0, 2, 6, 6, 3), normal(1, 3, 3, 3, 4)
    module = LocallyConnected(4, 3)
    bias = jnp.zeros((4, 4, 4))

    def local(x: jax.Array, kernel: jax.Array) -> jax.Array:
        everywhere = jnp.broadcast_to(kernel.reshape(1, 1, 27, 4), (4, 4, 27, 4))
        return module.apply({"params": {"kernel": everywhere, "bias": bias}}, x)

    assert_same(
        value_and_pullback(local, x, kernel),
        value_and_pullback(lambda x, k: plain_conv(x, k, 1, 0, 1), x, kernel),
    )


@pytest.mark.slow
def test_locally_connected_begins_at_every_place_as_a_dense_layer_would():
    """He's deviation counts the inputs of one place, 27, not those of all places."""
    module = LocallyConnected(64, 3, padding=1, kernel_init=jax.nn.initializers.he_normal())
    kernel = module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]["kernel"]
    np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / 27), rtol=0.02)
