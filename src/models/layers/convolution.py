"""Convolution; on a CPU its gradients are written out, so that they stay fast in `lax.scan`."""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from src.models.layers import folding, plain, products, winograd
from src.models.layers.once import computed_once

# From so many channels on, as many in as out, Winograd's way is faster: by the kernel's size; for
# the weights' gradient by the side of the squares of pixels.
WINOGRAD, WINOGRAD_WEIGHTS = {3: 16, 5: 24}, {2: 96, 4: 48}
# Shares of windows are added up where they are so many times fewer than the multiply-adds.
SHARE = 48
Initializer = Callable[..., Array]


class Conv(nn.Module):
    """`conv` with a kernel and a bias."""

    features: int
    kernel_size: int | tuple[int, int]
    stride: int = 1
    padding: int = 0
    groups: int = 1
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B P Q O"]:
        kernel = self.param("kernel", self.kernel_init, self.kernel_shape(x.shape[-1]))
        bias = self.param("bias", self.bias_init, (self.features,))
        y = conv(x, kernel, stride=self.stride, padding=self.padding, groups=self.groups)
        return y + bias.reshape(1, 1, 1, -1)

    def kernel_shape(self, channels: int) -> tuple[int, int, int, int]:
        """[k, l, J, O] for images of so many channels."""
        size = self.kernel_size
        height, width = size if isinstance(size, tuple) else (size, size)
        return height, width, channels // self.groups, self.features


