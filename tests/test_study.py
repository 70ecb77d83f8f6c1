"""Which trials are ready, what races allow, and what a plan says."""

import math
from typing import Any

import numpy as np
import pytest

from src.config.config import Config
from src.records.trial import TrialRecord
from src.study import order as study
from src.study import plan
from tests import tiny

COMPARED = {"field": "recipe", "baseline": "modern"}


def make_config(**changes: Any) -> Config:
    grid = {"learning_rates": (0.01, 0.02, 0.04), "fresh_seeds": (100, 101)}
    return tiny.make_config(**(grid | changes))


def finish(trial: Any, errors: list[float], target: float = 0.25) -> TrialRecord:
    """A record with a point every 10 iterations, 40 of which are an epoch of 2 seconds."""
    iteration = 10 * np.arange(1, len(errors) + 1)
    reached = next((i for i, e in zip(iteration, errors, strict=True) if e <= target), math.inf)
    row = {
        "trial": trial.name, "learning_rate": trial.learning_rate, "seed": trial.seed,
        "status": "reached" if reached < math.inf else "censored",
        "train_seconds": 0.5 * len(errors),
        "iterations_to_target": float(reached), "iterations": int(iteration[-1]),
        "purpose": trial.purpose, "final_train_error": errors[-1],
    }  # fmt: skip
    metrics = {"iteration": iteration, "train_error": np.array(errors), "epoch": iteration / 40}
    return TrialRecord(row, metrics)


def names(config: Config, finished: dict[str, TrialRecord]) -> list[str]:
    return [task.trial.name for task in study.ready_tasks(config, finished)]


def test_rates_race_one_after_another_and_fresh_seeds_follow_at_the_best():
    config, finished = make_config(), {}
    seen = []
    times = {0.02: [0.5, 0.25], 0.04: [0.5, 0.4, 0.25], 0.01: [0.5, 0.4, 0.3, 0.25]}
    while len(ready := study.ready_tasks(config, finished)) == 1:
        (task,) = ready
        seen.append(task.trial.learning_rate)
        finished[task.trial.name] = finish(task.trial, times[task.trial.learning_rate])
    assert seen == [0.02, 0.04, 0.01]
    assert names(config, finished) == [f"conv3-modern-relu-lr0.02-s{seed}" for seed in (100, 101)]
    finished |= {task.trial.name: finish(task.trial, [0.25]) for task in ready}
    assert not names(config, finished)


def test_without_racing_all_rates_are_ready_at_once_and_unlimited():
    tasks = study.ready_tasks(make_config(racing=False), {})
    assert sorted(task.trial.learning_rate for task in tasks) == [0.01, 0.02, 0.04]
    assert {task.limits for task in tasks} == {()}


def test_one_rate_leaves_nothing_to_choose():
    assert names(make_config(learning_rates=(0.1,)), {}) == [
        "conv3-modern-relu-lr0.1-s100", "conv3-modern-relu-lr0.1-s101",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("slack", "limits"),
    [
        (1.5, ((0.5, 15.0), (0.25, 30.0))),  # 50% after 10 iterations, 25% after 30
        (math.inf, ((0.25, 30.0),)),
    ],
)
def test_limits_follow_the_best_rate_so_far(slack, limits):
    config = make_config(racing_slack=slack, thresholds=(0.5, 0.25, 0.1))
    (first,) = study.ready_tasks(config, {})
    finished = {first.trial.name: finish(first.trial, [0.5, 0.4, 0.25])}
    (second,) = study.ready_tasks(config, finished)
    assert second.limits == limits


@pytest.mark.parametrize(("errors", "status"), [([0.5, 0.3], ""), ([0.5, 0.25], "diverged")])
def test_a_rate_that_cannot_win_sets_no_limits(errors, status):
    """It stops above the target, or is down to it and diverges."""
    config = make_config(thresholds=(0.5, 0.25))
    (first,) = study.ready_tasks(config, {})
    record = finish(first.trial, errors)
    record.row["status"] = status or record.row["status"]
    (second,) = study.ready_tasks(config, {first.trial.name: record})
    assert second.limits == ()
    slower = finish(second.trial, [0.5, 0.5, 0.25])
    finished = {first.trial.name: record, second.trial.name: slower}
    (third,) = study.ready_tasks(config, finished)
    assert third.limits == ((0.5, 15.0), (0.25, 30.0))


