"""Batches decoded ahead of the step, in parallel and in order (grain).

An element of the pipeline is a whole batch, and which images it holds is a function of its number.
The position in the middle of an epoch is therefore one integer, the iteration: the same for any
number of workers, and there is no other state to save.
"""

import functools
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

import numpy as np
from jaxtyping import Int

from src.data.dataset import Split, say
from src.data.stream import Rows

AHEAD = 2  # batches decoded ahead by each worker
SHARED_MEMORY = "/dev/shm"  # Processes hand batches over there; in a container it has 64 MB.


def read_batches(
    rows: Rows,
    rows_of_batch: Callable[[int], Int[np.ndarray, " batch"]],
    first: int,
    last: int,
    *,
    processes: int,
    threads: int,
) -> Iterator[Split]:
    """Batches `first` to `last` - 1, in order.

    Args:
        rows: The images.
        rows_of_batch: Number of a batch -> its rows, -1 for none. Called in the workers.
        first: Number of the first batch, 0 or the iteration of a checkpoint.
        last: Number after that of the last batch.
        processes: Worker processes; 0: threads of this one. Decoding lets other threads run, so
            processes are needed only where many cores wait for the interpreter. Threads do it too
            where shared memory cannot hold what processes hand over.
        threads: Threads without processes, each at work on a batch of its own.
    """
    import grain  # noqa: PLC0415  (slow to import, and only streams need it)
    from absl import flags  # noqa: PLC0415

    # Grain reads flags; in the worker of a study nobody has parsed any.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    numbers = grain.MapDataset.range(first, last)
    batches: Any = numbers.map(lambda number: rows.load(rows_of_batch(int(number))))
    if processes and first < last:
        batch = rows.num_bytes(len(rows_of_batch(first)))
        processes = processes if _fits(batch * processes * (AHEAD + 2)) else 0
    if processes:
        alone = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
        options = grain.MultiprocessingOptions(processes, per_worker_buffer_size=AHEAD)
        iterator = iter(batches.to_iter_dataset(alone).mp_prefetch(options, _end_with_parent))
    else:
        ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + AHEAD)
        iterator = iter(batches.to_iter_dataset(ahead))
    try:
        yield from iterator
    finally:
        iterator.close()


def _fits(num_bytes: int) -> bool:
    """Whether shared memory has room; only Linux has a folder for it, of a fixed size."""
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return sys.platform != "linux"
    if free < num_bytes:
        _say_small()
    return free >= num_bytes


@functools.cache
def _say_small() -> None:
    say(f"{SHARED_MEMORY} is too small for processes that decode images: threads do it, slower")


def host_share(
    rows: Int[np.ndarray, "*batches batch"], host: int, hosts: int
) -> Int[np.ndarray, "*batches share"]:
    """This host's part of global batches: consecutive places, as its devices stand among all."""
    share = rows.shape[-1] // hosts
    return rows[..., host * share : (host + 1) * share]


def _end_with_parent(worker: int, workers: int) -> None:
    """A killed training leaves no workers behind; Ctrl-C is the training's to answer."""
    del worker, workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
