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
GIVE_UP_SECONDS = 30  # A process that cannot go on waits so long for the others, to tell them.
LEAVE_MILLISECONDS = 2_000  # Process 0 waits so long for the others to hear that it leaves,
LINGER_SECONDS = 2  # and so long for them to be gone: JAX aborts those that outlive its service.
SHUTDOWN_SECONDS = 3600  # The others wait so long while process 0 writes its report.
ASK_MILLISECONDS = 2_000  # Waiting is cut into pieces of this length, so that signals are heard.
CHUNK_BYTES = 1 << 20  # Longer messages are sent in parts: gRPC refuses more than a few MB.

T = TypeVar("T")
_numbers = itertools.count()  # Numbers the messages; every process counts the same ones.


class HostError(LabError):
    """Processes do not find each other, or one cannot go on. The message is one line."""


def check(how: str) -> None:
    """Refuses an invalid value of --hosts.

    Raises:
        HostError: Naming the valid ones.
    """
    if how not in ("none", *LAUNCHERS) and _by_hand(how) is None:
        raise HostError(
            f"--hosts={how} is none of none, {', '.join(LAUNCHERS)} or ADDRESS:PORT,N,I: address of"
            " process 0, number of processes, number of this one from 0 on"
        )


def _by_hand(how: str) -> tuple[str, int, int] | None:
    match = re.fullmatch(r"(.+:(\d{1,5})),(\d{1,9}),(\d{1,9})", how, re.ASCII)
    if match is None or not (0 < int(match[2]) < 2**16 and int(match[4]) < int(match[3])):
        return None
    return match[1], int(match[3]), int(match[4])


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
    """What a process that cannot go on calls in place of `join`, so that nobody waits for it.

    The others learn of it in the first thing they agree on, and end. It returns only where the
    processes did not meet.

    Args:
        how: As for `join`.
        code: The exit code of this process.
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
    except KeyError as error:  # a variable that the launcher gives to those whom it starts
        raise HostError(
            f"--hosts={how}: {error.args[0]} is not set, so this process was not started by {how};"
            " start it by that, or leave --hosts out"
        ) from error
    except (RuntimeError, ValueError, TypeError, OSError, LookupError) as error:
        raise HostError(
            f"--hosts={how}: the processes do not find each other ({one_line(error)})"
        ) from error
    if len(set(devices.values())) > 1:
        found = ", ".join(str(devices[process]) for process in sorted(devices))
        raise HostError(
            f"--hosts={how}: the processes have {found} devices; give each the same number"
        )


def count() -> int:
    """Number of processes that train a trial together.

    Where this one has joined no others, the answer does not start JAX's backend.
    """
    import jax  # noqa: PLC0415

    return int(jax.process_count()) if jax.distributed.is_initialized() else 1


def index() -> int:
    """The number of this process, from 0 on."""
    import jax  # noqa: PLC0415

    return int(jax.process_index()) if jax.distributed.is_initialized() else 0


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
    any_of(False)  # Waits until all processes have it.
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
        HostError: Where another process has failed; the one that failed raises its own error.
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
    """Ends this process where others would wait for it; they end with it.

    All messages go through process 0, so it first waits until the others have read why.
    """
    if count() == 1:
        return
    with suppress(RuntimeError):  # Another process is gone, or does not listen yet.
        if is_leader():
            for other in range(1, count()):
                name = f"laboratory/left/{other}"
                _client().blocking_key_value_get_bytes(name, LEAVE_MILLISECONDS)
            time.sleep(LINGER_SECONDS)
        else:
            _client().key_value_set_bytes(f"laboratory/left/{index()}", b"1")
    os._exit(code)


def _await(key: str) -> bytes:
    """Waits for what another process sets; if that process dies, JAX's service ends this one."""
    while True:
        try:
            return bytes(_client().blocking_key_value_get_bytes(key, ASK_MILLISECONDS))
        except RuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


def _client() -> Any:
    from jax._src import distributed  # noqa: PLC0415

    return distributed.global_state.client
