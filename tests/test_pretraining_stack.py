"""Stacks: what each layer reads, that a kill changes no bit, and what arrives in the network."""

import csv
import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src import models
from src.data.scaling import in_chunks, input_scaling, sum_images
from src.errors import LabError, Stopped
from src.models.layers import Conv
from src.models.params import get_layer, with_layer
from src.pretraining import kept, layers
from src.pretraining.kept import Stacks
from src.pretraining.pictures import Learned, give_back
from src.pretraining.settings import Pretraining
from src.pretraining.source import Source
from src.pretraining.stack import LayerTrainer, best_rate, make_unit
from src.pretraining.transfer import controlled, transfer
from src.records import files
from src.records.files import RecordError
from src.records.trial import Identity
from src.training.layers import call_layers
from tests import tiny
from tests.tiny import same

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_alike")]

SETTINGS = Pretraining(
    method="conv_rbm",
    layers=("conv1", "conv2"),
    steps=8,
    batch_size=16,
    learning_rates=(0.001, 0.01),
    init_deviation=0.1,
)
OF = Identity("pretraining", "stack", "layer", "")
SHAPE = (tiny.SIZE, tiny.SIZE, 3)


@functools.cache
def make_source(
    activation: str = "sigmoid", devices: int = 1, name: str = "conv3", **options: Any
) -> Source:
    images = tiny.make_dataset(64).train.images
    model = models.make_model(
        name, activation=activation, init_scheme="modern", num_classes=10, **options
    )
    shift, scale = input_scaling(sum_images(in_chunks(images)), "standardized")
    init = jax.jit(model.init)
    return Source(
        model,
        activation,
        lambda seed: init(jax.random.key(seed), jnp.zeros((1, *SHAPE)))["params"],
        images[:48],
        images[48:],
        shift,
        scale,
        tuple(jax.devices()[:devices]),
    )


def make_stacks(root: Path, source: Source | None = None, **changes: Any) -> Stacks:
    settings = dataclasses.replace(SETTINGS, **changes)
    return Stacks(root, source or make_source(), settings, {"model": "conv3"})


# --- Layers. ---


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Conv(2, 3, padding=1, name="conv")(Conv(4, 1, name="first")(x))


class Outer(nn.Module):
    @nn.compact
    def __call__(self, images, *, keys=None):
        return Inner(name="b")(Inner(name="a")(images)).mean(axis=(1, 2))


def test_the_convolutions_of_a_network_in_order():
    found = layers.find_layers(make_source(name="alexnet_cifar", width=0.125).model, (32, 32, 3))
    assert [layer.name for layer in found] == [f"conv{i}" for i in range(1, 6)]
    assert found[1].convolution == (1, 2, 2)  # two towers
    assert found[1].kernel_shape == (5, 5, found[1].channels // 2, 32)
    whole = layers.find_layers(
        models.make_model("alexnet", activation="relu", init_scheme="paper", num_classes=5),
        (227, 227, 3),
    )
    assert whole[0].convolution == (4, 0, 1)
    assert whole[0].kernel_shape == (11, 11, 3, 96)


def test_convolutions_that_no_image_passes_while_testing_are_none_of_them():
    plain, more = (
        models.make_model(
            "googlenet_cifar", activation="relu", init_scheme="modern", num_classes=5, **options
        )
        for options in ({}, {"auxiliary": True})
    )
    found = [layer.name for layer in layers.find_layers(more, (32, 32, 3))]
    assert len(found) == 3 + 9 * 6  # the stem, and blocks of six
    assert found == [layer.name for layer in layers.find_layers(plain, (32, 32, 3))]


class Foreign(nn.Module):
    @nn.compact
    def __call__(self, images, *, keys=None):
        return nn.Conv(5, (3, 3), name="conv1")(images).mean(axis=(1, 2))


@pytest.mark.parametrize("names", [(), ("conv1",)])
def test_a_network_without_convolutions_of_ours_is_refused(names, tmp_path):
    source = dataclasses.replace(make_source(), model=Foreign())
    with pytest.raises(LabError, match=r"'conv_rbm': .* no convolution of src.models.layers,"):
        make_stacks(tmp_path, source, layers=names)


def test_a_layer_inside_a_module_has_its_path_for_a_name():
    model = Outer()
    found = layers.find_layers(model, SHAPE)
    assert [layer.name for layer in found] == ["a/first", "a/conv", "b/first", "b/conv"]
    assert [layer.channels for layer in found] == [3, 4, 2, 4]
    params = model.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))["params"]
    for layer in found:
        assert get_layer(params, layer.name)["kernel"].shape == layer.kernel_shape
    changed = with_layer(params, "b/first", {"kernel": 0})
    assert get_layer(changed, "b/first") == {"kernel": 0}
    assert get_layer(changed, "b/conv") is get_layer(params, "b/conv")
    with pytest.raises(ValueError, match="Outer has no layer 'c'"):
        layers.layer_input(model, params, "c", jnp.zeros((1, *SHAPE)))


