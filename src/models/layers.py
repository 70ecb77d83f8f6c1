"""Convolution and pooling that are fast on a CPU too, each with the values of the plain XLA operation.

XLA's own gradients of these are slow on a CPU (select-and-scatter for the maximum, naive loops for a convolution's
weight gradient inside `lax.scan`). Here they are written with the operations that are fast there. On other backends
`conv` is XLA's own. `tests/test_layers.py` compares values and gradients with XLA's and PyTorch's.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
Initializer = Callable[..., Array]


def _computed_once(fn: Callable[..., Any], *arrays: Array) -> Any:
    """`fn(*arrays)`, kept in memory on a CPU, where XLA would compute it anew for each of its readers.

    XLA's CPU compiler fuses cheap operations into all that read them and drops optimization barriers
    before it does. It leaves the branches of a conditional alone, so this is one whose other branch is
    never taken: a number with its last bit set is not zero.
    """
    if jax.default_backend() != "cpu":
        return fn(*arrays)
    number = lax.bitcast_convert_type(arrays[0].ravel()[0].astype(jnp.float32), jnp.int32)
    results = jax.eval_shape(fn, *arrays)
    never = lambda *_: jax.tree.map(lambda r: jnp.zeros(r.shape, r.dtype), results)  # noqa: E731
    return lax.cond((number | 1) != 0, fn, never, *arrays)


# --- Convolution. ---


def conv(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "h w J O"],
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Float[Array, "B P Q O"]:
    """Cross-correlation of square stride and symmetric zero padding, as in every network here.

    Args:
        x: Images.
        kernel: `J` is I / groups.
        stride: Of both axes.
        padding: Zeros on each of the four sides.
        groups: Of channels that do not see one another; 2 are AlexNet's towers.
    """
    if jax.default_backend() != "cpu":
        return _xla_conv(x, kernel, stride, padding, groups)
    if groups == 1:
        return _cpu_conv(x, kernel, stride, padding)
    parts = zip(jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
    return jnp.concatenate([_cpu_conv(a, b, stride, padding) for a, b in parts], axis=-1)


def _xla_conv(x: Array, kernel: Array, stride: int, padding: int, groups: int = 1) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=DIMENSIONS,
        feature_group_count=groups,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _cpu_conv(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    return _xla_conv(*_even_channels(x, kernel), stride, padding)


def _even_channels(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Three input channels made four: one column of zeros costs less than odd strides through memory."""
    odd = x.shape[-1] % 2
    none = ((0, 0),) * 2
    return jnp.pad(x, (*none, (0, 0), (0, odd))), jnp.pad(kernel, (*none, (0, odd), (0, 0)))


def _cpu_conv_forward(x: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, tuple]:
    return _cpu_conv(x, kernel, stride, padding), (x, kernel)


def _cpu_conv_backward(stride: int, padding: int, saved: tuple, grads: Array) -> tuple:
    x, kernel = saved
    return _input_grads(x, kernel, grads, stride, padding), _kernel_grads(
        x, kernel, grads, stride, padding
    )


def _kernel_grads(x: Array, kernel: Array, grads: Array, stride: int, padding: int) -> Array:
    """A convolution in canonical layout whose summed-over features are the images of the batch."""
    channels, (height, width) = x.shape[-1], kernel.shape[:2]
    if channels % 2:
        x = jnp.pad(x, ((0, 0),) * 3 + ((0, 1),))
    sums = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),  # [I, H, W, B]
        grads.transpose(1, 2, 0, 3),  # [P, Q, B, O]
        (1, 1),
        ((padding, padding), (padding, padding)),
        rhs_dilation=(stride, stride),
        dimension_numbers=DIMENSIONS,
    )  # [I, h + rest, w + rest, O], the rest being rows the strides did not reach
    return sums[:channels, :height, :width].transpose(1, 2, 0, 3)


