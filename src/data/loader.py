"""Decodes batches ahead of the training step, in parallel and in order, by the library grain.

An element of the pipeline is a whole batch, and its number alone decides which images it holds. The
position in an epoch is therefore one integer, the iteration, whatever the number of workers, and
there is no other state to save.
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

AHEAD = 2  # Batches that each worker decodes ahead.
SHARED_MEMORY = "/dev/shm"  # Processes hand batches over here; containers often have only 64 MB.


def read_batches(
    rows: Rows,
    rows_of_batch: Callable[[int], Int[np.ndarray, " batch"]],
    first: int,
    last: int,
    *,
    processes: int,
    threads: int,
) -> Iterator[Split]:
    """Decodes batches `first` to `last` - 1, in order.

    Args:
        rows: The images.
        rows_of_batch: Number of a batch -> its rows, see `batches`. It is called in
            the workers.
        first: Number of the first batch, 0 or the iteration of a checkpoint.
        last: Number after that of the last batch.
        processes: Number of worker processes; 0: threads of this one. Decoding lets other threads
            run, so processes are needed only if many cores would wait for the interpreter. If
            shared memory is too small for what they hand over, threads are used as well.
        threads: Number of threads, each with a batch of its own, if there are no processes.
    """
    import grain  # noqa: PLC0415  (slow to import, and only streams need it)
    from absl import flags  # noqa: PLC0415

    # Grain reads absl's flags, which nobody has parsed in the worker of a study.
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
    """This host's part of global batches: consecutive places, in the order of the devices."""
    share = rows.shape[-1] // hosts
    return rows[..., host * share : (host + 1) * share]


def _end_with_parent(worker: int, workers: int) -> None:
    """Makes a worker end with the process that started it, and leave Ctrl-C to that process."""
    del worker, workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
