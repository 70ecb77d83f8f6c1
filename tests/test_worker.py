"""What a process that runs trials keeps from one to the next."""

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from src.study import worker
from src.study.order import Queue
from src.training import step as train_step
from tests import tiny

DATASET = tiny.make_dataset(64, 16)


@pytest.mark.slow
def test_no_more_than_the_programs_of_a_few_arms_are_there(monkeypatch):
    """Those that are kept, and one that waits for the next: JAX alone would let go of none."""
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    devices = jax.devices()

    class Program:
        def __init__(self, *_: object):
            alive.add(self)
            self.steps = train_step.across_devices(
                self.add, "pmap", 2, donate_state=False, devices=devices
            )
            batches = train_step.split_batches(np.ones((1, 8), np.int32), devices)
            assert self.steps(train_step.replicate(jnp.int32(0), devices), batches) == 8

        def add(self, state: jax.Array, batches: jax.Array) -> jax.Array:
            return state + lax.psum(jnp.sum(batches), train_step.AXIS)

    monkeypatch.setattr(worker, "Program", Program)
    monkeypatch.setattr(worker, "_dataset", lambda *_: DATASET)
    gc.disable()  # so that none is found by chance
    try:
        for number in range(10):
            settings = tiny.make_config(weight_decay=number / 100).trial
            worker._program(settings, "", "pmap", DATASET.digest)
        assert len(alive) == worker.PROGRAMS_KEPT + 1
    finally:
        gc.enable()
        worker._program.cache_clear()


@pytest.mark.parametrize(("stops", "expected"), [(False, [2, 2]), (True, [2])])
def test_no_group_begins_once_all_trials_are_to_stop(monkeypatch, stops, expected):
    config = tiny.make_config(together=2, learning_rates=(0.02,), fresh_seeds=(1, 2, 3, 4))
    jobs = [
        worker.Job(
            *(task, Path("trial"), tiny.identity(task.trial.name), {}),
            *("tiny", "", Path("stacks"), config.runtime),
        )
        for task in Queue(config, {}).take(4)
    ]
    begun: list[int] = []
    monkeypatch.setattr(worker, "_program", lambda *_: None)
    monkeypatch.setattr(worker, "_train_group", lambda group, *_: begun.append(len(group)))
    line = SimpleNamespace(tell=lambda *_: None, should_stop=lambda: stops and bool(begun))
    worker._train_several(jobs, line)
    assert begun == expected
