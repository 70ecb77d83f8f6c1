"""Trials that begin with a stack: what they look at and what they record, up to a whole study."""

import dataclasses
import math
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from experiments.pretraining import figures
from src import data, own
from src.config import networks
from src.config.checks import check_data
from src.data import Dataset, Split
from src.errors import Stopped
from src.fields import ConfigError, plain
from src.models import ModelSettings
from src.pretraining import settings, units
from src.pretraining.begin import make_stacks, with_stack
from src.pretraining.kept import read_layers
from src.pretraining.stack import LayerTrainer
from src.records import locks
from src.records import study as studies
from src.records import trial as trials
from src.records.files import RecordError
from src.records.trial import Identity
from src.study import runner, worker
from src.study.order import Task
from src.trained.network import load_trained
from src.training import train
from src.training.program import Program
from src.training.settings import Trial
from src.training.trial import Run
from tests import tiny
from tests.test_runner import FACTS
from tests.tiny import same

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_alike", "one_device")]

DATASET = tiny.make_dataset(64, 16)
SMALL = {
    "data__name": "tiny",
    "max_epochs": 1.0,
    "learning_rates": (0.02,),
    "workers": 1,
    "pretraining__layers": ("conv1", "conv2"),
    "pretraining__learning_rates": (0.01,),
    "pretraining__steps": 4,
    "pretraining__batch_size": 16,
    "pretraining__held_out": 16,
}


def make_trial(seed: int = 100, **changes: Any) -> Trial:
    found = tiny.make_config(**(SMALL | changes)).trial
    return Trial(f"t-lr0.02-s{seed}", "t", "fresh", 0.02, seed, found)


def begin(program: Program, trial: Trial, root: Path, digest: str, **options: Any) -> Any:
    return with_stack(program, trial, program.start(trial.seed), root, digest, **options)


def with_labels(dataset: Dataset, labels: np.ndarray) -> Dataset:
    return dataset._replace(train=Split(dataset.train.images, labels))


def test_without_pretraining_a_trial_begins_as_its_seed_says(tmp_path):
    trial = make_trial()
    program = Program(trial.settings, DATASET)
    state, said = begin(program, trial, tmp_path / "stacks", "digest")
    assert same(state, program.start(100))
    assert said == {}
    assert not (tmp_path / "stacks").exists()


def test_no_label_is_read(tmp_path):
    """The labels of one training set are another's upside down; both stacks have the same bits."""
    trial = make_trial(pretraining__method="conv_rbm")
    poisoned = with_labels(DATASET, 9 - DATASET.train.labels)
    found = []
    for number, dataset in enumerate((DATASET, poisoned)):
        program = Program(trial.settings, dataset)
        found.append(begin(program, trial, tmp_path / str(number), "digest"))
    assert same(found[0][0].params, found[1][0].params)
    assert found[0][1] == found[1][1]
    assert set(found[0][1]) == {"stack", "stack_sha256"}


def test_unlabelled_images_are_the_training_set_whatever_has_labels(tmp_path):
    """Neither is the test set among them, nor are those that reconstruction is measured on."""
    trial = make_trial(pretraining__method="conv_autoencoder", labels=20)
    program = Program(trial.settings, DATASET)
    stacks = make_stacks(program, trial.settings, tmp_path, "digest")
    np.testing.assert_array_equal(stacks.source.images, DATASET.train.images[:48])
    np.testing.assert_array_equal(stacks.source.held_out, DATASET.train.images[48:])
    assert program.num_images == 20


def test_a_stack_is_of_the_code_that_its_network_names(tmp_path, monkeypatch):
    settings = make_trial(pretraining__method="conv_rbm").settings
    monkeypatch.setattr(ModelSettings, "names", ("conv3", "relu", "configs.mine.gate"))
    monkeypatch.setattr(own, "digest", lambda name: f"of {name}")
    stacks = make_stacks(Program(settings, DATASET), settings, tmp_path, "digest")
    assert stacks.made_from["own_code"] == {"configs.mine.gate": "of configs.mine.gate"}


def test_arms_of_another_scaling_or_other_images_share_no_stack(tmp_path):
    """All are made of 32 images; a stack of the whole training set keeps the name it had."""
    cuts = {"pretraining__method": "conv_rbm", "pretraining__images": 32}
    changes = [{}, {"labels": 20}, {"train_images": 40}, {"train_images": 48}]
    changes += [{"validation_images": 16}, {"validation_images": 10}]
    stacks = []
    for each in changes:
        settings = make_trial(**cuts, **each).settings
        stacks.append(make_stacks(Program(settings, DATASET), settings, tmp_path, "digest"))
    whole, labels, forty, *scaled_alike, fifty_four = (each._folder(0).name for each in stacks)
    assert labels == whole
    assert "pixels" not in stacks[0].made_from
    assert len(set(scaled_alike)) == 1  # The first 48 images, in either way.
    assert len({whole, forty, scaled_alike[0], fifty_four}) == 4


