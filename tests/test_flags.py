"""Fields by flag, whatever stands before or behind them."""

import itertools
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from src import laboratory
from src.config import flags
from src.config.config import Config
from src.fields import ConfigError
from src.paths import PathError
from src.trees import leaves

pytestmark = pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
ROOT = Path(__file__).parent.parent


def read(*arguments: str, file: str = "base") -> Config:
    request = flags.parse([f"--config={ROOT / 'configs' / file}.py", *arguments])
    return Config.read(request.studies()[0][0])


@pytest.mark.parametrize(
    "arguments",
    list(
        itertools.permutations(
            [
                "--config.model.dropout=0.3",
                "--config.model.name=alexnet_cifar",
                "--config.model.width=0.5",
            ]
        )
    ),
)
def test_options_of_a_network_stand_anywhere(arguments):
    options = dict(read(*arguments).trial.model.options)
    assert options["dropout"] == 0.3
    assert options["width"] == 0.5


def test_options_of_the_network_of_a_study():
    study = read("--config.model.dropout=0.3", "--config.study=dropout", file="ablations")
    assert dict(study.trial.model.options)["dropout"] == 0.3


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.model.dropout=0.3", "conv3 has no such option"),
        ("--config.model.dropuot=0.3", "no such field"),
        ("--config.model.lrn.size=3", "no such field"),
    ],
)
def test_options_that_it_does_not_have_are_refused(argument, message):
    with pytest.raises(ConfigError, match=message):
        read(argument)


def test_a_field_of_a_recipe_that_no_trial_has_is_refused():
    """It would change nothing, and nobody would be told."""
    with pytest.raises(ConfigError, match=r"modren.momentum: no trial has .*did you mean 'modern'"):
        read("--config.recipes.modren.momentum=0.5")
    with pytest.raises(ConfigError, match=r"xyz.momentum: .*; there are cuda_convnet, modern"):
        read("--config.recipes.xyz.momentum=0.5")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("studies.lenet.recipes.without_biass.momentum=0.1", "did you mean 'without_bias'"),
        ("variants.a.recipes.modren.momentum=0.1", "did you mean 'modern'"),
    ],
)
def test_so_is_one_of_a_recipe_that_a_study_or_variant_has(field, said):
    with pytest.raises(ConfigError, match=f"no trial has a recipe of that name; {said}"):
        read("--config.study=lenet", f"--config.{field}", file="why_tanh_is_slow")


def test_of_all_studies_and_of_one_a_field_is_given_once():
    asked = ("--config.study=lenet", "--config.studies.lenet.max_epochs=30")
    with pytest.raises(ConfigError, match=r"lenet.max_epochs decides nothing, for config.max_ep"):
        read(*asked, "--config.max_epochs=3", file="why_tanh_is_slow")


@pytest.mark.parametrize(
    ("one", "all_of_them"),
    [
        ("model={'name':'conv3'}", "model.name=lenet5_modern"),
        ("sweep.model={'activation':('gelu','relu')}", "sweep.model.activation=('tanh','relu')"),
        ("sweep.model.activation=('gelu','relu')", "sweep.model={'activation':('tanh','relu')}"),
    ],
)
def test_so_is_one_that_is_given_in_a_group(one, all_of_them):
    asked = ("--config.study=lenet", f"--config.studies.lenet.{one}", f"--config.{all_of_them}")
    with pytest.raises(ConfigError, match="is given for every study; give one of the two"):
        read(*asked, file="why_tanh_is_slow")


@pytest.mark.parametrize(
    ("field", "path", "value"),
    [
        ("learning_rates=0.02", "study.learning_rates", (0.02,)),
        ("racing=false", "study.racing", False),
        ("max_epochs=7", "trial.max_epochs", 7.0),
        ("sweep.weight_decay=0.0,0.02", "tree.sweep.weight_decay", (0.0, 0.02)),
        (
            "arm_learning_rates.alexnet_cifar-modern-relu-weight_decay0.02=0.03",
            "tree.arm_learning_rates",
            {"alexnet_cifar-modern-relu-weight_decay0.02": (0.03,)},
        ),
    ],
)
def test_a_field_of_one_study_is_read_as_that_of_the_file(field, path, value):
    asked = ("--config.study=weight_decay", f"--config.studies.weight_decay.{field}")
    found: Any = read(*asked, file="ablations")
    for name in path.split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    assert found == value


