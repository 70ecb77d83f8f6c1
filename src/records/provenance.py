"""What the records say of code, libraries and machine."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def provenance() -> dict[str, Any]:
    """Device, versions and commit of this process; starts JAX's backend."""
    import jax  # noqa: PLC0415

    return {
        "device": describe_devices(jax.devices()),
        "jax_version": jax.__version__,
        "versions": {name: metadata.version(name) for name in ("flax", "jaxlib", "numpy", "optax")},
        "python": platform.python_version(),
        "commit": commit(),
    }


def describe_devices(devices: Any) -> str:
    """Such as `1 x cpu (AMD EPYC)` or `8 x NVIDIA H100 80GB HBM3`."""
    kind = devices[0].device_kind
    return f"{len(devices)} x {kind}" + (f" ({_processor()})" if kind == "cpu" else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def commit() -> str:
    """Short hash of the code's commit, `-dirty` where src/ or configs/ differ from it, `unknown`
    without git.
    """
    try:
        short = _git("rev-parse", "--short=10", "HEAD")
        return short + ("-dirty" if _git("status", "--porcelain", "--", "src", "configs") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