def test_another_own_activation_of_the_same_name_shares_no_stack(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import jax\ndef act(x): return jax.nn.relu(x)")
    monkeypatch.setattr("configs.__path__", [str(tmp_path)])
    change = {"pretraining__method": "conv_autoencoder", "model__activation": "configs.mine.act"}
    settings = make_trial(**change).settings
    program = Program(settings, DATASET)

    def name() -> str:
        return make_stacks(program, settings, tmp_path, "digest")._folder(0).name

    relus = name()
    assert name() == relus
    (tmp_path / "mine.py").write_text("import jax\ndef act(x): return jax.nn.tanh(x)")
    assert name() == relus  # This process goes on with what it has imported.
    own.read_source.cache_clear()
    assert name() != relus
    del sys.modules["configs.mine"]


def test_of_images_sorted_by_class_each_class_gives_as_many(tmp_path):
    """Ten classes of six: of the first four of each the last one is held out."""
    labels = np.repeat(np.arange(10, dtype=np.int32), 6)
    images = np.arange(60, dtype=np.uint8).reshape(-1, 1, 1, 1) + np.zeros((8, 8, 3), np.uint8)
    dataset = DATASET._replace(train=Split(images, labels))
    changes = {"pretraining__images": 40, "pretraining__held_out": 10}
    settings = make_trial(pretraining__method="conv_autoencoder", **changes).settings
    stacks = make_stacks(Program(settings, dataset), settings, tmp_path, "digest")
    held_out, rest = (
        each[:, 0, 0, 0].tolist() for each in (stacks.source.held_out, stacks.source.images)
    )
    assert held_out == [6 * label + 3 for label in range(10)]
    assert rest == [6 * label + place for label in range(10) for place in range(3)]
    assert "pixels" in stacks.made_from  # Under the older name other images were held out.


def test_labels_are_as_many_of_each_class_and_change_no_scaling():
    labels = np.arange(64, dtype=np.int32) % 10
    dataset = with_labels(DATASET, labels)
    few = Program(make_trial(labels=30).settings, dataset)
    every = Program(make_trial().settings, dataset)
    found = few.source.splits["train"].labels
    assert np.bincount(found).tolist() == [3] * 10
    np.testing.assert_array_equal(few.source.splits["train"].images, DATASET.train.images[:30])
    for a, b in zip(few.scaling, every.scaling, strict=True):
        np.testing.assert_array_equal(a, b)


def test_more_labels_than_images_are_refused():
    with pytest.raises(data.DataError, match=r"config.labels = 65: only 64"):
        Program(make_trial(labels=65).settings, DATASET)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out": 60}, "held_out = 60: of 64 images fewer than one batch of 16 are left; hold"),
        ({"images": 20}, "held_out = 16: of 20 images fewer than one batch of 16 are left"),
        ({"images": 65}, r"images = 65 should be 0 \(all\) or at most 64, the images there are"),
    ],
)
def test_too_few_images_are_refused_before_a_study_and_before_a_trial(changes, message, tmp_path):
    """64 are trained on, of 74 of which 10 are held out to test on."""
    given = {f"pretraining__{name}": value for name, value in changes.items()}
    config = tiny.make_config(
        **(SMALL | given), pretraining__method="conv_rbm", validation_images=10
    )
    with pytest.raises(ConfigError, match=f"^config.pretraining.{message}"):
        check_data(config.arms, (8, 8, 3), 74)
    trial = make_trial(**given, pretraining__method="conv_rbm", validation_images=10)
    program = Program(trial.settings, tiny.make_dataset(74, 16))
    with pytest.raises(ConfigError, match=f"^config.pretraining.{message}"):
        begin(program, trial, tmp_path, "digest")


def test_kernels_as_large_as_their_maps_are_not_pretrained_for_crops():
    """Without crossing fc6 and fc7 are convolutions; 40 pixels become 5, crops of 32 become 4."""
    alexnet = {"model__name": "alexnet_cifar", "model__width": 0.02, "model__crossing": False}
    changes = {"pretraining__method": "conv_autoencoder", **alexnet}

    def check(*layers: str, crop: int = 0) -> None:
        more = {"augment__crop": crop, "pretraining__layers": layers}
        check_data(tiny.make_config(**(SMALL | changes | more)).arms, (40, 40, 3), 48)

    check(*(f"conv{number}" for number in range(1, 6)), crop=32)
    check()
    with pytest.raises(
        ConfigError, match=r"augment.crop = 32: .* fc6 .* \(5, 5, .* it is \(4, 4, .*; let"
    ):
        check(crop=32)


