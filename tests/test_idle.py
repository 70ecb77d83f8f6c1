"""Fields on the command line that would change nothing are refused, and no others."""

import pytest

from src import laboratory
from src.config import flags
from src.fields import ConfigError
from src.records import study as records

pytestmark = pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
BASE, QUICK, ABLATIONS = "configs/base.py", "configs/quick.py", "configs/ablations.py"
COMPARED = ("compare.field=batch_size", "compare.baseline=64")


def check(file: str, *fields: str) -> None:
    request = flags.parse(
        [f"--config={file}", "--dry_run", *(f"--config.{each}" for each in fields)]
    )
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
def test_a_field_that_another_decides_is_refused(field, why):
    name = field.partition("=")[0]
    with pytest.raises(ConfigError, match=f"^config.{name} changes nothing, for {why}$"):
        check(QUICK if "decides" in why or "each" in why else BASE, field)


def test_a_study_that_was_begun_so_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "holds_study", lambda workdir: True)
    check(QUICK, "model.activation=gelu")


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
def test_a_field_that_some_study_uses_is_not(file, fields):
    check(file, *fields)