def test_a_network_is_known_before_its_options_wherever_it_stands():
    options = "--config.sweep.model.width=0.5,0.25"
    named = "--config.sweep.model.name=alexnet_cifar,vgg11_cifar"
    compared = ("--config.compare.field=model", "--config.compare.baseline=alexnet_cifar")
    names = [
        [arm.name for arm in read(*each, *compared).arms]
        for each in ((options, named), (named, options))
    ]
    assert names[0] == names[1]
    assert len(names[0]) == 4


def test_what_stands_for_a_value_and_is_a_flag_is_none():
    quick = f"--config={ROOT / 'configs' / 'quick.py'}"
    with pytest.raises(
        flags.FlagError, match=r"^--workdir = '--dry_run' is a flag: its own value is"
    ):
        flags.parse([quick, "--workdir", "--dry_run"])
    with pytest.raises(flags.FlagError, match=r"^--workdir = '-dry_run' is a flag"):
        flags.parse([quick, "--workdir", "-dry_run"])
    with pytest.raises(flags.FlagError, match=r"^--noconfig.racing=True: .* takes no value"):
        flags.parse([quick, "--noconfig.racing=True"])


@pytest.mark.parametrize("value", ["", "=3", "=1e300", "=1j"])
def test_names_of_networks_that_are_none_are_refused(value):
    sweep = ("--config.sweep.model.activation=relu,tanh", f"--config.sweep.model.name{value}")
    with pytest.raises(ConfigError, match=r"^config.sweep.model.name"):
        read(*sweep)


@pytest.mark.parametrize(
    ("asked", "file"),
    [
        ("--config.recipe=mine", "base"),
        ("--config.sweep.recipe=('modern','mine')", "relu_vs_tanh"),
    ],
)
def test_a_new_recipe_that_a_trial_has_may_be_given(asked, file):
    found = read("--config.recipes.mine.momentum=0.5", asked, file=file)
    assert 0.5 in {arm.settings.recipe.momentum for arm in found.arms}


def test_an_option_that_is_misspelt_is_answered_with_the_networks_own():
    with pytest.raises(ConfigError, match=r"no such field; did you mean 'model\.dropout'"):
        read("--config.model.name=alexnet_cifar", "--config.model.dropuot=0.3")


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        (["--config.learning_rates=(0.1,)", "--config.learning_rates=(0.2,)"], "learning_rates",
         (0.2,)),
        (["--config.fresh_seeds=(1,2)", "--config.fresh_seeds=3"], "fresh_seeds", (3,)),
        (["--config.racing=False", "--config.racing"], "racing", True),
        (["--config.racing", "--noconfig.racing"], "racing", False),
    ],
)  # fmt: skip
def test_of_a_field_given_twice_the_last_value_counts(given: list[str], path: str, value: Any):
    assert getattr(read(*given).study, path) == value


def test_a_value_that_stands_apart_may_begin_with_a_dash():
    given = ("--config.learning_rates", "-0.5", "--config.racing", "--config.max_epochs=2")
    found = flags.parse(["--config=configs/base.py", *given]).overrides
    assert [each.text for each in found] == ["-0.5", None, "2"]


def test_a_config_file_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text((ROOT / "configs" / "base.py").read_text())
    assert flags.parse(["--config=~/mine.py"]).file == str(tmp_path / "mine.py")


ARM = "--config.arm_learning_rates.conv3-modern-relu"


@pytest.mark.parametrize("text", ["0.02", "(0.02,)", "[0.02]"])
def test_the_rates_of_one_arm(text):
    config = read(f"{ARM}={text}", file="quick")
    assert {arm.name: arm.learning_rates for arm in config.arms}["conv3-modern-relu"] == (0.02,)


