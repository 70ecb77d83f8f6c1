"""What must be set before JAX starts: XLA's flags, the compilation cache, what may be printed."""

import importlib.util
import mmap
import os
import sys
from pathlib import Path
from typing import Any

from absl import logging

# XLA's default convolutions use one thread, whatever there are; with this it takes Eigen's, whose
# last bits differ.
_FUSION_FLAG = "xla_cpu_experimental_ynn_fusion_type"
_THREADED = f"--{_FUSION_FLAG}=-individual_convolution"


def configure_jax() -> None:
    """Sets the environment for JAX, of this process and those it starts.

    Settings already made stand.
    """
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "alexnet-claims" / "xla"
    )
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def use_one_thread() -> None:
    """For a process that shares its machine with others like it; before JAX starts in it."""
    os.environ["PJRT_NPROC"] = "1"


def convolve_on_all_threads() -> None:
    """For a process that has the machine for itself; before JAX starts in it.

    Not for studies: one may go on with another number of workers, and must give the same numbers.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _FUSION_FLAG not in flags and _xla_knows(_FUSION_FLAG):
        os.environ["XLA_FLAGS"] = f"{flags} {_THREADED}".strip()


def _xla_knows(flag: str) -> bool:
    """Whether the installed XLA has this flag: an unknown one ends the process."""
    spec = importlib.util.find_spec("jaxlib")
    if spec is None or spec.origin is None:
        return False
    library = Path(spec.origin).parent / "libjax_common.so"
    try:
        with (
            library.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code,
        ):
            return code.find(flag.encode()) >= 0
    except OSError:
        return False


def silence_orbax() -> None:
    """Keeps Orbax from telling of every file, and of an error, that it raises, in each thread."""
    logging.set_verbosity(logging.FATAL)
    show = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":  # a write given up, from its thread
            show(unraisable)

    sys.unraisablehook = hook


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
