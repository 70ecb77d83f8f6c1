"""The one front door of every command: what a person or a machine did wrong is said in one line."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence

from src import environment
from src.errors import LabError, one_line

# What asks a command to end: Ctrl-C, a scheduler, a terminal that is closed; batch systems send the
# last three some time before the limit (Slurm's --signal=USR1@120, Grid Engine's -notify).
SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
REFUSED, STOPPED, PIPE_CLOSED = 2, 130, 141  # exit codes; the last as a shell says SIGPIPE


def run(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Runs a command in an environment in which JAX and Matplotlib start; its exit code.

    Args:
        main: Imports whatever needs JAX or Matplotlib itself: the environment is set before it.
        argv: The command line, without the name of the program.
    """
    _open_streams()
    for stream in (sys.stdout, sys.stderr):  # a terminal that is not UTF-8 still shows the line
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    environment.configure_jax()
    environment.silence_orbax()
    try:
        environment.import_jax()
        code = main(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe has gone, as `| head` does
        _leave_stdout()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return STOPPED
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        try:
            sys.stdout.flush()
        except OSError as full:  # Python would try again at its end, and say so.
            _leave_stdout()
            return refuse(f"standard output cannot be written: {full.strerror}")
        return refuse(line)


def _leave_stdout() -> None:
    """What is still to be written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_streams() -> None:
    """Gives a process that was started without them its three streams, to and from nowhere.

    Else a file that is opened later has the number of one, and what libraries print goes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, number)  # Workers inherit this number, as they do not `nowhere`.
            if nowhere != number:
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8"))


def refuse(message: str) -> int:
    """Says what is wrong, in one line; the exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return REFUSED


def explain(error: Exception) -> str | None:
    """One line for what a person can mend; None for a fault of ours, which keeps its traceback."""
    if isinstance(error, LabError):
        return str(error)
    if isinstance(error, OSError):
        return _explain_os(error)
    if isinstance(error, MemoryError):
        return "out of memory: fewer --config.workers, a smaller batch or fewer images need less"
    if isinstance(error, UnicodeError):
        return f"text that is no UTF-8 ({error}); save the file as UTF-8"
    if isinstance(error, RuntimeError):
        return _explain_runtime(str(error))
    return None


def _explain_os(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    if error.errno == errno.ENOENT and not where and _is_started_nowhere():
        return "the folder that this was started in is gone; start it in one that is there"
    if error.errno == errno.ENOMEM:
        where += "; fewer --config.workers or a smaller batch need less"
    return f"{error.strerror or error}{where}; what was complete stays complete"


def _is_started_nowhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _explain_runtime(text: str) -> str | None:
    """Words of libraries that have no type of their own for what a machine lacks."""
    line = one_line(text)
    if "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
        return f"out of memory on the device ({line}); a smaller --config.batch_size needs less"
    if "Worker process was terminated unexpectedly" in text:
        return (
            f"{line}: a process that decodes images was killed, most often because /dev/shm is too"
            " small (in a container: docker run --shm-size=1g)"
        )
    if "Unable to initialize backend" in text or "Unknown backend" in text:
        return f"{line}; unset JAX_PLATFORMS, or set JAX_PLATFORMS=cpu"
    return None