def _input_grads(x: Array, kernel: Array, grads: Array, stride: int, padding: int) -> Array:
    """The kernel, turned around, over the gradients; as XLA has it, and fast as it is."""
    pads = [
        (k - 1 - padding, n - (g - 1) * stride - 1 + padding)
        for k, n, g in zip(kernel.shape[:2], x.shape[1:3], grads.shape[1:3], strict=True)
    ]
    return lax.conv_general_dilated(
        grads,
        kernel[::-1, ::-1].transpose(0, 1, 3, 2),
        (1, 1),
        pads,
        lhs_dilation=(stride, stride),
        dimension_numbers=DIMENSIONS,
    )


_cpu_conv.defvjp(_cpu_conv_forward, _cpu_conv_backward)


class Conv(nn.Module):
    """`conv` with a kernel and a bias."""

    features: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B P Q O"]:
        size, channels = self.kernel_size, x.shape[-1] // self.groups
        kernel = self.param("kernel", self.kernel_init, (size, size, channels, self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        y = conv(x, kernel, stride=self.stride, padding=self.padding, groups=self.groups)
        return y + bias.reshape(1, 1, 1, -1)


class ConvMaxPool(nn.Module):
    """A convolution, then the maximum of 3 by 3 windows at a stride of 2 with the last hanging over.

    The same parameters and values as `Conv` and `max_pool`, and on a CPU a first layer in half the time.
    """

    features: int
    kernel_size: int = 5
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B P Q O"]:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", self.bias_init, (self.features,)).reshape(1, 1, 1, -1)
        return conv_max_pool(x, kernel) + bias


class LocallyConnected(nn.Module):
    """A convolution of stride 1 whose kernel is another one at every place (cuda-convnet's `local`)."""

    features: int
    kernel_size: int
    padding: int = 0
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B P Q O"]:
        size, pad = self.kernel_size, self.padding
        x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
        patches = jnp.concatenate(
            [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)], axis=-1
        )  # [B, P, Q, h w I]
        shape = (height, width, patches.shape[-1], self.features)
        kernel = self.param("kernel", self._init_kernels, shape)
        bias = self.param("bias", self.bias_init, (height, width, self.features))
        return jnp.einsum("bpqi,pqio->bpqo", patches, kernel) + bias[None]

    def _init_kernels(self, key: Array, shape: tuple[int, int, int, int]) -> Array:
        """Each place as a layer of its own: an initializer that counts inputs must not count places."""
        height, width, *kernel = shape
        keys = jax.random.split(key, (height, width))
        return jax.vmap(jax.vmap(lambda k: self.kernel_init(k, tuple(kernel))))(keys)


# --- Pooling. ---


def max_pool(
    x: Float[Array, "B H W C"],
    window: int,
    stride: int,
    *,
    padding: int = 0,
    ceil_mode: bool = False,
) -> Float[Array, "B P Q C"]:
    """Maximum over windows; the gradient goes to the first maximum of a window, row by row.

    Args:
        x: Images.
        window: Its height and width.
        stride: From one window to the next.
        padding: On each side; never a maximum.
        ceil_mode: Whether a last window may hang over the border (Caffe, cuda-convnet): 32 -> 16 for 3 by 2.
    """
    return _max_pool(x, window, stride, padding, ceil_mode)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _max_pool(x: Array, window: int, stride: int, padding: int, ceil_mode: bool) -> Array:
    return _max_pool_forward(x, window, stride, padding, ceil_mode)[0]


def _max_pool_forward(x: Array, window: int, stride: int, padding: int, ceil_mode: bool) -> tuple:
    sizes = _out_sizes(x, window, stride, padding, ceil_mode)
    padded = _pad(x, window, stride, padding, sizes, -jnp.inf)
    best, winner = None, None
    for number, view in enumerate(_views(padded, window, stride, sizes)):
        if best is None or winner is None:
            best, winner = view, jnp.zeros(view.shape, jnp.uint8)
            continue
        winner = jnp.where(view > best, jnp.uint8(number), winner)
        best = jnp.maximum(best, view)
    return best, (winner, x.shape[1:3])


