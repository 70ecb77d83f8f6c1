"""Fields on the command line that would change nothing are refused, and no others."""

from pathlib import Path

import pytest

from src import laboratory
from src.config import flags
from src.config.config import Config
from src.fields import ConfigError
from src.study import question

pytestmark = pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
BASE, QUICK, ABLATIONS = "configs/base.py", "configs/quick.py", "configs/ablations.py"
FACTS = {"dataset": "cifar10", "digest": "d", "image_shape": (32, 32, 3), "num_classes": 10}
FACTS |= {"device": "1 x cpu", "jax_version": "0", "commit": "abc"}
COMPARED = ("compare.field=batch_size", "compare.baseline=64")


def asked(folder: Path, file: str, *fields: str) -> flags.Request:
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
        ("selection_seeds=(7, 8)", "each arm has one learning rate"),
        ("sweep.batch_size={}", "it sweeps nothing"),
        ("recipes.cuda_convnet.momentum=0.5", "no trial uses it"),
        ("recipes.cuda_convnet.learning_rates=(0.1,)", "no trial uses it"),
        ("model_options.alexnet_cifar.width=0.5", "no trial uses it"),
    ],
)
def test_a_field_that_another_decides_is_refused(tmp_path, field, why):
    name = field.partition("=")[0]
    request = asked(tmp_path, QUICK if "decides" in why or "each" in why else BASE, field)
    with pytest.raises(ConfigError, match=f"^config.{name} changes nothing, for {why}$"):
        check(request)


def test_a_study_that_was_begun_so_goes_on_and_no_other_is_there(tmp_path):
    request = asked(tmp_path, QUICK, "model.activation=gelu")
    ((tree, _),) = request.studies()
    question.open_study(Config.read(tree), tmp_path, FACTS)
    check(request)
    with pytest.raises(ConfigError, match=r"config.sweep.model.activation decides$"):
        check(asked(tmp_path, QUICK, "model.activation=elu"))


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
    ],
)
def test_a_field_that_some_study_uses_is_not(tmp_path, file, fields):
    check(asked(tmp_path, file, *fields))