def test_a_race_is_run_by_the_errors_that_the_arms_are_stopped_by():
    config = make_config(
        variants={"one": {"readings": ("frozen",)}},
        compare={"field": "variant", "baseline": "one", "measure": "iterations_frozen"},
        thresholds=(0.25,),
    )
    (first, *_), *_ = study.selection_trials(config, config.arms[0])
    slow = finish(first, [0.9, 0.5, 0.2])
    slow.metrics["frozen_error"] = np.array([0.5, 0.2, 0.1])
    (limit,) = study.race_limits(config, [[slow]])
    assert limit == (0.25, 20)


def test_with_two_seeds_every_error_is_allowed_twice_the_median():
    """50% after 10 iterations; 25% after 10 and 30."""
    config = make_config(selection_seeds=(0, 1), thresholds=(0.5, 0.25), racing_slack=1.5)
    first = study.ready_tasks(config, {})
    finished = {
        task.trial.name: finish(task.trial, errors)
        for task, errors in zip(first, ([0.25], [0.5, 0.4, 0.25]), strict=True)
    }
    limits = ((0.5, 20.0), (0.25, 40.0))
    assert {task.limits for task in study.ready_tasks(config, finished)} == {limits}


def test_arms_of_a_sweep_the_first_field_slowest():
    sweep = {"recipe": ("modern", "cuda_convnet"), "weight_decay": (0.0, 0.5)}
    arms = make_config(sweep=sweep, learning_rates=(), compare=COMPARED).arms
    assert [arm.name for arm in arms] == [
        "conv3-modern-relu-weight_decay0.0", "conv3-modern-relu-weight_decay0.5",
        "conv3-cuda_convnet-relu-weight_decay0.0", "conv3-cuda_convnet-relu-weight_decay0.5",
    ]  # fmt: skip
    assert arms[3].settings.weight_decay == 0.5
    assert arms[3].settings.recipe.input == "centered"
    assert arms[3].learning_rates[0] == 0.0005


def test_variants_are_arms_that_set_several_fields_at_once():
    variants = {
        "as_is": {},
        "both": {"augment": {"flip": True, "translation": 2}, "weight_decay": 0.5},
    }
    sweep = {"recipe": ("modern", "cuda_convnet")}
    arms = make_config(variants=variants, sweep=sweep, compare=COMPARED).arms
    assert [(arm.name, dict(arm.swept)) for arm in arms] == [
        ("conv3-modern-relu-as_is", {"recipe": "modern", "variant": "as_is"}),
        ("conv3-modern-relu-both", {"recipe": "modern", "variant": "both"}),
        ("conv3-cuda_convnet-relu-as_is", {"recipe": "cuda_convnet", "variant": "as_is"}),
        ("conv3-cuda_convnet-relu-both", {"recipe": "cuda_convnet", "variant": "both"}),
    ]
    augment, decay = arms[1].settings.augment, arms[1].settings.weight_decay
    assert (augment.flip, augment.translation, augment.noise, decay) == (True, 2, 0.0, 0.5)
    assert not arms[0].settings.augment.flip


def test_a_plan_lists_every_trial_and_the_most_epochs():
    lines = plan.describe_plan(make_config(), [], 1)
    assert sum(line.startswith("  ") for line in lines) == 5
    assert "  conv3-modern-relu-lr0.04-s0" in lines
    assert "  conv3-modern-relu-lr...-s100" in lines
    assert lines[-1] == "5 trials: at most 20 epochs to train, fewer by racing"  # 5 x 4


