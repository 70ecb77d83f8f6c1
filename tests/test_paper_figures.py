"""Figs. 3 and 4: features are the last layer's input, neighbours the nearest, files from one
command.
"""

import dataclasses
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from src import data, models
from src.errors import LabError
from src.models import ModelSettings, make_model
from src.models.layers import LocallyConnected
from src.records import locks, trial
from src.records.files import RecordError
from src.reports.figures import trained as trained_figures
from src.study import runner
from src.trained import neighbours, network, seeds
from src.trained import report as paper_figures
from src.trained.kernels import (
    Kernels,
    colour_share,
    correlation_side_by_side,
    describe,
    specialization,
)
from src.trained.neighbours import nearest, share_of_same_class
from src.trained.network import Trained
from src.training import checkpoints, finished, program
from src.training.finished import read_kept
from src.training.layers import call_layers
from src.training.program import Program
from tests import tiny

pytestmark = pytest.mark.usefixtures("compiled_alike", "one_device")

DATASET = tiny.make_dataset(64, 24)
FIGURES = ("kernels", "predictions", "neighbours")
FILES = {
    "paper_figures.json",
    "report.md",
    "report.html",
    *(f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")),
}


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    facts = {"dataset": "tiny", "digest": DATASET.digest, "device": "1 x cpu"}
    facts |= {"image_shape": (8, 8, 3), "num_classes": 10}
    config = tiny.make_config(
        data__name="tiny",
        max_epochs=1.0,
        learning_rates=(0.02,),
        fresh_seeds=(100, 101),
        workers=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda *_, **options: DATASET)
        runner.run_study(config, folder, facts | {"jax_version": "0", "commit": "abc"}, 1)
    return folder


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **options: DATASET)


def trials_of(study_dir):
    return sorted((study_dir / "trials").glob("*-s10?"))


def trial_of(study_dir):
    return trials_of(study_dir)[0]


def test_nearest_is_what_all_distances_say():
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(3, 1, (7, 5)), rng.normal(3, 1, (40, 5))
    distances = np.linalg.norm(queries[:, None] - keys[None], axis=2)
    np.testing.assert_array_equal(nearest(queries, keys, 4), np.argsort(distances, axis=1)[:, :4])
    few = nearest(queries, keys[:3], 4)
    np.testing.assert_array_equal(few, np.argsort(distances[:, :3], axis=1))


def test_nearest_of_many_bright_images_is_exact(monkeypatch):
    """Squares of 3 x 10^8 that differ by ones: single precision has 24 bits."""
    monkeypatch.setattr(neighbours, "AT_ONCE", 7)
    images = np.full((40, 40, 40, 3), 250, np.uint8)
    for number, image in enumerate(images):
        image.flat[:number] -= 1  # `number` from the first one, in squared distance
    assert nearest(images[:9:4], images, 3).tolist() == [[0, 1, 2], [4, 3, 5], [8, 7, 9]]


def test_oblong_images_are_drawn_in_their_shape():
    axes = Figure().subplots()
    trained_figures.show_image(axes, np.zeros((36, 44, 3), np.uint8))
    assert axes.get_aspect() == 1


def test_shares_have_intervals_within_zero_and_one():
    """Three of four queries with both, one with one of two: the mean is 7/8."""
    rows, key_labels = np.array([[0, 1], [0, 1], [0, 1], [0, 2]]), np.array([0, 0, 1])
    share = share_of_same_class(np.zeros(4, int), rows, key_labels)
    assert (share.value, share.high) == (0.875, 1.0) and 0 < share.low < 0.875
    alike = share_of_same_class(np.zeros(12, int), np.zeros((12, 2), int), key_labels)
    # Wilson's of 12 of 12: 12 / (12 + 1.96^2)
    assert (alike.low, alike.high) == pytest.approx((0.7575, 1.0), abs=1e-4)
    thirds = share_of_same_class(np.zeros(2000, int), np.tile([0, 1, 2], (2000, 1)), np.arange(3))
    # Wilson's of 667 of 2,000; the shares, all 1/3, deviate from their mean by rounding alone
    assert (thirds.low, thirds.high) == pytest.approx((0.3132, 0.3544), abs=1e-4)


