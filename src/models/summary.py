"""Lists a network layer by layer, by calling it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from src.models.layers import Conv, LocallyConnected
from src.models.layers.dropout import Dropout
from src.models.layers.lrn import LocalResponseNorm
from src.models.layers.pooling import AvgPool, MaxPool
from src.models.lenet import PartialConv, Subsampling
from src.models.params import get_layer

LAYERS = (
    Conv,
    LocallyConnected,
    PartialConv,
    Subsampling,
    MaxPool,
    AvgPool,
    LocalResponseNorm,
    Dropout,
    nn.Dense,
    nn.Conv,
    nn.BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.Dropout,
)


class Layer(NamedTuple):
    """One row of the table.

    Attributes:
        name: Its name among the parameters.
        kind: Name of its class.
        output: Shape of its output for one image.
        parameters: Number of weights and biases.
        multiply_adds: Number of multiply-adds with its weights for one image; normalization and
            pooling have none.
        receptive_field: Height, in pixels, of the part of the image that one output sees; None
            where that is not known, as in networks of one's own.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int | None


class Window(NamedTuple):
    """The rows that a layer reads for each row of its output."""

    size: int
    stride: int = 1
    padding: int = 0


def size_of(model: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    """Number of parameters of a network, and of multiply-adds with its weights for one image.

    It works for any flax layer that is called: its `kernel` is used once for each place of its
    output. Weights of another name count as parameters alone.

    Args:
        model: The network.
        shape: Height, width and channels of the image.
    """
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    params, layers = _call(model, images, lambda module: True)
    parameters = sum(math.prod(p.shape) for p in jax.tree.leaves(params))
    adds = sum(
        _multiply_adds(module, output, get_layer(params, name))
        for name, (module, output) in layers.items()
        if hasattr(output, "__len__")
    )
    return {"parameters": parameters, "multiply_adds": adds}


def summarize(model: nn.Module, image_size: int, *, ours: bool = True) -> list[Layer]:
    """The layers of `model` in the order in which it calls them.

    Args:
        model: The network, with relu as its activation.
        image_size: Height and width of the colour image, in pixels.
        ours: Whether nothing but `LAYERS`, ReLU and joining lies between its layers, so that
            receptive fields can be told. Of others every module with parameters is a layer.
    """
    images = jax.ShapeDtypeStruct((2, image_size, image_size, 3), jnp.float32)
    params, layers = _call(model, images, _is_layer)
    own = {name: _own(get_layer(params, name) if name else params) for name in layers}
    shapes = {name: output or () for name, (_, output) in layers.items()}
    fields = _receptive_fields(model, images.shape, shapes) if ours else {}
    return [
        Layer(
            name or "the network itself",
            type(module).__name__,
            shapes[name][1:],
            sum(math.prod(p.shape) for p in own[name].values()),
            _multiply_adds(module, shapes[name], own[name]) if name else 0,
            fields.get(name),
        )
        for name, (module, _) in layers.items()
    ]


def _is_layer(module: nn.Module) -> bool:
    """Whether a module that is being called is a layer: one of `LAYERS`, or with parameters."""
    return isinstance(module, LAYERS) or bool(_own(module.variables.get("params", {})))


def _own(params: Any) -> dict[str, Any]:
    """The parameters that a module has itself, not in modules within it."""
    return {name: p for name, p in params.items() if hasattr(p, "shape")}


def _call(
    model: nn.Module, images: jax.ShapeDtypeStruct, chosen: Callable[[nn.Module], bool]
) -> tuple[Any, dict[str, tuple[nn.Module, Any]]]:
    """Shapes of the parameters, and name -> (layer, shape of its output) of the chosen layers."""
    outputs: dict[str, tuple[nn.Module, Any]] = {}

    def note(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        output = call(*args, **kwargs)
        if chosen(context.module) and context.method_name == "__call__":
            outputs["/".join(context.module.path)] = (
                context.module,
                getattr(output, "shape", None),
            )
        return output

    with nn.intercept_methods(note):
        variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images)
    return variables.get("params", {}), outputs


def _multiply_adds(module: nn.Module, output: tuple, params: Any) -> int:
    """Number of multiply-adds for one image: each weight counts once for each place it is used."""
    if "kernel" not in params or hasattr(params["kernel"], "get"):
        return 0
    weights = math.prod(params["kernel"].shape)
    if isinstance(module, LocallyConnected | nn.ConvLocal):  # Each place has weights of its own.
        return weights
    features = module.features if isinstance(module, nn.DenseGeneral) else output[1:][-1:]
    return weights * (math.prod(output[1:]) // int(np.prod(features)))


def _receptive_fields(
    model: nn.Module, images: tuple[int, ...], shapes: dict[str, tuple[int, ...]]
) -> dict[str, int]:
    """Runs `model` on images of row numbers; each layer returns the maximum of what it reads.

    One image counts the rows from the top and one from the bottom, so that the two maxima are the
    last and the first row that an output sees; ReLU and joining leave them as they are.
    """
    fields = {}

    def widest(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if not (isinstance(context.module, LAYERS) and context.method_name == "__call__"):
            return call(*args, **kwargs)
        name = "/".join(context.module.path)
        seen = _seen(np.asarray(args[0]), context.module, shapes[name])
        fields[name] = int((seen[0] + seen[1]).max()) - images[1] + 2
        return jnp.asarray(seen)

    rows = np.arange(images[1], dtype=np.float32)
    numbers = np.stack([rows, rows[::-1]])[:, :, None, None]
    with nn.intercept_methods(widest):
        model.apply({}, jnp.asarray(np.broadcast_to(numbers, images)), keys=_two_keys())
    return fields


def _two_keys() -> jax.Array:
    """Two keys: with keys, as in training, auxiliary classifiers take part."""
    return jax.random.split(jax.random.key(0), 2)


def _seen(x: np.ndarray, module: nn.Module, shape: tuple[int, ...]) -> np.ndarray:
    """For each place of the output the maximum of what it reads, over all columns and channels."""
    if x.ndim == 2 or len(shape) == 2:
        return np.broadcast_to(x.max(axis=tuple(range(1, x.ndim)))[:, None], shape)
    size, stride, padding = _window(module)
    rows = x.max(axis=(2, 3))
    after = (shape[1] - 1) * stride + size - padding - rows.shape[1]
    padded = np.pad(rows, ((0, 0), (padding, max(0, after))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::stride]
    return np.broadcast_to(windows.max(axis=2)[:, : shape[1], None, None], shape)


def _rows(side: Any) -> int:
    """The first of two sides, or the only one."""
    return int(np.atleast_1d(side)[0])


def _window(module: Any) -> Window:
    match module:
        case Conv() | LocallyConnected() | PartialConv():
            size = _rows(module.kernel_size)
            return Window(size, getattr(module, "stride", 1), getattr(module, "padding", 0))
        case nn.Conv():
            size, stride = _rows(module.kernel_size), _rows(module.strides or 1)
            return Window(size, stride, size // 2 if module.padding == "SAME" else 0)
        case MaxPool() | AvgPool():
            return Window(_rows(module.window), module.stride, getattr(module, "padding", 0))
        case Subsampling():
            return Window(2, 2)
        case LocalResponseNorm(convention="within"):
            return Window(module.n, 1, module.n // 2)
    return Window(1)
