"""What must be set before JAX starts: XLA's flags and the compilation cache."""

import os
from pathlib import Path


def configure_jax() -> None:
    """Sets the process environment for JAX, for this process and those it starts. Settings already
    made stand.
    """
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "alexnet-claims" / "xla"
    )
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
