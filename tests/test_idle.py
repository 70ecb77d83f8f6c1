"""Fields that would change nothing are refused, and no others."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from src import laboratory, models
from src.config import flags, idle, schema
from src.config.config import Config
from src.fields import ConfigError, Field, OneOf
from src.models.registry import options_of
from src.study import question
from tests import tiny

pytestmark = pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
CONFIGS = Path(__file__).parent.parent / "configs"
BASE, QUICK, ABLATIONS = (CONFIGS / f"{name}.py" for name in ("base", "quick", "ablations"))
IMAGENET = CONFIGS / "alexnet_imagenet.py"
FACTS = {"dataset": "cifar10", "digest": "d", "image_shape": (32, 32, 3), "num_classes": 10}
FACTS |= {"device": "1 x cpu", "jax_version": "0", "commit": "abc"}
AGAINST = {"compare": {"field": "variant", "baseline": "a"}}
COMPARED = ("compare.field=batch_size", "compare.baseline=64")


def asked(folder: Path, file: Path, *fields: str) -> flags.Request:
    given = [f"--config={file}", f"--workdir={folder}", "--dry_run"]
    return flags.parse([*given, *(f"--config.{each}" for each in fields)])


def check(request: flags.Request) -> None:
    laboratory._checked(request, request.studies())


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("model.activation=gelu", "config.sweep.model.activation decides"),
        ("recipe=cuda_convnet", "config.sweep.recipe decides"),
        ("learning_rates=(0.1, 0.2)", "config.arm_learning_rates decides"),
        ("recipes.modern.learning_rates=(0.1, 0.2)", "config.arm_learning_rates decides"),
        (
            "learning_rates=(0.08,0.04,0.02,0.01,0.005)",
            "each arm has these rates without it, and their order says nothing",
        ),
        ("selection_seeds=(7, 8)", "each arm has one learning rate"),
        ("sweep.batch_size={}", "it sweeps nothing"),
        ("compare.field=batch_size", "there is one arm"),
        ("compare.baseline=64", "there is one arm"),
        ("recipes.cuda_convnet.momentum=0.5", "no trial uses it"),
        ("recipes.cuda_convnet.learning_rates=(0.1,)", "no trial uses it"),
        ("model_options.alexnet_cifar.width=0.5", "no trial uses it"),
    ],
)
def test_a_field_that_another_decides_is_refused(tmp_path, field, why):
    name = field.partition("=")[0]
    request = asked(tmp_path, QUICK if "decides" in why or "one learning" in why else BASE, field)
    with pytest.raises(ConfigError, match=f"^config.{name} changes nothing, for {why}$"):
        check(request)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "plateau", "drops": 0}, "drops = 0 leaves the rate alone"),
        ({"name": "plateau", "factor": 1.0}, "factor = 1.0 multiplies the rate by one"),
        ({"name": "steps", "boundaries": (2.0,), "factor": 1.0}, "factor = 1.0 multiplies"),
        ({"slowed": {"conv1": 2.0}, "factor": 1.0}, "factor = 1.0 multiplies the rate by one"),
    ],
)
def test_a_schedule_that_leaves_the_rate_alone_is_refused(fields, message):
    fields = {f"schedule__{name}": value for name, value in fields.items()}
    config = tiny.make_config(max_epochs=5.0, validation_images=8, **fields)
    with pytest.raises(ConfigError, match=f"^config.schedule.{message}"):
        idle.refuse_switched_off([config])


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({  # The momentum of `modern` is none of `cuda_convnet`'s.
            "sweep": {
                "recipe": ("modern", "cuda_convnet"),
                "recipes": {"modern": {"momentum": (0.5, 0.9)}},
            },
            "compare": {"field": "momentum", "baseline": 0.9},
        }, "momentum = 0.5 and 0.9"),
        ({  # Without pre-training there are no steps of it.
            "sweep": {"pretraining": {"method": ("none", "conv_autoencoder"), "steps": (5, 40)}},
            "compare": {"field": "steps", "baseline": 5},
        }, "steps = 5 and 40"),
        ({  # Measures beside a training do not change it.
            "sweep": {"layer_images": (0, 8)}, "compare": {"field": "layer_images", "baseline": 0},
        }, "layer_images = 0 and 8"),
        *(({  # One value has two names.
            "model__name": "alexnet_cifar", "sweep": {"model": {name: values}}, **paper,
            "compare": {"field": name, "baseline": values[0]},
        }, f"{name} = {values[0]!r} and {values[1]!r}") for name, values, paper in (
            ("dropout_scale", ("by_init", "testing"), {"recipes__modern__init": "paper"}),
            ("dropout_scale", ("by_init", "training"), {}),
            ("ones", ("by_init", "no"), {}),
            ("without", ("conv3+conv4", "conv4+conv3"), {}),
            ("activation", ("silu", "swish"), {}),
        )),
        ({
            "variants": {
                "a": {"schedule": {"boundaries": (1.0, 2.0)}},
                "b": {"schedule": {"boundaries": (2.0, 1.0)}},
            },
            "schedule__name": "steps",
            **AGAINST,
        }, "variant = 'a' and 'b'"),
        *(({"variants": {"a": {group: one}, "b": {group: two}}, **more, **AGAINST},
           "variant = 'a' and 'b'") for group, one, two, more in (
            ("start_from", {"path": "x/t"}, {"path": "./x//t"}, {}),
            ("pretraining", {"learning_rates": (0.003, 0.01)}, {"learning_rates": (0.01, 0.003)},
             {"pretraining__method": "conv_rbm"}),
            ("pretraining", {"learning_rates": (0.003, 0.01, 0.03)}, {},  # the method's grid
             {"pretraining__method": "conv_autoencoder"}),
            ("schedule", {"bias_boundaries": (1.0,)}, {},
             {"schedule__name": "steps", "schedule__boundaries": (1.0,)}),
        )),
        ({  # The study's rates hold for all its arms.
            "variants": {"b": {}, "a": {"recipes": {"modern": {"learning_rates": (0.1,)}}}},
            **AGAINST,
        }, "variant = 'a' and 'b'"),
    ],
)  # fmt: skip
def test_a_training_is_not_compared_with_itself(fields, what):
    config = tiny.make_config(learning_rates=(0.02,), max_epochs=5.0, **fields)
    with pytest.raises(
        ConfigError,
        match=f"same trainings, for in them {re.escape(what)} change nothing; leave one",
    ):
        idle.refuse_switched_off([config])


def test_values_that_a_recipe_tells_apart_are_compared():
    config = tiny.make_config(
        model__name="alexnet_cifar", learning_rates=(0.02,),
        sweep={"model": {"ones": ("by_init", "yes"), "activation": ("relu", "silu")}},
        compare={"field": "ones", "baseline": "yes"},
    )  # fmt: skip
    idle.refuse_switched_off([config])


def test_arms_that_differ_in_their_rates_alone_are_compared():
    rates = {"conv3-modern-relu-a": (0.02,), "conv3-modern-relu-b": (0.04,)}
    config = tiny.make_config(variants={"a": {}, "b": {}}, arm_learning_rates=rates, **AGAINST)
    idle.refuse_switched_off([config])


@pytest.mark.slow
def test_a_study_that_was_begun_so_goes_on_and_no_other_is_there(tmp_path):
    request = asked(tmp_path, QUICK, "model.activation=gelu")
    ((tree, _),) = request.studies()
    question.open_study(Config.read(tree), tmp_path, FACTS)
    check(request)
    with pytest.raises(ConfigError, match=r"config.sweep.model.activation decides$"):
        check(asked(tmp_path, QUICK, "model.activation=elu"))


@pytest.mark.slow
def test_a_grid_that_another_decides_is_refused_where_the_study_was_begun_too(tmp_path):
    """A grid may be extended, so the question would be rewritten, and nothing trained."""
    ((tree, _),) = asked(tmp_path, QUICK).studies()
    question.open_study(Config.read(tree), tmp_path, FACTS)
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(ConfigError, match=r"learning_rates changes nothing, for config.arm_learn"):
        check(asked(tmp_path, QUICK, "recipes.modern.learning_rates=(0.1, 0.2)"))
    assert (tmp_path / "study.json").read_bytes() == before


@pytest.mark.slow
def test_a_grid_for_another_study_is_none_of_a_begun_one(tmp_path):
    """So a study that was begun with all others goes on by itself with the same flags."""
    file, grid = CONFIGS / "why_tanh_is_slow.py", "recipes.without_bias.learning_rates=(0.1, 0.2)"
    request = asked(tmp_path, file, "study=lenet", grid)
    ((tree, workdir),) = request.studies()
    with pytest.raises(ConfigError, match="changes nothing, for no trial uses it"):
        check(request)
    question.open_study(Config.read(tree), workdir, FACTS)
    check(request)


@pytest.mark.parametrize("chosen", ["first_look", "all"])
@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("learning_rates=(0.1,)", "config.arm_learning_rates decides"),
        ("model.activation=gelu", "config.sweep.model.activation decides"),
        ("selection_seeds=(7, 8)", "each arm has one learning rate"),
        ("model_options.alexnet_cifar.width=0.5", "no trial uses it"),
    ],
)
def test_a_field_of_one_study_that_another_decides_is_refused(tmp_path, field, why, chosen):
    name = field.partition("=")[0]
    file = CONFIGS / "why_tanh_is_slow.py"
    request = asked(tmp_path, file, f"study={chosen}", f"studies.first_look.{field}")
    told = f"^config.studies.first_look.{name} changes nothing, for {why}$"
    with pytest.raises(ConfigError, match=told):
        check(request)


def test_what_decides_is_what_has_the_rates_of_every_arm(tmp_path):
    """`arm_learning_rates` of the study has those of sigmoid alone."""
    field = "studies.activations.recipes.modern.learning_rates"
    request = asked(tmp_path, ABLATIONS, "study=activations", f"{field}=(0.1, 0.2)")
    with pytest.raises(ConfigError, match=f"{field} changes nothing, for config.learning_rates de"):
        check(request)


STEPPED = """
from ml_collections import ConfigDict