def test_a_plan_adds_the_epochs_of_each_arm():
    sweep, compare = {"max_epochs": (1.0, 500.0)}, {"field": "max_epochs", "baseline": 1.0}
    config = make_config(sweep=sweep, compare=compare, learning_rates=(0.02,), fresh_seeds=(100,))
    assert plan.describe_plan(config, [], 1)[-1] == "2 trials: at most 501 epochs to train"
    (short, _) = study.ready_tasks(config, {})
    lines = plan.describe_plan(config, [finish(short.trial, [0.5, 0.25])], 2)
    assert lines[-2] == "2 trials, 1 of them done: at most 500 epochs to train"
    # A trial of 500 epochs, 2 s each, which two workers do not share.
    assert lines[-1] == "At most about 17 min with 2 at a time, at 2 s an epoch so far"


def test_a_plan_of_a_single_trial_has_nothing_to_race():
    lines = plan.describe_plan(make_config(learning_rates=(0.02,), fresh_seeds=(100,)), [], 1)
    assert lines[0] == "conv3-modern-relu: 1 trial with fresh seeds at the chosen rate"
    assert lines[-1] == "1 trial: at most 4 epochs to train"


def test_a_plan_of_a_study_begun_estimates_by_its_speed():
    config = make_config(racing=False)
    finished = [finish(task.trial, [0.5, 0.25]) for task in study.ready_tasks(config, {})]
    lines = plan.describe_plan(config, finished, 2)
    assert "  conv3-modern-relu-lr0.04-s0 (reached)" in lines
    assert "5 trials, 3 of them done: at most 8 epochs to train" in lines
    assert lines[-1] == "At most about 8 s with 2 at a time, at 2 s an epoch so far"  # 8 x 2 / 2


def test_a_plan_knows_that_rates_race_and_what_measuring_costs():
    """Two rates of 4 epochs, one after the other, then two seeds side by side; 5 s an epoch."""
    config = make_config()
    (task, *_) = study.ready_tasks(config, {})
    done = finish(task.trial, [0.5, 0.25])
    done.row.update(measure_seconds=0.5, save_seconds=1.0)  # Of half an epoch.
    lines = plan.describe_plan(config, [done], 2)
    assert lines[-1] == "At most about 60 s with 2 at a time, at 5 s an epoch so far"


def test_a_plan_takes_an_arm_by_its_own_speed():
    sweep, compare = {"batch_size": (16, 32)}, {"field": "batch_size", "baseline": 16}
    config = make_config(sweep=sweep, compare=compare, learning_rates=(0.02,), fresh_seeds=(1, 2))
    one, two = study.ready_tasks(config, {})[::2]
    fast, slow = finish(one.trial, [0.5, 0.25]), finish(two.trial, [0.5, 0.25])
    slow.row["train_seconds"] *= 10
    lines = plan.describe_plan(config, [fast, slow], 1)
    expected = 4 * 2 + 4 * 20
    assert lines[-1] == f"At most about {expected} s with 1 at a time, at 11 s an epoch so far"


def test_workers_do_not_wait_for_a_stack_while_there_is_other_work():
    """The first trial of an arm makes the stack that chooses the rates of its other seeds."""
    config = make_config(
        sweep={"pretraining": {"method": ("none", "conv_autoencoder", "conv_rbm")}},
        compare={"field": "method", "baseline": "none", "measure": "test_error"},
        learning_rates=(0.01, 0.02),
        stop_at_target=False,
    )
    finished: dict[str, TrialRecord] = {}
    queue = study.Queue(config, finished)

    def taken(places: int) -> list[str]:
        groups = queue.take_groups(places, 1)
        return [task.trial.name.partition("method")[2] for (task,) in groups]

    assert taken(4) == [
        "none-lr0.02-s0",
        "none-lr0.01-s0",
        "conv_autoencoder-lr0.02-s0",
        "conv_rbm-lr0.02-s0",
    ]
    (arm,) = {
        task.trial.arm: task
        for task in study.ready_tasks(config, {})
        if "autoencoder" in task.trial.name
    }
    (done, *_) = (t.trial for t in study.ready_tasks(config, {}) if t.trial.arm == arm)
    finished[done.name] = finish(done, [0.5, 0.4])
    queue.ended(arm)
    assert taken(1) == ["conv_autoencoder-lr0.01-s0"]
    assert taken(2) == ["conv_rbm-lr0.01-s0"]  # All that is left must wait.