def _max_pool_backward(
    window: int, stride: int, padding: int, ceil_mode: bool, saved: tuple, grads: Array
) -> tuple[Array]:
    del ceil_mode
    winner, (height, width) = saved
    reach = -(-window // stride)
    rows, columns = (n + reach - 1 for n in grads.shape[1:3])
    phases = []
    for i in range(stride):
        for j in range(stride):
            total = jnp.zeros((grads.shape[0], rows, columns, grads.shape[3]), grads.dtype)
            for m, n in np.ndindex(reach, reach):
                y, z = i + m * stride, j + n * stride
                if y < window and z < window:
                    won = jnp.where(winner == y * window + z, grads, 0)
                    total += jnp.pad(won, ((0, 0), (m, reach - 1 - m), (n, reach - 1 - n), (0, 0)))
            phases.append(total)
    grid = jnp.stack(phases).reshape(stride, stride, *phases[0].shape)
    whole = grid.transpose(2, 3, 0, 4, 1, 5).reshape(
        grads.shape[0], rows * stride, columns * stride, grads.shape[3]
    )
    missing = [
        max(0, padding + n - w) for n, w in zip((height, width), whole.shape[1:3], strict=True)
    ]
    whole = jnp.pad(whole, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    return (whole[:, padding : padding + height, padding : padding + width],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def avg_pool(
    x: Float[Array, "B H W C"],
    window: int,
    stride: int,
    *,
    padding: int = 0,
    ceil_mode: bool = False,
) -> Float[Array, "B P Q C"]:
    """Mean over windows, of the real pixels under each (cuda-convnet's division at a border)."""
    return _avg_pool(x, window, stride, padding, ceil_mode)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _avg_pool(x: Array, window: int, stride: int, padding: int, ceil_mode: bool) -> Array:
    sizes = _out_sizes(x, window, stride, padding, ceil_mode)
    padded = _pad(x, window, stride, padding, sizes, 0.0)
    total = sum(_views(padded, window, stride, sizes))
    counts = [
        _real_pixels(size, n, window, stride, padding)
        for size, n in zip(x.shape[1:3], sizes, strict=True)
    ]
    return total / jnp.asarray(np.outer(*counts), x.dtype)[None, :, :, None]


def _avg_pool_forward(x: Array, *window: Any) -> tuple[Array, tuple[int, ...]]:
    return _avg_pool(x, *window), x.shape


def _avg_pool_backward(
    window: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    shape: tuple[int, ...],
    grads: Array,
) -> tuple[Array]:
    """By matrix: one along the rows, one along the columns, or both at once where that is small."""
    del ceil_mode
    weights = [
        _averaging(size, n, window, stride, padding)
        for size, n in zip(shape[1:3], grads.shape[1:3], strict=True)
    ]
    batch, rows, columns, channels = grads.shape
    if np.prod(shape[1:3]) <= 256:
        whole = jnp.asarray(np.kron(*weights), grads.dtype)  # [P Q, H W]
        flat = grads.reshape(batch, rows * columns, channels)
        spread = lax.dot_general(whole, flat, (((0,), (1,)), ((), ())))  # [H W, B, C]
        return (spread.transpose(1, 0, 2).reshape(shape),)
    by_row, by_column = (jnp.asarray(w, grads.dtype) for w in weights)
    return (jnp.einsum("bpqc,ph,qw->bhwc", grads, by_row, by_column),)


_avg_pool.defvjp(_avg_pool_forward, _avg_pool_backward)


def _averaging(
    size: int, windows: int, window: int, stride: int, padding: int
) -> Float[np.ndarray, "P H"]:
    """The matrix whose rows average the real pixels of each window."""
    starts = (np.arange(windows) * stride - padding)[:, None]
    under = (np.arange(size) >= starts) & (np.arange(size) < starts + window)
    return under / under.sum(axis=1, keepdims=True)


def _real_pixels(
    size: int, windows: int, window: int, stride: int, padding: int
) -> Int[np.ndarray, " P"]:
    starts = np.arange(windows) * stride - padding
    return np.minimum(starts + window, size) - np.maximum(starts, 0)


def _out_sizes(
    x: Array, window: int, stride: int, padding: int, ceil_mode: bool
) -> tuple[int, ...]:
    """Windows per axis; one that would start beyond the last pixel is left out, as in Caffe and PyTorch."""
    sizes = []
    for size in x.shape[1:3]:
        room = size + 2 * padding - window
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        sizes.append(count - (ceil_mode and (count - 1) * stride >= size + padding))
    return tuple(sizes)


def _pad(
    x: Array, window: int, stride: int, padding: int, sizes: tuple[int, ...], value: float
) -> Array:
    ends = [
        (n - 1) * stride + window - size - padding
        for n, size in zip(sizes, x.shape[1:3], strict=True)
    ]
    pads = [(0, 0, 0), *((padding, end, 0) for end in ends), (0, 0, 0)]
    return lax.pad(x, jnp.asarray(value, x.dtype), pads)


def _views(padded: Array, window: int, stride: int, sizes: tuple[int, ...]) -> list[Array]:
    """The pixel that each window has at (i, j), for every (i, j) row by row: window^2 of [B, P, Q, C]."""
    batch, _, _, channels = padded.shape
    return [
        lax.slice(
            padded,
            (0, i, j, 0),
            (batch, i + (sizes[0] - 1) * stride + 1, j + (sizes[1] - 1) * stride + 1, channels),
            (1, stride, stride, 1),
        )
        for i, j in np.ndindex(window, window)
    ]


# --- A first layer: few channels in, so that pooling and gradients cost more than the convolution. ---


def conv_max_pool(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k k I O"]
) -> Float[Array, "B P Q O"]:
    """`max_pool(conv(x, kernel, padding=2), 3, 2, ceil_mode=True)` for 5 by 5 kernels.

    On a CPU and for even sizes the image is folded: 2 by 2 pixels become one of four times the channels, and the
    convolution yields the four phases of its output side by side. Each pooling window reads its nine values from
    there, and its gradient is written back phase by phase, with no strided pass over the full-size output.
    """
    folds = x.shape[1] % 2 == x.shape[2] % 2 == 0 and kernel.shape[0] == 5
    if jax.default_backend() == "cpu" and folds:
        return _folded(x, kernel)
    return max_pool(conv(x, kernel, padding=2), 3, 2, ceil_mode=True)


@jax.custom_vjp
def _folded(x: Array, kernel: Array) -> Array:
    return _folded_forward(x, kernel)[0]


def _folded_forward(x: Array, kernel: Array) -> tuple[Array, tuple]:
    folded, features = _fold(x), kernel.shape[-1]
    phases = lax.conv_general_dilated(
        folded, _fold_kernel(kernel), (1, 1), ((1, 2), (1, 2)), dimension_numbers=DIMENSIONS
    )  # [B, P + 1, Q + 1, 4 O]; the last row and column only complete the windows' slices
    best, winner = _computed_once(functools.partial(_pool_phases, features=features), phases)
    return best, (x, folded, kernel, winner)


def _pool_phases(phases: Array, features: int) -> tuple[Array, Array]:
    shape = (phases.shape[0], phases.shape[1] - 1, phases.shape[2] - 1, features)
    last_row, last_column = (
        lax.broadcasted_iota(jnp.int32, shape, axis) == shape[axis] - 1 for axis in (1, 2)
    )
    best, winner = jnp.full(shape, -jnp.inf, phases.dtype), jnp.zeros(shape, jnp.int8)
    for i, j in np.ndindex(3, 3):
        phase = 2 * (i % 2) + j % 2
        view = phases[
            :,
            i // 2 : i // 2 + shape[1],
            j // 2 : j // 2 + shape[2],
            phase * features : (phase + 1) * features,
        ]
        view = jnp.where(last_row, -jnp.inf, view) if i == 2 else view
        view = jnp.where(last_column, -jnp.inf, view) if j == 2 else view
        winner = jnp.where(view > best, jnp.int8(3 * i + j), winner)
        best = jnp.maximum(best, view)
    return best, winner


def _folded_backward(saved: tuple, grads: Array) -> tuple[Array, Array]:
    x, folded, kernel, winner = saved
    rows, columns, features = grads.shape[1:]
    winner = lax.pad(
        winner.transpose(1, 2, 0, 3), jnp.int8(-1), ((1, 0, 0),) * 2 + ((0, 0, 0),) * 2
    )
    grads = jnp.pad(grads.transpose(1, 2, 0, 3), ((1, 0), (1, 0), (0, 0), (0, 0)))
    phases = []  # of the gradient at the convolution's output, each [P, Q, B, O]
    for i, j in np.ndindex(2, 2):
        windows = [
            (m, n) for m in ((0, 1) if i == 0 else (0,)) for n in ((0, 1) if j == 0 else (0,))
        ]
        shares = []
        for m, n in windows:
            here = (slice(1 - m, 1 - m + rows), slice(1 - n, 1 - n + columns))
            won = winner[here] == 3 * (i + 2 * m) + j + 2 * n
            shares.append(jnp.where(won, grads[here], 0))
        phases.append(sum(shares[1:], start=shares[0]))
    inputs = folded.transpose(3, 1, 2, 0)  # [4 I, P, Q, B]
    kernel_grads = [
        lax.conv_general_dilated(
            inputs, phase, (1, 1), ((1, 1), (1, 1)), dimension_numbers=DIMENSIONS
        )
        for phase in phases
    ]
    summed = _unfold_kernel([g.transpose(1, 2, 0, 3) for g in kernel_grads], kernel.shape)
    unused = [phase.transpose(2, 0, 1, 3) for phase in phases]
    output_grads = _unfold(jnp.concatenate(unused, axis=-1), features)
    return _input_grads(x, kernel, output_grads, 1, 2), summed


_folded.defvjp(_folded_forward, _folded_backward)


def _fold(x: Array) -> Array:
    """[B, 2P, 2Q, I] -> [B, P, Q, (2, 2, I)]."""
    batch, height, width, channels = x.shape
    folded = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return folded.reshape(batch, height // 2, width // 2, 4 * channels)


def _unfold(folded: Array, channels: int) -> Array:
    """[B, P, Q, (2, 2, C)] -> [B, 2P, 2Q, C]."""
    batch, rows, columns, _ = folded.shape
    whole = folded.reshape(batch, rows, columns, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return whole.reshape(batch, 2 * rows, 2 * columns, channels)


def _fold_kernel(kernel: Array) -> Array:
    """The 5 by 5 kernel for folded images: [3, 3, (2, 2, I), (2, 2, O)], output phase (i, j) shifted by i and j."""
    inputs, outputs = kernel.shape[2:]
    phases = []
    for i, j in np.ndindex(2, 2):
        shifted = jnp.pad(kernel, ((i, 1 - i), (j, 1 - j), (0, 0), (0, 0)))  # [6, 6, I, O]
        blocks = shifted.reshape(3, 2, 3, 2, inputs, outputs).transpose(0, 2, 1, 3, 4, 5)
        phases.append(blocks.reshape(3, 3, 4 * inputs, outputs))
    return jnp.concatenate(phases, axis=-1)


def _unfold_kernel(grads: list[Array], shape: tuple[int, ...]) -> Array:
    """The transpose of `_fold_kernel`: the gradients of the four phases added up."""
    total = jnp.zeros(shape, grads[0].dtype)
    for (i, j), phase in zip(np.ndindex(2, 2), grads, strict=True):
        blocks = phase.reshape(3, 3, 2, 2, *shape[2:]).transpose(0, 2, 1, 3, 4, 5)
        total += blocks.reshape(6, 6, *shape[2:])[i : i + 5, j : j + 5]
    return total
