"""The environment in which JAX and Matplotlib start.

A study's numbers depend on its question, and on what its records say about code and machine, and on
nothing else. Settings of the shell that would change them are removed, with a note; settings that
choose devices or caches are kept.
"""

import gc
import importlib.util
import logging
import mmap
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, MutableMapping
from importlib import metadata
from pathlib import Path
from typing import Any

from absl import logging as absl_logging

from src import compilations, processor
from src.errors import LabError, one_line
from src.paths import cache_folder

# Variables that begin with these are kept: they choose devices, caches, logs and a cluster's hosts.
JAX_KEPT = (
    "JAX_PLATFORMS",
    "JAX_PLATFORM_NAME",
    "JAX_NUM_CPU_DEVICES",
    "JAX_CUDA_VISIBLE_DEVICES",
    "JAX_ROCM_VISIBLE_DEVICES",
    "JAX_COORDINATOR_",
    "JAX_LOCAL_DEVICE_IDS",
    "JAX_COMPILATION_CACHE_",
    "JAX_PERSISTENT_CACHE_",
    "JAX_ENABLE_COMPILATION_CACHE",
    "JAX_LOG",
    "JAX_TRACEBACK_",
    "JAX_DUMP_",
)
# The same for XLA's flags. Those of accelerators are needed there, and records name them.
XLA_KEPT = ("xla_force_host_platform_device_count", "xla_dump_", "xla_gpu_", "xla_tpu_")
# These set the threads of XLA's CPU backend, and TensorFloat-32 where nobody asked for it.
OTHERS_LEFT_OUT = ("NPROC", "PJRT_NPROC", "NVIDIA_TF32_OVERRIDE")
THREADS = "PJRT_NPROC"


class MachineError(LabError):
    """Nothing can be computed on this machine as it is set up. The message is one line."""


def collect_seldom() -> None:
    """Lets Python look for reference cycles less often; call it before JAX is imported.

    An import and JAX's tracing make many objects that stay: to look at all of them again and again
    takes time at each start.
    """
    gc.set_threshold(10_000)


def configure_jax() -> None:
    """Sets the environment of this process and of those it starts, before JAX is imported."""
    if ours := os.environ.get(THREADS) == "1":
        del os.environ[THREADS]
    for name in left_out(os.environ):
        print(f"note: {name} of the environment is left out: it changes numbers", file=sys.stderr)
    os.environ.pop("SOURCE_DATE_EPOCH", None)  # NumPy does not start if it is not a number.
    os.environ["MPLBACKEND"] = "agg"  # A notebook's backend is not installed here.
    _leave_warnings_warnings()
    if cache := cache_folder():
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    if ours or computes_on_cpu():
        use_one_thread()


def _leave_warnings_warnings() -> None:
    """Undoes PYTHONWARNINGS=error, here and in the processes that this one starts.

    Somebody has set it to test other code; here it would turn a library's deprecations into errors.
    """
    os.environ.pop("PYTHONWARNINGS", None)
    if any(option.startswith("error") for option in sys.warnoptions):
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)


def left_out(variables: MutableMapping[str, str]) -> Iterator[str]:
    """Removes what changes numbers from `variables`; yields each as a shell would write it."""
    for name, value in sorted(variables.items()):
        if name in OTHERS_LEFT_OUT or (name.startswith("JAX_") and not name.startswith(JAX_KEPT)):
            del variables[name]
            yield f"{name}={shlex.quote(value)}"
    try:
        given = shlex.split(variables.pop("XLA_FLAGS", ""))
    except ValueError:  # A quotation mark is not closed.
        given = []
    kept = [flag for flag in given if _may_stand(flag)]
    if kept:
        variables["XLA_FLAGS"] = shlex.join(kept)
    yield from (f"XLA_FLAGS={shlex.quote(flag)}" for flag in given if flag not in kept)


def _may_stand(flag: str) -> bool:
    name = flag.removeprefix("--").split("=")[0]
    return flag.startswith("--") and name.startswith(XLA_KEPT) and xla_knows(name)


def import_jax() -> None:
    """Imports JAX, which reads its settings at that moment.

    Raises:
        MachineError: If a setting has an invalid value.
    """
    try:
        import jax  # noqa: F401, PLC0415
    except ValueError as error:
        raise MachineError(f"JAX does not start here: {error}; unset that variable") from error


