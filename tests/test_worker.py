"""What a process that runs trials keeps from one to the next."""

import gc
import weakref

from src.study import worker
from src.training import program
from tests import tiny

DATASET = tiny.make_dataset(64, 16)


def test_no_more_than_the_programs_of_a_few_arms_are_there(monkeypatch):
    """Four are kept, and the fifth waits for the next one; Python alone may let go of none."""
    alive: weakref.WeakSet[object] = weakref.WeakSet()

    class Cyclic:
        def __init__(self, *_: object):
            self.itself = self  # as a program's functions refer to it
            alive.add(self)

    monkeypatch.setattr(program, "Program", Cyclic)
    monkeypatch.setattr(worker, "_dataset", lambda *_: DATASET)
    gc.disable()
    try:
        for number in range(12):
            settings = tiny.make_config(weight_decay=number / 100).trial
            worker._program(settings, "", "pmap", DATASET.digest)
        assert len(alive) == 5
    finally:
        gc.enable()
        worker._program.cache_clear()
