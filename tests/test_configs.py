"""Every config is valid as it stands, and its arms train.

Of the arms of one network the first is trained, the others are lowered.
"""

import importlib
import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import configs
from experiments.streaming import photos
from experiments.streaming.photos import open_stream
from src import laboratory, models
from src.config import checks, flags, idle
from src.config.config import Config
from src.config.studies import named_trees
from src.data import Dataset, Stream, image_shape
from src.training.program import Program, first_state
from src.training.settings import TrialSettings
from tests import tiny
from tests.test_training_networks import begin

NAMES = sorted(
    path.stem
    for path in Path(str(configs.__file__)).parent.glob("*.py")
    if path.stem not in ("__init__", "base")
)
STEPS, BATCH, TRAIN = 2, 8, 24
pytestmark = [
    pytest.mark.usefixtures("compiled_fast", "own_cache"),
    pytest.mark.filterwarnings("ignore:the load_module"),  # of ml_collections
]


def load(name: str) -> list[Config]:
    tree = importlib.import_module(f"configs.{name}").get_config().to_dict()
    return [Config.read(study) for _, study in named_trees(tree, {})]


def make_dataset(config: Config, data_dir: Path) -> Dataset | Stream:
    """Small images in memory, or large ones on disk where the config streams them."""
    size = config.trial.data.stream_size
    if not size:
        return tiny.make_dataset(TRAIN, 8, size=32)
    photos.write_photos(data_dir, train=TRAIN, test=8, classes=3, sides=(size, size + 40))
    return open_stream(photos.NAME, data_dir / photos.NAME / photos.VERSION, size)


def narrow(settings: TrialSettings) -> TrialSettings:
    """A trial's settings with few images, and with a network a sixteenth as wide if possible."""
    model, held_out = settings.model, min(settings.validation_images, BATCH)
    if "width" in models.model_options(model.name):
        model = replace(model, options=model.options | {"width": 0.0625})
    few = {"batch_size": BATCH, "validation_images": held_out, "train_images": 0, "labels": 0}
    return replace(settings, model=model, **few)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_read_and_says_how_it_is_run(name):
    studies = load(name)
    assert studies
    for config in studies:
        idle.refuse_switched_off([config])
    text = importlib.import_module(f"configs.{name}").__doc__ or ""
    assert f"--config=configs/{name}.py" in text


WIDE = ("dropout", "dropout_speed", "pooling", "augmentation", "weight_decay", "depth", "towers")
OFFERED = [(name, "") for name in NAMES if name != "ablations"]
OFFERED += [("ablations", study) for study in (*WIDE, "biases")]  # As its header says.


@pytest.mark.parametrize(("name", "study"), OFFERED)
def test_the_flags_that_a_header_offers_are_taken(tmp_path, name, study):
    text = importlib.import_module(f"configs.{name}").__doc__ or ""
    found = re.findall(r'--config\.([\w.]+=(?:"[^"]*"|[^\s;,`()]+))', text)
    offered = [each.replace('"', "") for each in found if not each.startswith("stud")]
    given = [*offered, f"study={study}"] if study else offered
    file = Path(str(configs.__file__)).with_name(f"{name}.py")
    given = [f"--config={file}", *(f"--config.{each}" for each in given)]
    request = flags.parse([*given, f"--workdir={tmp_path}", "--dry_run"])
    assert laboratory._checked(request, request.studies())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_valid_and_trains_two_steps(name, tmp_path):
    studies = load(name)
    dataset = make_dataset(studies[0], tmp_path)
    chosen = {}
    for config in studies:
        checks.check_data(config.arms, image_shape(dataset), 1_000_000)
        first, *_, last = [*config.arms, *config.arms]
        chosen |= {arm.name: arm for arm in ((first, last) if len(studies) == 1 else (last,))}
    trained = {"googlenet_cifar"}  # in test_training_networks.py
    for arm in chosen.values():
        program = Program(narrow(arm.settings), dataset, "pmap")
        if arm.settings.model.name in trained:
            lower_step(program)
        else:
            train_two_steps(program, arm.learning_rates[0])
        trained.add(arm.settings.model.name)


def train_two_steps(program: Program, learning_rate: float) -> None:
    begun = begin(program)
    program.start = lambda seed: begun  # not compiled
    step_fn = program.prepare(0, learning_rate, STEPS)

    def draw(first: int, steps: int) -> np.ndarray:
        return np.arange(first * BATCH, (first + steps) * BATCH).reshape(steps, BATCH) % 16

    state, errors = step_fn(begun, program.batches(draw, 0))
    assert int(state.step) == STEPS
    assert np.all(errors.wrong <= BATCH)
    assert np.all(np.isfinite(errors.loss))


def lower_step(program: Program) -> None:
    """All that may be wrong with the options of an arm, and nothing compiled."""
    state = jax.eval_shape(
        lambda: first_state(program.model.init, program.make_optimizer(0.0), program.input_shape, 0)
    )
    rows = np.zeros((1, len(program.devices), BATCH // len(program.devices)), np.int32)
    program._steps.lower(state, rows, jnp.float32(0.1), jax.random.key(0), program.data["train"])