@pytest.mark.parametrize(
    "name", [".conv3-modern-relu-momentum0.9", '["conv3-modern-relu-momentum0.9"]']
)
def test_the_rates_of_an_arm_that_has_a_dot_in_its_name(name):
    swept = "--config.sweep.recipes.modern.momentum=(0.5,0.9)"
    compared = ("--config.compare.field=momentum", "--config.compare.baseline=0.5")
    config = read(f"--config.arm_learning_rates{name}=(0.1,)", swept, *compared)
    assert [arm.learning_rates == (0.1,) for arm in config.arms] == [False, True]


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("schedule.factor", ("schedule", "factor")),
        ("recipes.mine.momentum", ("recipes", "mine", "momentum")),
        ('recipes["my.own"].momentum', ("recipes", "my.own", "momentum")),
        ("recipes['my.own']['momentum']", ("recipes", "my.own", "momentum")),
        ('recipes["mine"].layer_rates["conv1"]', ("recipes", "mine", "layer_rates", "conv1")),
        ("arm_learning_rates", ("arm_learning_rates",)),
        ("model_options.vgg11.width", ("model_options", "vgg11", "width")),
        ("model_options.configs.mine.Net.width", ("model_options", "configs.mine.Net", "width")),
        ('model_options["configs.mine.Net"]', ("model_options", "configs.mine.Net")),
        ("schedule..factor", ("schedule", "", "factor")),  # which there is not
    ],
)
def test_what_was_typed_leads_to_a_field(typed, path):
    (override,) = flags.parse(["--config=configs/base.py", f"--config.{typed}=1"]).overrides
    assert override.path == path


@pytest.mark.parametrize("text", ["x", "('x',)", "(None,)", "((0.1,),)", "()"])
def test_what_is_no_rate_of_an_arm_is_refused(text):
    with pytest.raises(ConfigError, match=r"arm_learning_rates\.conv3-modern-relu"):
        read(f"{ARM}={text}", file="quick")


def test_a_path_with_a_colon_is_said_to_be_one(tmp_path):
    (tmp_path / "a:b").mkdir()
    file = tmp_path / "a:b" / "mine.py"
    shutil.copy(ROOT / "configs" / "base.py", file)
    for arguments in ([f"--config={file}"], ["--config", str(file)]):
        with pytest.raises(
            flags.FlagError, match=r"^--config=.*a:b/mine\.py: ml_collections reads"
        ):
            flags.parse(arguments)


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("schedule.slowed", "{'conv1': 67.0}"),
        ("schedule.boundaries", "(0.5, 1.0)"),
        ("max_epochs", "3.0"),
        ("sweep", "{'model': {'activation': ('relu', 'tanh')}}"),
        ("recipe", "'modern'"),
        ("augment.flip", "False"),
    ],
)
def test_help_shows_what_the_config_has_of_fields_and_groups_and_else_the_defaults(field, shown):
    tree = {
        "schedule": {"slowed": {"conv1": 67.0}, "boundaries": (0.5, 1.0)},
        "sweep": {"model": {"activation": ("relu", "tanh")}},
        "max_epochs": 3.0,
    }
    assert f"  {field} = {shown}" in list(flags.help_text(tree))