from configs import base


def get_config():
    config = base.get_config()
    steps = {"name": "steps", "boundaries": (2.0,)}
    config.studies = ConfigDict({"plain": {}, "stepped": {"schedule": steps}})
    config.study = "plain"
    return config
"""


def test_a_field_of_one_study_needs_its_switch_though_another_has_it(tmp_path):
    (tmp_path / "stepped.py").write_text(STEPPED)
    check(asked(tmp_path, tmp_path / "stepped.py"))
    field = "studies.plain.schedule.factor=0.5"
    with pytest.raises(ConfigError, match=r"schedule.factor = 0.5 is not used"):
        check(asked(tmp_path, tmp_path / "stepped.py", field))


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("learning_rates", True),
        ("arm_learning_rates.conv3-modern-relu", True),
        ("recipes.pretraining.learning_rates", True),
        ("variants.pretraining.recipes.modern.learning_rates", True),
        ("studies.one.learning_rates", True),
        ("pretraining.learning_rates", False),
        ("model.learning_rates", False),
        ("model_options.configs.mine.Net.learning_rates", False),
        ("recipes.modern.layer_rates.learning_rates", False),
    ],
)
def test_a_grid_is_told_by_its_place(path, is_one):
    """Recipes, variants and options of networks may have any name."""
    assert schema.is_grid(tuple(path.split("."))) == is_one


SLOWED = {"schedule__slowed": {"conv1": 2.0}}


@pytest.mark.parametrize(
    ("changes", "field", "needs"),
    [
        ({"schedule__boundaries": (2.0,)}, "schedule.boundaries = (2.0,)", "schedule.name = 'st"),
        ({"schedule__bias_boundaries": (2.0,)}, "schedule.bias_boundaries", "schedule.name = 'st"),
        ({"schedule__factor": 0.5}, "schedule.factor = 0.5", "schedule.name other than 'constant'"),
        ({"schedule__patience": 2}, "schedule.patience = 2", "schedule.name = 'plateau'"),
        ({"schedule__drops": 2}, "schedule.drops = 2", "schedule.name = 'plateau'"),
        ({"model__name": "alexnet_cifar", "model__lrn": "none", "model__within_map": True},
         "model.within_map = True", "model.lrn other than 'none'"),
        ({"model__name": "alexnet_cifar", "model__lrn": "none", "model__lrn_per_tower": True},
         "model.lrn_per_tower = True", "model.towers = 2, and config.model.lrn 'paper', 'caffe'"),
        ({"model__name": "alexnet_cifar", "model__dropout": 0.0, "model__dropout_scale": "testing"},
         "model.dropout_scale = 'testing'", "model.dropout above 0"),
        ({"model__name": "alexnet_cifar", "model__border": "overhang"},
         "model.border = 'overhang'", "model.name 'alexnet' or 'alexnet_2012'"),
        ({"pretraining__method": "conv_rbm", "pretraining__sparsity": 0.1},
         "pretraining.sparsity = 0.1", "pretraining.method = 'conv_rbm' and config.pretraining.sp"),
        ({"pretraining__method": "conv_rbm", "pretraining__learning_rates": (0.1,),
          "pretraining__rate_seed": 3},
         "pretraining.rate_seed = 3", "pretraining.learning_rates of more than one"),
        ({"augment__pca_epochs": 2.0}, "augment.pca_epochs = 2.0", "augment.pca above 0"),
        ({"augment__shared": 32, "augment__pca": 0.1}, "augment.shared = 32", "augment.crop, tran"),
        ({"start_from__layers": ("conv1",)}, "start_from.layers = ('conv1',)", "start_from.path"),
        ({"start_from__layout": "caffenet"}, "start_from.layout = 'caffenet'", "start_from.path"),
        ({"data__stream_size": 64, "data__name": "procedural"}, "data.stream_size = 64", "data.na"),
        ({"data__stream_size": 64, "data__name": "configs.a.b"}, "data.stream_size", "data.name"),
        ({"pretraining__steps": 9}, "pretraining.steps = 9", "pretraining.method other than 'non"),
        (
            {"pretraining__gibbs_steps": 2, "pretraining__method": "conv_autoencoder"},
            "pretraining.gibbs_steps = 2",
            "pretraining.method = 'conv_rbm'",
        ),
        (
            {"sweep": {"schedule": {"factor": (0.1, 0.5)}},
             "compare": {"field": "factor", "baseline": 0.1}},
            "schedule.factor = 0.5",
            "schedule.name other than",
        ),
    ],
)  # fmt: skip
def test_a_field_is_refused_where_no_trial_has_its_switch(changes, field, needs):
    with pytest.raises(ConfigError) as refusal:
        idle.refuse_switched_off([tiny.make_config(**changes)])
    assert str(refusal.value).startswith(f"config.{field}")
    assert f"is not used, for no trial has config.{needs}" in str(refusal.value)


def test_steps_without_a_boundary_are_refused():
    with pytest.raises(ConfigError, match=r"'steps' drops no rate without config.schedule.boundar"):
        idle.refuse_switched_off([tiny.make_config(schedule__name="steps")])


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule__name": "steps", "schedule__bias_boundaries": (2.0,), "schedule__factor": 0.5},
        {"schedule__factor": 0.5, **SLOWED},
        {"augment__shared": 32, "augment__flip": True},
        {"data__stream_size": 64},
        {"model__name": "alexnet_2012", "model__lrn": "none"},  # set by the network itself
        {"model__name": "alexnet_cifar", "model__dropout_scale": "testing"},
        {"model__name": "alexnet_cifar", "model__border": "padded"},
        {"model__name": "alexnet", "model__border": "overhang"},
        {"pretraining__method": "conv_rbm", "pretraining__sparsity": 0.1,
         "pretraining__sparsity_rate": 1.0},
        {"pretraining__method": "conv_rbm", "pretraining__rate_seed": 3},
        {
            "sweep": {"schedule": {"name": ("constant", "steps")}},
            "schedule__boundaries": (2.0,),
            "compare": {"field": "schedule", "baseline": "steps"},
        },
        {
            "variants": {"a": {"schedule": {"boundaries": (2.0,)}}, "b": {}},
            "schedule__name": "steps",
            **AGAINST,
        },
        {"variants": {"a": {"pretraining": {"method": "conv_rbm"}}}, **AGAINST,
         "pretraining__steps": 9},
    ],
)  # fmt: skip
def test_a_field_that_one_trial_uses_is_not(changes):
    idle.refuse_switched_off([tiny.make_config(**changes)])


def test_a_field_that_the_command_line_sets_needs_its_switch_whatever_the_file_says(tmp_path):
    fields = ("augment.pca=0.0", "augment.pca_epochs=3.0")
    with pytest.raises(ConfigError, match=r"^config.augment.pca_epochs = 3.0 is not used, for no"):
        check(asked(tmp_path, IMAGENET, *fields))


def test_a_field_without_its_switch_is_refused_before_a_study_and_not_in_its_midst(tmp_path):
    request = asked(tmp_path, BASE, "schedule.boundaries=(2.0,)")
    with pytest.raises(ConfigError, match=r"^config.schedule.boundaries = \(2.0,\) is not used"):
        check(request)
    ((tree, _),) = request.studies()
    question.open_study(Config.read(tree), tmp_path, FACTS)
    check(request)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "fields"),
    [
        (QUICK, ["sweep.model.activation=('tanh','relu')"]),  # what the file says
        (QUICK, ["max_epochs=2", "batch_size=64", "workers=2", "fresh_seeds=(1,)"]),
        (QUICK, ["arm_learning_rates.conv3-modern-relu=(0.1,)", "recipes.modern.momentum=0.5"]),
        (BASE, ["batch_size=64", "sweep.batch_size=(64,128)", *COMPARED]),  # in full view
        (ABLATIONS, ["model.width=0.25", "study=depth"]),
        (ABLATIONS, ["model.activation=gelu"]),  # one study of many sweeps it
        (BASE, ["learning_rates=(0.1,0.2)", "selection_seeds=(7,)"]),
        (BASE, ["recipe=mine", "recipes.mine.momentum=0.5"]),
        (IMAGENET, ["augment.pca=0.0"]),  # the file's epochs of colours then mean nothing
        (IMAGENET, ["schedule.name=constant"]),
    ],
)
def test_a_field_that_some_study_uses_is_not(tmp_path, file, fields):
    check(asked(tmp_path, file, *fields))


# What a network is made and trained with, beside its defaults -> the networks that are tried so.
BESIDE = [
    ({}, ("conv3", "conv2_local2", "vgg11_cifar", "googlenet_cifar", "alexnet_cifar")),
    ({"lrn": "none"}, ("alexnet_cifar", "alexnet_2012")),
    *(
        (options, ("alexnet_cifar",))
        for options in (
            {"lrn": "within"}, {"lrn": "constant"}, {"towers": 1}, {"crossing": False},
            {"dropout": 0.0}, {"without": "fc6+fc7"}, {"without": "conv3+conv4+conv5"},
        )
    ),
]  # fmt: skip
# These say, if need be, what the scheme of first weights says anyhow.
SAID_TWICE = ("ones", "dropout_scale")
# Programs differ, numbers do not: no pixel hangs over; a channel sees no other.
SAME_NUMBERS = ({"border": "overhang"}, {"lrn": "within", "lrn_per_tower": True})
OTHERS = {"without": "fc7", "dropout": 0.25, "deep_std": 0.02, "width": 0.5}


def others(field: Field) -> list[Any]:
    """Values of an option that are not its default."""
    known = [rule.names for rule in field.rules if isinstance(rule, OneOf)]
    values = known[0] if known else [OTHERS.get(field.path[0], not field.default)]
    return [value for value in values if value != field.default]


def traced(name: str, init: str, options: dict[str, Any]) -> str:
    """The program of a network's first weights and of its outputs in training."""
    model = models.make_model(name, activation="relu", init_scheme=init, num_classes=10, **options)
    size = models.image_size(name)
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    keys = jax.random.split(jax.random.key(1), 2)
    run = lambda images: model.init_with_output(jax.random.key(0), images, keys=keys)  # noqa: E731
    return re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(run)(images)))


def is_refused(name: str, init: str, options: dict[str, Any]) -> bool:
    given = {f"model__{option}": value for option, value in options.items()}
    config = tiny.make_config(model__name=name, recipes__modern__init=init, **given)
    try:
        idle.refuse_switched_off([config])
    except ConfigError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("init", ["paper", "modern"])
@pytest.mark.parametrize(
    ("name", "beside"), [(name, beside) for beside, names in BESIDE for name in names], ids=str
)
def test_options_of_networks_are_refused_where_they_change_no_program(
    monkeypatch, name, beside, init
):
    """Every option of every network, one at a time."""
    monkeypatch.setattr(jax, "default_backend", lambda: "cuda")  # There programs are short.
    assert not is_refused(name, init, beside)
    usual = traced(name, init, beside)
    for field in options_of(name):
        option = field.path[0]
        for value in () if option in beside else others(field):
            changed = {**beside, option: value}
            try:
                same = traced(name, init, changed) == usual
            except ValueError:  # The options contradict each other.
                continue
            if same and option in SAID_TWICE and value != "by_init":
                continue
            same |= name == "alexnet_cifar" and any(
                e.items() <= changed.items() for e in SAME_NUMBERS
            )
            assert is_refused(name, init, changed) == same, changed