@pytest.mark.slow
def test_a_function_that_an_option_names_must_be_as_it_was(study_dir, monkeypatch):
    named = []
    names = ("conv3", "relu", "configs.mine.gate")
    monkeypatch.setattr(ModelSettings, "names", names)
    monkeypatch.setattr(finished.own, "check_recorded", lambda name, *_: named.append(name))
    read_kept(trial_of(study_dir), finished=True)
    assert named == [*names]


@pytest.mark.slow
def test_a_network_that_has_diverged_is_refused(study_dir, monkeypatch):
    def spoiled(*arguments):
        found = read(*arguments)
        state = found.arrays["state"]
        kernel = state.params["conv2"]["kernel"]
        conv2 = state.params["conv2"] | {"kernel": np.full_like(kernel, np.nan)}
        params = state.params | {"conv2": conv2}
        return found._replace(arrays={"state": state._replace(params=params)})

    read = checkpoints.read_newest
    monkeypatch.setattr(checkpoints, "read_newest", spoiled)
    for must_be in (True, False):
        with pytest.raises(RecordError, match="has diverged: its weights are no numbers"):
            read_kept(trial_of(study_dir), finished=must_be)


def test_share_of_the_same_class_beside_chance():
    labels, key_labels = np.array([0, 1]), np.array([0, 0, 0, 1])
    share = share_of_same_class(labels, np.array([[0, 3], [3, 2]]), key_labels)
    assert share.value == 0.5  # one of two neighbours each
    # Wilson's of one of two: (p + z^2 / 4 -+ z sqrt(p (1 - p) / 2 + z^2 / 16)) / (1 + z^2 / 2)
    assert (share.low, share.high) == pytest.approx((0.0945, 0.9055), abs=1e-4)
    assert share.chance == pytest.approx((3 / 4 + 1 / 4) / 2)
    uneven = share_of_same_class(np.tile(labels, 10), np.zeros((20, 2), int), key_labels)
    assert uneven.value == 0.5
    # ten 1 and ten 0: deviation sqrt(5 / 19), of the mean sqrt(1 / 76); Student's t of 19 is 2.0930
    assert uneven.high - uneven.value == pytest.approx(2.0930 / 76**0.5, rel=1e-4)
    assert uneven.value - uneven.low == pytest.approx(2.0930 / 76**0.5, rel=1e-4)
    alone = share_of_same_class(labels[:1], np.array([[0, 3]]), key_labels)
    assert (alone.value, alone.low, alone.high) == (0.5, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv3", "lenet5"])
def test_features_are_what_the_last_layer_reads(name):
    model = models.make_model(name, activation="tanh", init_scheme="modern", num_classes=10)
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    params = jax.jit(model.init)(jax.random.key(1), images)["params"]

    @jax.jit
    def run(params):
        logits, layers = call_layers(model, {"params": params}, images, "input")
        assert layers[0][1].shape == images.shape
        assert list(params) == sorted({name for name, _ in layers})
        return logits, layers[-1][1].reshape(2, -1), params[layers[-1][0]]

    logits, features, last = run(params)
    expected = np.asarray(features) @ np.asarray(last["kernel"]) + np.asarray(last["bias"])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


class Towers(nn.Module):
    """Two kernels side by side in one layer, then the last one."""

    @nn.compact
    def __call__(self, images, *, keys=None):
        x = images.reshape(len(images), -1)
        both = nn.vmap(nn.Dense, variable_axes={"params": 0}, split_rngs={"params": True})
        x = both(4, name="towers")(jnp.stack([x, -x]))
        return nn.Dense(10, name="fc")(jnp.concatenate([*x], axis=1))


@pytest.mark.slow
def test_a_layer_that_a_transformation_hides_is_in_nobodys_way():
    images = jax.random.normal(jax.random.key(0), (2, 3, 3, 1))
    variables = Towers().init(jax.random.key(1), images)
    _, found = call_layers(Towers(), variables, images, "input")
    given = dict(found)
    assert [*given] == ["towers", "fc"] and given["towers"] is None
    kernels, biases = (variables["params"]["towers"][name] for name in ("kernel", "bias"))
    x = images.reshape(2, -1)
    expected = [s * x @ k + b[None] for s, k, b in zip((1, -1), kernels, biases, strict=True)]
    np.testing.assert_allclose(given["fc"], jnp.concatenate(expected, axis=1), atol=1e-6)


class Called(nn.Module):
    """Two layers; `wrapped` makes their classes others, `keyword` gives them inputs by name."""

    wrapped: Any = lambda layer: layer
    keyword: bool = False

    @nn.compact
    def __call__(self, images, *, keys=None):
        conv = self.wrapped(nn.Conv)(2, (3, 3), name="conv1")
        x = nn.relu(conv(inputs=images) if self.keyword else conv(images))
        x = x.reshape(len(x), -1)
        fc = self.wrapped(nn.Dense)(10, name="fc2")
        return fc(inputs=x) if self.keyword else fc(x)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"keyword": True}, {"wrapped": nn.remat}, {"wrapped": nn.jit}])