@pytest.mark.parametrize("name", ["conv3", "lenet5", "conv2_local2"])
def test_a_layer_reads_what_it_reads_in_the_whole_network(name):
    model = make_source("tanh", name=name).model
    pixels = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    found = layers.find_layers(model, (32, 32, 3))

    params = jax.tree.map(jnp.asarray, tiny.draw_params(model, 32))
    # Operation by operation: in one program XLA may fuse the two in different ways.
    _, calls = call_layers(model, {"params": params}, pixels, "input")
    expected, names = dict(calls), [layer.name for layer in found]
    inputs = {n: layers.layer_input(model, params, n, pixels) for n in names}
    assert expected.keys() >= inputs.keys()
    for layer in found:
        np.testing.assert_array_equal(inputs[layer.name], expected[layer.name])
        assert inputs[layer.name].shape[-1] == layer.channels


# --- Training. ---


@pytest.fixture(scope="module")
def whole(tmp_path_factory, compiled_alike) -> tuple[Path, kept.Stack]:
    """A stack that nobody interrupted."""
    root = tmp_path_factory.mktemp("stacks")
    return root, make_stacks(root).get(0)


def test_killed_and_resumed_is_as_not_killed(whole, tmp_path):
    """Stopped at every third of 16 points, which are four for each rate: at each place once."""
    stops = 0
    while True:
        points: list[Any] = []
        try:
            found = make_stacks(tmp_path).get(0, lambda seen=points: len(seen) == 3, points.append)
            break
        except Stopped:
            stops += 1
            assert len(points) == 3
    assert stops == 2 * 2 * 4 // 3
    assert same(found.layers, whole[1].layers)
    assert found.sha256 == whole[1].sha256
    assert found.learning_rates == whole[1].learning_rates


def test_a_finished_stack_is_read_and_nothing_is_made(whole, tmp_path):
    root, stack = whole
    read = make_stacks(root).read(0)
    assert same(read.layers, stack.layers)
    assert (read.sha256, read.learning_rates) == (stack.sha256, stack.learning_rates)
    shutil.copytree(root / stack.name, tmp_path / stack.name)
    (last,) = (tmp_path / stack.name).glob("01-*.json")
    last.unlink()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RecordError, match=f"{last.name} is not there; restore it from a copy"):
        make_stacks(tmp_path).read(0)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_checkpoint_of_a_layer_is_complained_of(whole, tmp_path):
    points: list[Any] = []
    with pytest.raises(Stopped):
        make_stacks(tmp_path).get(0, lambda: len(points) == 2, points.append)
    (newest,) = tmp_path.glob("*/checkpoints/*/conv1-lr0.001/4")
    (newest / "progress.json").write_text("{}")
    said: list[str] = []
    found = make_stacks(tmp_path).get(0, on_complaint=said.append)
    assert said == [
        f"checkpoint {newest} is damaged (progress.json is not as written); set aside as damaged-4"
    ]
    assert found.sha256 == whole[1].sha256


def test_what_is_measured_of_each_layer_and_rate(whole):
    root, stack = whole
    lines = (root / stack.name / "metrics.csv").read_text().splitlines()
    assert lines[0] == (
        "layer,learning_rate,step,loss,train_error,held_out_error,free_energy_gap,mean_activity,"
        "always_on,never_on,norm,seconds"
    )
    assert len(lines) == 1 + 2 * 2 * 4
    assert [line.split(",")[2] for line in lines[1:5]] == ["2", "4", "6", "8"]


def test_the_rate_is_the_one_that_reconstructs_held_out_images_best(whole):
    root, stack = whole
    for record in (root / stack.name).glob("0*.json"):
        rows = [row for row in json.loads(record.read_text())["rows"] if row["step"] == 8]
        best = min(rows, key=lambda row: row["held_out_error"])
        assert stack.learning_rates[best["layer"]] == best["learning_rate"]


