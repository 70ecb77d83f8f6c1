"""What every command says of a mistake: one line, never a traceback."""

import errno
import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src import doors
from src.data import DataError
from src.errors import LabError
from src.paths import local_path
from src.records.files import RecordError
from src.records.locks import InUseError
from src.study.question import StudyError

pytestmark = pytest.mark.usefixtures("in_process")
ROOT = Path(__file__).parent.parent
DOORS = [path.stem for path in (ROOT / "src").glob("*.py") if "__main__" in path.read_text()]
# Each in an environment of its own: door, variables, and what its one line says. Both doors start
# JAX and then look for their trial, so that whoever is told of it had nothing else to refuse.
ENVIRONMENTS = {
    "a notebook, numbers, flags, values that are none, warnings as errors": (
        "src.paper_figures",
        {
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "JAX_ENABLE_X64": "perhaps",
            "JAX_TRANSFER_GUARD": "never",
            "JAX_DEBUG_NANS": "1",
            "JAX_DISABLE_JIT": "1",
            "XLA_FLAGS": "--xla_cpu_enable_fast_math=true --no_such_flag",
            "PYTHONWARNINGS": "error",
        },
        "nowhere",
    ),
    "another backend, half a quotation, no such device": (
        "src.evaluate",
        {"MPLBACKEND": "GTK4Agg", "XLA_FLAGS": "'--xla", "JAX_PLATFORMS": "cuda"},
        "JAX_PLATFORMS=cuda",
    ),
    "a count that is none": (
        "src.paper_figures",
        {"JAX_NUM_CPU_DEVICES": "many"},
        '"many" for JAX flag jax_num_cpu_devices',
    ),
    "a file of flags, an older name": (
        "src.evaluate",
        {"XLA_FLAGS": "flags.txt", "JAX_PLATFORM_NAME": "gpu"},
        "JAX_PLATFORM_NAME=gpu",
    ),
}


@pytest.mark.parametrize("kind", [LabError, DataError, RecordError, InUseError, StudyError])
def test_every_refusal_is_one_line(kind, capsys):
    def main(argv):
        raise kind("study.json\nis damaged")

    assert doors.run(main, []) == doors.REFUSED
    assert capsys.readouterr().err == "error: study.json is damaged\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x/.lock"), "Permission denied: /x/"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "fewer --config.workers"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "fewer --config.workers"),
        (RuntimeError("can't start new thread"), "fewer --config.workers"),
        (
            MemoryError(),
            "out of memory; end other programs, or give a study fewer --config.workers",
        ),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "is not UTF-8"),
        (RuntimeError("RESOURCE_EXHAUSTED: Failed\nto allocate"), "--config.batch_size"),
        (RuntimeError("INTERNAL: Out of memory while trying"), "--config.batch_size"),
        (RuntimeError("Worker process was terminated unexpectedly with exit code -7"), "/dev/shm"),
        (RuntimeError("Unable to initialize backend 'cuda': none"), "JAX_PLATFORMS=cpu"),
    ],
)
def test_what_a_machine_lacks_is_one_line(error, words, capsys):
    def main(argv):
        raise error

    assert doors.run(main, []) == doors.REFUSED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line
    assert ("a study" in line) == ("--config" in line)  # Other commands have no such flags.


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        doors.run(lambda argv: 1 // len(argv), [])


def test_ctrl_c_is_no_traceback(capsys):
    def main(argv):
        raise KeyboardInterrupt

    assert doors.run(main, []) == doors.STOPPED
    assert capsys.readouterr().err == "Stopped.\n"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("argument", ["", "-h", "--help"])
def test_every_command_says_how_it_is_used(door, argument, capsys):
    if door == "networks" and not argument:
        return  # It lists them all.
    try:
        code = doors.run(importlib.import_module(f"src.{door}").main, argument.split())
    except SystemExit as left:  # argparse's
        code = left.code
    said = capsys.readouterr()
    if argument:
        assert (code, said.err) == (0, "") and said.out
    else:
        assert code == doors.REFUSED and "error: " in said.err.splitlines()[-1]


def test_a_command_looks_for_reference_cycles_less_often_than_python_would():
    usual = gc.get_threshold()
    gc.set_threshold(700)
    try:
        assert doors.run(lambda _: gc.get_threshold()[0], []) == 10_000
    finally:
        gc.set_threshold(*usual)


def test_a_reader_that_leaves_is_no_traceback(monkeypatch):
    """`| head` ends when it has its lines."""
    left, writes = os.pipe()
    os.close(left)
    with open(writes, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert doors.run(lambda argv: print("a line") or 0, []) == doors.PIPE_CLOSED


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full disk for tests")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_the_standard_output_is_one_line(unbuffered):
    words, environment = "many words " * 10, {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    code = f"import sys; from src import doors; sys.exit(doors.run(lambda _: print({words!r}), []))"
    with open("/dev/full", "wb") as full:
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True,
            env=environment, check=False,
        )  # fmt: skip
    said = [line for line in run.stderr.splitlines() if not line.startswith("note: ")]
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert run.returncode == 2


def test_a_folder_that_is_gone_is_one_line(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert doors.run(lambda _: len(str(local_path("w"))), []) == doors.REFUSED
    assert "error: the folder that this was started in is gone" in capsys.readouterr().err


@pytest.mark.slow
def test_a_process_without_streams_runs_and_no_file_takes_their_place(tmp_path):
    """As services, GUIs and cron start one: all three closed."""
    program = """
import os, sys
from src import doors
doors.environment.import_jax = lambda: None
def main(argv):
    print("to nowhere", file=sys.stderr)
    with open(argv[0], "w") as file:
        os.write(1, b"what a library prints")
        file.write(str(file.fileno()))
    return 7
sys.exit(doors.run(main, sys.argv[1:]))
"""
    path = tmp_path / "file"
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program, str(path)],
        cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 7
    assert int(path.read_text()) > 2


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_environment_ends_in_a_traceback(environment, tmp_path):
    door, variables, said = ENVIRONMENTS[environment]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-m", door, "nowhere/trials/trial"],
        cwd=tmp_path, env=kept | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert done.returncode == doors.REFUSED, done.stderr
    assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0], done.stderr
