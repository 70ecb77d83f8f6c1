"""Training from weights: which layers are taken, what is refused, what the records say."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import PyTree

from src import data, models
from src.records import study as studies
from src.records.files import RecordError
from src.study import runner
from src.trained.network import load_trained
from src.training.finished import Kept, read_kept
from src.training.program import Program
from src.training.settings import Trial, TrialSettings
from src.weights import start
from src.weights.settings import StartFrom
from src.weights.tensors import WeightsError
from tests import tiny, weight_files
from tests.test_rehearsal import defined
from tests.test_weights_layouts import FULL

pytestmark = pytest.mark.usefixtures("compiled_alike", "one_device")

SIZES = {"conv1": (5, 5, 3, 4), "conv2": (5, 5, 4, 6), "fc10": (24, 10)}


def tree(seed: int, **sizes: tuple[int, ...]) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {
        name: {"kernel": rng.normal(size=shape), "bias": rng.normal(size=shape[-1])}
        for name, shape in (SIZES | sizes).items()
    }


def take(ours: PyTree, theirs: PyTree, layers: tuple[str, ...] = ()) -> tuple[PyTree, tuple]:
    """Of networks that have parameters alone."""
    found = start.take({"params": ours}, {"params": theirs}, layers, "fc10", "a.npy")
    return found.variables["params"], found.taken


def trial_of(**changes: object) -> Trial:
    settings = tiny.make_config(data__name="tiny", **changes).trial
    return Trial("a-lr0.01-s5", "a", "fresh", 0.01, 5, settings)


def same(a: dict, b: dict) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


def test_all_layers_but_the_last_are_taken():
    ours, theirs = tree(0), tree(1, fc10=(24, 7))
    params, taken = take(ours, theirs)
    assert taken == ("conv1", "conv2")
    assert same(params["fc10"], ours["fc10"])
    np.testing.assert_allclose(params["conv2"]["kernel"], theirs["conv2"]["kernel"])
    assert list(params) == list(ours)


def test_any_layers_may_be_named_the_last_one_too():
    ours, theirs = tree(0), tree(1)
    params, taken = take(ours, theirs, ("conv1", "fc10"))
    assert taken == ("conv1", "fc10")
    assert same(params["conv2"], ours["conv2"])
    np.testing.assert_allclose(params["fc10"]["bias"], theirs["fc10"]["bias"])


@pytest.mark.parametrize(
    ("theirs", "layers", "message"),
    [
        (tree(1), ("conv9",), "no layer 'conv9' in a.npy; there are conv1, conv2, fc10"),
        (tree(1, fc7=(2, 2)), ("fc7",), "no layer 'fc7' in the network; there are conv1"),
        (
            tree(1, conv2=(5, 5, 2, 6)),
            (),
            r"conv2/kernel in a.npy is \(5, 5, 2, 6\), the network's is \(5, 5, 4, 6\); list the"
            " layers to take, without conv2, in config.start_from.layers, or give",
        ),
        (
            tree(1, conv2=(5, 5, 2, 6)),
            ("conv1", "conv2"),
            r"the network's is \(5, 5, 4, 6\); leave conv2 out of config.start_from.layers, or",
        ),
        ({"conv1": {"kernel": np.zeros((5, 5, 3, 4))}}, (), r"conv1/bias in a.npy is not there"),
        ({"block": tree(1)["conv1"]}, (), "shares no layer with the network: it has block, the"),
    ],
)
def test_layers_that_do_not_fit_are_refused(theirs, layers, message):
    with pytest.raises(WeightsError, match=message) as caught:
        take(tree(0), theirs, layers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("others", [{}, {"conv1": tree(1)["conv1"]}])
def test_where_the_last_layer_alone_is_shared_it_can_be_named(others):
    """All layers of the network lie in a module `net`, the last one too."""
    ours, theirs = {"net": tree(0)}, {"net": tree(1)} | others
    both = {"params": ours}, {"params": theirs}
    told = r"a.npy shares one layer with the network, net, .*layers = \('net',\) takes it whole"
    with pytest.raises(WeightsError, match=told):
        start.take(*both, (), "net", "a.npy")
    found = start.take(*both, ("net",), "net", "a.npy")
    assert found.taken == ("net",)
    np.testing.assert_allclose(
        found.variables["params"]["net"]["fc10"]["bias"], theirs["net"]["fc10"]["bias"]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "last"),
    [("conv3", 32, "fc10"), ("lenet5", 32, "output"), ("googlenet_cifar", 32, "classifier")],
)
def test_the_last_layer_of_a_network(name, size, last):
    model = models.make_model(name, activation="relu", init_scheme="modern", num_classes=10)
    assert start.last_layer(model, (size, size, 3)) == last


def test_what_weights_were_trained_in_is_compared():
    meaning = {"lrn": "caffe", "order": "pool_norm", "width": 2.0}
    origin = start.Origin({}, "", start.meaning_of(meaning, "relu", "paper"), "centered")
    options = {"lrn": "paper", "order": "pool_norm", "width": 1.0}
    found = start.remarks(origin, start.meaning_of(options, "tanh", "paper"), "standardized")
    assert found == [
        "start_from: the weights were trained with activation = relu, this network has tanh",
        "start_from: the weights were trained with lrn = caffe, this network has paper",
        "start_from: the weights were trained on centered images, this network is given"
        " standardized ones",
    ]
    assert not start.remarks(origin, start.meaning_of(meaning, "relu", "modern"), "centered")


def test_a_layout_is_refused_where_a_trial_is_given(tmp_path):
    with pytest.raises(WeightsError, match="layout = 'alexnet' is for files of weights, and"):
        start.read_origin(StartFrom(path=str(tmp_path), layout="alexnet"))


@pytest.mark.parametrize("order", ["norm_pool", "pool_norm"])
def test_a_guess_is_said_and_nothing_is_concluded_from_it(order):
    options = models.model_options("alexnet")
    origin = start.Origin({}, "", start.meaning_of(options, "relu", "paper"), "centered", True)
    ours = start.meaning_of(options | {"order": order}, "relu", "paper")
    (said,) = start.remarks(origin, ours, "centered")
    assert said.startswith("start_from: the file does not say whether pooling or normalization")
    assert said.endswith("if it is CaffeNet, config.start_from.layout=caffenet")


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ({}, {}, []),
        ({}, {"init": "modern"}, ["dropout_scale = testing, this network has training"]),
        ({"dropout_scale": "training"}, {"init": "modern"}, []),
        ({"dropout_scale": "testing"}, {}, []),
        ({}, {"pooling": "2x2"}, ["pooling = overlapping, this network has 2x2"]),
        ({}, {"lrn_per_tower": True}, ["lrn_per_tower = False, this network has True"]),
        ({"within_map": True}, {}, ["within_map = True, this network has False"]),
        ({}, {"lrn": "none", "within_map": True}, ["lrn = paper, this network has none"]),
        ({"lrn": "none"}, {"lrn": "none", "order": "pool_norm"}, []),
        ({}, {"deep_std": 0.03, "ones": "no"}, []),  # Of the first weights alone.
        ({}, {"dropout": 0.0}, ["dropout = 0.5, this network has 0.0"]),
        ({"dropout_scale": "training"}, {"dropout_scale": "training", "dropout": 0.0}, []),
    ],
)
def test_what_changes_the_meaning_of_weights_is_said_and_nothing_else(theirs, ours, said):
    """Options of alexnet, beside the init `paper` where there is no other."""

    def meaning(init: str = "paper", **options: object) -> dict:
        return start.meaning_of(models.model_options("alexnet") | options, "relu", init)

    origin = start.Origin({}, "", meaning(**theirs), "centered")
    found = start.remarks(origin, meaning(**ours), "centered")
    assert found == [f"start_from: the weights were trained with {each}" for each in said]


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ("quick", "conv3_fc64", ["linear = True, this network has False"]),
        ("conv3_fc64", "quick", ["linear = False, this network has True"]),
        ("quick", "conv3", []),  # It has no hidden layer.
        ("quick", "quick", []),
    ],
)
def test_what_the_name_of_a_network_says_of_its_weights_is_compared(theirs, ours, said):
    def meaning(name: str) -> dict:
        return start._meaning_in(TrialSettings(model=models.ModelSettings(name=name)))

    origin = start.Origin({}, "", meaning(theirs), "standardized")
    found = start.remarks(origin, meaning(ours), "standardized")
    assert found == [f"start_from: the weights were trained with {each}" for each in said]


def test_an_option_of_a_network_of_ones_own_needs_no_other_beside_it():
    found = start.meaning_of({"dropout_scale": "testing", "rate": 0.5}, "relu", "paper")
    assert found == {"activation": "relu", "dropout_scale": "testing"}


def test_layers_within_layers_are_compared_too():
    ours = {"inception": {"reduce": tree(0)["conv1"], "wide": tree(0)["conv2"]}}
    theirs = {
        "inception": {"reduce": tree(1)["conv1"], "wide": tree(1, conv2=(3, 3, 4, 6))["conv2"]}
    }
    with pytest.raises(WeightsError, match=r"inception/wide/kernel in a.npy is \(3, 3, 4, 6\)"):
        take(ours, theirs)


def kept(seed: int, **layers: int) -> dict[str, dict[str, np.ndarray]]:
    """Running means and variances of so many channels."""
    rng = np.random.default_rng(seed)
    return {
        name: {kind: rng.uniform(size=channels) for kind in ("mean", "var")}
        for name, channels in layers.items()
    }


def test_a_layer_is_taken_with_all_that_it_keeps():
    """One layer without parameters too; the last one begins anew, with all that it keeps."""
    ours, theirs = (
        {"params": tree(seed), "batch_stats": kept(seed, conv2=6, norm3=6, fc10=10)}
        for seed in (0, 1)
    )
    found = start.take(ours, theirs, (), "fc10", "a.npy")
    assert found.taken == ("conv1", "conv2", "norm3")
    for name, beginning in (("conv2", theirs), ("norm3", theirs), ("fc10", ours)):
        expected = beginning["batch_stats"][name]
        assert found.variables["batch_stats"][name].keys() == expected.keys()
        for kind, values in expected.items():
            np.testing.assert_allclose(found.variables["batch_stats"][name][kind], values, 1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ({"conv2": 6}, {"conv2": 5}, r"conv2/mean in a.npy is \(5,\), the network's is \(6,\)"),
        ({"conv2": 6}, {}, r"conv2/mean in a.npy is not there, the network's is \(6,\)"),
        ({}, {"conv2": 6}, r"conv2/mean in a.npy is \(6,\), the network's is not there"),
    ],
)
def test_what_layers_keep_must_fit_too(ours, theirs, message):
    with pytest.raises(WeightsError, match=message):
        start.take(
            {"params": tree(0), "batch_stats": kept(0, **ours)},
            {"params": tree(1), "batch_stats": kept(1, **theirs)},
            (),
            "fc10",
            "a.npy",
        )


class Plain(nn.Module):
    """A network without a kernel."""

    @nn.compact
    def __call__(self, images):
        return jnp.tile(self.param("mine", nn.initializers.zeros, (1, 10)), (len(images), 1))


def test_a_network_without_kernels_has_no_last_layer():
    assert start.last_layer(Plain(), (8, 8, 3)) == ""


class Head(nn.Module):
    """A layer whose weights are not called `kernel`."""

    @nn.compact
    def __call__(self, x):
        return x @ self.param("weights", nn.initializers.ones, (x.shape[-1], 10))


class Beside(nn.Module):
    """A network with weights of its own, in no layer; or with a last layer of another kind."""

    layered: bool

    @nn.compact
    def __call__(self, images):
        x = images.reshape(len(images), -1)
        if self.layered:
            return Head(name="head")(nn.Dense(4, name="fc1")(x))
        return x @ self.param("mine", nn.initializers.ones, (x.shape[-1], 10))


def test_the_last_layer_is_the_one_whose_weights_are_used_last_whatever_they_are_called():
    assert start.last_layer(Beside(layered=True), (2, 2, 1)) == "head"
    assert start.last_layer(Beside(layered=False), (2, 2, 1)) == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"start_from__path": "nothing.pth"}, "'nothing.pth': there is no such folder or file"),
        ({"start_from__layout": "caffenet"}, "no tensor conv4/weight for CaffeNet"),
        ({"start_from__layout": "lenet"}, "no layout 'lenet'; there are cifar10_full"),
        ({"start_from__layers": ("conv9",)}, "no layer 'conv9' in"),
        ({"model__name": "lenet5_modern"}, "is .*, the network's is"),
    ],
)
def test_first_weights_are_tried_before_anything_is_trained(changes, message, tmp_path):
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", FULL)
    given = {"start_from__path": str(path), "recipe": "cuda_convnet", **changes}
    settings = [trial_of().settings, trial_of(**given).settings]
    if not message:
        start.check(settings, (32, 32, 3), 10)
        return
    with pytest.raises(WeightsError, match=message):
        start.check(settings, (32, 32, 3), 10)


@pytest.mark.parametrize(
    ("size", "message"),
    [(24, ""), (32, r"fc10/kernel in a.npy is \(1024, 10\), the network's is \(576, 10\)")],
)
def test_weights_must_fit_a_network_that_is_given_crops(size, message, monkeypatch):
    """Pools of stride 2: its last layer reads 3 x 3 maps of 64 of a crop, 4 x 4 of an image."""
    given = {"start_from__path": "a.npy", "start_from__layers": ("fc10",)}
    settings = trial_of(augment__crop=24, **given).settings
    params = tiny.draw_params(settings.model.make("modern", 10), size)
    origin = start.Origin({"params": params}, "", {}, "standardized")
    monkeypatch.setattr(start, "read_origin", lambda _: origin)
    if not message:
        start.check([settings], (32, 32, 3), 10)
        return
    with pytest.raises(WeightsError, match=message):
        start.check([settings], (32, 32, 3), 10)


# --- Whole trials. ---


@pytest.fixture
def cifar(monkeypatch) -> data.Dataset:
    dataset = tiny.make_dataset(64, 30, name="tiny", size=32)
    monkeypatch.setattr(data, "load", lambda *_, **options: dataset)
    return dataset


@pytest.mark.slow
def test_a_trial_starts_from_a_file_as_that_file_is(cifar, tmp_path):
    """Its last layer taken too, it is the file's network before the first step."""
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", FULL)
    layers = ("conv1", "conv2", "conv3", "fc10")
    trial = trial_of(
        start_from__path=str(path),
        start_from__layers=layers,
        recipe="cuda_convnet",
        model__lrn="within",
    )
    program = Program(trial.settings, cifar)
    state, columns, remarks = start.begin(program, trial)
    assert columns["start_layers"] == "conv1+conv2+conv3+fc10"
    assert len(columns["start_sha256"]) == 64
    assert remarks == []
    expected = FULL["ip1/weight"].reshape(10, 64, 4, 4).transpose(2, 3, 1, 0).reshape(1024, 10)
    np.testing.assert_array_equal(state.params["fc10"]["kernel"], expected)
    images = jnp.asarray(cifar.test.images - program.data["test"].shift)
    logits = jax.jit(program.model.apply)({"params": state.params}, images)
    wrong = float(np.mean(np.asarray(logits).argmax(axis=1) != cifar.test.labels))
    assert program.error(state.variables, "test") == pytest.approx(wrong)


