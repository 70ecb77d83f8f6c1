"""The front door of every command: faults of a person or a machine are said in one line."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence

from src import environment
from src.errors import LabError, one_line

# Signals that ask a command to end: Ctrl-C, a scheduler's, a closed terminal's. Batch systems send
# the last three some time before their limit (Slurm's --signal=USR1@120, Grid Engine's -notify).
SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
REFUSED, STOPPED, PIPE_CLOSED = 2, 130, 141  # Exit codes; the last is a shell's for SIGPIPE.
# Remedies for every command; only a study has these fields.
FEWER = "end other programs, or give a study fewer --config.workers"
SMALLER = f"{FEWER} or a smaller --config.batch_size"


def run(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Runs a command, in an environment in which JAX and Matplotlib start.

    Args:
        main: The command. It imports JAX and Matplotlib itself, after the environment is set.
        argv: The command line, without the name of the program.

    Returns:
        The exit code.
    """
    environment.collect_seldom()
    _open_streams()
    for stream in (sys.stdout, sys.stderr):  # Terminals without UTF-8 then show every line too.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    environment.configure_jax()
    environment.silence_orbax()
    try:
        environment.import_jax()
        code = main(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # The reader of a pipe has left, as `| head` does.
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
        except OSError as full:  # Python would try again at exit, and print that.
            _leave_stdout()
            return refuse(f"standard output cannot be written: {full.strerror}")
        return refuse(line)


def _leave_stdout() -> None:
    """Discards what is still to be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_streams() -> None:
    """Opens /dev/null for standard streams that the process was started without.

    Otherwise a file that is opened later takes the number of one, and what libraries print would go
    into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, number)  # Workers inherit `number`, but not `nowhere`.
            if nowhere != number:
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8"))


def refuse(message: str) -> int:
    """Prints what is wrong in one line, and returns the exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return REFUSED


def explain(error: Exception) -> str | None:
    """One line for an error that a person can mend; None for a bug, which keeps its traceback."""
    if isinstance(error, LabError):
        return str(error)
    if isinstance(error, OSError):
        return _explain_os(error)
    if isinstance(error, MemoryError):
        return f"out of memory; {SMALLER}"
    if isinstance(error, UnicodeError):
        return f"a text is not UTF-8 ({error}); save the file as UTF-8"
    if isinstance(error, RuntimeError):
        return _explain_runtime(str(error))
    return None


def _explain_os(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    if error.errno == errno.ENOENT and not where and _is_started_nowhere():
        return "the folder that this was started in is gone; start it in one that is there"
    if error.errno == errno.ENOMEM:
        where += f"; {SMALLER}"
    if error.errno == errno.EAGAIN:  # No more processes: `ulimit -u`, or a container's limit.
        where += f"; {FEWER}"
    return f"{error.strerror or error}{where}; what was complete stays complete"


def _is_started_nowhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _explain_runtime(text: str) -> str | None:
    """One line for errors of libraries that raise RuntimeError for what a machine lacks."""
    line = one_line(text)
    if "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
        return f"out of memory on the device ({line}); {SMALLER}"
    if "can't start new thread" in text:
        return f"{line}; {FEWER}"
    if "Worker process was terminated unexpectedly" in text:
        return (
            f"{line}: a process that decodes images was killed, most often because /dev/shm is too"
            " small (in a container: docker run --shm-size=1g)"
        )
    if "Unable to initialize backend" in text or "Unknown backend" in text:
        return f"{line}; unset JAX_PLATFORMS, or set JAX_PLATFORMS=cpu"
    return None