def test_a_stack_and_each_layer_say_what_made_them(whole, tmp_path):
    """A stack without that, as older ones are, is read all the same."""
    root, stack = whole
    for path in (root / stack.name).glob("*.json"):
        assert {"device", "commit", "jax_version"} <= json.loads(path.read_text())["made_by"].keys()
    shutil.copytree(root / stack.name, tmp_path / stack.name)
    for path in (tmp_path / stack.name).glob("*.json"):
        content = files.read_sealed(path, "")
        del content["made_by"]
        files.write_sealed(path, content)
    assert make_stacks(tmp_path).get(0).sha256 == stack.sha256


def test_a_rate_that_diverged_is_not_the_best():
    rows: Any = [
        {"layer": "conv1", "learning_rate": rate, "held_out_error": error}
        for rate, error in ((1.0, float("nan")), (0.1, 0.4), (0.01, 0.3), (10.0, float("inf")))
    ]
    assert best_rate(rows) == 0.01
    with pytest.raises(LabError, match=r"conv1 diverges at every rate .*\(1.0, 10.0\)"):
        best_rate([rows[0], rows[3]])


def test_other_seeds_have_the_rates_of_the_seed_that_chooses(whole):
    root, stack = whole
    other = make_stacks(root).get(7)
    assert other.learning_rates == stack.learning_rates
    assert not same(other.layers, stack.layers)
    lines = (root / other.name / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 4  # one rate a layer


def test_a_stack_of_the_lower_layers_is_the_beginning_of_the_whole(whole):
    root, stack = whole
    lower = make_stacks(root, layers=("conv1",)).get(0)  # read, not made
    assert lower.name == stack.name
    assert list(lower.layers) == ["conv1"]
    assert same(lower.layers, {name: stack.layers[name] for name in lower.layers})
    assert lower.sha256 != stack.sha256


def test_another_setting_is_another_stack(whole, tmp_path):
    _, stack = whole
    names = {
        make_stacks(tmp_path, **changes)._folder(0).name
        for changes in (
            {},
            {"steps": 9},
            {"gibbs_steps": 2},
            {"layers": ("conv1",)},
            {"control": "scale"},
        )
    }
    assert len(names) == 3
    assert stack.name in names


def test_a_damaged_layer_is_refused(whole, tmp_path):
    root, stack = whole
    source = root / stack.name
    for file in source.glob("0*"):
        (tmp_path / stack.name).mkdir(exist_ok=True)
        (tmp_path / stack.name / file.name).write_bytes(file.read_bytes())
    victim = next((tmp_path / stack.name).glob("01-conv2-*.npz"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(RecordError, match=r"conv2.*not as it was written; restore it from a copy"):
        make_stacks(tmp_path).get(0)


def test_a_layer_of_another_stack_is_refused(whole, tmp_path):
    root, stack = whole
    other = make_stacks(root).get(7)
    mixed = tmp_path / stack.name
    mixed.mkdir()
    for folder, pattern in ((other.name, "00-*"), (stack.name, "01-*")):
        for file in (root / folder).glob(pattern):
            (mixed / file.name).write_bytes(file.read_bytes())
    with pytest.raises(RecordError, match="another stack's"):
        make_stacks(tmp_path).get(0)


def test_a_sealed_file_of_another_kind_in_the_place_of_a_layer_is_refused(whole, tmp_path):
    root, stack = whole
    shutil.copytree(root / stack.name, tmp_path / stack.name)
    victim = next((tmp_path / stack.name).glob("00-*.json"))
    shutil.copy(tmp_path / stack.name / "stack.json", victim)
    with pytest.raises(RecordError, match=r"00-.*json is no record of a layer: no of; restore"):
        make_stacks(tmp_path).get(0)


def test_a_stack_under_the_name_of_another_is_refused(whole, tmp_path):
    root, stack = whole
    other = make_stacks(root).get(7)
    shutil.copytree(root / other.name, tmp_path / stack.name)
    with pytest.raises(RecordError, match=r"stack.json is of another stack; restore it"):
        make_stacks(tmp_path).get(0)


def test_a_convolution_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LabError, match="no convolution 'conv4'; did you mean 'conv3'"):
        make_stacks(tmp_path, layers=("conv1", "conv4"))


def test_an_rbm_needs_a_unit_for_the_activation(tmp_path):
    with pytest.raises(LabError, match=r"'gelu': no unit .* conv_autoencoder takes any"):
        make_stacks(tmp_path, make_source("gelu")).get(0)


@pytest.mark.parametrize("method", ["conv_rbm", "conv_autoencoder"])
def test_one_device_is_two(method, tmp_path):
    """Each image has its own random numbers; sums over devices are rounded otherwise."""
    settings = dataclasses.replace(SETTINGS, method=method)

    def trained(devices: int) -> Any:
        source = make_source("tanh", devices)
        assert len(source.devices) == devices
        params = source.init(0)
        layer = layers.find_layers(source.model, SHAPE)[1]
        trainer = LayerTrainer(source, settings, 0, layer, params)
        return trainer.train(0.01, tmp_path / str(devices), OF)[0]

    one, two = trained(1), trained(2)
    start = SETTINGS.init_deviation * np.sqrt(one["kernel"].size)  # its norm, nearly
    assert abs(np.linalg.norm(one["kernel"]) / start - 1) > 1e-3
    assert np.linalg.norm(one["kernel"] - two["kernel"]) < 1e-6 * start


# --- Pictures. ---


def test_images_come_back_through_all_layers_of_a_stack(tmp_path):
    """Against NumPy: one pixel, kernels of one pixel, a pooling of two by two between the layers.

    Every second layer of the stack is undone by its transpose, and the map between them is made as
    large as it was.
    """
    rng = np.random.default_rng(0)
    source = dataclasses.replace(
        make_source(), held_out=rng.integers(0, 256, (4, 8, 8, 3)).astype(np.uint8), model=Pooled()
    )
    shape = source.held_out.shape[1:]
    network = source.model.init(jax.random.key(0), jnp.zeros((1, *shape)))["params"]
    kernels = [rng.normal(size=(1, 1, 3, 5)), rng.normal(size=(1, 1, 5, 6))]
    params = [{"kernel": jnp.asarray(kernel.astype(np.float32))} for kernel in kernels]
    found = layers.find_layers(source.model, shape)
    settings = dataclasses.replace(SETTINGS, method="conv_autoencoder")
    stack = [
        Learned(layer, make_unit(settings, layer, "relu", 1.0), each)
        for layer, each in zip(found, params, strict=True)
    ]
    network = transfer(network, {"a": params[0]}, "", 0)

    first, second = (kernel[0, 0].astype(np.float32) for kernel in kernels)
    pixels = (source.held_out.astype(np.float32) - source.shift) / source.scale
    code = np.maximum(pixels @ first, 0)
    alone = code @ first.T
    pooled = code.reshape(4, 4, 2, 4, 2, 5).mean(axis=(2, 4))
    again = np.maximum(pooled @ second, 0) @ second.T
    both = enlarged(enlarged(again, 1), 2) @ first.T
    for depth, expected in ((1, alone), (2, both)):
        factor = np.vdot(expected, pixels) / np.vdot(expected, expected)
        grey = np.clip(factor * expected * source.scale + source.shift, 0, 255)
        pictures = give_back(source, network, stack[:depth])
        assert np.abs(pictures - grey).max() <= 0.51
        assert np.ptp(pictures) > 50


class Pooled(nn.Module):
    @nn.compact
    def __call__(self, images, *, keys=None):
        x = nn.relu(Conv(5, 1, name="a")(images))
        return Conv(6, 1, name="b")(nn.avg_pool(x, (2, 2), (2, 2))).mean(axis=(1, 2))


def enlarged(maps: np.ndarray, axis: int) -> np.ndarray:
    """Twice as many pixels, each three parts of the nearest old one and one of the next."""
    there = np.moveaxis(maps, axis, 0)
    before, after = (there[[0, *range(len(there) - 1)]], there[[*range(1, len(there)), -1]])
    pairs = np.stack([0.75 * there + 0.25 * before, 0.75 * there + 0.25 * after], axis=1)
    return np.moveaxis(pairs.reshape(-1, *there.shape[1:]), 0, axis)


def test_a_stack_keeps_what_figures_show(whole):
    root, stack = whole
    kept_layers = kept.read_layers(root / stack.name)
    assert same(kept_layers, stack.layers)
    np.testing.assert_array_equal(kept_layers["conv1"]["images"], make_source().held_out[:10])
    for each in kept_layers.values():
        assert each["pictures"].shape == (10, *SHAPE)
        assert each["pictures"].dtype == np.uint8


def test_a_layer_that_reads_other_maps_than_those_below_gives_no_pictures():
    source = dataclasses.replace(make_source(), model=Outer())
    found = layers.find_layers(source.model, SHAPE)
    network = source.model.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))["params"]
    stack = [Learned(layer, Any, None) for layer in (found[0], found[2])]  # 4 maps, and 2 read
    assert give_back(source, network, stack) is None


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"border": "padded"}, ("conv1",)),
        ({"border": "overhang"}, ("conv1",)),
        ({}, ("conv2",)),
    ],
)
def test_a_first_layer_that_reads_more_or_less_than_the_pixels_is_trained_too(
    options, names, tmp_path
):
    """At a stride of 4 kernels of 11 hang 1 pixel over images of 66: (66 - 11) / 4 is 13.75."""
    size = 66
    network = {"name": "alexnet", "width": 0.1, **options}
    images = tiny.make_dataset(48, size=size).train.images
    model = models.make_model(activation="relu", init_scheme="modern", num_classes=10, **network)
    params = jax.tree.map(jnp.asarray, tiny.draw_params(model, size))
    source = dataclasses.replace(
        make_source(), model=model, activation="relu", init=lambda seed: params,
        images=images[:32], held_out=images[32:],
    )  # fmt: skip
    stack = make_stacks(
        tmp_path, source, method="conv_autoencoder", layers=names, steps=1, learning_rates=(0.01,)
    ).get(0)
    assert stack.layers[names[0]].keys() == {"kernel"}