def test_how_a_layer_is_called_does_not_matter(change):
    """By keyword, or within a transformation of its own, as in a network of one's own."""
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    variables = Called().init(jax.random.key(1), images)
    expected = jax.nn.relu(
        nn.Conv(2, (3, 3)).apply({"params": variables["params"]["conv1"]}, images)
    )
    names = []

    @jax.jit
    def run(variables):
        logits, layers = call_layers(Called(**change), variables, images, "input")
        names.extend(name for name, _ in layers)
        return logits, layers[-1][1]

    logits, features = run(variables)
    assert names == ["conv1", "fc2"]
    np.testing.assert_allclose(features, expected.reshape(2, -1), atol=1e-6)
    np.testing.assert_allclose(logits, Called().apply(variables, images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("pixels", "batches"), [(2**23, [24]), (7 * 64, [7, 7, 7, 3])])
def test_images_are_looked_at_by_batches_of_so_many_pixels(pixels, batches, monkeypatch):
    """24 images of 8 by 8 pixels; features and probabilities do not depend on the batches."""
    found, sizes = untrained(nn.Conv(4, (3, 3))), []
    shift, scale = np.zeros((1, 1, 1, 3), np.float32), np.ones((1, 1, 1, 1), np.float32)
    found.program.data = {"train": (None, None, shift, scale)}
    monkeypatch.setattr(program, "EVAL_PIXELS", pixels)
    original = network.call_layers
    monkeypatch.setattr(
        network, "call_layers", lambda *given: sizes.append(len(given[2])) or original(*given)
    )
    images = DATASET.test.images
    outputs = found.outputs(images)
    assert sizes == list(dict.fromkeys(batches))  # Each size is traced once.
    np.testing.assert_array_equal(outputs.features, images.reshape(24, -1))
    logits = found.program.model.apply(found.variables, images.astype(np.float32))
    np.testing.assert_allclose(outputs.probabilities, jax.nn.softmax(logits), atol=1e-6)


def test_a_weight_of_zero_is_grey_and_the_largest_full():
    kernels = np.zeros((1, 2, 3, 2), np.float32)
    kernels[0, 0, 0, 0], kernels[0, 1, 1, 0] = 0.02, -0.01
    pictures = trained_figures.as_colours(kernels)
    np.testing.assert_array_equal(pictures[0, 0], [[255, 128, 128], [128, 64, 128]])
    np.testing.assert_array_equal(pictures[1], 128)


@pytest.mark.slow
def test_the_command_draws_from_a_checkpoint_the_same_bytes_each_time(study_dir, tmp_path, capsys):
    arguments = [str(trial_of(study_dir)), "--out", str(tmp_path)]
    assert paper_figures.main(arguments) == 0
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert first.keys() == FILES
    assert paper_figures.main(arguments) == 0
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    record = json.loads(first["paper_figures.json"])
    (run,) = record["runs"]
    assert run["iteration"] == 4  # 64 images, 16 at a time
    assert run["kernels"]["count"] == 32
    assert record["neighbours"]["test_images"] == 24
    same = f"{record['neighbours']['same_class']['value']:.1%} are of its class"
    assert same in capsys.readouterr().out
    assert same in first["report.md"].decode()


@pytest.mark.slow
def test_of_several_seeds_each_has_its_kernels_and_numbers(study_dir, tmp_path, monkeypatch):
    drawn = []
    original = trained_figures.kernels
    monkeypatch.setattr(
        trained_figures,
        "kernels",
        lambda found, *rest: drawn.append(found) or original(found, *rest),
    )
    trials = trials_of(study_dir)
    record = paper_figures.write_figures(trials, tmp_path)
    assert record["trial"] == trials[0].name
    assert [run["trial"] for run in record["runs"]] == [path.name for path in trials]
    assert list(drawn[0]) == ["as trained", "learned, seed 100", "learned, seed 101"]
    first, second = (run["kernels"] for run in record["runs"])
    assert first["correlation"] != second["correlation"]
    lines = paper_figures.describe(record)
    assert sum("**Fig. 3**" in line for line in lines) == 2


# --- Which trials may be drawn together, and where. ---


def trained(name: str, *, study: str = "a", digest: str = DATASET.digest, **changes) -> Trained:
    """A trial of one arm without its network; `changes` are its settings."""
    settings = tiny.make_config(**changes).arms[0].settings
    of = trial.Identity(study, name, "settings", digest)
    seed, program = trial.parse_trial_name(name).seed, Program.__new__(Program)
    return Trained(Path(study, name), settings, DATASET, program, {}, 4, seed, of)


FIRST, SECOND = "net-lr0.02-s100", "net-lr0.02-s101"


def test_seeds_of_one_network_are_drawn_together():
    """Also those of two studies; the name of an arm says nothing of what it does."""
    others = trained("arm-lr0.02-s102"), trained("net-lr0.02-s103", study="b")
    seeds.check_seeds([trained(FIRST), trained(SECOND), *others])


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (FIRST, {}, f"seed 100 is given twice, as a/{FIRST} and as a/{FIRST}; give each seed"),
        (FIRST, {"study": "b"}, f"seed 100 is given twice, as a/{FIRST} and as b/{FIRST}"),
        (SECOND, {"model__activation": "tanh"}, "model.activation is 'tanh', not 'relu'; give tri"),
        (SECOND, {"batch_size": 8}, "is no seed of the network of a/net-lr0.02-s100: batch_size"),
        ("net-lr0.04-s101", {}, "the learning rate is 0.04, not 0.02; give trials of one arm"),
        (SECOND, {"data__name": "procedural"}, "data.name is 'procedural', not 'cifar10'"),
        (SECOND, {"digest": "other"}, "the digest of the data is 'other', not "),
    ],
)
def test_trials_that_are_no_seeds_of_one_network_are_refused(
    name, changes, message, monkeypatch, tmp_path
):
    found = {"first": trained(FIRST), "other": trained(name, **changes)}
    monkeypatch.setattr(paper_figures, "load_trained", lambda path, _: found[path.name])
    monkeypatch.setattr(paper_figures, "look_at", lambda _: pytest.fail("images were read"))
    monkeypatch.setattr(Trained, "first_kernels", lambda _: pytest.fail("kernels were read"))
    with pytest.raises(LabError, match=re.escape(message)):
        paper_figures.main(["first", "other", f"--out={tmp_path / 'new'}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("identity", [{}, {"identity": f"a/{FIRST}"}])
def test_figures_of_other_trials_are_not_replaced(identity, monkeypatch, tmp_path):
    """Those of one seed may be drawn again with another; older records know trials by name."""
    found = {path: trained(path) for path in (FIRST, SECOND)}
    monkeypatch.setattr(paper_figures, "load_trained", lambda path, _: found[path.name])
    monkeypatch.setattr(Trained, "first_kernels", lambda _: 1 / 0)
    record = {"runs": [{"trial": FIRST, **identity}]}
    (tmp_path / "paper_figures.json").write_text(json.dumps(record))
    out = f"--out={tmp_path}"
    with pytest.raises(RecordError, match=f"holds the figures of {FIRST}, which is not given now"):
        paper_figures.main([SECOND, out])
    with pytest.raises(ZeroDivisionError):
        paper_figures.main([SECOND, FIRST, out])
    found[FIRST] = trained(FIRST, study="b")
    with pytest.raises(RecordError if identity else ZeroDivisionError):
        paper_figures.main([FIRST, out])
    (tmp_path / "paper_figures.json").write_text("{}")
    with pytest.raises(RecordError, match=r"paper_figures.json is damaged \(KeyError\); choose"):
        paper_figures.main([FIRST, out])


@pytest.mark.parametrize("write", range(6))
def test_figures_that_were_cut_short_are_drawn_again(write, monkeypatch, tmp_path, killed_after):
    """The sign that they have begun, a figure as SVG and as PNG, the record and two reports."""
    monkeypatch.setattr(paper_figures, "load_trained", lambda *_: trained(FIRST))
    monkeypatch.setattr(Trained, "first_kernels", lambda _: None)
    for name in ("look_at", "measure_neighbours"):
        monkeypatch.setattr(paper_figures, name, lambda _: {})
    for name, made in (("_run", {"trial": FIRST}), ("_draw", {"kernels": Figure()})):
        monkeypatch.setattr(paper_figures, name, lambda *_, made=made: made)
    monkeypatch.setattr(paper_figures, "compose", lambda _: "# Figures")
    monkeypatch.setattr(paper_figures, "describe", lambda _: [])
    with killed_after(write):
        paper_figures.main([FIRST, f"--out={tmp_path}"])
    assert (tmp_path / "paper_figures.json.begun").exists() == bool(write)
    assert paper_figures.main([FIRST, f"--out={tmp_path}"]) == 0
    names = {"paper_figures.json", "report.md", "report.html", "kernels.svg", "kernels.png"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file", "cannot write {out}: {out} is not a folder; choose another --out"),
        ("file/new", "cannot write {out}: .*file is not a folder"),
        ("", "--out = '' is empty; give a folder or leave it out"),
    ],
)
def test_a_place_for_no_figures_is_refused_before_a_trial_is_read(
    out, message, monkeypatch, tmp_path
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(paper_figures, "load_trained", lambda *_: pytest.fail("it was read"))
    place = out and str(tmp_path / out)
    with pytest.raises(LabError, match=message.format(out=place)):
        paper_figures.main(["trial", f"--out={place}"])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_images_that_have_no_colours_are_refused_before_they_are_looked_at(
    channels, monkeypatch, tmp_path
):
    images = np.zeros((24, 8, 8, channels), np.uint8)
    dataset = DATASET._replace(train=data.Split(images, DATASET.test.labels))
    found = dataclasses.replace(trained(FIRST), dataset=dataset)
    monkeypatch.setattr(paper_figures, "load_trained", lambda *_: found)
    monkeypatch.setattr(Trained, "first_kernels", lambda _: 1 / 0)
    told = "net-lr0.02-s100: images of tiny have {} channels, and only those of 1 or 3 can be drawn"
    drawable = channels in (1, 3)
    error, message = (ZeroDivisionError, None) if drawable else (LabError, told.format(channels))
    with pytest.raises(error, match=message):
        paper_figures.main([FIRST, f"--out={tmp_path / 'new'}"])
    assert not list(tmp_path.iterdir())


# --- What kernels tell. ---


class OneLayer(nn.Module):
    layer: nn.Module | None = None

    @nn.compact
    def __call__(self, images, keys=None):
        x = self.layer(images) if self.layer else images
        return x.reshape(len(x), -1)


def untrained(layer: nn.Module | None) -> Trained:
    """A network of one layer, which reads the images of the data set."""
    found = trained(FIRST)
    found.program.model, found.program.input_shape = OneLayer(layer), (8, 8, 3)
    variables = found.program.model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return dataclasses.replace(found, variables={"params": {}, **variables})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dense(4), [3, 4]),
        (nn.Conv(4, (1, 1)), [1, 1, 3, 4]),
        (LocallyConnected(4, 3), [6, 6, 27, 4]),
        (None, []),
    ],
)
def test_a_first_layer_without_kernels_to_draw_is_refused(layer, shape):
    with pytest.raises(LabError, match=re.escape(f"is {shape}; give a network that begins")):
        untrained(layer).first_kernels()