def test_there_is_a_unit_for_each_activation_that_is_allowed():
    assert set(settings.RBM_ACTIVATIONS) == set(units.BY_ACTIVATION)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "conv_rbm", "competition": "2x2"}, "'relu': no unit of an RBM"),
        ({"control": "shuffled"}, "config.pretraining.method how they are made"),
        ({"method": "conv_rmb"}, "did you mean 'conv_rbm'"),
        ({"noise": 1.0}, r"config.pretraining.noise = 1.0 should be a fraction in \[0, 1\)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        make_trial(**{f"pretraining__{name}": value for name, value in changes.items()})
    assert "\n" not in str(refusal.value)


def test_a_study_of_methods_names_the_stack_of_each_trial_and_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **options: DATASET)
    study, stacks = tmp_path / "labels_20", tmp_path / "stacks"
    changes = {
        "sweep__pretraining": {"method": ("none", "conv_autoencoder")},
        "compare__field": "method",
        "compare__baseline": "none",
        "fresh_seeds": (1, 2),
        "labels": 20,
        "stacks_dir": str(stacks),
    }
    facts = {**FACTS, "digest": DATASET.digest}
    runner.run_study(tiny.make_config(**(SMALL | changes)), study, facts, 1)
    rows = [trial.row for trial in studies.read_study(study).trials]
    assert [row["method"] for row in rows] == ["conv_autoencoder"] * 2 + ["none"] * 2
    for row in rows:
        if row["method"] == "none":
            assert not row.get("stack")
            continue
        assert (stacks / row["stack"] / "stack.json").exists()
        assert len(row["stack_sha256"]) == 64
        trained = load_trained(study / "trials" / row["trial"])
        with np.load(next((stacks / row["stack"]).glob("00-conv1-*.npz"))) as learned:
            np.testing.assert_array_equal(trained.first_kernels().started, learned["kernel"])
    names = {path.name for path in stacks.iterdir()}
    assert names == {row["stack"] for row in rows if row.get("stack")}

    def no_training(*_: Any, **options: Any) -> None:
        raise AssertionError("a figure is drawn from records alone")

    monkeypatch.setattr(train, "train_trial", no_training)
    monkeypatch.setattr(LayerTrainer, "train", no_training)
    spies = {
        name: Mock(wraps=getattr(figures.pretraining, name))
        for name in ("kernels", "difference_by_labels", "reconstructions")
    }
    for name, spy in spies.items():
        monkeypatch.setattr(figures.pretraining, name, spy)
    drawn = figures.write_figures(tmp_path, tmp_path / "out")
    assert drawn == ["differences", "kernels_conv_autoencoder", "reconstructions_conv_autoencoder"]
    assert all((tmp_path / "out" / f"{name}.svg").exists() for name in drawn)
    check_what_is_drawn({k: v.call_args.args for k, v in spies.items()}, rows, stacks)
    (last,) = (stacks / rows[0]["stack"]).glob("01-*.json")
    last.rename(tmp_path / last.name)
    with pytest.raises(RecordError, match=f"{last.name} is not there; restore it from a copy"):
        load_trained(study / "trials" / rows[0]["trial"]).started()  # Nothing is trained for it.
    stacks.rename(tmp_path / "elsewhere")
    with pytest.raises(
        RecordError, match=r"began with a stack that is not in .*, or copy conv_auto"
    ):
        load_trained(study / "trials" / rows[0]["trial"]).started()
    assert not stacks.exists()


def check_what_is_drawn(seen: dict[str, Any], rows: list[Any], stacks: Path) -> None:
    """Beside the records themselves."""
    error = {
        method: np.mean([row["final_test_error"] for row in rows if row["method"] == method])
        for method in ("none", "conv_autoencoder")
    }
    difference = seen["difference_by_labels"][0]["conv_autoencoder"][20].value
    np.testing.assert_allclose(difference, error["conv_autoencoder"] - error["none"], atol=1e-12)
    kernels = seen["kernels"][0]
    assert list(kernels) == ["random", "pre-trained", "fine-tuned", "from random"]
    [stack] = {row["stack"] for row in rows if row["seed"] == 1 and row.get("stack")}
    learned = read_layers(stacks / stack)
    start = Program(make_trial().settings, DATASET).start(1).params["conv1"]["kernel"]
    np.testing.assert_array_equal(kernels["random"], start)
    np.testing.assert_array_equal(kernels["pre-trained"], learned["conv1"]["kernel"])
    distance = lambda a, b: np.linalg.norm(kernels[a] - kernels[b])  # noqa: E731
    moved = (distance("fine-tuned", "pre-trained"), distance("from random", "random"))
    assert min(moved) > 0
    assert max(moved) < distance("pre-trained", "random")  # each is near where it began
    images, given_back, _ = seen["reconstructions"]
    np.testing.assert_array_equal(images, DATASET.train.images[-16:][:10])
    assert list(given_back) == ["conv1", "conv2"]