# --- Transfer. ---


@pytest.mark.parametrize(
    ("method", "activation"),
    [
        ("conv_rbm", "sigmoid"),
        ("conv_rbm", "tanh"),
        ("conv_rbm", "relu"),
        ("conv_autoencoder", "relu"),
        ("conv_autoencoder", "elu"),
    ],
)
def test_the_network_begins_with_the_mean_field_pass_of_its_stack(method, activation):
    """Bit for bit: each layer's pass is the one it was trained with, on top of those below."""
    source = make_source(activation)
    settings = dataclasses.replace(SETTINGS, method=method)
    pixels = (jnp.asarray(source.images[:4], jnp.float32) - source.shift) / source.scale
    expected, below = {}, source.init(3)
    for layer in layers.find_layers(source.model, SHAPE):
        trainer = LayerTrainer(source, settings, 3, layer, below)
        params = trainer.start().params
        if method == "conv_rbm":
            params["bias"] = jax.random.normal(jax.random.key(0), params["bias"].shape)
        expected[layer.name] = trainer.unit.total_input(params, trainer._inputs_fn(pixels))
        below = transfer(below, {layer.name: params}, "", 3)
    _, seen = source.model.apply({"params": below}, pixels, capture_intermediates=True)
    for name, total in expected.items():
        np.testing.assert_array_equal(total, seen["intermediates"][name]["__call__"][0])
        assert np.ptp(total) > 0.01
    assert same(below["fc10"], source.init(3)["fc10"])