@pytest.mark.slow
def test_a_first_layer_with_kernels_to_draw(monkeypatch):
    for layer in (nn.Conv(4, (1, 2)), nn.Conv(6, (3, 3), feature_group_count=3)):
        found = untrained(layer)
        monkeypatch.setattr(Trained, "started", lambda self: self.params)
        assert found.first_kernels().left == pytest.approx(1.0)


@pytest.mark.parametrize("half", [2, 4])
def test_towers_are_apart_by_more_than_kernels_dealt_at_random(half):
    """One tower all colour, one all grey: of the ways to deal them out two are as far apart."""
    kernels = np.ones((5, 5, 3, 2 * half), np.float32)
    kernels[:, :, 0, :half] = -2  # red against green and blue: nothing in common
    found = specialization(kernels, 2)
    assert found.difference == pytest.approx(1.0)
    assert found.p == pytest.approx(2 / math.comb(2 * half, half), abs=0.02)
    in_turn = kernels[..., np.arange(2 * half).reshape(2, half).T.ravel()]
    assert specialization(in_turn, 2) == (0.0, 1.0)
    assert specialization(kernels, 1) == (0.0, 1.0)


def test_what_is_learned_is_found_beside_what_is_left_of_the_beginning():
    rng = np.random.default_rng(0)
    started = rng.normal(size=(5, 5, 3, 32)).astype(np.float32)
    learned = np.zeros_like(started)
    learned[..., 0] = 1 - started[..., 0] * started[..., 0].sum() / (started[..., 0] ** 2).sum()
    kernels = Kernels(0.25 * started + learned, started)
    assert kernels.left == pytest.approx(0.25, rel=1e-5)  # what is learned is orthogonal to it
    np.testing.assert_allclose(kernels.learned, learned, atol=1e-5)


