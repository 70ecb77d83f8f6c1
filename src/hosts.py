"""One trial over several processes: who this one is, and how they agree.

Every process runs the same program on its own devices. Process 0 leads: it keeps locks, records
and report, and tells the others each trial. What they tell each other goes through the service
that `jax.distributed` has for starting up, not through the devices. A process whose heartbeat
stops for `HEARTBEAT_SECONDS` ends all of them: their launcher starts them again, and the trial
goes on from its checkpoint.
"""

import collections
import itertools
import os
import pickle
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from src.errors import LabError, one_line

# Name of a launcher -> what JAX calls its way of telling a process who it is; None: JAX finds out.
LAUNCHERS = {"slurm": "slurm", "mpi": "ompi", "k8s": None, "tpu": None}
HEARTBEAT_SECONDS = 10
START_SECONDS = 300
GIVE_UP_SECONDS = 30  # how long a process that cannot go on waits for the others, to tell them
LEAVE_MILLISECONDS = 2_000  # and process 0 for them to have heard it
LINGER_SECONDS = 2  # and to be gone: JAX aborts a process whose service ends before it
SHUTDOWN_SECONDS = 3600  # the others wait while process 0 writes its report
ASK_MILLISECONDS = 2_000  # signals are heard in between
CHUNK_BYTES = 1 << 20  # of a message; gRPC takes no larger ones than a few MB

T = TypeVar("T")
_numbers = itertools.count()  # of messages: every process sends and awaits the same ones


class HostError(LabError):
    """Processes that do not find each other, or of which one cannot go on. One line."""


def check(how: str) -> None:
    """Refuses what is no value of --hosts.

    Raises:
        HostError: With the values there are.
    """
    if how not in ("none", *LAUNCHERS) and _by_hand(how) is None:
        raise HostError(
            f"--hosts={how} is none of none, {', '.join(LAUNCHERS)} or ADDRESS:PORT,N,I: address of"
            " process 0, number of processes, number of this one from 0 on"
        )


def _by_hand(how: str) -> tuple[str, int, int] | None:
    match = re.fullmatch(r"(.+:\d+),(\d+),(\d+)", how)
    if match is None or not int(match[3]) < int(match[2]):
        return None
    return match[1], int(match[2]), int(match[3])


def join(how: str) -> None:
    """Makes this process one of several; before JAX starts its backend.

    Args:
        how: "none", the name of a launcher, or ADDRESS:PORT,N,I.

    Raises:
        HostError: If the launcher has not started this process, the others do not come, or they
            have different numbers of devices.
    """
    check(how)
    if how != "none":
        _meet(how, START_SECONDS)


def give_up(how: str, code: int) -> None:
    """In place of `join`, by a process that cannot go on: the others, which agree on that first of
    all, end instead of waiting for it. It comes back only if nobody was met.
    """
    with suppress(HostError):
        check(how)
        _meet(how, GIVE_UP_SECONDS)
        any_of(True)
        leave(code)


def _meet(how: str, seconds: int) -> None:
    import jax  # noqa: PLC0415

    by_hand = _by_hand(how)
    address, count, index = by_hand or (None, None, None)
    try:
        jax.distributed.initialize(
            address,
            count,
            index,
            cluster_detection_method="deactivate" if by_hand else LAUNCHERS[how],
            initialization_timeout=seconds,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
        devices = collections.Counter(device.process_index for device in jax.devices())
    except (RuntimeError, ValueError, TypeError) as error:
        raise HostError(
            f"--hosts={how}: the processes do not find each other ({one_line(error)})"
        ) from error
    if len(set(devices.values())) > 1:
        found = ", ".join(str(devices[process]) for process in sorted(devices))
        raise HostError(
            f"--hosts={how}: the processes have {found} devices; give each the same number"
        )


def count() -> int:
    """Processes that train a trial together."""
    import jax  # noqa: PLC0415

    return int(jax.process_count())


def index() -> int:
    """The number of this one."""
    import jax  # noqa: PLC0415

    return int(jax.process_index())


def is_leader() -> bool:
    """Whether this process keeps the records."""
    return index() == 0


def tell(value: T | None) -> T:
    """The leader's value, on every process: each must call this at the same place."""
    if count() == 1:
        return value  # type: ignore[return-value]
    name = f"laboratory/told/{next(_numbers)}"
    if is_leader():
        content = pickle.dumps(value)
        starts = range(0, len(content), CHUNK_BYTES)
        for part, start in enumerate(starts):
            _client().key_value_set_bytes(f"{name}/{part}", content[start : start + CHUNK_BYTES])
        _client().key_value_set_bytes(f"{name}/parts", str(len(starts)).encode())
    else:
        parts = int(_await(f"{name}/parts"))
        content = b"".join(_await(f"{name}/{part}") for part in range(parts))
        value = pickle.loads(content)
    any_of(False)  # all have it
    if is_leader():
        _client().key_value_delete(f"{name}/")
    return value  # type: ignore[return-value]


def any_of(flag: bool) -> bool:
    """Whether the flag is set on any process: each must call this at the same place."""
    if count() == 1:
        return flag
    number, mine = next(_numbers), index()
    _client().key_value_set_bytes(f"laboratory/flags/{number}/{mine}", b"1" if flag else b"0")
    others = [_await(f"laboratory/flags/{number}/{i}") for i in range(count()) if i != mine]
    return flag or b"1" in others


def together(fn: Callable[[], T]) -> T:
    """`fn()` on every process; where it fails on one, it fails on all.

    Raises:
        HostError: If it has failed elsewhere alone; there its own error is raised.
    """
    result: Any = None
    failed: LabError | None = None
    try:
        result = fn()
    except LabError as error:
        failed = error
    if any_of(failed is not None):
        raise failed or HostError("another process cannot go on; its own output says why")
    return result


def leave(code: int) -> None:
    """Ends this process where others would wait for it: they end with it.

    Process 0, through which all is told, lets the others hear why first.
    """
    if count() == 1:
        return
    with suppress(RuntimeError):  # one of them is gone, or knows nothing yet
        if is_leader():
            for other in range(1, count()):
                name = f"laboratory/left/{other}"
                _client().blocking_key_value_get_bytes(name, LEAVE_MILLISECONDS)
            time.sleep(LINGER_SECONDS)
        else:
            _client().key_value_set_bytes(f"laboratory/left/{index()}", b"1")
    os._exit(code)


def _await(key: str) -> bytes:
    """What another process sets, whenever that is; if it dies, the service ends this one."""
    while True:
        try:
            return bytes(_client().blocking_key_value_get_bytes(key, ASK_MILLISECONDS))
        except RuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


def _client() -> Any:
    from jax._src import distributed  # noqa: PLC0415

    return distributed.global_state.client