@pytest.mark.slow
def test_a_trial_starts_from_a_finished_one_with_a_new_last_layer(cifar, tmp_path):
    facts = {"dataset": "tiny", "digest": cifar.digest, "device": "1 x cpu", "jax_version": "0"}
    facts |= {"image_shape": (32, 32, 3), "num_classes": 10, "commit": "abc"}
    small = {"data__name": "tiny", "max_epochs": 1.0, "workers": 1, "learning_rates": (0.02,)}
    runner.run_study(tiny.make_config(**small), tmp_path / "first", facts, 1)
    first = next((tmp_path / "first" / "trials").iterdir())
    finished = read_kept(first, finished=True).state
    (tmp_path / "best").symlink_to(first)
    trial = trial_of(start_from__path=str(tmp_path / "best"))
    program = Program(trial.settings, cifar)
    state, columns, _ = start.begin(program, trial)
    assert start.read_origin(trial.settings.start_from).meaning["lrn"] == "none"  # by default
    assert columns["start_layers"] == "conv1+conv2+conv3"
    plain = program.start(trial.seed)
    assert same(state.params["fc10"], plain.params["fc10"])
    for name in ("conv1", "conv2", "conv3"):
        assert same(state.params[name], finished.params[name])
        assert not same(state.params[name], plain.params[name])
    assert same(state.opt_state, plain.opt_state)
    config = tiny.make_config(**small, start_from__path=str(first), recipe="cuda_convnet")
    runner.run_study(config, tmp_path / "second", facts, 1)
    (record,) = studies.read_study(tmp_path / "second").trials
    assert record.row["start_layers"] == "conv1+conv2+conv3"
    assert record.row["start_sha256"] == columns["start_sha256"]
    trained = load_trained(tmp_path / "second" / "trials" / record.row["trial"])
    before = finished.params["conv1"]["kernel"]
    np.testing.assert_array_equal(trained.first_kernels().started, before)