@pytest.mark.parametrize("left", [1.0, 0.9])
@pytest.mark.parametrize("towers", [1, 2])
def test_of_kernels_that_are_as_they_began_nothing_is_learned(towers, left):
    started = np.random.default_rng(0).normal(size=(5, 5, 3, 32)).astype(np.float32)
    found = describe(Kernels(np.float32(left) * started, started), towers)
    assert found["left_of_the_beginning"] == pytest.approx(left)
    assert found["colour_apart_p"] is None
    run = {"trial": "t", "iteration": 3, "test_error": None, "kernels": found | {"layer": "conv1"}}
    json.dumps(run, allow_nan=False)
    said = paper_figures._run_words(run, "tiny")[1]
    assert said.endswith(
        f"; beside the {left:.0%} of their beginning that is left, nothing was learned."
    )


def test_of_kernels_that_began_at_zero_all_is_learned():
    trained = np.random.default_rng(0).normal(size=(5, 5, 3, 32)).astype(np.float32)
    found = describe(Kernels(trained, np.zeros_like(trained)), 2)
    assert found["left_of_the_beginning"] == 0.0
    assert found["correlation_of_what_is_learned"] == found["correlation"]
    run = {"trial": "t", "iteration": 3, "test_error": None, "kernels": found | {"layer": "conv1"}}
    json.dumps(run, allow_nan=False)
    said = paper_figures._run_words(run, "tiny")[1]
    assert "; they began all the same; without the 0% of their beginning that is left, at " in said
    same = describe(Kernels(np.ones_like(trained), np.ones_like(trained)), 1)
    run["kernels"] = same | {"layer": "conv1"}
    assert "weights one pixel apart are all the same; " in paper_figures._run_words(run, "tiny")[1]


