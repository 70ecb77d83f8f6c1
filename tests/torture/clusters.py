"""Clusters of Dask and Ray whose nodes are processes of this machine: each can be killed whole."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from src.study.engines import PACKAGES
from tests.torture.subject import PATIENCE_SECONDS, ROOT

NODES = 2
# Ray's clusters ask for it; a study shows it without being told to.
TOKEN = {"RAY_AUTH_TOKEN": "4f1c6ad2b9e84d0f9c7a5b3e2d1f0a68"}


class Cluster:
    """A head, and nodes of one trial each."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        """Starts nothing yet; what the processes say goes into files in `folder`."""
        self.folder, self.environment = folder, environment
        self.head: subprocess.Popen[bytes] | None = None
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        self.started = 0

    def start(self, what: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """A process in a session of its own."""
        self.started += 1
        with (self.folder / f"{what}-{self.started}.txt").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT, env=self.environment, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    # What a study needs in its environment.
    variables: Mapping[str, str] = MappingProxyType({})

    def flags(self) -> list[str]:
        """What sends a study's trials to this cluster."""
        raise NotImplementedError

    def add_node(self) -> None:
        """One more."""
        raise NotImplementedError

    def kill_node(self, number: int) -> None:
        """kill -9 of a node and of everything that it has started."""
        end(self.nodes.pop(number))

    def close(self) -> None:
        """Ends all processes."""
        for process in [*self.nodes, *filter(None, [self.head])]:
            end(process)
        self.nodes = []


class Dask(Cluster):
    """A scheduler, and workers under their nannies."""

    def open(self) -> None:
        """Starts it with its nodes."""
        self.environment = self.environment | {
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1000"
        }
        arguments = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        self.head = self.start("scheduler", "-m", "distributed.cli.dask_scheduler", *arguments)
        await_port(self.port)
        for _ in range(NODES):
            self.add_node()

    def flags(self) -> list[str]:
        """See `Cluster`."""
        return ["--config.engine=dask", f"--config.cluster=tcp://127.0.0.1:{self.port}"]

    def add_node(self) -> None:
        """See `Cluster`."""
        address = f"tcp://127.0.0.1:{self.port}"
        options = ("--nthreads", "1", "--memory-limit", "0", "--no-dashboard")
        place = ("--local-directory", str(self.folder / "scratch"))
        module = ("-m", "distributed.cli.dask_worker")
        self.nodes.append(self.start("worker", *module, address, *options, *place))


class Ray(Cluster):
    """A head without a trial of its own, and raylets with their workers."""

    variables = MappingProxyType(TOKEN)
    SMALL = ("--object-store-memory", "80000000", "--disable-usage-stats", "--block")

    def open(self) -> None:
        """Starts it with its nodes."""
        temporary = self.folder / "ray"
        if len(str(temporary)) > 40:  # its sockets have paths of at most 107 characters
            temporary = Path("/tmp") / f"ray-{os.getpid()}"
        self.temporary = temporary
        self.environment = self.environment | {"RAY_AUTH_MODE": "token", **TOKEN}
        self.head = self.start(
            "head", "-m", "ray.scripts.scripts", "start", "--head", "--port", str(self.port),
            "--node-ip-address", "127.0.0.1", "--num-cpus", "0", "--include-dashboard", "false",
            "--ray-client-server-port", str(free_port()), "--temp-dir", str(temporary),
            "--dashboard-agent-listen-port", "0", *self.SMALL,
        )  # fmt: skip
        await_port(self.port)
        for _ in range(NODES):
            self.add_node()

    def flags(self) -> list[str]:
        """See `Cluster`."""
        return ["--config.engine=ray", f"--config.cluster=127.0.0.1:{self.port}"]

    def add_node(self) -> None:
        """See `Cluster`."""
        address = ("--address", f"127.0.0.1:{self.port}", "--node-ip-address", "127.0.0.1")
        options = ("--num-cpus", "1", "--dashboard-agent-listen-port", "0", *self.SMALL)
        self.nodes.append(
            self.start("node", "-m", "ray.scripts.scripts", "start", *address, *options)
        )

    def close(self) -> None:
        """See `Cluster`."""
        super().close()
        shutil.rmtree(self.temporary, ignore_errors=True)


KINDS: dict[str, type[Dask] | type[Ray]] = {"dask": Dask, "ray": Ray}


def is_installed(name: str) -> bool:
    """Whether the package of an engine is there."""
    return importlib.util.find_spec(PACKAGES[name]) is not None


@contextmanager
def running(name: str, folder: Path, environment: dict[str, str]) -> Iterator[Dask | Ray]:
    """A cluster of the engine of that name, ended at last."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = KINDS[name](folder, environment)
    try:
        cluster.open()
        yield cluster
    finally:
        cluster.close()


def free_port() -> int:
    """A port of this machine that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int) -> None:
    """Waits until somebody listens.

    Raises:
        AssertionError: If nobody does.
    """
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens at port {port}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """kill -9 of a process that was started here and of all that descends from it."""
    for pid in [process.pid, *descendants(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that these have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, left = [], [pid]
    while left:
        new = children.get(left.pop(), [])
        found += new
        left += new
    return found
