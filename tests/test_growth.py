"""A study of thousands of trials: what each of them costs the study's own process."""

import math
from typing import Any

import numpy as np
import pytest

from src.config.config import Config
from src.records.trial import TrialRecord
from src.study import order
from src.study.order import Queue, ready_tasks
from src.training.settings import Trial
from tests import tiny


def make_config(**changes: Any) -> Config:
    small = {"learning_rates": (0.01, 0.02, 0.04), "fresh_seeds": (1, 2), "selection_seeds": (0,)}
    sweep = {"model": {"activation": ("relu", "tanh", "sigmoid")}}
    return tiny.make_config(**(small | {"sweep": sweep} | changes))


def finish(trial: Trial) -> TrialRecord:
    iterations = float(round(1000 * trial.learning_rate))
    metrics = {
        "iteration": np.array([1, int(iterations)]),
        "train_error": np.array([0.9, 0.2]),
        "interval_error": np.array([0.9, 0.2]),
        "test_error": np.array([math.nan, 0.3]),
    }
    row = {
        "trial": trial.name, "learning_rate": trial.learning_rate, "seed": trial.seed,
        "purpose": trial.purpose, "status": "reached", "iterations": iterations,
        "iterations_to_target": iterations, "final_test_error": 0.3, "final_train_error": 0.2,
    }  # fmt: skip
    return TrialRecord(row, metrics)


@pytest.mark.parametrize("racing", [True, False])
@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_the_queue_gives_what_a_look_at_all_records_would(racing, at_once):
    config = make_config(racing=racing)
    finished: dict[str, TrialRecord] = {}
    queue, under_way, given = Queue(config, finished), list[Trial](), list[str]()
    while queue or under_way:
        wanted = [t.trial.name for t in ready_tasks(config, finished)]
        wanted = [name for name in wanted if name not in {t.name for t in under_way}]
        tasks = queue.take(at_once)
        assert [task.trial.name for task in tasks] == wanted[:at_once]
        under_way += [task.trial for task in tasks]
        given += [task.trial.name for task in tasks]
        ended = under_way.pop()  # the last that began, to stir the order
        finished[ended.name] = finish(ended)
        queue.ended(ended.arm)
    assert len(given) == len(set(given)) == 3 * (3 + 2)
    assert not ready_tasks(config, finished)


def test_an_ended_trial_has_its_own_arm_looked_at_alone(monkeypatch):
    looked: list[str] = []
    original = order._ready_in_arm
    monkeypatch.setattr(
        order, "_ready_in_arm", lambda c, arm, f: (looked.append(arm.name), original(c, arm, f))[1]
    )
    finished: dict[str, TrialRecord] = {}
    queue = Queue(make_config(), finished)
    assert len(looked) == 3
    (task,) = queue.take(1)
    finished[task.trial.name] = finish(task.trial)
    queue.ended(task.trial.arm)
    assert looked[3:] == [task.trial.arm]
