"""Trials of one arm in one program: each has the numbers it has alone, and its own end."""

import dataclasses
import functools
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from src import hosts, models
from src.config.arms import make_trial
from src.config.config import Config
from src.errors import Stopped
from src.records import study as studies
from src.records import trial as records
from src.study import runner, worker
from src.study.order import Queue
from src.training import checkpoints, together, train
from src.training.program import Program
from src.training.settings import Limit
from src.training.trial import Run
from tests import tiny
from tests.test_lowering import PLATFORMS
from tests.test_runner import MADE_BY, at_point, make_config, run, tiny_data

assert tiny_data  # a fixture, used here as well
pytestmark = pytest.mark.usefixtures("two_devices")

EPOCHS = 6.5  # 26 steps of 16 of 64 images
RATES = (0.001, 0.002, 0.004)
# An error that none of these trials gets to, and the iterations allowed: the last one is raced off.
RACES: tuple[tuple[Limit, ...], ...] = ((), (), (Limit(0.001, 20.0),))


def make_runs(config: Config, folder: Path, races: Sequence[Any] = RACES) -> list[Run]:
    (arm,) = config.arms
    runs = []
    # From seed 0 rounding alone decides something in alexnet_cifar's fourth step: the losses are a
    # millionth apart there, and a hundredth after fifty steps, for training multiplies it.
    for seed, (rate, limits) in enumerate(zip(RATES, races, strict=True), start=1):
        trial = make_trial(arm, "fresh", rate, seed)
        of = tiny.identity(trial.name)
        runs.append(Run(trial, 64, folder / trial.name, of, limits))
        (folder / trial.name).mkdir(parents=True, exist_ok=True)
    return runs


def make_network(name: str, **changes: Any) -> tuple[Config, Program]:
    narrow = {"width": 0.125} if "width" in models.model_options(name) else {}
    config = tiny.make_config(
        model__name=name, model_options={name: narrow}, learning_rates=(0.001,), max_epochs=EPOCHS,
        target_train_error=0.0001, checkpoint_every_epochs=3.0, augment__flip=True, **changes,
    )  # fmt: skip
    return config, Program(config.arms[0].settings, tiny.make_dataset(64, 16))


def train_group(runs: Sequence[Run], program: Program, **options: Any) -> None:
    states = [program.start(run.trial.seed) for run in runs]
    together.train_together(runs, program, states, **options)


def assert_same_points(ours: Run, theirs: Run, *, bits: bool = False) -> None:
    """Every column of every point, times aside."""
    assert len(ours.points.rows) == len(theirs.points.rows) > 0
    for mine, wanted in zip(ours.points.rows, theirs.points.rows, strict=True):
        assert mine.keys() == wanted.keys()
        for name in mine.keys() - {"train_seconds"}:
            # a loss differs in its last digits; an image on the edge may fall to the other side
            loose = {"rtol": 1e-3, "atol": 0 if "loss" in name else 1 / 64 + 1e-9}
            exact = {"rtol": 0, "atol": 0}
            np.testing.assert_allclose(mine[name], wanted[name], **(exact if bits else loose))


@functools.cache
def network(name: str) -> tuple[Config, Program]:
    return make_network(name)