NORMALIZED = """
import flax.linen as nn

class Net(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images, keys=None):
        x = nn.Conv(4, (3, 3), name="conv1")(images)
        x = nn.BatchNorm(use_running_average=keys is None, name="norm1")(x)
        return nn.Dense(self.num_classes, name="fc2")(nn.relu(x).mean(axis=(1, 2)))
"""


@pytest.mark.slow
def test_a_trial_starts_with_the_running_means_of_another(cifar, tmp_path, monkeypatch):
    name = f"{defined(tmp_path, monkeypatch, NORMALIZED)}.Net"
    settings = trial_of(model__name=name).settings
    program = Program(settings, cifar)
    trained = program.start(1)
    means = jax.tree.map(lambda leaf: leaf + 3, trained.model_state)
    finished = Kept(settings, trained._replace(model_state=means), 9, {}, tiny.identity("t"))
    monkeypatch.setattr(start, "read_kept", lambda *_, **options: finished)
    layers = ("conv1", "norm1", "fc2")
    from_it = {"start_from__path": str(tmp_path), "start_from__layers": layers}
    trial = trial_of(model__name=name, **from_it)
    start.check([trial.settings], (32, 32, 3), 10)
    begun, *_ = start.begin(program, trial)
    assert same(begun.variables, finished.state.variables)
    assert begun.model_state["batch_stats"]["norm1"]["mean"].tolist() == [3.0] * 4