def test_towers_are_those_of_an_alexnet_alone():
    """A network of one's own may call what it likes so."""
    found = trained(FIRST)
    found.program.model = SimpleNamespace(towers=3)
    assert found.towers == 1
    options = {"activation": "relu", "init_scheme": "paper", "num_classes": 10}
    found.program.model = make_model("alexnet_cifar", **options)
    assert found.towers == 2


def test_one_channel_has_no_colour():
    rng = np.random.default_rng(0)
    found = describe(Kernels(*rng.normal(size=(2, 5, 5, 1, 32)).astype(np.float32)), 2)
    assert found["colour_of_what_is_learned"] is None
    run = {"trial": "t", "iteration": 3, "test_error": None, "kernels": found | {"layer": "conv1"}}
    assert re.search(r"is left, at -?0\.\d\d\.$", paper_figures._run_words(run, "tiny")[1])


def test_colour_is_what_channels_do_not_share():
    grey = np.full((5, 5, 3, 2), 0.3, np.float32)
    red = np.zeros((5, 5, 3, 2), np.float32)
    red[:, :, 0] = 1  # a third everywhere in common: (4/9 + 1/9 + 1/9) / 1
    assert colour_share(grey) == pytest.approx(0, abs=1e-6)
    assert colour_share(red) == pytest.approx(2 / 3)