@dataclasses.dataclass(frozen=True)
class Group:
    """Three trials that were trained together, and the order in which they ended."""

    runs: list[Run]
    ended: list[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Group:
    """Of `conv3`, without a break."""
    return train_whole("conv3", tmp_path_factory.mktemp("whole"))


def train_whole(name: str, folder: Path) -> Group:
    config, program = network(name)
    group = Group(make_runs(config, folder), [])
    train_group(group.runs, program, on_end=lambda run: group.ended.append(run.trial.name))
    return group


@pytest.mark.slow
def test_each_of_three_trials_has_the_points_and_parameters_it_has_alone(whole, tmp_path):
    compare_with_alone("conv3", whole, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fast")
def test_so_has_each_of_a_network_with_normalization_and_dropout(tmp_path):
    compare_with_alone("alexnet_cifar", train_whole("alexnet_cifar", tmp_path / "group"), tmp_path)


def compare_with_alone(name: str, trained: Group, folder: Path) -> None:
    """Over 26 steps; the third is raced off after 20."""
    (config, program), group = network(name), trained.runs
    for grouped, alone in zip(group, make_runs(config, folder / "alone"), strict=True):
        train.train_trial(alone, program)
        assert grouped.status == alone.status == "censored"
        assert_same_points(grouped, alone)
        compare_states(grouped, alone, program)
    assert [run.points.iteration for run in group] == [26, 26, 20]
    assert trained.ended == [group[2].trial.name, group[0].trial.name, group[1].trial.name]


def compare_states(ours: Run, theirs: Run, program: Program) -> None:
    like = {"state": program.start(0), **ours.points.window}
    states = [
        checkpoints.read_newest(run.directory / "checkpoints", like, run.of).arrays["state"]
        for run in (ours, theirs)
    ]
    assert int(states[0].step) == int(states[1].step) == ours.points.iteration
    for mine, wanted in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_group_that_is_stopped_goes_on_to_the_same_bits(whole, tmp_path):
    config, program = network("conv3")
    asked = iter([False] * 11 + [True] * 99)
    with pytest.raises(Stopped):
        train_group(
            make_runs(config, tmp_path / "stopped"), program, should_stop=lambda: next(asked)
        )
    again = make_runs(config, tmp_path / "stopped")
    train_group(again, program)
    for mine, wanted in zip(again, whole.runs, strict=True):
        assert_same_points(mine, wanted, bits=True)
    assert again[0].points.rows[11]["train_seconds"] > 0


@pytest.mark.slow
def test_a_trial_that_lost_its_checkpoints_catches_up_with_the_others(whole, tmp_path):
    config, program = network("conv3")
    asked = iter([False] * 11 + [True] * 99)
    behind = make_runs(config, tmp_path / "behind")
    with pytest.raises(Stopped):
        train_group(behind, program, should_stop=lambda: next(asked))
    shutil.rmtree(behind[0].directory / "checkpoints")
    again = make_runs(config, tmp_path / "behind")
    seen: list[tuple[str, int]] = []
    train_group(
        again, program, on_point=lambda run: seen.append((run.trial.name, run.points.iteration))
    )
    first = [(again[0].trial.name, iteration) for iteration in range(1, 13)]
    assert seen[:12] == first  # alone, while the others wait at 12
    assert [iteration for _, iteration in seen[12:15]] == [13, 13, 13]
    for mine, wanted in zip(again, whole.runs, strict=True):
        assert_same_points(mine, wanted)


@pytest.mark.slow
def test_a_trial_that_diverges_spoils_no_other(tmp_path):
    config, program = network("conv3")
    group = make_runs(config, tmp_path / "group", ((), (), ()))
    states = [program.start(run.trial.seed) for run in group]
    broken = states[1]._replace(params=jax.tree.map(lambda x: x * np.inf, states[1].params))
    together.train_together(group, program, [states[0], broken, states[2]])
    assert [run.status for run in group] == ["censored", "diverged", "censored"]
    alone = make_runs(config, tmp_path / "alone", ((), (), ()))
    train.train_trial(alone[2], program)
    assert_same_points(group[2], alone[2])


@pytest.mark.slow
def test_their_step_lowers_for_gpus_and_tpus(monkeypatch):
    settings = network("conv3")[0].arms[0].settings
    program = Program(settings, tiny.make_dataset(64, 16), "shard_map")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # what is for a CPU stays there
    devices, states = len(program.devices), (program.start(0), program.start(1))
    rows = np.zeros((1, devices, 16 // devices, 2), np.int32)
    rates, keys = np.ones(2, np.float32), jax.random.split(jax.random.key(0), 2)
    traced = program._steps_together.trace(states, rows, rates, keys, program.data["train"])
    text = traced.lower(lowering_platforms=PLATFORMS).as_text()
    assert "stablehlo.convolution" in text


@pytest.mark.slow
def test_a_group_is_packed_once_half_of_it_has_ended(tmp_path):
    config, program = network("conv3")
    runs = [*make_runs(config, tmp_path), *make_runs(config, tmp_path)[:2]]
    for ended in (runs[1], runs[3]):
        ended.diverged = True
    places = [together.Place(run, program.start(0)) for run in runs]
    running = [places[0], places[2], places[4]]
    assert together.packed(places, running) == places  # three of five
    assert together.packed(places[:4], running[:2]) == running[:2]  # two of four
    assert together.packed(places, running[:1]) == running[:1]  # one of them catches up
    assert together.packed([], running) == running


@pytest.mark.parametrize(
    ("gains", "expected"),
    [({6: 1.5}, 6), ({6: 1.04}, 1), ({6: None, 3: 2.0}, 3), ({6: None, 3: None}, 1)],
)
def test_trials_train_together_where_that_measures_faster_and_fits(monkeypatch, gains, expected):
    """None: the device's memory does not hold them."""

    def gain(program: Any, count: int, length: int) -> float:
        if gains[count] is None:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return gains[count]

    monkeypatch.setattr(together, "gain", gain)
    assert together.worthwhile(network("conv3")[1], 6, 4) == expected


@pytest.mark.slow
def test_a_gain_is_measured_on_states_that_are_thrown_away():
    assert together.gain(network("conv3")[1], 3, 1) > 0


# --- In a study. ---

# Their program is that of `make_network`, which need not be compiled again.
STUDY: dict[str, Any] = {
    "fresh_seeds": (1, 2, 3), "max_epochs": 3.0, "target_train_error": 0.01, "augment__flip": True,
}  # fmt: skip


def rows(workdir: Path) -> list[dict[str, Any]]:
    return [trial.row for trial in studies.read_finished(workdir)]


@pytest.mark.slow
def test_a_study_has_the_records_it_has_alone(tmp_path):
    run(tmp_path / "alone", **STUDY)
    run(tmp_path / "group", together=3, **STUDY)
    for mine, wanted in zip(rows(tmp_path / "group"), rows(tmp_path / "alone"), strict=True):
        assert mine.pop("together") == "3"
        assert mine.keys() == wanted.keys()
        for name in ("trial", "status", "iterations", "device", "commit", "seed"):
            assert mine[name] == wanted[name]
        for name in ("final_train_error", "final_test_error"):
            assert mine[name] == pytest.approx(wanted[name], abs=1 / 16 + 1e-9)
    header = studies.read_study_header(tmp_path / "group")
    assert "together" not in header["config"]
    run(tmp_path / "group", **STUDY)  # the same question: nothing is left to do


@pytest.mark.slow
def test_a_study_is_stopped_in_mid_group_and_goes_on_to_the_same_records(tmp_path, monkeypatch):
    run(tmp_path / "whole", together=3, **STUDY)
    at_point(monkeypatch, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", together=3, **STUDY)
    assert len(list(tmp_path.glob("stopped/trials/*/checkpoints/[0-9]*"))) >= 3
    assert not rows(tmp_path / "stopped")
    run(tmp_path / "stopped", together=3, **STUDY)
    pairs = zip(rows(tmp_path / "stopped"), rows(tmp_path / "whole"), strict=True)
    for mine, wanted in pairs:
        assert tiny.without_times(mine) == tiny.without_times(wanted)


@pytest.mark.slow
@pytest.mark.parametrize(("company", "said"), [((3, 1), "3 + 1"), ((1, 3), "1 + 3")])
def test_a_trial_says_in_whose_company_it_was_all_the_time(tmp_path, monkeypatch, company, said):
    before, after = company
    with monkeypatch.context() as patch:
        at_point(patch, 7 if before > 1 else 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped):
            run(tmp_path, together=before, **STUDY)
    run(tmp_path, together=after, **STUDY)
    assert said in [row.get("together") for row in rows(tmp_path)]


@pytest.mark.slow
def test_a_trial_of_a_group_is_on_the_disk_when_it_has_ended(tmp_path, monkeypatch):
    """The others go on: what reads the study meanwhile finds it, and a kill does not lose it."""
    seen: list[int] = []
    original = together.train_together

    def watched(runs: Sequence[Run], *arguments: Any, **options: Any) -> None:
        on_end = options.pop("on_end")

        def told(ended: Run) -> None:
            on_end(ended)
            done = [records.is_finished(each.directory) for each in runs]
            seen.append(sum(done))

        runs[1].rule = runs[1].rule.__class__(0.01, ("online",), True, 4)  # it ends after an epoch
        original(runs, *arguments, on_end=told, **options)

    monkeypatch.setattr(together, "train_together", watched)
    run(tmp_path, together=3, **STUDY)
    assert seen == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "column"), [(2.0, "3"), (1.0, None)])
def test_an_accelerator_measures_first(tmp_path, monkeypatch, gain, column):
    monkeypatch.setattr(together, "gain", lambda *_: gain)
    worker._most_together.cache_clear()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert runner.most_together(make_config()) == runner.MOST_TOGETHER
    run(tmp_path, **STUDY)
    assert [row.get("together") for row in rows(tmp_path)] == [column] * 3
    assert [row["commit"] for row in rows(tmp_path)] == [MADE_BY["commit"]] * 3


def test_who_trains_together_where_nobody_has_said(monkeypatch):
    assert runner.most_together(make_config()) == 1  # a CPU
    assert runner.most_together(make_config(together=5)) == 5
    assert runner.most_together(make_config(together=5, data__stream_size=32)) == 1
    on_gpus = make_config(engine="ray", trial_resources__gpus=1.0)
    assert runner.most_together(on_gpus) == runner.MOST_TOGETHER
    assert runner.most_together(make_config(engine="ray")) == 1
    monkeypatch.setattr(hosts, "count", lambda: 2)
    assert runner.most_together(make_config(together=5)) == 1


@pytest.mark.parametrize(
    ("places", "most", "expected"),
    [
        (1, 16, [[3]]),
        (1, 2, [[2]]),
        (2, 16, [[3], [3]]),
        (3, 16, [[2], [1], [3]]),
        (9, 1, [[1]] * 6),
    ],
)
def test_groups_are_of_one_arm_and_leave_no_place_empty(places, most, expected):
    """Two arms of three seeds each."""
    config = make_config(fresh_seeds=(1, 2, 3), sweep={"model": {"activation": ("relu", "tanh")}})
    groups = Queue(config, {}).take_groups(places, most)
    assert [[len(group)] for group in groups] == expected
    assert all(len({task.trial.arm for task in group}) == 1 for group in groups)


@pytest.mark.slow
def test_a_trial_that_is_finished_by_now_is_read_and_the_rest_of_its_group_trained(tmp_path):
    config = make_config(together=3, **STUDY)
    run(tmp_path, together=3, **STUDY)
    header = studies.read_study_header(tmp_path)
    folders = sorted((tmp_path / "trials").iterdir())
    before = (folders[0] / "result.json").read_bytes()
    (folders[2] / "result.json").unlink()
    shutil.rmtree(folders[2] / "checkpoints")
    jobs = [
        worker.Job(
            task, folder, studies.identity_of(header, folder.name, folder), {}, "tiny", "",
            tmp_path, config.runtime,
        )
        for task, folder in zip(Queue(config, {}).take(3), folders, strict=True)
    ]  # fmt: skip
    from tests.test_engines import FakeLine  # noqa: PLC0415

    found = worker.run_jobs(jobs, FakeLine())
    assert [record is not None for record in found] == [True] * 3
    assert (folders[0] / "result.json").read_bytes() == before
    assert records.is_finished(folders[2])
