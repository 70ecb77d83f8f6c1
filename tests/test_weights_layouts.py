"""Published networks: random weights written in each format give PyTorch's logits."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
import pytest

from src.weights import layouts
from src.weights.layouts import import_weights
from src.weights.read import read_weights
from src.weights.tensors import WeightsError
from tests import weight_files

pytestmark = pytest.mark.usefixtures("compiled_alike")

Arrays = dict[str, np.ndarray]


def random_layer(name: str, *shape: int) -> Arrays:
    """Weights [out, in, ...] that keep the size of what passes, and biases."""
    rng = np.random.default_rng(list(name.encode()))
    scale = np.sqrt(2 / np.prod(shape[1:]))
    return {
        f"{name}/weight": (scale * rng.normal(size=shape)).astype(np.float32),
        f"{name}/bias": rng.normal(size=shape[0]).astype(np.float32),
    }


def logits_of(imported: layouts.Imported, images: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(imported.make_model().apply)({"params": imported.params}, images))


def in_torch(arrays: Arrays, images: np.ndarray) -> tuple:
    torch = pytest.importorskip("torch")
    return (
        {name: torch.tensor(array) for name, array in arrays.items()},
        torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
    )


# --- Caffe's nets for CIFAR-10. ---

CIFAR = random_layer("conv1", 32, 3, 5, 5) | random_layer("conv2", 32, 32, 5, 5)
CIFAR |= random_layer("conv3", 64, 32, 5, 5)
FULL = CIFAR | random_layer("ip1", 10, 1024)
QUICK = CIFAR | random_layer("ip1", 64, 1024) | random_layer("ip2", 10, 64)


def small_images() -> np.ndarray:
    return (60 * np.random.default_rng(1).normal(size=(4, 32, 32, 3))).astype(np.float32)


def cifar_in_torch(arrays: Arrays, images: np.ndarray) -> np.ndarray:
    """As in Caffe's cifar10_full_train_test.prototxt and cifar10_quick_train_test.prototxt."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    w, x = in_torch(arrays, images)
    full = "ip2/weight" not in w
    conv = lambda x, name: F.conv2d(x, w[f"{name}/weight"], w[f"{name}/bias"], padding=2)  # noqa: E731
    average = lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)  # noqa: E731

    def norm(x):
        squares = F.avg_pool2d(x * x, 3, 1, padding=1)  # the sum over nine, at borders too
        return x / (1 + 5e-5 * squares) ** 0.75 if full else x

    x = norm(torch.relu(F.max_pool2d(conv(x, "conv1"), 3, 2, ceil_mode=True)))
    x = norm(average(torch.relu(conv(x, "conv2"))))
    x = average(torch.relu(conv(x, "conv3"))).flatten(1)
    x = F.linear(x, w["ip1/weight"], w["ip1/bias"])
    return (x if full else F.linear(x, w["ip2/weight"], w["ip2/bias"])).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize(("arrays", "model"), [(FULL, "conv3"), (QUICK, "quick")])
def test_caffes_nets_for_cifar10_give_pytorchs_logits(arrays, model, older, tmp_path):
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", arrays, older=older)
    imported = import_weights(read_weights(path))
    assert imported.layout.model == model
    assert imported.unused == ()
    images = small_images()
    expected = cifar_in_torch(arrays, images)
    assert expected.std() > 1
    np.testing.assert_allclose(logits_of(imported, images), expected, rtol=1e-4, atol=1e-4)


def by_reshape(kernel: np.ndarray, flattened: tuple[int, ...] | None) -> np.ndarray:
    """The right shape, the wrong numbers."""
    out, inputs, *size = kernel.shape
    return kernel.reshape(*size, inputs, out)


def not_unflattened(kernel: np.ndarray, flattened: tuple[int, ...] | None) -> np.ndarray:
    return kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [by_reshape, not_unflattened])
