"""Evaluation: errors and intervals by arithmetic, views, averages, features, faults in one line."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.streaming import photos
from src import data, doors
from src.analysis.shares import share
from src.data.cifar10.facts import CLASSES
from src.records import files, trial
from src.study import runner
from src.trained import candidates, evaluation, testing
from src.trained.candidates import Candidate, of_trial, of_weights
from src.trained.evaluation_flags import parse
from src.weights import classes, layouts
from src.weights.tensors import WeightsError
from tests import tiny, weight_files
from tests.test_weights_layouts import CAFFE_NAMES, FULL, QUICK, random_layer

pytestmark = pytest.mark.usefixtures("compiled_alike", "one_device", "in_process")


# --- Shares and errors by arithmetic. ---


@pytest.mark.parametrize(("wrong", "images"), [(0, 10), (1689, 10_000), (10, 10), (3, 7)])
def test_wilsons_interval_is_scipys(wrong, images):
    found = share(wrong, images)
    expected = stats.binomtest(wrong, images).proportion_ci(0.95, method="wilson")
    assert found.value == wrong / images
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_published_error_and_its_interval():
    """1,689 of 10,000; by the normal approximation 16.89% within 1.96 sqrt(.1689 .8311 / 10000)."""
    found = share(1689, 10_000)
    assert found.high - found.low == pytest.approx(2 * 0.00734, abs=1e-4)


@pytest.mark.parametrize(("wrong", "images"), [(1, 0), (3, 2), (-1, 2)])
def test_no_share(wrong, images):
    with pytest.raises(ValueError, match="is no share"):
        share(wrong, images)


def test_errors_and_confusion_by_hand():
    """Seven outputs, three of which are classes of the data set: 4, 0 and 2."""
    outputs = np.array([4, 0, 2])
    labels = np.array([0, 0, 1, 2])
    scores = np.zeros((4, 7))
    scores[0, 4] = 1  # right
    scores[1, 0] = 1  # class 0 taken for class 1; output 4 is fifth of equal ones: among the five
    scores[2, 6] = 1  # taken for what is no class; output 0 is second
    scores[3] = [6, 5, 0, 4, 3, 2, 1]  # its own output, 2, is last
    found = testing.errors(scores, outputs[labels])
    assert (found.top1.wrong, found.top5.wrong, found.top1.images) == (3, 1, 4)
    np.testing.assert_array_equal(
        testing.confusion(scores, labels, outputs), [[1, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    )


def test_views_are_the_crop_its_mirror_and_the_ten():
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32))
    centre = images[:, 1:5, 1:5]
    np.testing.assert_array_equal(testing.view(images, 4, 4, 1), centre[None])
    np.testing.assert_array_equal(
        testing.view(images, 4, 4, 2), np.stack([centre, centre[:, :, ::-1]])
    )
    assert testing.view(images, 4, 4, 10).shape == (10, 2, 4, 4, 3)


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, images, *, keys=None):
        x = nn.BatchNorm(use_running_average=keys is None, name="norm")(images)
        return nn.Dense(10, name="fc2")(x.mean(axis=(1, 2)))


def normalized(variables: Any) -> Candidate:
    """Such a network, and six images to test it on."""
    dataset = tiny.make_dataset(8, 6)
    shift, scale = np.zeros((1, 1, 1, 3), np.float32), np.ones((1, 1, 1, 1), np.float32)
    return Candidate(
        *("normed", Normalized(), variables, shift, scale, (8, 8)),
        *(dataset.test, dataset, np.arange(10), {}, "", ""),
    )


@pytest.mark.slow
def test_a_network_is_tested_with_the_means_that_it_keeps():
    variables = Normalized().init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    means = np.array([90.0, 100.0, 110.0], np.float32)
    variables["batch_stats"]["norm"]["mean"] = jnp.asarray(means)
    variables["batch_stats"]["norm"]["var"] = jnp.full(3, 2500.0)
    candidate = normalized(variables)
    found, _ = testing.probabilities(candidate, 1)
    colours = (candidate.test.images.mean(axis=(1, 2)) - means) / np.sqrt(2500 + 1e-5)
    expected = jax.nn.softmax(colours.astype(np.float32) @ variables["params"]["fc2"]["kernel"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert testing.features(candidate, "norm")[0].shape == (6, 8, 8, 3)


def test_features_that_would_fill_the_memory_are_refused(monkeypatch):
    """Six images have 1,152 outputs of one layer and 60 of the other."""
    image = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    candidate = normalized(jax.eval_shape(Normalized().init, jax.random.key(0), image))
    monkeypatch.setattr(testing, "MOST_FEATURES", 6 * 10)
    testing.check_layer(candidate, "fc2")
    with pytest.raises(WeightsError, match="features of norm are 1,152 numbers; a later layer has"):
        testing.check_layer(candidate, "norm")


class Parts(nn.Module):
    """A part of a network: an array for each image, or with more, or in place of it."""

    way: str

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4, name="fc")(x)
        own = {
            "row": x[:1],
            "several": (x, x.sum()),
            "named": {"x": x},
            "sum": x.sum(),
            "none": None,
        }
        return own.get(self.way, x)


class OfParts(nn.Module):
    ways: tuple[str, ...] = ("one", "row", "several", "named", "sum", "none")

    @nn.compact
    def __call__(self, images, *, keys=None):
        x = images.mean(axis=(1, 2))
        for way in self.ways:
            Parts(way, name=way)(x)
        self.sow("intermediates", "mine", x)
        twice = nn.Dense(4, name="twice")
        x = twice(twice(x)[:, :3])
        return nn.Dense(10, name="fc2")(x)


@pytest.mark.slow
def test_a_layer_may_give_what_is_not_one_array_for_each_image():
    """Its output cannot be had as features; those of the layers within and beside it can."""
    candidate = normalized(OfParts().init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
    candidate = dataclasses.replace(candidate, model=OfParts())
    assert testing.features(candidate, "several/fc")[0].shape == (6, 4)
    kernel = candidate.variables["params"]["fc2"]["kernel"]  # The biases are still zero.
    of_twice, logits = (testing.features(candidate, name)[0] for name in ("twice", "fc2"))
    np.testing.assert_allclose(logits, of_twice @ kernel, atol=1e-4)  # Of the last call's output.
    there = "one/fc, one, row/fc, several/fc, named/fc, sum/fc, none/fc, twice, fc2"
    for layer in ("row", "several", "named", "sum", "none", "fc7"):
        with pytest.raises(WeightsError, match=f"has no layer '{layer}'; it has {there}$"):
            testing.check_layer(candidate, layer)


# --- Files of weights, on a small set with CIFAR-10's classes. ---


def small_cifar(classes: tuple[str, ...] = CLASSES) -> data.Dataset:
    made = tiny.make_dataset(64, 30, name="cifar10", size=32)
    return made._replace(label_names=classes)


@pytest.fixture
def cifar(monkeypatch) -> data.Dataset:
    dataset = small_cifar()
    monkeypatch.setattr(data, "load", lambda *_, **options: dataset)
    return dataset


def written(folder: Path, name: str, arrays: layouts.Tensors) -> Path:
    return weight_files.caffemodel(folder / f"{name}.caffemodel", arrays, older=True)


def by_hand(path: Path, dataset: data.Dataset, mirrored: bool) -> np.ndarray:
    """Softmax of the imported network, minus the mean of the training images."""
    candidate = of_weights(path, "", "")
    mean = dataset.train.images.astype(np.float64).mean(axis=0)
    pixels = (dataset.test.images - mean).astype(np.float32)[:, :, :: -1 if mirrored else 1]
    logits = jax.jit(candidate.model.apply)(candidate.variables, pixels)
    return np.asarray(jax.nn.softmax(logits))


@pytest.mark.slow
def test_two_views_and_two_networks_are_averaged_by_their_softmax(cifar, tmp_path):
    paths = [written(tmp_path, name, arrays) for name, arrays in (("a", FULL), ("b", QUICK))]
    tested = testing.measure([of_weights(path, "", "") for path in paths], (1, 2))
    one = [by_hand(path, cifar, False) for path in paths]
    two = [(o + by_hand(p, cifar, True)) / 2 for o, p in zip(one, paths, strict=True)]
    labels = cifar.test.labels
    for views, scores in ((1, one), (2, two)):
        for found, expected in zip(tested.alone[views], scores, strict=True):
            assert found.top1.wrong == np.sum(expected.argmax(axis=1) != labels)
        together = sum(scores).argmax(axis=1)
        assert tested.together[views].top1.wrong == np.sum(together != labels)
    assert tested.confusion.sum() == len(labels)
    assert np.trace(tested.confusion) == len(labels) - tested.together[2].top1.wrong
    found, _ = testing.probabilities(of_weights(paths[0], "", ""), 2)
    np.testing.assert_allclose(found, two[0], atol=1e-5)


@pytest.mark.slow
def test_the_command_writes_record_report_and_features(cifar, tmp_path, capsys):
    path, out = written(tmp_path, "a", FULL), tmp_path / "out"
    arguments = [f"--weights={path}", f"--out={out}", "--features=pool3", "--images=20"]
    assert doors.run(evaluation.main, arguments) == 0
    record = files.read_sealed(out / "evaluation.json", "")
    assert record["images"] == 20
    assert record["networks"][0]["errors"].keys() == {"1", "2"}
    wrong = record["networks"][0]["errors"]["2"]["top1"]["wrong"]
    said = f"{wrong:,} wrong, {wrong / 20:.2%}"
    assert said in capsys.readouterr().out
    text = (out / "report.md").read_text()
    for words in (said, "red, green, blue; grey levels minus the mean image", "16.89% wrong"):
        assert words in text
    assert said in (out / "report.html").read_text()
    (out / "report.md").write_text("changed")
    assert doors.run(evaluation.main, ["--redraw", str(out)]) == 0
    assert (out / "report.md").read_text() == text
    kept = np.load(out / "features.npz")
    assert kept["features"].shape == (20, 4, 4, 64)
    np.testing.assert_array_equal(kept["labels"], cifar.test.labels[:20])
    assert tuple(kept["class_names"]) == CLASSES


@pytest.mark.slow
def test_a_published_error_stands_beside_its_own_images_alone(cifar, tmp_path, monkeypatch):
    path = written(tmp_path, "a", QUICK)
    assert "25.09% wrong" in of_weights(path, "", "").facts["published"]
    monkeypatch.setattr(data, "load", lambda *_, **options: cifar._replace(name="mine"))
    assert "published" not in of_weights(path, "", "mine").facts


def test_images_of_another_size_are_not_cut(tmp_path, monkeypatch):
    """A network for 32 x 32 pixels or for 256 x 256, on images in memory that are not resized."""
    net = np.zeros(1)
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", {"conv1/weight": net})
    monkeypatch.setattr(candidates, "outputs_of_classes", lambda *_: np.arange(10))
    for known, side in (("cifar10", 32), ("imagenet", 256)):
        network = imported(10, known)
        monkeypatch.setattr(candidates, "import_weights", lambda *_, made=network: made)
        for size in (side - 4, side - 1, side + 1, 2 * side):
            dataset = tiny.make_dataset(1, 1, name="mine", size=size)
            monkeypatch.setattr(data, "load", lambda *_, made=dataset, **options: made)
            told = rf"images of mine are \({size}, {size}, 3\), .* tested on \({side}, {side}, 3\)"
            with pytest.raises(data.DataError, match=f"{told}; resize them first, or give other"):
                of_weights(path, "", "mine")


@pytest.mark.slow
def test_another_mean_image_is_another_network(cifar, tmp_path):
    path, means = written(tmp_path, "a", QUICK), [tmp_path / f"{n}.npy" for n in range(2)]
    for number, mean in enumerate(means):
        np.save(mean, np.full((3, 32, 32), 100.0 + number))
    found = {of_weights(path, "", "", mean=mean).identity for mean in (None, *means)}
    assert len(found) == 3


def of_layout(path: Path, mean: Path | None) -> Candidate:
    """A network that is known by the name of its file, and is given what that one is."""
    layout = layouts.find_layout(path.stem)
    found = candidates.describe_input(
        layouts.Imported(path, layout, {}, 1000, (), guessed=False), mean
    )
    return dataclasses.replace(normalized({}), name=path.name, facts={"given": found})


@pytest.mark.parametrize(
    ("one", "other", "refused"),
    [
        ("caffe_alexnet", "torchvision_alexnet", True),
        ("torchvision_alexnet", "caffenet", True),
        ("cifar10_full", "caffenet", True),
        ("caffe_alexnet", "caffenet", False),
        ("cifar10_full", "cifar10_quick", False),
    ],
)
def test_a_mean_image_is_not_shared_by_networks_of_other_inputs(one, other, refused, monkeypatch):
    """Caffe's nets take grey levels, blue first; torchvision's red first, divided by deviations."""
    monkeypatch.setattr(
        evaluation, "of_weights", lambda path, *_, layout, mean: of_layout(path, mean)
    )
    files = [f"--weights={one}.npy", f"--weights={other}.npy"]
    ask = lambda *flags: evaluation._candidates(parse([*files, *flags], ""))  # noqa: E731
    assert len(ask()) == 2
    if not refused:
        assert len(ask("--mean=mean.npy")) == 2
        return
    told = f"--mean=mean.npy is subtracted for every file, and {other}.npy is given other images"
    with pytest.raises(WeightsError, match=f"{told} than {one}.npy: leave it out, or test them"):
        ask("--mean=mean.npy")


@pytest.mark.parametrize("suffix", [".npy", ".binaryproto"])
def test_a_mean_image_is_turned_to_red_first_where_its_network_takes_blue_first(tmp_path, suffix):
    """Number 6 of the eight pixels of each channel lies in row 1, column 2."""
    path, mean = tmp_path / f"mean{suffix}", np.arange(24.0).reshape(3, 2, 4)
    path.write_bytes(weight_files.blob(mean, older=True))
    if suffix == ".npy":
        np.save(path, mean)
    for network, colour in ((imported(1000), [22, 14, 6]), (imported(10, "cifar10"), [6, 14, 22])):
        found = candidates._mean_image(path, network, (2, 4, 3))
        assert found.shape == (1, 2, 4, 3)
        np.testing.assert_array_equal(found[0, 1, 2], colour)


def test_a_mean_image_of_one_image_has_an_axis_more(tmp_path):
    mean = np.arange(24.0).reshape(1, 3, 2, 4)
    np.save(tmp_path / "mean.npy", mean)
    found = candidates._mean_image(tmp_path / "mean.npy", imported(10, "cifar10"), (2, 4, 3))
    np.testing.assert_array_equal(found[0].transpose(2, 0, 1), mean[0])


@pytest.mark.parametrize(
    "shape", [(2, 4, 3), (1, 2, 4, 3), (4, 2, 3), (3, 4, 2), (2, 3, 2, 4), (3, 2), (3,), ()]
)
def test_a_mean_image_of_another_shape_is_told_which_is_wanted(shape, tmp_path):
    np.save(tmp_path / "mean.npy", np.zeros(shape))
    with pytest.raises(
        WeightsError, match=r"wanted is \(3, 2, 4\): channels, height, width"
    ) as caught:
        candidates._mean_image(tmp_path / "mean.npy", imported(10, "cifar10"), (2, 4, 3))
    assert f"{(3, 2, 4)};" not in str(caught.value)


@pytest.mark.slow
def test_features_are_what_the_next_layer_reads(cifar, tmp_path):
    candidate = of_weights(written(tmp_path, "a", QUICK), "", "")
    hidden, _ = testing.features(candidate, "fc64")
    logits, _ = testing.features(candidate, "fc10")
    last = candidate.variables["params"]["fc10"]
    np.testing.assert_allclose(logits, hidden @ last["kernel"] + last["bias"], rtol=1e-4, atol=1e-3)
    with pytest.raises(WeightsError, match="has no layer 'fc7'; it has conv1, pool1, conv2"):
        testing.features(candidate, "fc7")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights=nowhere.pth"], "cannot read nowhere.pth: No such file or directory"),
        (["--weights={path}", "--views=10"], "sees whole images, of which there are no crops"),
        (["--weights={path}", "--layout=vgg"], "no layout 'vgg'; there are cifar10_full"),
        (["--weights={path}", "--layout=caffenet"], "no tensor conv4/weight for CaffeNet"),
        (
            ["--weights={other}", "--weights={path}", "--layout=cifar10_quick"],
            "...; --layout=cifar10_quick is asked of every file: leave it out, or test files of",
        ),
        (["nowhere/trials/a"], "nowhere/trials/a; give one as STUDY/trials/TRIAL"),
        (["--weights={path}", "--mean=nothing.npy"], "cannot read nothing.npy"),
        (["--weights={path}", "--mean=empty.npy"], "cannot read empty.npy"),
        (["--weights={path}", "--mean=several.npy"], "cannot read several.npy"),
        (["--weights={path}", "--out=mine"], "mine/report.md lies in a folder without evaluation"),
        (["--weights={path}", "--out=a.npy"], "cannot write a.npy: "),
        (["--weights={path}", "--out=a.npy/b"], "a.npy is not a folder; choose another --out"),
        (["--weights={path}", "--out=several"], "several/evaluation.json is damaged"),
        (["--weights={path}", "--features=fc7"], "has no layer 'fc7'; it has conv1, pool1"),
        (["--redraw", "mine"], "cannot read mine/evaluation.json: No such file"),
        (["--redraw", "older"], "older/evaluation.json has no 'networks': other code wrote it"),
        (["--weights={path}", "--layout="], "no layout ''; there are cifar10_full"),
        (["--weights="], "--weights = '' is empty; give a file or leave it out"),
        (["--weights={path}", "--mean="], "--mean = '' is empty; give a file or leave it out"),
        (["--weights={path}", "--out="], "--out = '' is empty; give a folder or leave it out"),
        (["--redraw", ""], "--redraw = '' is empty; give a folder or leave it out"),
        (["--weights={path}", "--mean=words.npy"], "words.npy holds an array of <U1, not of grey"),
        (
            ["--weights={path}", "--mean=broken.npy"],
            "broken.npy: tensor mean holds infinity or NaN",
        ),
    ],
)
def test_faults_are_one_line(arguments, message, cifar, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, "a", FULL)
    Path("mine").mkdir()
    Path("mine/report.md").write_text("years of work")
    files.write_sealed(Path("older/evaluation.json"), {"dataset": "cifar10"})
    Path("empty.npy").touch()
    with open("several.npy", "wb") as file:
        np.savez(file, mean=np.zeros((3, 32, 32)))
    np.save("words.npy", np.array(["a"]))
    np.save("a.npy", np.zeros(1))
    Path("several").mkdir()
    Path("several/evaluation.json").write_text("{}")
    monkeypatch.setattr(evaluation, "measure", lambda *_: pytest.fail("it was measured"))
    np.save("broken.npy", np.full((3, 32, 32), np.nan))
    other = written(tmp_path, "b", QUICK)
    given = [argument.format(path=path, other=other) for argument in arguments]
    assert doors.run(evaluation.main, given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "runs").exists()
    assert Path("mine/report.md").read_text() == "years of work"


@pytest.fixture
def single(tmp_path) -> Path:
    """The folder of one data set, which is none of data sets."""
    (tmp_path / "single" / "1.0.0").mkdir(parents=True)
    (tmp_path / "single" / "1.0.0" / "dataset_info.json").touch()
    return tmp_path / "single"


def test_a_data_directory_is_refused_by_the_name_of_its_flag(single, tmp_path):
    path = written(tmp_path, "a", FULL)
    with pytest.raises(data.DataError, match=r"^--data_dir = .*single' is that of one data set"):
        of_weights(path, str(single), "")


VIEWS_WANTED = "should be numbers of views: 1, 2 or 10, or several, as in 1,10"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to test: give the folder of a trial, or --weights=FILE"),
        (["--views=3", "--weights=a"], f"'3' {VIEWS_WANTED}"),
        (["--views=", "--weights=a"], f"'' {VIEWS_WANTED}"),
        (["--views=1,,2", "--weights=a"], f"'1,,2' {VIEWS_WANTED}"),
        (["--images=-1", "--weights=a"], "'-1' should be a number of images"),
        (["--nothing"], "unrecognized arguments: --nothing"),
        (["--redraw", "a", "--weights=a"], "--redraw tests nothing: leave --weights out"),
        (["b", "--redraw", "a"], "--redraw tests nothing: leave trials out"),
        (["--redraw", "a", "--out=b", "--views=1"], "leave --views, --out out"),
        (["--redraw", "a", "--features="], "--redraw tests nothing: leave --features out"),
        (["a", "--mean=x.npy"], "--mean says how to read a file of --weights: leave it out for"),
        (["a", "--layout=caffenet"], "--layout says how to read a file of --weights: leave it"),
    ],
)
def test_a_command_line_that_says_nothing_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        evaluation.main(arguments)
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m src.evaluate: error: ")
    assert message in last


# --- The order of classes. ---


def imported(num_classes: int, known: str = "imagenet") -> layouts.Imported:
    name = {"imagenet": "caffe_alexnet", "cifar10": "cifar10_full"}[known]
    return layouts.Imported(Path("a.npy"), layouts.find_layout(name), {}, num_classes, (), False)


WNIDS = [f"n{10_000_000 + 7 * number}" for number in range(1000)]


def test_the_classes_of_imagenet_are_sorted_wnids():
    np.testing.assert_array_equal(
        classes.outputs_of_classes(imported(1000), "imagenet2012", WNIDS), np.arange(1000)
    )
    some = ["n03888257", "n01440764"]  # parachute, tench
    found = classes.outputs_of_classes(imported(1000), "imagenette", some)
    np.testing.assert_array_equal(found, [701, 0])


@pytest.mark.parametrize(
    ("network", "names", "message"),
    [
        (
            imported(1000),
            WNIDS[::-1],
            "order of other's classes .*n10006993.* is not that of a.npy",
        ),
        (imported(1000), WNIDS[:-1], "is not that of a.npy"),
        (imported(1000), [str(n) for n in range(1000)], "is not that of a.npy"),
        (imported(1000), [], "classes .unnamed, .* would mean nothing"),
        (imported(1000), list(CLASSES), "is not that of a.npy"),
        (imported(10, "cifar10"), list(CLASSES)[::-1], "is not that of a.npy .cifar10"),
        (imported(20), WNIDS[:20], "has 20 outputs, and nobody says what they are; start a"),
    ],
)
def test_classes_of_another_order_are_refused(network, names, message):
    with pytest.raises(WeightsError, match=message):
        classes.outputs_of_classes(network, "other", names)


# --- Large images, streamed. ---


@pytest.fixture(scope="module")
def photo_dir(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tfds")
    photos.write_photos(path, train=4, test=6, classes=3, sides=(240, 300))
    return path


@pytest.mark.slow
def test_alexnet_on_streamed_images_is_given_caffes_pixels(photo_dir, tmp_path, monkeypatch):
    """An eighth as wide: both sides warped to 256, the central 227, minus the mean colour."""
    layout = layouts.find_layout("caffe_alexnet")
    narrow = dataclasses.replace(layout, options={**layout.options, "width": 1 / 8})
    monkeypatch.setattr(layouts, "LAYOUTS", (dataclasses.replace(narrow, flattened=(6, 6, 32)),))
    outputs = np.array([7, 3, 5])
    monkeypatch.setattr(candidates, "outputs_of_classes", lambda *_: outputs)
    shapes = {"conv1": (12, 3, 11, 11), "conv2": (32, 6, 5, 5), "conv3": (48, 32, 3, 3)}
    shapes |= {"conv4": (48, 24, 3, 3), "conv5": (32, 24, 3, 3), "fc6": (512, 1152)}
    shapes |= {"fc7": (512, 512), "fc8": (10, 512)}
    layers = [random_layer(name, *shapes[name]) for name in CAFFE_NAMES]
    arrays = {name: array for layer in layers for name, array in layer.items()}
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", arrays, layers=("LRN", "Pooling"))
    candidate = of_weights(path, str(photo_dir), photos.NAME)
    assert candidate.views == (1, 10)
    found, labels = testing.probabilities(candidate, 1)
    rows = candidate.dataset.test
    plain, warped = (
        dataclasses.replace(rows, warped=way).load(np.arange(6)).images.astype(np.float32)
        for way in (False, True)
    )
    assert np.abs(plain - warped).max() > 20
    pixels = warped[:, 14:241, 14:241] - np.array([122.67891, 116.66877, 104.00699], np.float32)
    expected = jax.nn.softmax(jax.jit(candidate.model.apply)(candidate.variables, pixels))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    tested = testing.measure([candidate], (1,), most=5)
    wrong = np.sum(np.asarray(expected)[:5].argmax(axis=1) != outputs[labels[:5]])
    assert (tested.together[1].top1.wrong, tested.together[1].top1.images) == (wrong, 5)


# --- Trials. ---


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory):
    dataset, folder = tiny.make_dataset(64, 24), tmp_path_factory.mktemp("study")
    facts = {"dataset": "tiny", "digest": dataset.digest, "device": "1 x cpu"}
    facts |= {"image_shape": (8, 8, 3), "num_classes": 10}
    config = tiny.make_config(
        data__name="tiny",
        max_epochs=1.0,
        workers=1,
        learning_rates=(0.02,),
        fresh_seeds=(100, 101),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda *_, **options: dataset)
        runner.run_study(config, folder, facts | {"jax_version": "0", "commit": "abc"}, 1)
    return folder


@pytest.mark.slow
def test_trials_are_tested_as_their_training_did_and_averaged(study_dir, tmp_path, monkeypatch):
    dataset = tiny.make_dataset(64, 24)
    monkeypatch.setattr(data, "load", lambda *_, **options: dataset)
    trials = sorted((study_dir / "trials").iterdir())
    monkeypatch.chdir(study_dir / "trials")
    arguments = [*(path.name for path in trials), f"--out={tmp_path}", "--data_dir="]
    assert doors.run(evaluation.main, arguments) == 0
    record = json.loads((tmp_path / "evaluation.json").read_text())
    for folder, network in zip(trials, record["networks"], strict=True):
        tested = json.loads((folder / trial.RESULT).read_text())["result"]["final_test_error"]
        assert network["errors"]["1"]["top1"]["value"] == pytest.approx(tested)
    (tmp_path / "best").symlink_to(trials[0])
    candidate = of_trial(tmp_path / "best", "", "")
    assert (candidate.name, candidate.folder) == (trials[0].name, study_dir.name)
    title, first = (tmp_path / "report.md").read_text().splitlines()[:3:2]
    assert title == f"# {len(trials)} networks and their average on tiny"
    assert first.startswith(f"- **softmax of {len(trials)} networks averaged**, 24 images: ")


@pytest.mark.slow
def test_a_trial_is_not_tested_on_other_classes(study_dir, monkeypatch):
    trained_on = tiny.make_dataset(64, 24)
    other = trained_on._replace(name="other", label_names=trained_on.label_names[::-1])
    loaded = {"tiny": trained_on, "other": other}
    monkeypatch.setattr(data, "load", lambda name, *_, **options: loaded[name])
    first = next((study_dir / "trials").iterdir())
    with pytest.raises(data.DataError, match="classes of other are not known to be those of tiny"):
        of_trial(first, "", "other")


@pytest.mark.slow
def test_a_trials_data_directory_is_refused_by_the_name_of_its_flag(study_dir, single):
    first = next((study_dir / "trials").iterdir())
    with pytest.raises(data.DataError, match=r"^--data_dir = .*single' is that of one data set"):
        of_trial(first, str(single), "")


@pytest.mark.slow
def test_the_command_ends_a_fault_without_a_traceback():
    command = [sys.executable, "-m", "src.evaluate", "--weights=nothing.onnx"]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: cannot read nothing.onnx")
    assert "Traceback" not in done.stderr
