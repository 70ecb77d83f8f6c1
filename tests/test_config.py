"""What is refused before anything is compiled or written, and how."""

import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.analysis.groups import make_groups
from src.analysis.study import Study
from src.config.checks import check_data, check_devices
from src.config.config import Config
from src.config.schema import default_tree
from src.fields import ConfigError, plain
from src.study import question
from src.trees import Tree, leaves, replaced
from tests import tiny

PATHS = [path for path, _ in leaves(tiny.make_tree())]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**400)
)
values = st.one_of(scalars, st.lists(scalars, max_size=3).map(tuple), st.just({"a": 1}))


def refusal(tree: Tree) -> str:
    with pytest.raises(ConfigError) as error:
        Config.read(tree)
    return str(error.value)


def test_a_value_is_checked_even_where_a_sweep_takes_its_place():
    swept = {"model": {"activation": ("relu", "tanh")}}
    config = tiny.make_tree(sweep=swept, model__activation="rleu")
    assert "did you mean 'relu'?" in refusal(config)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("batch_size", 0, "config.batch_size = 0 should be a whole number of at least 1"),
        ("batch_size", 10**12, "should be a whole number of at least 1, 1,000,000 at most"),
        ("layer_images", 10**8, "should be 0 or more, 100,000 at most"),
        ("data__stream_size", 10**9, "held in memory) or a number of pixels, 2,048 at most"),
        ("batch_size", 1.5, "config.batch_size = 1.5 should be a whole number"),
        ("batch_size", True, "config.batch_size = True should be a whole number"),
        ("max_epochs", math.nan, "config.max_epochs = nan should be a number"),
        ("max_epochs", -1, "config.max_epochs = -1.0 should be a positive number of epochs"),
        ("max_epoch", 3, "config.max_epoch: no such field; did you mean 'max_epochs'?"),
        ("data", 3, "config.data = 3 should be a group of fields"),
        ("target_train_error", 25, "a fraction between 0 and 1; did you mean 0.25?"),
        ("thresholds", ("a",), "config.thresholds = 'a' should be a fraction"),
        ("recipe", "moden", "is not one of cuda_convnet, modern; did you mean 'modern'?"),
        ("model__name", "conv", "is not one of conv3"),
        ("model__activation", "rleu", "did you mean 'relu'?"),
        ("model__dropuot", 0.5, "conv3 has no such option"),
        ("model_options", {"vgg": {}}, "did you mean 'vgg16'?"),
        (
            "model_options",
            {"vgg11": 3},
            "model_options.vgg11 = 3 should be a group of fields",
        ),
        ("model_options", {"vgg11": {"widht": 1.0}}, "did you mean 'width'?"),
        ("schedule__name", "step", "is not one of constant, steps, plateau; did you mean 'steps'?"),
        ("schedule__factor", 1.5, "config.schedule.factor = 1.5 should be above 0, at most 1"),
        ("schedule__patience", 0, "config.schedule.patience = 0 should be at least 1 epoch"),
        ("schedule__drops", -1, "config.schedule.drops = -1 should be 0 or more"),
        ("schedule__boundaries", (0,), "should be a tuple of epochs above 0"),
        ("schedule__boundaries", (math.inf,), "a tuple of epochs above 0, 100,000 at most"),
        ("schedule__bias_boundaries", (math.inf,), "of epochs above 0, 100,000 at most"),
        (
            "schedule__slowed",
            {"conv1": math.inf},
            "conv1 = inf should be an epoch above 0, 100,000",
        ),
        (
            "schedule__frozen",
            {"conv1": math.inf},
            "conv1 = inf should be an epoch above 0, 100,000",
        ),
        (
            "augment__pca_epochs",
            math.inf,
            "config.augment.pca_epochs = inf should be 0 or more, 100",
        ),
        ("schedule__name", "plateau", "config.validation_images says how many training images"),
        ("validation_images", -1, "config.validation_images = -1 should be 0 or more"),
        ("test_crops", 5, "config.test_crops = 5 should be 1 or 10"),
        ("test_crops", 10, "config.test_crops = 10 needs the size of a crop"),
        ("data__stream_size", -1, "config.data.stream_size = -1 should be 0 (images held"),
        ("data__stream_size", 4000, "config.data.stream_size = 4000 should be 0 (images held"),
        ("learning_rates", (0.1, 0.1), "config.learning_rates = (0.1, 0.1) holds a rate twice"),
        ("learning_rates", (10**400,), "should be positive numbers"),
        ("pretraining__learning_rates", (0.03, 0.030000001), "holds a rate twice"),
        ("pretraining__layers", ("conv1", "conv1"), "('conv1', 'conv1') holds a value"),
        ("start_from__layers", ("conv1", "conv1"), "('conv1', 'conv1') holds a value"),
        ("fresh_seeds", (0,), "must hold no seed twice and none of the selection_seeds"),
        ("fresh_seeds", (True,), "should be whole numbers from 0 to 2^31 - 1"),
        ("racing_slack", 0.5, "should be a number of at least 1, or inf"),
        ("sweep", {"weight_decy": (0.0,)}, "did you mean 'weight_decay'?"),
        ("sweep", {"recipe": ("modern", "modern")}, "holds a value twice"),
        ("sweep", {"schedule": {"boundaries": ([1.0], [1.0])}}, "holds a value twice"),
        ("sweep", {"batch_size": ({1: 2}, {3: 4})}, "config.sweep.batch_size = {1: 2} should be"),
        ("sweep", {"recipe": (3,)}, "config.sweep.recipe = 3 should be a string"),
        ("sweep", {"data": {"name": ("a", "b")}}, "config.sweep.data.name: no such field to sweep"),
        ("sweep", {"target_train_error": (0.1,)}, "no such field to sweep"),
        ("sweep", {"batch_size": (1, 0)}, "config.sweep.batch_size = 0 should be"),
        (
            "sweep",
            {"weight_decay": tuple(i / 2000 for i in range(2000))},
            "2000 arms; at most 1000",
        ),
        ("sweep", {"weight_decay": (0.0, 0.1)}, "config.compare.field = 'activation' is not swept"),
        ("variants", {"flip": True}, "config.variants.flip = True should be a group of fields"),
        ("variants", {"a": {"augment": {"flop": True}}}, "did you mean 'augment.flip'?"),
        ("variants", {"a": {"augment": {"flip": 1}}}, "variants.a.augment.flip = 1 should be True"),
        ("variants", {"a": {"batch_size": 0}}, "config.variants.a.batch_size = 0 should be"),
        ("variants", {"a": {"test_crops": 10}}, "test_crops = 10 needs the size of a crop"),
        ("variants", {"a": {}}, "config.compare.field = 'activation' is not swept"),
        ("variants", {"a b": {}}, "the name of a folder is needed"),
        ("thresholds", (0.3, 0.3), "config.thresholds = (0.3, 0.3) holds a value twice"),
        ("readings", (), "config.readings = () should be a tuple of at least one value"),
        ("readings", ("online", "online"), "config.readings = ('online', 'online') holds a value"),
        ("compare__further", ("test_error",) * 2, "config.compare.further = ('test_error', 'test"),
        ("recipes__modern__layer_rates", {"conv1": -1}, "conv1 = -1 should be a factor of at"),
        ("recipes__modern__layer_rates", {"conv1": "x"}, "conv1 = 'x' should be a number"),
        ("train_images", -1, "config.train_images = -1 should be 0 or more"),
        ("recipes", {1: {}}, "config.recipes has the name 1; a text is needed: '1'"),
        ("model_options", {1: {}}, "config.model_options has the name 1; a text is needed: '1'"),
        ("sweep", {"model": {True: 0}}, "config.sweep.model has the name True; a text is needed"),
        ("arm_learning_rates", {"conv3-modern-relo": (0.1,)}, "did you mean 'conv3-modern-relu'?"),
    ],
)
def test_a_refusal_names_field_value_and_remedy(field, value, message):
    found = refusal(tiny.make_tree(**{field: value}))
    assert message in found
    assert "\n" not in found