class StopAt:
    """A study that stops its trial at the first point of so many iterations."""

    def __init__(self, iteration: float):
        self.iteration, self.reached = iteration, False

    def tell(self, trial: str, kind: str, payload: Any) -> None:
        self.reached |= kind == "point" and payload["iteration"] >= self.iteration

    def should_stop(self) -> bool:
        return self.reached


def test_a_network_that_does_not_say_its_activation_is_not_pretrained(monkeypatch):
    monkeypatch.setattr(ModelSettings, "behind_layers", None)
    trial = tiny.make_config(pretraining__method="conv_autoencoder").arms[0].settings
    with pytest.raises(ConfigError, match="'conv3' has no field `activation`, and what follows"):
        networks.check_network(trial.model, [trial], (8, 8, 3), (8, 8, 3), 10)


def test_a_trial_that_waits_for_a_stack_says_so_and_hears_a_stop(tmp_path):
    trial = make_trial(pretraining__method="conv_autoencoder")
    program = Program(trial.settings, DATASET)
    _, made = begin(program, trial, tmp_path, "digest")
    said: list[str] = []
    with locks.locked(tmp_path / made["stack"]):  # By the process that makes it.
        asked = iter([*[False] * 4, True])
        options = {"should_stop": lambda: next(asked), "on_wait": said.append}
        with pytest.raises(Stopped):
            begin(program, trial, tmp_path, "digest", **options)
    holder = f"process {os.getpid()} on {os.uname().nodename}"
    assert said == [f"waiting for a stack: {tmp_path / made['stack']} is in use by {holder}"]
    assert begin(program, trial, tmp_path, "digest", on_wait=said.append)[1] == made
    assert len(said) == 1  # It need not wait.


def test_a_trial_whose_former_worker_still_has_it_hears_a_stop(tmp_path):
    job = make_job(tmp_path)
    job.directory.mkdir()
    line = StopAt(0)
    line.reached = True
    with locks.locked(job.directory):
        assert worker.run_jobs([job], line) == [None]
    assert [path.name for path in job.directory.iterdir()] == [".lock"]


def make_job(folder: Path, name: str = "trial", **changes: Any) -> worker.Job:
    config = tiny.make_config(**(SMALL | changes))
    task = Task(make_trial(**changes))
    settings = trials.settings_digest(plain(task.trial.settings))
    of = Identity("study", task.trial.name, settings, DATASET.digest)
    stacks = folder / f"{name}-stacks"
    return worker.Job(task, folder / name, of, {}, "tiny", "", stacks, config.runtime)


def test_fine_tuning_that_was_killed_goes_on_as_if_it_was_not(tmp_path, monkeypatch):
    """Its stack is read again, but what was fine-tuned since is what goes on."""
    monkeypatch.setattr(data, "load", lambda *_, **options: DATASET)
    changes = {"pretraining__method": "conv_rbm", "labels": 40, "max_epochs": 4.0}

    def run(name: str, line: StopAt) -> Any:
        return worker.run_jobs([make_job(tmp_path, name, **changes)], line)[0]

    whole = run("whole", StopAt(math.inf))
    for iteration in (4, 8):
        assert run("killed", StopAt(iteration)) is None
    resumed = run("killed", StopAt(math.inf))
    assert whole.row["iterations"] == 10
    assert tiny.without_times(resumed.row) == tiny.without_times(whole.row)
    for name, values in tiny.without_times(whole.metrics).items():
        np.testing.assert_array_equal(resumed.metrics[name], values)
    job = make_job(tmp_path, **changes)
    trial = job.task.trial
    start = Program(trial.settings, DATASET).start(100)
    began_with = {column: whole.row[column] for column in ("stack", "stack_sha256")}
    ends = [
        Run(trial, 40, tmp_path / name, job.of, began_with=began_with).restore(start)[0]
        for name in ("killed", "whole")
    ]
    assert same(*ends)
    assert not same(ends[0].params, start.params)


def test_a_stack_is_made_once_for_all_rates_and_labels(tmp_path):
    trial = make_trial(pretraining__method="conv_autoencoder")
    begin(Program(trial.settings, DATASET), trial, tmp_path, "digest")
    points: list[Any] = []
    again = make_trial(
        pretraining__method="conv_autoencoder",
        pretraining__control="shuffled",
        pretraining__layers=("conv1",),
        labels=10,
    )
    again = dataclasses.replace(again, learning_rate=0.5)
    program = Program(again.settings, DATASET)
    state, _ = begin(program, again, tmp_path, "digest", on_point=points.append)
    assert not points
    assert not same(state.params["conv1"], program.start(100).params["conv1"])
    assert same(state.params["conv2"], program.start(100).params["conv2"])
