"""What a process that runs trials keeps from one to the next."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from src.study import worker
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
