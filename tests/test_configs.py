"""Every config is valid as it stands, and its arms train."""

import importlib
from pathlib import Path

import numpy as np
import pytest

import configs
from src import config as checks
from src.named_studies import named_configs
from src.program import Program
from src.trials import make_arms
from tests import tiny

NAMES = sorted(
    path.stem
    for path in Path(str(configs.__file__)).parent.glob("*.py")
    if path.stem not in ("__init__", "base")
)
STEPS, BATCH = 2, 8


def load(name: str) -> list[dict]:
    config = importlib.import_module(f"configs.{name}").get_config().to_dict()
    return [study for _, study in named_configs(config, {})]


@pytest.mark.parametrize("name", NAMES)
def test_a_config_says_how_it_is_run(name):
    text = importlib.import_module(f"configs.{name}").__doc__ or ""
    assert f"--config=configs/{name}.py" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_valid_and_trains_two_steps(name):
    chosen = {}
    for config in load(name):
        checks.check_config(config)
        first, *_, last = [*make_arms(config), *make_arms(config)]
        chosen |= {arm.name: arm for arm in (first, last)}
    for arm in chosen.values():
        program = Program(
            arm.settings | {"batch_size": BATCH, "train_images": 0},
            tiny.make_dataset(16, 8, size=32),
            "pmap",
        )
        step_fn = program.prepare(0, arm.learning_rates[0], STEPS)
        indices = np.arange(STEPS * BATCH).reshape(STEPS, BATCH) % 16
        state, wrong, loss = step_fn(program.start(0), iter([indices]))
        assert int(state.step) == STEPS
        assert np.all(wrong <= BATCH)
        assert np.all(np.isfinite(loss))
