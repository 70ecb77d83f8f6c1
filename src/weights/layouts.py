"""Recognizes the published network of a file of weights, and turns its tensors into our parameters.

Ours: kernels [height, width, in, out], fully connected [in, out], maps flattened as height, width,
channel, and images red, green, blue. Tensors that pass every check of shape may still be wrong: a
reshape where a transpose belongs, channels in another order. Only outputs tell, so the tests
compare them with PyTorch's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from src import models
from src.weights.tensors import Tensors, WeightsError, WeightsFile

Shape = tuple[int, ...]
Names = tuple[str, str]  # Patterns of a weight's and a bias's name; `{}` is the layer.


class Input(NamedTuple):
    """The input that a network was trained on, and must be given.

    Attributes:
        resize: `none`; `shorter`: the shorter side to `side` pixels, then the central square;
            `warped`: both sides to `side`, whatever the proportions.
        side: Side of the resized image in pixels.
        crop: Side of a view in pixels; 0: the whole image.
        mean: Red, green, blue in grey levels; None: the mean image of the training set.
        deviation: What centred pixels are divided by, in grey levels.
    """

    resize: Literal["none", "shorter", "warped"]
    side: int
    crop: int
    mean: tuple[float, float, float] | None
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Layout:
    """A published network.

    Attributes:
        name: Its name on the command line.
        title: Its name in reports.
        model: Name of our network.
        options: Options of our network.
        layers: Our layer -> theirs, in the order in which an image passes them.
        flattened: Height, width and channels of what the first fully connected layer reads.
        names: Patterns of their tensors' names; the first that fit are taken.
        input: Its input.
        classes: The data set whose classes its outputs stand for, see `classes`.
        published: The error that its authors report, with the source.
        blue_first: Whether it was trained on images in blue, green, red.
        pool_first: Whether pooling comes before normalization; tells CaffeNet from AlexNet.
    """

    name: str
    title: str
    model: str
    options: Mapping[str, Any]
    layers: Mapping[str, str]
    flattened: tuple[int, int, int]
    names: tuple[Names, ...]
    input: Input
    classes: Literal["cifar10", "imagenet"]
    published: str
    blue_first: bool = False
    pool_first: bool | None = None


GUESSED = (
    "the file does not say whether pooling or normalization comes first: it was taken for AlexNet"
)


@dataclass(frozen=True)
class Imported:
    """Weights of a file as parameters of one of our networks."""

    path: Path
    layout: Layout
    params: PyTree = field(repr=False)
    num_classes: int
    unused: tuple[str, ...]  # Tensors of the file that the network does not have.
    guessed: bool  # Whether AlexNet was taken, unasked, although it may be CaffeNet.

    def make_model(self) -> nn.Module:
        """Makes the network that the parameters belong to."""
        return _model(self.layout, self.num_classes)


CAFFE: Names = ("{}/weight", "{}/bias")
ZOO: Names = ("{}_w_0", "{}_b_0")  # Names in the ONNX model zoo.
TORCH: Names = ("{}.weight", "{}.bias")
# PyTorch puts these into names where a network, or a part of it, is trained on several devices
# (`features.module.0.weight`), averaged or compiled; training programs put MODEL before every name.
WRAPPERS = ("module", "_orig_mod")
MODEL = "model."
CHANNELS_LAST = (".npy",)  # Kernels lie there as ours do.
CIFAR10 = Input("none", 32, 0, None)
CAFFE_IMAGENET = Input("warped", 256, 227, (122.67891, 116.66877, 104.00699))
TORCH_IMAGENET = Input(
    "shorter",
    256,
    224,
    (255 * 0.485, 255 * 0.456, 255 * 0.406),
    (255 * 0.229, 255 * 0.224, 255 * 0.225),
)
_CONVS = {f"conv{n}": f"conv{n}" for n in (1, 2, 3)}
_EIGHT = {name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")}
_SEQUENTIAL = dict(
    zip(
        _EIGHT,
        (
            *("features.0", "features.3", "features.6", "features.8", "features.10"),
            *("classifier.1", "classifier.4", "classifier.6"),
        ),
        strict=True,
    )
)

LAYOUTS = (
    Layout(
        name="cifar10_full",
        title="cifar10_full of Caffe: the net 18pct of cuda-convnet",
        model="conv3",
        options={"lrn": "within"},
        layers=_CONVS | {"fc10": "ip1"},
        flattened=(4, 4, 64),
        names=(CAFFE,),
        input=CIFAR10,
        classes="cifar10",
        published="16.89% wrong, image and mirror averaged (Caffe's cifar10_full.ipynb, iteration"
        " 70,000)",
    ),
    Layout(
        name="cifar10_quick",
        title="cifar10_quick of Caffe",
        model="quick",
        options={},
        layers=_CONVS | {"fc64": "ip1", "fc10": "ip2"},
        flattened=(4, 4, 64),
        names=(CAFFE,),
        input=CIFAR10,
        classes="cifar10",
        published="25.09% wrong in one view (the last test of its training log, iteration 5,000)",
    ),
    Layout(
        name="caffe_alexnet",
        title="AlexNet of Caffe (bvlc_alexnet)",
        model="alexnet",
        options={"lrn": "caffe", "dropout_scale": "training"},
        layers=_EIGHT,
        flattened=(6, 6, 256),
        names=(CAFFE, ZOO),
        input=CAFFE_IMAGENET,
        classes="imagenet",
        published="top-1 error 42.9%, top-5 19.8%, one view (BVLC/caffe: models/bvlc_alexnet)",
        blue_first=True,
        pool_first=False,
    ),
    Layout(
        name="caffenet",
        title="CaffeNet (bvlc_reference_caffenet)",
        model="alexnet",
        options={"lrn": "caffe", "order": "pool_norm", "dropout_scale": "training"},
        layers=_EIGHT,
        flattened=(6, 6, 256),
        names=(CAFFE, ZOO),
        input=CAFFE_IMAGENET,
        classes="imagenet",
        published="top-1 error 42.6%, top-5 19.6%, one view (BVLC/caffe:"
        " models/bvlc_reference_caffenet)",
        blue_first=True,
        pool_first=True,
    ),
    Layout(
        name="torchvision_alexnet",
        title="AlexNet of torchvision: one tower, no normalization",
        model="alexnet",
        options={"towers": 1, "lrn": "none", "border": "padded", "dropout_scale": "training"},
        layers=_SEQUENTIAL,
        flattened=(6, 6, 256),
        names=(TORCH,),
        input=TORCH_IMAGENET,
        classes="imagenet",
        published="top-1 error 43.478%, top-5 20.934%, one view (torchvision's documentation)",
    ),
)
NAMES = tuple(layout.name for layout in LAYOUTS)


def find_layout(name: str) -> Layout:
    """Finds a layout by its name.

    Raises:
        WeightsError: If there is none.
    """
    found = next((layout for layout in LAYOUTS if layout.name == name), None)
    if found is None:
        raise WeightsError(f"no layout {name!r}; there are {', '.join(NAMES)}")
    return found


def import_weights(file: WeightsFile, layout: Layout | None = None) -> Imported:
    """Turns the tensors of a file into parameters of one of our networks.

    Args:
        file: The file as it was read.
        layout: The network; None: the one of `LAYOUTS` whose tensors the file has.

    Raises:
        WeightsError: If no known network fits, naming the first tensor that does not fit the
            nearest one, or a layer behind its last one.
    """
    tensors = _unwrapped(file.tensors)
    pairs = [(c, names) for c in ([layout] if layout else LAYOUTS) for names in c.names]
    # The layers of one network may be the first layers of another.
    distances = [_distance(tensors, *pair) for pair in pairs]
    nearest = [p for p, far in zip(pairs, distances, strict=True) if far == min(distances)]
    faults = [_misfit(file, tensors, *pair) for pair in nearest]
    if None not in faults:
        raise WeightsError(f"{file.path}: {faults[0]}")
    found = _imported(file, tensors, *nearest[faults.index(None)])
    if layout is not None:
        return replace(found, guessed=False)
    _refuse_longer(file, tensors, found)
    return found


def _distance(tensors: Tensors, layout: Layout, names: Names) -> tuple[int, int]:
    """How far a file is from a layout: by the tensors that it has, then by those it lacks."""
    wanted = {name for pair in _places(layout, names).values() for name in pair}
    return -len(wanted & tensors.keys()), len(wanted - tensors.keys())


def _misfit(file: WeightsFile, tensors: Tensors, layout: Layout, names: Names) -> str | None:
    """Why a file does not fit a layout; None if it does."""
    places = _places(layout, names)
    absent = [name for pair in places.values() for name in pair if name not in tensors]
    if absent:
        there = ", ".join(list(tensors)[:4])
        return f"no tensor {absent[0]} for {layout.title}; it holds {there}, ..."
    last = list(places.values())[-1][1]
    if not tensors[last].size:
        return f"tensor {last} is {tensors[last].shape}; {layout.title} has an output or more"
    for layer, shapes in _shapes(layout, tensors[last].size, _last_axes(file)).items():
        for name, shape in zip(places[layer], shapes, strict=True):
            found = tensors[name].shape
            if _squeezed(found, len(shape)) != shape:
                return f"tensor {name} is {found}; {layout.title} has {shape}"
    pool_first = _pools_first(file.layers)
    if None not in (pool_first, layout.pool_first) and pool_first != layout.pool_first:
        return f"its layers are not in the order of {layout.title}"
    return None


def _refuse_longer(file: WeightsFile, tensors: Tensors, found: Imported) -> None:
    """Refuses a file of a longer network, whose last layer is not the one that was found."""
    last, layout = list(found.layout.layers.values())[-1], found.layout
    for name in found.unused:
        shape = _squeezed(tensors[name].shape, 2)
        if tensors[name].size == max(tensors[name].shape, default=0):
            continue  # A bias; older files have four axes of everything.
        inputs = shape[-2 if _last_axes(file) else -1] if len(shape) == 2 else 0
        if inputs == found.num_classes:
            raise WeightsError(
                f"{file.path}: tensor {name} is {shape}, which may be a layer behind {last}, the"
                f" last one of {layout.title}; if it is to be left out, give the layout"
                f" {layout.name}"
            )


def _imported(file: WeightsFile, tensors: Tensors, layout: Layout, names: Names) -> Imported:
    places = _places(layout, names)
    first, flat = next(iter(places)), True
    params = {}
    for layer, (weight, bias) in places.items():
        kernel = tensors[weight].reshape(_squeezed(tensors[weight].shape, _rank(layer)))
        if not _last_axes(file):
            kernel = _transposed(kernel, layout.flattened if flat else None)
        if _rank(layer) == 2:
            flat = False
        if layer == first and layout.blue_first:
            kernel = kernel[:, :, ::-1]
        params[layer] = {"kernel": np.ascontiguousarray(kernel), "bias": tensors[bias].ravel()}
    used = {name for pair in places.values() for name in pair}
    unused = tuple(name for name in tensors if name not in used)
    guessed = layout.pool_first is False and _pools_first(file.layers) is None
    return Imported(file.path, layout, params, params[layer]["bias"].size, unused, guessed)


def _transposed(kernel: np.ndarray, flattened: tuple[int, int, int] | None) -> np.ndarray:
    """From [out, in, height, width], or [out, in] with `in` flattened as channel, height, width."""
    if kernel.ndim == 4:
        return kernel.transpose(2, 3, 1, 0)
    if flattened is None:
        return kernel.T
    height, width, channels = flattened
    maps = kernel.reshape(len(kernel), channels, height, width)
    return maps.transpose(2, 3, 1, 0).reshape(-1, len(kernel))


def _shapes(layout: Layout, num_classes: int, channels_last: bool) -> dict[str, tuple[Shape, ...]]:
    """Shapes of each layer's weight and bias as the file has them."""
    side = layout.input.crop or layout.input.side
    model = _model(layout, num_classes)
    ours = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))["params"]
    shapes: dict[str, tuple[Shape, ...]] = {}
    for layer in layout.layers:
        *rest, inputs, outputs = ours[layer]["kernel"].shape
        shape = (*rest, inputs, outputs) if channels_last else (outputs, inputs, *rest)
        shapes[layer] = (shape, (outputs,))
    return shapes