def test_options_of_a_network_are_those_of_its_arms_alone():
    options = {"vgg11_cifar": {"width": 0.5, "dropout": 0.1}, "alexnet_cifar": {"width": 0.25}}
    swept = {"model": {"name": ("vgg11_cifar", "lenet5"), "activation": ("tanh",)}}
    compare = {"field": "model", "baseline": "lenet5"}
    config = tiny.make_config(model_options=options, sweep=swept, compare=compare)
    vgg, lenet = (arm.settings.model.as_tree() for arm in config.arms)
    assert vgg == {"name": "vgg11_cifar", "activation": "tanh", "width": 0.5, "dropout": 0.1}
    assert lenet == {"name": "lenet5", "activation": "tanh"}


def test_two_swept_fields_may_not_share_a_column():
    momenta = {"modern": {"momentum": (0.0, 0.9)}, "cuda_convnet": {"momentum": (0.0, 0.9)}}
    assert "would share the column 'momentum'" in refusal(
        tiny.make_tree(sweep={"recipes": momenta})
    )


@pytest.mark.parametrize("option", ["seed", "iterations", "threads", "stack", "variant"])
def test_an_option_may_not_share_a_column_that_says_something_else(option, tmp_path, monkeypatch):
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / f"columns_{option}.py").write_text(
        NET.replace("num_classes: int = 10", f"{option}: int = 1")
    )
    monkeypatch.setattr(sys.modules["configs"], "__path__", [str(folder)])
    tree = tiny.make_tree(
        model__name=f"configs.columns_{option}.Net", sweep={"model": {option: (1, 2)}}
    )
    said = f"config.sweep.model.{option}: results.csv has a column {option!r} already, which"
    assert said in refusal(tree)