@pytest.mark.slow
def test_weights_that_have_changed_since_are_not_taken_for_the_beginning(cifar, tmp_path):
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", FULL)
    facts = {"dataset": "tiny", "digest": cifar.digest, "device": "1 x cpu", "jax_version": "0"}
    facts |= {"image_shape": (32, 32, 3), "num_classes": 10, "commit": "abc"}
    config = tiny.make_config(
        data__name="tiny",
        max_epochs=1.0,
        workers=1,
        learning_rates=(0.001,),
        recipe="cuda_convnet",
        start_from__path=str(path),
    )
    runner.run_study(config, tmp_path / "study", facts, 1)
    trained = load_trained(next((tmp_path / "study" / "trials").iterdir()))
    conv1 = FULL["conv1/weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(trained.first_kernels().started, conv1)
    weight_files.caffemodel(path, {name: 2 * array for name, array in FULL.items()})
    with pytest.raises(RecordError, match=r"began with other weights than there are now: start_"):
        trained.started()
    (trained.trial_dir / "result.json").unlink()  # As if it had been stopped at its last point.
    with pytest.raises(RecordError, match=r"began with other weights than there are now: start_"):
        runner.run_study(config, tmp_path / "study", facts, 1)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            ".",
            r"^\. is no trial, since no study\.json lies two folders above it; give one as STUDY",
        ),
        ("nothing.pth", "config.start_from.path = 'nothing.pth': there is no such folder or file"),
        ("study/trials/misspelt", "there is no such folder or file; give the folder of a trial"),
        ("study", "path = 'study': that is a study; give the folder of a trial, STUDY/trials/TRI"),
        ("weights.h5", "is of no known kind"),
        ("s3://bucket/a.pth", "config.start_from.path = 's3://bucket/a.pth' is a URL"),
    ],
)
def test_a_start_that_there_is_not_is_refused(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.h5").write_bytes(b"")
    (tmp_path / "study" / "trials").mkdir(parents=True)
    with pytest.raises(Exception, match=message):
        start.read_origin(StartFrom(path))


def test_a_study_is_not_taken_for_a_trial(tmp_path):
    (tmp_path / "study.json").touch()
    with pytest.raises(RecordError, match=r" is a study; give one of its trials, STUDY/trials/TR"):
        read_kept(tmp_path, finished=False)