def _model(layout: Layout, num_classes: int) -> nn.Module:
    """Dropout of the scheme `modern` is inverted, as Caffe's and PyTorch's is."""
    return models.make_model(
        layout.model,
        activation="relu",
        init_scheme="modern",
        num_classes=num_classes,
        **layout.options,
    )


def _places(layout: Layout, names: Names) -> dict[str, Names]:
    """Our layer -> names of its tensors."""
    weight, bias = names
    return {
        ours: (weight.format(theirs), bias.format(theirs)) for ours, theirs in layout.layers.items()
    }


def _rank(layer: str) -> int:
    return 4 if layer.startswith("conv") else 2


def _last_axes(file: WeightsFile) -> bool:
    return file.path.suffix.lower() in CHANNELS_LAST


def _squeezed(shape: Shape, rank: int) -> Shape:
    """A shape without the leading axes of 1 that Caffe's older files fill up to four."""
    extra = max(0, len(shape) - rank)
    return shape[extra:] if set(shape[:extra]) <= {1} else shape


def _unwrapped(tensors: Tensors) -> Tensors:
    """The tensors by the names that they have in the network itself."""
    bare = {
        ".".join(part for part in name.split(".") if part not in WRAPPERS): tensor
        for name, tensor in tensors.items()
    }
    if all(name.startswith(MODEL) for name in bare):
        return {name.removeprefix(MODEL): tensor for name, tensor in bare.items()}
    return bare


def _pools_first(layers: tuple[str, ...]) -> bool | None:
    """Whether the first pooling comes before the first normalization; None if unknown."""
    if "Pooling" not in layers or "LRN" not in layers:
        return None
    return layers.index("Pooling") < layers.index("LRN")