def start_jax() -> None:
    """Starts JAX on the devices that it is to use; a CPU device has one thread.

    Raises:
        MachineError: If there are no devices of the kind that the environment asks for, or several
            processes have met on CPUs of several threads: they cannot meet twice.
    """
    import jax  # noqa: PLC0415

    find_devices()
    if jax.default_backend() == "cpu" and threads() > 1:
        if jax.distributed.is_initialized():
            raise MachineError(
                "JAX computes on the CPU here, although software for an accelerator is installed;"
                " for several processes on CPUs set JAX_PLATFORMS=cpu"
            )
        from jax.extend import backend  # noqa: PLC0415

        use_one_thread()
        backend.clear_backends()
        find_devices()
    seal_compilations()


def share_accelerator() -> None:
    """Lets several processes have memory of one accelerator; call it before JAX starts.

    By default the first takes three quarters of it.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def use_cpu() -> None:
    """Makes JAX compute on the processor, whatever the environment says; before JAX starts."""
    import jax  # noqa: PLC0415

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_platform_name", "cpu")


def find_devices() -> None:
    """Lets JAX look for the devices that the environment asks for.

    Raises:
        MachineError: If there are none.
    """
    try:
        import jax  # noqa: PLC0415

        jax.devices()
    except (RuntimeError, ValueError, AssertionError, KeyError) as error:
        asked = {k: v for k, v in os.environ.items() if k.startswith("JAX_PLATFORM") and v}
        said = one_line(error).split(" (")[0] or "no such device"
        named = ", ".join(f"{name}={value}" for name, value in asked.items())
        remedy = f"with {named}: unset it, or set JAX_PLATFORMS=cpu" if asked else "see JAX_*"
        raise MachineError(f"JAX does not start here ({said}); {remedy}") from error


def use_one_thread() -> None:
    """Makes each CPU device compute with one thread; call it before JAX starts.

    XLA compiles sums over a batch differently for one thread and for several, and the last bits
    differ. All trials have one, so that their numbers do not depend on what runs beside them. More
    cores are used by more trials side by side, or by more devices (JAX_NUM_CPU_DEVICES).
    """
    os.environ[THREADS] = "1"


def seal_compilations() -> None:
    """Makes JAX notice a damaged compilation, and use none made for another processor."""
    info = processor.read_info()
    kind = f"{processor.model(info)}, {info.get('flags', '')}, {threads()} threads"
    compilations.seal_cache(kind)


def threads() -> int:
    """Number of threads that a CPU device computes with."""
    return int(os.environ.get(THREADS) or usable_cores())


def computes_on_cpu() -> bool:
    """Whether JAX will find no accelerator, whose host would need several threads."""
    if os.environ.get("JAX_PLATFORMS", "").lower() == "cpu":
        return True
    plugins = metadata.entry_points(group="jax_plugins")
    return not plugins and importlib.util.find_spec("libtpu") is None


def jax_has_started() -> bool:
    """Whether JAX has started on its devices in this process, and so has threads."""
    from jax._src import xla_bridge  # noqa: PLC0415

    return xla_bridge.backends_are_initialized()


def xla_knows(flag: str) -> bool:
    """Whether the installed XLA has this flag; an unknown one would end the process."""
    spec = importlib.util.find_spec("jaxlib")
    if spec is None or spec.origin is None:
        return False
    library = Path(spec.origin).parent / "libjax_common.so"
    try:
        with (
            library.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code,
        ):
            return code.find(b"\0" + flag.encode() + b"\0") >= 0
    except OSError:
        return False


def silence_orbax() -> None:
    """Keeps Orbax from logging every file, and from printing errors again that it raises.

    Of several arrays that cannot be written it raises the error of one, and leaves the others' to
    asyncio, which may print them when the process ends.
    """
    absl_logging.set_verbosity(absl_logging.FATAL)
    abandoned = "Task exception was never retrieved"
    logging.getLogger("asyncio").addFilter(
        lambda record: not record.getMessage().startswith(abandoned)
    )
    show = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if (
            str(unraisable.exc_value) != "Event loop is closed"
        ):  # It comes from the thread of an abandoned write.
            show(unraisable)

    sys.unraisablehook = hook


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