def test_help_names_no_field_that_there_is_not():
    """A network's own options, as model.lrn, are no fields of every config."""
    lines = list(
        flags.help_text(flags.parse([f"--config={ROOT / 'configs/base.py'}"]).studies()[0][0])
    )
    fields = {line.split(" = ")[0].strip() for line in lines if " = " in line}
    groups = {field.split(".")[0] for field in fields if "." in field} - {"model"}
    named = {name for line in lines for name in re.findall(r"\b[a-z_]+\.[a-z_]+\b", line)}
    assert {name for name in named if name.split(".")[0] in groups} <= fields


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_help_is_of_the_config_that_is_named(capsys, dashes):
    assert laboratory.main([f"{dashes}config={ROOT / 'configs' / 'quick.py'}", "--help"], "") == 0
    assert "  max_epochs = 25.0\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from .helper import S\n", r"mine.py, line 1: ImportError.*from configs.NAME import"),
        ("import nosuch\n", r"mine.py, line 1: ModuleNotFoundError: No module named 'nosuch'"),
        ("def get_config(:\n", r"mine.py, line 1: SyntaxError"),
        ("def get_config():\n    return 1 / 0\n", r"mine.py, line 2: ZeroDivisionError"),
        ("import json\njson.loads('{')\n", r"mine.py, line 2: JSONDecodeError: Expecting"),
        (
            "def get_config():\n    return b'\\xff'.decode()\n",
            r"line 2: UnicodeDecodeError: 'utf-8'",
        ),
        ("x = 0\0\n", r"config file: SyntaxError: .*null bytes"),
    ],
)
def test_an_error_in_a_config_file_names_its_line(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(flags.FlagError, match=message):
        flags.parse([f"--config={tmp_path / 'mine.py'}"])


def test_an_empty_workdir_is_not_the_default():
    with pytest.raises(PathError, match=r"^--workdir = '' is empty"):
        flags.parse([f"--config={ROOT / 'configs' / 'quick.py'}", "--workdir="])


def test_a_command_line_is_read_by_itself_whatever_the_process_read_before():
    quick, base = (f"--config={ROOT / 'configs' / name}.py" for name in ("quick", "base"))
    asked = flags.parse([quick, "--workdir=w", "--dry_run", "--hosts=slurm"])
    assert (asked.workdir.name, asked.dry_run, asked.hosts) == ("w", True, "slurm")
    asked = flags.parse([base])
    assert (asked.workdir.name, asked.dry_run, asked.hosts) == ("base", False, "none")
    with pytest.raises(flags.FlagError, match="--config is missing"):
        flags.parse(["--workdir=w"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config():\n    pass\n", r"mine.py should return a ConfigDict, .* NoneType"),
        ("def get_config():\n    open('/no/x')\n", r"mine.py, line 2: FileNotFoundError.*/no/x"),
    ],
)
def test_a_config_file_that_makes_no_config_is_not_called_missing(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(flags.FlagError, match=message):
        flags.parse([f"--config={tmp_path / 'mine.py'}"]).studies()


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        (["sweep.model.activation=relu,tanh"], "sweep.model.activation", ("relu", "tanh")),
        (["sweep.model.activation=('relu','tanh')"], "sweep.model.activation", ("relu", "tanh")),
        (["sweep.model.activation=relu"], "sweep.model.activation", ("relu",)),
        (["sweep.recipe=modern, cuda_convnet"], "sweep.recipe", ("modern", "cuda_convnet")),
        (["sweep.batch_size=32,64"], "sweep.batch_size", (32, 64)),
        (["sweep.schedule.frozen.conv1=3,5"], "sweep.schedule.frozen.conv1", (3, 5)),
        (["variants.a.schedule.boundaries=3"], "variants.a.schedule.boundaries", (3,)),
        (["variants.a.augment.flip=true"], "variants.a.augment.flip", True),
        (["variants.a.model.activation=tanh"], "variants.a.model.activation", "tanh"),
        (["variants.a.model.activation='tanh'"], "variants.a.model.activation", "tanh"),
        (["model.name=alexnet_cifar", "sweep.model.lrn=none,caffe"], "sweep.model.lrn",
         ("none", "caffe")),
    ],
)  # fmt: skip
def test_what_is_swept_or_varied_is_read_as_its_field_is(arguments, path, value):
    given = (f"--config={ROOT / 'configs' / 'base.py'}", *(f"--config.{a}" for a in arguments))
    ((tree, _),) = flags.parse(given).studies()
    assert dict(leaves(tree))[tuple(path.split("."))] == value


def test_a_file_without_a_config_is_named_with_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # It keeps what it had.
    (tmp_path / "mine.py").write_text("x = 1")
    with pytest.raises(
        flags.FlagError, match=r"/mine.py has no function get_config\(\), which ret"
    ):
        flags.parse([f"--config={tmp_path / 'mine.py'}"])