def test_fields_of_pretraining_are_not_called_as_those_of_training():
    sweep = {"pretraining": {"batch_size": (16, 64), "steps": (5, 40)}, "batch_size": (16, 32)}
    compare = {"field": "pretraining_batch_size", "baseline": 16}
    config = tiny.make_config(sweep=sweep, compare=compare, pretraining__method="conv_rbm")
    columns = {name for name, _ in config.arms[0].swept}
    assert columns == {"pretraining_batch_size", "steps", "batch_size"}


def test_a_variant_may_not_set_what_is_swept():
    config = tiny.make_tree(
        sweep={"weight_decay": (0.0, 0.1)}, variants={"a": {"weight_decay": 0.5}}
    )
    assert "config.variants.a sets weight_decay, which is swept as well" in refusal(config)


def test_the_fields_of_a_variant_are_checked_together():
    together = {"ten": {"test_crops": 10, "augment": {"crop": 6}}, "one": {}}
    tiny.make_config(variants=together, compare={"field": "variant", "baseline": "one"})


NET = """
import flax.linen as nn

class Net(nn.Module):
    num_classes: int = 10

    @nn.compact
    def __call__(self, images, keys=None):
        return nn.Dense(self.num_classes)(images.reshape(images.shape[0], -1))
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """Two networks of one's own, both called Net."""
    monkeypatch.setattr("configs.__path__", [str(tmp_path)])
    for name in ("one", "other"):
        (tmp_path / f"{name}.py").write_text(NET)
    yield ("configs.one.Net", "configs.other.Net")
    for name in ("one", "other"):
        sys.modules.pop(f"configs.{name}", None)


def test_networks_whose_names_end_alike_make_arms_of_two_names(nets):
    """The names of all other arms are short, as they were."""
    sweep = {"model": {"name": (*nets, "conv3")}}
    tree = tiny.make_tree(sweep=sweep, compare={"field": "model", "baseline": "conv3"})
    config = Config.read(tree | {"arm_learning_rates": {f"{nets[1]}-modern-relu": (0.5,)}})
    assert [arm.name for arm in config.arms] == [
        "configs.one.Net-modern-relu", "configs.other.Net-modern-relu", "conv3-modern-relu",
    ]  # fmt: skip
    assert [arm.learning_rates == (0.5,) for arm in config.arms] == [False, True, False]


