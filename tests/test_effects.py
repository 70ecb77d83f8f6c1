"""Settings that come to nothing are refused before work, and no others."""

import importlib
import sys
from pathlib import Path

import pytest

from src import laboratory
from src.config import flags
from src.fields import ConfigError
from src.models import registry

pytestmark = pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
CONFIGS = Path(__file__).parent.parent / "configs"
PLATEAU = ("schedule.name=plateau", "validation_images=100")
STEPS = "schedule.name=steps"
NET = """
import flax.linen as nn

class Net(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images, keys=None):
        return nn.Dense(self.num_classes)(images.reshape(images.shape[0], -1))
"""


def check(file: str, *fields: str) -> None:
    given = [f"--config={CONFIGS / file}.py", "--workdir=/nowhere", "--dry_run"]
    request = flags.parse([*given, *(f"--config.{each}" for each in fields)])
    laboratory._checked(request, request.studies())


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (("window_epochs=5",), "window_epochs = 5"),
        ((STEPS, "schedule.boundaries=30"), "schedule.boundaries = 30"),
        ((STEPS, "schedule.boundaries=1,3"), "schedule.boundaries = 3"),
        ((STEPS, "schedule.boundaries=1", "schedule.bias_boundaries=4"), "bias_boundaries = 4"),
        (("schedule.frozen.conv1=30",), "schedule.frozen.conv1 = 30"),
        (("schedule.slowed.conv1=3",), "schedule.slowed.conv1 = 3"),
        ((*PLATEAU, "schedule.patience=2"), "schedule.patience = 2"),
        (("sweep.window_epochs=1,5", "compare.field=window_epochs", "compare.baseline=1.0"),
         "window_epochs = 5"),
    ],
)  # fmt: skip
def test_what_lies_beyond_the_last_epoch_is_refused(fields, told):
    with pytest.raises(ConfigError, match=rf"{told} comes .* config.max_epochs = 3; give it less"):
        check("base", "max_epochs=3", *fields)


@pytest.mark.parametrize(
    "fields",
    [
        ("window_epochs=3",),
        (STEPS, "schedule.boundaries=2.9"),
        (*PLATEAU, "schedule.patience=1"),
        ("augment.pca=0.1", "augment.pca_epochs=99"),  # Colours are varied throughout.
        (STEPS, "schedule.boundaries=30", "sweep.max_epochs=3,60", "compare.field=max_epochs",
         "compare.baseline=3"),
    ],
)  # fmt: skip
def test_what_some_trial_comes_to_is_not_refused(fields):
    check("base", "max_epochs=3", *fields)


@pytest.mark.parametrize("file", ["imagenette", "alexnet_cifar10", "alexnet_imagenet"])
def test_a_quick_look_at_a_file_is_not_refused(file):
    check(file, "max_epochs=0.5")


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A network that takes neither an activation nor a scheme of first weights."""
    monkeypatch.setattr("configs.__path__", [str(tmp_path)])
    (tmp_path / "plain_net.py").write_text(NET)
    importlib.invalidate_caches()
    yield "model.name=configs.plain_net.Net"
    sys.modules.pop("configs.plain_net", None)
    registry.options_of.cache_clear()


INIT = (
    "compare.field=init",
    "compare.baseline=modern",
    "sweep.recipes.modern.init=('modern','paper')",
)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (("model.activation=tanh",), "model.activation = 'tanh' changes nothing in .*Net, which"),
        (("sweep.model.activation=('relu','tanh')",), "model.activation = 'tanh' changes nothing"),
        (INIT, "recipes.modern.init changes nothing in .*initmodern and .*initpaper would be"),
    ],
)
def test_arms_that_the_network_does_not_tell_apart_are_refused(net, fields, told):
    check("base", *fields)  # Ours tell them apart.
    with pytest.raises(ConfigError, match=told):
        check("base", net, *fields)


def test_a_network_that_takes_no_activation_is_trained_where_none_is_asked_for(net):
    check("base", net)
    check("base", net, "recipe=cuda_convnet")