def conv(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "k l J O"],
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Float[Array, "B P Q O"]:
    """Cross-correlation with the same stride and zero padding on both axes.

    Args:
        x: Images.
        kernel: The kernels, J is I / groups; on a CPU the square ones are fast.
        stride: Pixels from one place of the kernel to the next, on both axes.
        padding: Number of zeros on each of the four sides.
        groups: Number of groups of channels that do not see one another; AlexNet's towers are 2.
    """
    if jax.default_backend() != "cpu" or kernel.shape[0] != kernel.shape[1]:
        return _xla_conv(x, kernel, stride, padding, groups)
    if groups == 1:
        return _cpu_conv(x, kernel, stride, padding)
    parts = zip(jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
    return jnp.concatenate([_cpu_conv(a, b, stride, padding) for a, b in parts], axis=-1)


def _xla_conv(x: Array, kernel: Array, stride: int, padding: int, groups: int = 1) -> Array:
    return plain.values(x, kernel, (stride, stride), ((padding, padding),) * 2, groups)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _cpu_conv(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    if _by_winograd(x, kernel, stride, padding):
        return winograd.values(x, kernel, padding)
    if products.fits_whole(x, kernel, stride, padding):
        return products.whole(x, kernel, stride, padding)
    if _exceeds(kernel, x.shape):
        return products.values(x, kernel, stride, padding)
    return _by_columns(x, kernel, stride, padding)


def _by_winograd(x: Array, kernel: Array, stride: int, padding: int) -> bool:
    """Whether the values are computed by Winograd's method."""
    return (
        _fewer_products(kernel, stride, padding)
        and not products.fits_whole(x, kernel, stride, padding)
        and not _exceeds(kernel, x.shape)
    )


def _exceeds(kernel: Array, maps: tuple[int, ...]) -> bool:
    """Whether a kernel has more pixels than a map [B, H, W, C].

    There XLA exchanges the two, and then has naive loops alone, which are far slower.
    """
    return math.prod(kernel.shape[:2]) > math.prod(maps[1:3])


def _fewer_products(kernel: Array, stride: int, padding: int, channels: int | None = None) -> bool:
    """Whether Winograd's method saves more than its transformations cost.

    The saving grows with I x O, the cost with I + O; it pays from the ratio of I = O = `channels`
    on, which is by default that of the kernel's size in `WINOGRAD`.
    """
    size, _, inputs, outputs = kernel.shape
    if size not in WINOGRAD or stride > 1 or padding >= size or kernel.dtype != jnp.float32:
        return False
    return 2 * inputs * outputs >= (channels or WINOGRAD[size]) * (inputs + outputs)


def _by_columns(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """XLA's convolution; with few channels it makes several columns at once."""
    count = folding.columns_at_once(kernel.shape, x.shape, stride, padding)
    if count == 1 or not folding.in_blocks(x.shape, len(kernel), padding, count):
        x, kernel = _even_channels(x, kernel)
    if count == 1:
        return _xla_conv(x, kernel, stride, padding)
    return folding.values(x, kernel, padding, count)


def _even_channels(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Makes an odd number of input channels even: zeros cost less than odd strides in memory."""
    odd = x.shape[-1] % 2
    none = ((0, 0),) * 2
    return jnp.pad(x, (*none, (0, 0), (0, odd))), jnp.pad(kernel, (*none, (0, odd), (0, 0)))


def _cpu_conv_forward(x: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, tuple]:
    """The values, and what the gradients need: the images or, in their place, their numbers."""
    if _by_winograd(x, kernel, stride, padding) and winograd.keeps_numbers(
        x.shape, kernel.shape, padding
    ):
        values, numbers = winograd.values_and_numbers(x, kernel, padding)
        return values, (None, numbers, kernel)
    return _cpu_conv(x, kernel, stride, padding), (x, None, kernel)


def _cpu_conv_backward(stride: int, padding: int, saved: tuple, grads: Array) -> tuple:
    x, numbers, kernel = saved
    if x is None:
        shape = tuple(n + len(kernel) - 1 - 2 * padding for n in grads.shape[1:3])
        of_kernel = winograd.kernel_grads_of_numbers(numbers, grads)
    else:
        shape = x.shape[1:3]
        of_kernel = _kernel_grads(x, kernel, grads, stride, padding)
    return _input_grads(shape, kernel, grads, stride, padding), of_kernel


def _kernel_grads(x: Array, kernel: Array, grads: Array, stride: int, padding: int) -> Array:
    """The gradient of the kernel [k, k, I, O], by the fastest way for its shapes.

    That is one of two matrix products, Winograd's method, several columns at once for few channels,
    or XLA's convolution.
    """
    size = len(kernel)
    if products.fits_whole(x, kernel, stride, padding):
        return products.whole_kernel_grads(x, kernel, grads, stride, padding)
    if size in winograd.WAYS and not _exceeds(kernel, grads.shape):
        way = winograd.way_of_weights(size, grads.shape)
        if _fewer_products(kernel, stride, padding, WINOGRAD_WEIGHTS[way.side]):
            return winograd.kernel_grads(x, grads, way, padding)
    count = folding.columns_at_once(kernel.shape, x.shape, stride, padding)
    rows, columns = grads.shape[1:3]
    exceeds = rows * -(-columns // count) > math.prod(x.shape[1:3])  # As a kernel over the images.
    if count > 1 and not exceeds:
        return folding.kernel_grads(x, kernel, grads, padding, count)
    if exceeds or _few_windows(kernel, grads.shape):
        return products.kernel_grads(x, grads, size, stride, padding)
    return plain.kernel_grads(x, grads, (size, size), (stride, stride), ((padding, padding),) * 2)


def _few_windows(kernel: Array, maps: tuple[int, ...]) -> bool:
    """Whether a matrix product saves the weights' gradient more than copying the windows costs.

    Measured: always for a kernel of one pixel, never above 3 by 3; in between if the sum is over
    many channels or pixels.
    """
    size, _, inputs, _ = kernel.shape
    return size == 1 or (size <= 3 and (inputs > 64 or math.prod(maps[1:3]) > 64))


def _input_grads(
    shape: tuple[int, ...], kernel: Array, grads: Array, stride: int, padding: int
) -> Array:
    """The gradient of images of H by W pixels, which are `shape`.

    It is a convolution of the gradients with the kernel turned around.
    """
    around = len(kernel) - 1 - padding
    turned = _turned(kernel)
    if stride == 1 and products.fits_whole(grads, turned, 1, around):
        return products.whole(grads, turned, 1, around)
    if _exceeds(kernel, grads.shape) or _few_shares(kernel, grads.shape, stride, around):
        return products.input_grads(kernel, grads, stride, padding, shape)
    if _fewer_products(kernel, stride, padding):
        return winograd.values(grads, turned, around)
    if stride == 1 and around >= 0:
        return _by_columns(grads, turned, 1, around)
    pads = [
        (around, n - (g - 1) * stride - 1 + padding)
        for n, g in zip(shape, grads.shape[1:3], strict=True)
    ]
    return lax.conv_general_dilated(
        grads,
        turned,
        (1, 1),
        pads,
        lhs_dilation=(stride, stride),
        dimension_numbers=plain.DIMENSIONS,
    )


def _few_shares(kernel: Array, grads: tuple[int, ...], stride: int, around: int) -> bool:
    """Whether shares of windows are added up sooner than several columns are made at once.

    Args:
        kernel: The kernel of the forward pass.
        grads: Shape [B, P, Q, O] of the gradients.
        stride: Stride of the forward pass.
        around: Padding of the gradients, for the convolution with the kernel turned around.
    """
    size, _, inputs, outputs = kernel.shape
    turned = (size, size, outputs, inputs)
    count = folding.columns_at_once(turned, grads, stride, around) if around >= 0 else 1
    shares = math.prod(grads[1:3]) * size**2 * inputs
    return count > 1 and folding.multiply_adds(turned, grads, around, count) > SHARE * shares


def _turned(kernel: Array) -> Array:
    """[k, k, I, O] -> [k, k, O, I], rows and columns from the last to the first.

    The first transposition moves whole rows and columns of a matrix, which XLA does fast.
    """
    rows = computed_once(lambda k: k.transpose(3, 0, 1, 2), kernel)  # [O, k, k, I]
    return rows[:, ::-1, ::-1].transpose(1, 2, 0, 3)


_cpu_conv.defvjp(_cpu_conv_forward, _cpu_conv_backward)
