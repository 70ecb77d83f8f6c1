"""Options of a network of one's own: the kinds that its annotations say, and back from records."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from src.config import flags
from src.config.config import Config
from src.fields import ConfigError
from src.models import registry
from src.study import question
from src.study.question import StudyError
from tests import tiny

NET = """
from collections.abc import Callable
from typing import Any, Literal, Optional
import flax.linen as nn

def nothing(x): return x

class Net(nn.Module):
    num_classes: int
    sizes: tuple[int, ...] = (8, 8)
    pairs: tuple[tuple[int, float], ...] = ()
    bare: tuple = (8,)
    rate: float = 1
    kind: str | None = None
    width: Optional[float] = None
    order: Literal["a", "b"] = "a"
    anything: Any = None
    pool: Callable = nothing

    @nn.compact
    def __call__(self, images, keys=None):
        return nn.Dense(self.num_classes)(images.reshape(images.shape[0], -1))
"""
ROOT = Path(__file__).parent.parent
NAME = "configs.mine_net.Net"


@pytest.fixture(autouse=True)
def net(tmp_path, monkeypatch):
    """A config file with a network that has options of every kind."""
    monkeypatch.setattr("configs.__path__", [str(tmp_path)])
    (tmp_path / "mine_net.py").write_text(NET)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("configs.mine_net", None)
    registry.options_of.cache_clear()


def make(**changes: object) -> Config:
    return tiny.make_config(model={"name": NAME, "activation": "relu"}, **changes)


def test_a_network_need_not_say_what_is_behind_its_layers():
    assert make().arms[0].settings.model.behind_layers is None
    assert tiny.make_config().arms[0].settings.model.behind_layers == "relu"


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [
        ("sizes", (8, 8, 8), (8, 8, 8)),
        ("sizes", [4], (4,)),
        ("pairs", [[1, 2], [3, 0.5]], ((1, 2), (3, 0.5))),
        ("bare", (1, "a"), (1, "a")),
        ("rate", 0.5, 0.5),
        ("rate", 2, 2.0),
        ("kind", "abc", "abc"),
        ("kind", None, None),
        ("width", 2, 2.0),
        ("order", "b", "b"),
        ("anything", 0.5, 0.5),
    ],
)
def test_an_option_has_the_kind_of_its_annotation_and_comes_back_from_records(option, value, kept):
    config = make(
        variants={"one": {"model": {option: value}}},
        compare={"field": "variant", "baseline": "one"},
    )
    question.check_readable(config)
    for tree in (config.tree, json.loads(json.dumps(config.tree))):
        (arm,) = Config.read(tree).arms
        found = dict(arm.settings.model.options)[option]
        assert (found, type(found)) == (kept, type(kept))
        hash(arm.settings)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("sizes", (8, 0.5), "sizes = 0.5 should be a whole number"),
        ("sizes", 8, "sizes = 8 should be a tuple"),
        ("rate", "fast", "rate = 'fast' should be a number"),
        ("kind", 5, "kind = 5 should be a string or None"),
        ("width", "a", "width = 'a' should be a number or None"),
        ("order", "c", "order = 'c' is not one of a, b"),
    ],
)
def test_another_kind_is_refused(option, value, message):
    with pytest.raises(ConfigError, match=message):
        tiny.make_config(model={"name": NAME, "activation": "relu", option: value})


def test_a_value_that_records_cannot_keep_is_refused_before_there_are_any():
    config = tiny.make_config(model={"name": NAME, "activation": "relu", "pool": make})
    with pytest.raises(StudyError, match=r"function.*a field's value should be a text, a number"):
        question.check_readable(config)


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sizes=4,4", (4, 4)), ("sizes=4", (4,)), ("rate=0.5", 0.5), ("kind=abc", "abc"),
        ("kind=5", "5"), ("kind=None", None), ("width=2", 2.0), ("order=b", "b"),
    ],
)  # fmt: skip
def test_an_option_of_any_kind_is_set_on_the_command_line(text, value):
    arguments = [f"--config.model.name={NAME}", f"--config.model.{text}"]
    request = flags.parse([f"--config={ROOT / 'configs' / 'base.py'}", *arguments])
    assert dict(Config.read(request.studies()[0][0]).trial.model.options) == {
        text.partition("=")[0]: value
    }


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
def test_a_misspelt_option_is_answered_with_the_networks_own():
    given = [f"--config={ROOT / 'configs' / 'base.py'}", f"--config.model.name={NAME}"]
    with pytest.raises(ConfigError, match=r"config.model.sises: no such field; .* 'model.sizes'"):
        flags.parse([*given, "--config.model.sises=3"]).studies()