def test_options_of_a_network_that_is_not_there_are_refused_in_one_line():
    tree = tiny.make_tree() | {"model_options": {"configs.nowhere.Net": {"width": 2}}}
    assert refusal(tree).startswith("config.model_options = 'configs.nowhere.Net': configs.nowhere")


def test_networks_that_another_field_tells_apart_have_short_names(nets):
    variants = {"a": {"model": {"name": nets[0]}}, "b": {"model": {"name": nets[1]}}}
    config = tiny.make_config(variants=variants, compare={"field": "variant", "baseline": "a"})
    assert [arm.name for arm in config.arms] == ["Net-modern-relu-a", "Net-modern-relu-b"]


def test_a_network_without_options_says_so():
    tree = tiny.make_tree() | {"model_options": {"lenet5": {"width": 2}}}
    assert refusal(tree) == "config.model_options.lenet5.width: lenet5 has no options"


def test_a_comparison_by_what_is_not_swept_is_told_what_is():
    tree = tiny.make_tree(sweep={"augment": {"crop": (0, 6)}}, compare__field="augment.crop")
    assert refusal(tree) == "config.compare.field = 'augment.crop' is not swept; swept are crop"


def test_numbers_of_numpy_are_numbers():
    rates, whole = tuple(np.logspace(-3, -1, 3)), tiny.make_tree(max_epochs=np.float32(3))
    config = Config.read(whole | {"learning_rates": rates, "batch_size": np.int64(16)})
    assert [type(rate) for rate in config.study.learning_rates] == [float] * 3
    assert config.study.learning_rates == rates
    assert config.trial.max_epochs == 3.0
    question.check_readable(config)


def test_more_images_to_train_on_than_there_are():
    config = tiny.make_config(train_images=60, validation_images=4)
    check_data(config.arms, (8, 8, 3), 64)
    with pytest.raises(ConfigError, match=r"train_images = 60 should be 0 .all. or at most 59,"):
        check_data(config.arms, (8, 8, 3), 63)


@pytest.mark.parametrize(
    ("name", "value"),
    [("cluster", "auto"), ("trial_resources__gpus", 1.0), ("trial_resources__cpus", 2.0)],
)
def test_a_field_of_clusters_is_refused_where_there_is_none(name, value):
    said = refusal(tiny.make_tree(**{name: value}))
    assert (
        f"config.{name.replace('__', '.')} = {value!r} is for a cluster: set config.engine" in said
    )
    tiny.make_config(**{name: value}, engine="ray")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cpus": 2.0}, "trial_resources.cpus = 2 is not for Dask, where a trial has one thread"),
        ({"gpus": 1.0}, "gpus = 1 needs a Dask cluster .* dask worker --resources GPU=1: name it"),
        ({"tpus": 4.0}, "tpus = 4 needs a Dask cluster .* dask worker --resources TPU=1: name it"),
    ],
)
def test_what_dask_gives_to_no_trial_is_refused(changes, message):
    asked = {f"trial_resources__{name}": number for name, number in changes.items()}
    with pytest.raises(ConfigError, match=message):
        tiny.make_config(engine="dask", **asked)
    tiny.make_config(engine="ray", **asked)
    if "cpus" not in changes:
        tiny.make_config(engine="dask", cluster="scheduler.json", **asked)


def test_workers_are_of_this_machine_not_of_a_cluster():
    asked = {"engine": "ray", "cluster": "auto"}
    assert "config.workers = 3 is for this machine" in refusal(tiny.make_tree(workers=3, **asked))
    tiny.make_config(**asked)
    tiny.make_config(workers=3, engine="ray")


def test_a_recipe_whose_name_is_no_name_of_a_folder():
    tree = tiny.make_tree(recipe="../up")
    tree["recipes"]["../up"] = tree["recipes"]["modern"]
    assert "the name of a folder is needed" in refusal(tree)