def test_mutants_that_pass_every_check_of_shape_give_other_logits(mutant, monkeypatch, tmp_path):
    monkeypatch.setattr(layouts, "_transposed", mutant)
    imported = import_weights(
        read_weights(weight_files.caffemodel(tmp_path / "a.caffemodel", FULL))
    )
    images = small_images()
    expected = cifar_in_torch(FULL, images)
    assert np.abs(logits_of(imported, images) - expected).max() > 0.1 * expected.std()


# --- AlexNets, an eighth as wide. ---

WIDTH = 1 / 8
TWO_TOWERS = (12, 32, 48, 48, 32)
ONE_TOWER = (8, 24, 48, 32, 32)


def alexnet_arrays(features: tuple[int, ...], towers: int, names: Sequence[str]) -> Arrays:
    one, two, three, four, five = features
    shapes = [(one, 3, 11, 11), (two, one // towers, 5, 5), (three, two, 3, 3)]
    shapes += [(four, three // towers, 3, 3), (five, four // towers, 3, 3)]
    shapes += [(512, 36 * five), (512, 512), (1000, 512)]
    layers = [random_layer(name, *shape) for name, shape in zip(names, shapes, strict=True)]
    layers[-1] = {name: array / 20 for name, array in layers[-1].items()}  # logits of a few units
    return {name: array for layer in layers for name, array in layer.items()}


CAFFE_NAMES = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
TORCH_NAMES = tuple(f"features.{n}" for n in (0, 3, 6, 8, 10))
TORCH_NAMES += tuple(f"classifier.{n}" for n in (1, 4, 6))


def narrow(name: str) -> layouts.Layout:
    layout = layouts.find_layout(name)
    options = {**layout.options, "width": WIDTH}
    return dataclasses.replace(layout, options=options, flattened=(6, 6, 32))


def large_images(size: int) -> np.ndarray:
    return (60 * np.random.default_rng(1).normal(size=(2, size, size, 3))).astype(np.float32)


def caffe_in_torch(arrays: Arrays, images: np.ndarray, *, pool_first: bool) -> np.ndarray:
    """As in deploy.prototxt of bvlc_alexnet and of bvlc_reference_caffenet; blue comes first."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    w, x = in_torch(arrays, images[..., ::-1])

    def conv(x, name, **options):
        return torch.relu(F.conv2d(x, w[f"{name}/weight"], w[f"{name}/bias"], **options))

    def norm_pool(x):
        norm = lambda x: F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)  # noqa: E731
        return norm(F.max_pool2d(x, 3, 2)) if pool_first else F.max_pool2d(norm(x), 3, 2)

    x = norm_pool(conv(x, "conv1", stride=4))
    x = norm_pool(conv(x, "conv2", padding=2, groups=2))
    x = conv(conv(x, "conv3", padding=1), "conv4", padding=1, groups=2)
    x = F.max_pool2d(conv(x, "conv5", padding=1, groups=2), 3, 2).flatten(1)
    for name in ("fc6", "fc7"):
        x = torch.relu(F.linear(x, w[f"{name}/weight"], w[f"{name}/bias"]))
    return F.linear(x, w["fc8/weight"], w["fc8/bias"]).numpy()


def torchvision_in_torch(arrays: Arrays, images: np.ndarray) -> np.ndarray:
    """As torchvision.models.alexnet, its modules by their own numbers."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    _, x = in_torch({}, images)
    f, hidden = ONE_TOWER, 512
    features = [
        *(nn.Conv2d(3, f[0], 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(f[0], f[1], 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(f[1], f[2], 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(f[2], f[3], 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(f[3], f[4], 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    ]
    classifier = [
        *(nn.Dropout(), nn.Linear(36 * f[4], hidden), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1000)),
    ]
    net = nn.ModuleDict({"features": nn.Sequential(*features)})
    net["classifier"] = nn.Sequential(*classifier)
    net.load_state_dict({k.replace("/", "."): torch.tensor(v) for k, v in arrays.items()})
    net.eval()
    with torch.no_grad():
        return net["classifier"](net["features"](x).flatten(1)).numpy()


def written(path: Path, arrays: Arrays, pool_first: bool) -> Path:
    """In the format that the path's ending names."""
    order = ("Pooling", "LRN") if pool_first else ("LRN", "Pooling")
    match path.suffix:
        case ".caffemodel":
            return weight_files.caffemodel(path, arrays, older=True, layers=order)
        case ".onnx":
            names = {"weight": "w_0", "bias": "b_0"}
            renamed = {
                f"{name.split('/')[0]}_{names[name.split('/')[1]]}": array
                for name, array in arrays.items()
            }
            kinds = {"Pooling": "MaxPool", "LRN": "LRN"}
            return weight_files.onnx(path, renamed, layers=[kinds[kind] for kind in order])
        case ".npy":
            return weight_files.npy(path, channels_last(arrays))
        case ".safetensors":
            return weight_files.safetensors(path, torch_names(arrays))
    torch = pytest.importorskip("torch")
    torch.save({k: torch.tensor(v) for k, v in torch_names(arrays).items()}, path)
    return path


def torch_names(arrays: Arrays) -> Arrays:
    return {f"module.{name.replace('/', '.')}": array for name, array in arrays.items()}


def channels_last(arrays: Arrays) -> dict[str, list[np.ndarray]]:
    """As caffe-tensorflow writes them: fc6 reads rows, columns, channels."""
    layers = {}
    for name in CAFFE_NAMES:
        weight, bias = arrays[f"{name}/weight"], arrays[f"{name}/bias"]
        if name == "fc6":
            weight = weight.reshape(512, 32, 6, 6).transpose(0, 2, 3, 1).reshape(512, -1)
        layers[name] = [weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T, bias]
    return layers


@functools.cache
def caffe_arrays() -> Arrays:
    return alexnet_arrays(TWO_TOWERS, 2, CAFFE_NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".caffemodel", ".onnx", ".npy"])
@pytest.mark.parametrize(("name", "pool_first"), [("caffe_alexnet", False), ("caffenet", True)])
def test_caffes_alexnets_give_pytorchs_logits(name, pool_first, suffix, tmp_path):
    path = written(tmp_path / f"a{suffix}", caffe_arrays(), pool_first)
    imported = import_weights(read_weights(path), narrow(name))
    images = large_images(227)
    expected = caffe_in_torch(caffe_arrays(), images, pool_first=pool_first)
    assert expected.std() > 1
    np.testing.assert_allclose(logits_of(imported, images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvisions_alexnet_gives_pytorchs_logits(suffix, tmp_path):
    arrays = alexnet_arrays(ONE_TOWER, 1, TORCH_NAMES)
    path = written(tmp_path / f"a{suffix}", arrays, False)
    imported = import_weights(read_weights(path), narrow("torchvision_alexnet"))
    images = large_images(224) / 60
    expected = torchvision_in_torch(arrays, images)
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits_of(imported, images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant",
    [
        {"blue_first": False},
        {"options": {"lrn": "caffe", "order": "pool_norm", "width": WIDTH}},
        {"options": {"lrn": "paper", "width": WIDTH}},
        {"options": {"lrn": "caffe", "dropout_scale": "testing", "width": WIDTH}},
    ],
)
def test_red_before_blue_another_order_or_scale_gives_other_logits(mutant, tmp_path):
    file = read_weights(written(tmp_path / "a.npy", caffe_arrays(), False))
    imported = import_weights(file, dataclasses.replace(narrow("caffe_alexnet"), **mutant))
    images = large_images(227)
    expected = caffe_in_torch(caffe_arrays(), images, pool_first=False)
    assert np.abs(logits_of(imported, images) - expected).max() > 0.01 * expected.std()


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [by_reshape, not_unflattened])
def test_mutants_of_alexnet_that_pass_every_check_of_shape(mutant, monkeypatch, tmp_path):
    monkeypatch.setattr(layouts, "_transposed", mutant)
    file = read_weights(written(tmp_path / "a.caffemodel", caffe_arrays(), False))
    images = large_images(227)
    expected = caffe_in_torch(caffe_arrays(), images, pool_first=False)
    ours = logits_of(import_weights(file, narrow("caffe_alexnet")), images)
    assert np.abs(ours - expected).max() > 0.1 * expected.std()


@pytest.mark.slow
def test_a_file_of_caffenet_is_not_taken_for_alexnet(tmp_path):
    file = read_weights(written(tmp_path / "a.caffemodel", caffe_arrays(), True))
    with pytest.raises(WeightsError, match="not in the order of AlexNet of Caffe"):
        import_weights(file, narrow("caffe_alexnet"))


def zeros_of(names: Sequence[str], features: tuple[int, ...], towers: int) -> layouts.Tensors:
    """The shapes of whole networks, without their memory."""
    one, two, three, four, five = features
    shapes = [(one, 3, 11, 11), (two, one // towers, 5, 5), (three, two, 3, 3)]
    shapes += [(four, three // towers, 3, 3), (five, four // towers, 3, 3)]
    shapes += [(4096, 36 * five), (4096, 4096), (1000, 4096)]
    zero = np.zeros((), np.float32)
    return {
        name: array
        for layer, shape in zip(names, shapes, strict=True)
        for name, array in (
            (layer.format("weight"), np.broadcast_to(zero, shape)),
            (layer.format("bias"), np.broadcast_to(zero, shape[:1])),
        )
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "features", "towers", "pool_first", "name"),
    [
        ([f"{n}/{{}}" for n in CAFFE_NAMES], (96, 256, 384, 384, 256), 2, False, "caffe_alexnet"),
        ([f"{n}/{{}}" for n in CAFFE_NAMES], (96, 256, 384, 384, 256), 2, True, "caffenet"),
        (
            [f"{n}.{{}}" for n in TORCH_NAMES],
            (64, 192, 384, 256, 256),
            1,
            None,
            "torchvision_alexnet",
        ),
    ],
)
def test_whole_networks_are_known_by_their_shapes(layers, features, towers, pool_first, name):
    kinds = {True: ("Pooling", "LRN"), False: ("LRN", "Pooling"), None: ()}[pool_first]
    file = layouts.WeightsFile(Path("a.pth"), zeros_of(layers, features, towers), kinds)
    assert import_weights(file).layout.name == name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "kinds", "guessed"),
    [
        (None, (), True),
        (None, ("LRN", "Pooling"), False),
        ("caffe_alexnet", (), False),
        ("caffenet", (), False),
    ],
)
def test_a_network_is_guessed_where_neither_file_nor_user_says_the_order(asked, kinds, guessed):
    """AlexNet and CaffeNet have the same tensors."""
    layers = [f"{n}/{{}}" for n in CAFFE_NAMES]
    tensors = zeros_of(layers, (96, 256, 384, 384, 256), 2)
    file = layouts.WeightsFile(Path("a.caffemodel"), tensors, kinds)
    imported = import_weights(file, layouts.find_layout(asked) if asked else None)
    assert imported.layout.name == (asked or "caffe_alexnet")
    assert imported.guessed == guessed


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern",
    [
        *("{}", "module.{}", "_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}"),
        *("model.{}", "module.model.{}", "model.module.{}", "model._orig_mod.{}"),
    ],
)
def test_what_pytorch_wraps_a_network_in_is_taken_off(pattern):
    check_names([pattern.format(f"{name}.{{}}") for name in TORCH_NAMES])


@pytest.mark.slow
def test_only_a_part_of_a_network_may_be_wrapped():
    """PyTorch's ImageNet example spreads AlexNet's convolutions over devices, and no more."""
    parts = (name.split(".") for name in TORCH_NAMES)
    module = {"features": "features.module", "classifier": "classifier"}
    check_names([f"{module[part]}.{number}.{{}}" for part, number in parts])


def check_names(layers: Sequence[str]) -> None:
    tensors = zeros_of(layers, (64, 192, 384, 256, 256), 1)
    imported = import_weights(layouts.WeightsFile(Path("a.pth"), tensors))
    assert (imported.layout.name, imported.unused) == ("torchvision_alexnet", ())


def test_a_network_of_other_classes_is_imported_with_its_own_number(tmp_path):
    arrays = {**caffe_arrays(), **random_layer("fc8", 20, 512)}
    file = read_weights(written(tmp_path / "a.npy", arrays, False))
    assert import_weights(file, narrow("caffe_alexnet")).num_classes == 20


def test_an_unknown_layout_is_refused_with_those_there_are():
    with pytest.raises(WeightsError, match="no layout 'alexnet'; there are cifar10_full, cifar10_"):
        layouts.find_layout("alexnet")


# --- What does not fit. ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a.pop("conv2/bias"),
            "no tensor conv2/bias for cifar10_full of Caffe.*; it holds",
        ),
        (
            lambda a: a.update({"conv2/weight": np.zeros((32, 16, 5, 5), np.float32)}),
            r"tensor conv2/weight is \(32, 16, 5, 5\); cifar10_full .* has \(32, 32, 5, 5\)",
        ),
        (
            lambda a: a.update(random_layer("ip1", 0, 1024)),
            r"tensor ip1/bias is \(0,\); cifar10_full .* has an output or more",
        ),
    ],
)
def test_a_file_that_fits_no_network_names_the_tensor(change: Callable, message, tmp_path):
    arrays = dict(FULL)
    change(arrays)
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", arrays)
    with pytest.raises(WeightsError, match=message) as caught:
        import_weights(read_weights(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("ip2/bias"), "no tensor ip2/bias for cifar10_quick of Caffe"),
        (lambda a: a.pop("ip2/weight"), "no tensor ip2/weight for cifar10_quick of Caffe"),
        (
            lambda a: a.update({"ip2/w": a.pop("ip2/weight")}),
            "no tensor ip2/weight for cifar10_quick of Caffe",
        ),
        (
            lambda a: a.update(random_layer("ip2", 10, 63)),
            r"tensor ip2/weight is \(10, 63\); cifar10_quick of Caffe has \(10, 64\)",
        ),
        (
            lambda a: a.update(random_layer("ip2", 0, 64)),
            r"tensor ip2/bias is \(0,\); cifar10_quick of Caffe has an output or more",
        ),
        (
            lambda a: a.update(
                {f"mine/{kind}": a.pop(f"ip2/{kind}") for kind in ("weight", "bias")}
            ),
            r"tensor mine/weight is \(10, 64\), which may be a layer behind ip1, the last one of"
            r" cifar10_full of Caffe.*; if it is to be left out, give the layout cifar10_full",
        ),
    ],
)
def test_a_longer_network_is_not_taken_for_its_first_layers(change: Callable, message):
    """The layers of cifar10_quick are named as those of cifar10_full, and one follows."""
    arrays = dict(QUICK)
    change(arrays)
    file = layouts.WeightsFile(Path("a.caffemodel"), arrays)
    with pytest.raises(WeightsError, match=message):
        import_weights(file)
    assert import_weights(file, layouts.find_layout("cifar10_full")).num_classes == 64


@pytest.mark.parametrize("shape", [(10,), (1, 10), (1, 1, 1, 10)])
def test_a_second_layer_beside_the_last_one_is_left_out(shape):
    """Older files of Caffe have four axes of biases too."""
    beside = {"second/weight": FULL["ip1/weight"], "second/bias": np.zeros(shape, np.float32)}
    found = import_weights(layouts.WeightsFile(Path("a.caffemodel"), {**FULL, **beside}))
    assert found.layout.name == "cifar10_full"
    assert {*beside} <= {*found.unused}


def test_the_fault_is_that_of_the_network_which_the_file_has_most_of():
    """Caffe's AlexNet, its last layer named anew, lacks two tensors, and so does cifar10_full."""
    layers = [f"{n}/{{}}" for n in (*CAFFE_NAMES[:-1], "fc8_flickr")]
    tensors = zeros_of(layers, (96, 256, 384, 384, 256), 2)
    with pytest.raises(WeightsError, match="no tensor fc8/weight for AlexNet of Caffe"):
        import_weights(layouts.WeightsFile(Path("a.caffemodel"), tensors))
