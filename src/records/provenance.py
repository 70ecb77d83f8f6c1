"""Provenance: what records say about code, libraries and machine."""

import dataclasses
import functools
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from src import environment, processor

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Machine:
    """Everything that the last bits of a trial depend on beside its question.

    If two machines agree in all of it, the same trial has the same bits on both. The attributes are
    columns of results.csv.

    Attributes:
        device: Devices, such as `1 x cpu (AMD EPYC 7B13)` or `8 x NVIDIA H100 80GB HBM3`.
        jax_version: Version of JAX.
        commit: Commit of the code that runs, see `loaded_commit`.
        jaxlib_version: Version of jaxlib, which holds XLA.
        processor: Brand, family, model and stepping of the processor; many share a brand.
        vectors: The widest vector instructions of the processor.
        threads: Number of threads of one CPU device.
        xla_flags: Flags of XLA in force, see `src.environment`, or "none".
    """

    device: str
    jax_version: str
    commit: str
    jaxlib_version: str
    processor: str
    vectors: str
    threads: str
    xla_flags: str


def machine() -> Machine:
    """Describes the machine and the code of this process; starts JAX's backend."""
    import jax  # noqa: PLC0415

    info = processor.read_info()
    return Machine(
        device=describe_devices(jax.devices()),
        jax_version=jax.__version__,
        commit=loaded_commit(),
        jaxlib_version=metadata.version("jaxlib"),
        processor=processor.model(info),
        vectors=processor.vectors(info),
        threads=str(environment.threads()),
        xla_flags=os.environ.get("XLA_FLAGS", "").strip() or "none",
    )


@functools.cache
def made_by() -> dict[str, str]:
    """Device, versions and commit of this process; each may differ when what it makes goes on."""
    return dataclasses.asdict(machine())


def provenance() -> dict[str, Any]:
    """Machine, code and versions of this process; starts JAX's backend."""
    return {
        **dataclasses.asdict(machine()),
        "versions": {name: metadata.version(name) for name in ("flax", "jaxlib", "numpy", "optax")},
        "python": platform.python_version(),
    }


def describe_devices(devices: Any) -> str:
    """Devices in words: `1 x cpu (AMD EPYC)`, `8 x NVIDIA H100 80GB HBM3`, `4 hosts x 8 x ...`."""
    kind = devices[0].device_kind
    named = f" ({processor.brand(processor.read_info())})" if kind == "cpu" else ""
    hosts = len({device.process_index for device in devices})
    several = f"{hosts} hosts x " if hosts > 1 else ""
    return f"{several}{len(devices) // hosts} x {kind}{named}"


@functools.cache
def loaded_commit() -> str:
    """The `commit` of the code that this process runs: each asks as it starts, and keeps it.

    What is committed later has trained none of its trials.
    """
    return commit()


def commit(root: Path = ROOT) -> str:
    """Short hash of the commit of this repository, and `-dirty` if src/ or configs/ differ from it.

    It is `unknown` without git, and if the code lies inside another repository, whose commit does
    not describe it.
    """
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return "unknown"
        short = _git(root, "rev-parse", "--short=10", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "src", "configs")
        return short + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    """Asks git about `root`, whatever the environment says.

    Hooks and `rebase --exec` set GIT_DIR to another repository, and in a container the folder may
    belong to another user, which git would refuse.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    settings = (
        f"safe.directory={root}",
        "core.fsmonitor=false",
        "status.showUntrackedFiles=normal",
    )
    options = [part for setting in settings for part in ("-c", setting)]
    done = subprocess.run(
        ["git", "-C", str(root), *options, *arguments],
        check=True, capture_output=True, env=variables,
    )  # fmt: skip
    return os.fsdecode(done.stdout).strip()