def test_smooth_kernels_correlate_and_random_ones_do_not():
    rows = np.linspace(-1, 1, 5, dtype=np.float32)
    smooth = np.broadcast_to(rows[:, None, None, None], (5, 5, 3, 8))
    noise = np.random.default_rng(0).normal(size=(5, 5, 3, 100)).astype(np.float32)
    assert correlation_side_by_side(smooth) > 0.7
    assert abs(correlation_side_by_side(noise)) < 0.03


@pytest.mark.slow
def test_what_cannot_be_drawn_is_refused_in_a_line(study_dir, tmp_path, monkeypatch):
    with pytest.raises(RecordError, match=r"there is no folder .*none"):
        paper_figures.main([str(tmp_path / "trials" / "none")])
    first = trial_of(study_dir)
    with locks.locked(first), pytest.raises(locks.InUseError, match="is in use by"):
        paper_figures.main([str(first)])
    kept = tmp_path / "mine" / "kernels.png"
    kept.parent.mkdir()
    kept.touch()
    with pytest.raises(RecordError, match=r"kernels\.png lies in a folder without paper_figures"):
        paper_figures.main([str(first), f"--out={kept.parent}"])
    monkeypatch.setattr(data, "load", lambda *_, **options: DATASET._replace(digest="other"))
    with pytest.raises(
        data.DataError, match=r"is not the data set that .*; name the folder .* with --data_dir"
    ):
        paper_figures.main([str(first)])
    assert not (study_dir / "paper_figures").exists()