def test_controls_keep_what_they_say():
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 8)).astype(np.float32) ** 3
    shuffled = controlled(kernel, "shuffled", np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(shuffled, axis=None), np.sort(kernel, axis=None))
    assert np.mean(shuffled == kernel) < 0.05
    drawn = controlled(kernel, "scale", np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(drawn), np.linalg.norm(kernel), rtol=1e-6)
    assert abs(np.mean(drawn**4) / np.mean(drawn**2) ** 2 - 3) < 0.5  # normal, which kernel is not
    assert controlled(kernel, "", np.random.default_rng(1)) is kernel


def test_a_layer_without_a_bias_has_none_in_the_network():
    model = models.make_model(
        "alexnet_cifar", activation="relu", init_scheme="paper", num_classes=5
    )
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    params = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), params)  # biases of 1, as conv2 has
    kernel = np.full(params["conv2"]["kernel"].shape, 2, np.float32)
    changed = transfer(params, {"conv2": {"kernel": kernel}}, "", 0)
    assert not changed["conv2"]["bias"].any()
    assert (np.asarray(changed["conv2"]["kernel"]) == 2).all()
    assert same(changed["conv1"], params["conv1"])


@pytest.mark.slow
def test_stacks_that_leave_layers_out_share_a_folder(tmp_path):
    """The second has conv2 on top of the pixels; that of the first lies on conv1."""
    source, few = make_source(), {"steps": 1, "learning_rates": (0.01,)}
    both, alone = (
        make_stacks(tmp_path, source, layers=names, **few).get(0)
        for names in (("conv1", "conv2"), ("conv2",))
    )
    assert both.name == alone.name
    assert not same(both.layers["conv2"], alone.layers["conv2"])
    assert same(kept.read_layers(tmp_path / both.name), both.layers)
    with (tmp_path / both.name / "metrics.csv").open() as file:
        measured = [row["layer"] for row in csv.DictReader(file)]
    points = len(measured) // 3
    assert measured == ["conv1"] * points + ["conv2"] * points * 2
    again = make_stacks(tmp_path, source, layers=("conv1",), **few).get(0)
    assert same(again.layers["conv1"], both.layers["conv1"])
    assert len((tmp_path / both.name / "metrics.csv").read_text().splitlines()) == 1 + 3 * points