@pytest.mark.parametrize("path", [p for p in PATHS if p[0] != "recipes"], ids=".".join)
def test_a_missing_field_has_its_default(path):
    node: Any = (tree := tiny.make_tree())
    for name in path[:-1]:
        node = node[name]
    del node[path[-1]]
    default: Any = default_tree()
    for name in path:
        default = default[name]
    found: Any = Config.read(tree)
    owner = next(
        part for part in (found.trial, found.study, found.runtime) if hasattr(part, path[0])
    )
    for name in path:
        owner = getattr(owner, name)
    assert plain(owner) == plain(default) or path == ("recipe",)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PATHS), values, st.sampled_from(PATHS), values)
def test_whatever_a_field_holds_it_is_refused_in_one_line_or_makes_arms(first, one, second, other):
    config = replaced(tiny.make_tree(), first, one)
    if len({first[0], second[0]}) == 2:  # else the second may lie in what the first replaced
        config = replaced(config, second, other)
    try:
        arms = Config.read(config).arms
    except ConfigError as error:
        assert str(error).startswith("config.")
        assert "\n" not in str(error)
    else:
        assert len(arms) == 1


@pytest.mark.parametrize(("images", "even"), [(20, 16), (3, 8)])
def test_a_batch_that_does_not_split_over_the_devices(images, even):
    check_devices(tiny.make_config(batch_size=16, pretraining__batch_size=20).trial, 8)
    words = f"config.batch_size = {images} cannot be split evenly over 8 devices; try {even}, or"
    with pytest.raises(ConfigError, match=words):
        check_devices(tiny.make_config(batch_size=images).trial, 8)
    pretrained = {"pretraining__method": "conv_rbm", "pretraining__batch_size": 20}
    with pytest.raises(ConfigError, match=r"pretraining.batch_size = 20 cannot be split .* try 16"):
        check_devices(tiny.make_config(**pretrained).trial, 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "crop", "size"), [("alexnet", 0, 32), ("lenet5", 28, 32), ("vgg11_cifar", 0, 16)]
)
def test_images_too_small_for_a_network(name, crop, size):
    check_data(tiny.make_config(model__name=name).arms, (227, 227, 3), 64)
    config = tiny.make_config(model__name=name, augment__crop=crop)
    side = crop or size
    message = f"'{name}' is made for .* those of {side} x {side} are too small"
    with pytest.raises(ConfigError, match=message):
        check_data(config.arms, (size, size, 3), 64)


@pytest.mark.parametrize(
    ("sweep", "field", "baseline"),
    [
        ({"weight_decay": (0.0, 0.005)}, "weight_decay", 0),
        ({"weight_decay": (0, 0.005)}, "weight_decay", 0.0),
        ({"stop_at_target": (True, False)}, "stop_at_target", 0),
    ],
)
def test_a_baseline_that_equals_a_swept_value_is_the_arm_of_that(sweep, field, baseline):
    """Whichever way it is written: reports find the arm by its text."""
    config = tiny.make_config(sweep=sweep, compare={"field": field, "baseline": baseline})
    study = Study(config, {}, ())
    (group,) = make_groups(study)
    (same,) = (arm.settings for arm in config.arms if dict(arm.swept)[field] == baseline)
    assert group.baseline.settings == same


def test_every_crop_of_a_sweep_must_be_large_enough():
    sweep, compare = {"augment": {"crop": (4, 16)}}, {"field": "crop", "baseline": 16}
    with pytest.raises(ConfigError, match="those of 4 x 4 are too small"):
        check_data(tiny.make_config(sweep=sweep, compare=compare).arms, (16, 16, 3), 64)


@pytest.mark.slow
@pytest.mark.parametrize("swept", ["alexnet", "vgg11_cifar"])
def test_every_network_of_a_sweep_needs_large_enough_images(swept):
    sweep = {"model": {"name": ("conv3", swept)}}
    compare = {"field": "model", "baseline": "conv3"}
    with pytest.raises(ConfigError, match=f"'{swept}' is made for"):
        check_data(tiny.make_config(sweep=sweep, compare=compare).arms, (16, 16, 3), 64)
