"""What is set before JAX starts, in processes of its own."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.speed import measure
from src import environment
from tests.torture.clusters import free_port

ROOT = Path(__file__).parent.parent
FLAG = "--xla_cpu_experimental_ynn_fusion_type"


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "XLA_FLAGS": ""})


def test_a_flag_xla_does_not_know_is_not_set():
    assert not environment.xla_knows("xla_no_such_flag_there_is")
    assert environment.xla_knows("xla_cpu_multi_thread_eigen")  # as old as XLA's CPU backend


def test_flags_already_set_stand(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_cpu_enable_fast_math=false {FLAG}=individual_dot")
    measure.convolve_on_all_threads()
    assert os.environ["XLA_FLAGS"] == f"--xla_cpu_enable_fast_math=false {FLAG}=individual_dot"


@pytest.mark.parametrize("known", [True, False])
def test_convolutions_take_all_threads_where_xla_has_a_flag_for_it(monkeypatch, known):
    monkeypatch.setattr(environment, "xla_knows", lambda flag: known)
    os.environ.update(XLA_FLAGS="--xla_dump_to=x", PJRT_NPROC="1")
    measure.convolve_on_all_threads()
    added = f" {FLAG}=-individual_convolution" if known else ""
    assert os.environ["XLA_FLAGS"] == f"--xla_dump_to=x{added}"
    assert "PJRT_NPROC" not in os.environ


def test_what_changes_numbers_is_left_out_and_said(capsys):
    kept = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "JAX_LOGGING_LEVEL": "INFO"}
    flags = "--xla_force_host_platform_device_count=2 --xla_dump_to='/tmp/a b'"
    pinned = {
        "JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_NO_SUCH_SETTING": "x y",
        "PJRT_NPROC": "7", "NVIDIA_TF32_OVERRIDE": "1",
    }  # fmt: skip
    os.environ.clear()
    os.environ.update(kept | pinned)
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_enable_fast_math=true --xla_gpu_no_such=1"
    environment.configure_jax()
    left = {k: v for k, v in os.environ.items() if k in kept | pinned and k != "PJRT_NPROC"}
    assert left == kept
    assert os.environ["XLA_FLAGS"].split(" ", 1)[0] == flags.split(" ", 1)[0]
    assert "fast_math" not in os.environ["XLA_FLAGS"]
    assert "no_such" not in os.environ["XLA_FLAGS"]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(pinned) + 2
    assert "note: JAX_NO_SUCH_SETTING='x y' of the environment is left out" in "\n".join(said)
    environment.configure_jax()
    assert not capsys.readouterr().err


@pytest.mark.parametrize("flags", ["'--xla_dump_to=x", "flags.txt", "xla_dump_to", "--xla_dump"])
def test_flags_that_are_none_do_not_end_the_process(flags):
    os.environ["XLA_FLAGS"] = flags
    environment.configure_jax()
    assert not os.environ.get("XLA_FLAGS")


def test_a_date_that_numpy_cannot_read_is_left_out():
    os.environ["SOURCE_DATE_EPOCH"] = "x"
    environment.configure_jax()
    assert "SOURCE_DATE_EPOCH" not in os.environ


def test_threads_are_one_wherever_a_trial_runs(monkeypatch, capsys):
    """Whatever the workers, and whatever the shell says: their number changes last bits."""
    monkeypatch.setattr(environment, "computes_on_cpu", lambda: True)
    os.environ["PJRT_NPROC"] = "4"
    environment.configure_jax()
    assert "PJRT_NPROC=4 of the environment is left out" in capsys.readouterr().err
    assert os.environ["PJRT_NPROC"] == "1" and environment.threads() == 1


@pytest.fixture
def plugin(tmp_path) -> Path:
    """A folder for Python's path with software for an accelerator that this machine lacks."""
    about = tmp_path / "fake-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fake\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[jax_plugins]\nfake = fake_plugin\n")
    (tmp_path / "fake_plugin.py").write_text("def initialize(): pass\n")
    return tmp_path


@pytest.mark.parametrize(("platforms", "known"), [("cpu", True), ("CPU", True), ("", False)])
def test_software_for_an_accelerator_counts_unless_the_cpu_is_asked_for(
    plugin, platforms, known, monkeypatch
):
    monkeypatch.syspath_prepend(plugin)
    os.environ["JAX_PLATFORMS"] = platforms
    assert environment.computes_on_cpu() == known


@pytest.mark.slow
@pytest.mark.parametrize("platforms", ["", "cpu"])
def test_processes_that_have_met_on_cpus_of_several_threads_are_refused(plugin, platforms):
    """They could not meet again; where the CPU is asked for, one thread is settled before."""
    code = f"""
import jax
from src import environment, hosts

environment.configure_jax()
environment.usable_cores = lambda: 2
hosts.join("127.0.0.1:{free_port()},1,0")
environment.start_jax()
print(environment.threads())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "JAX_PLATFORMS": platforms, "PYTHONPATH": str(plugin)},
    )  # fmt: skip
    assert done.stdout == ("1\n" if platforms else ""), done.stderr
    assert ("for several processes on CPUs set JAX_PLATFORMS=cpu" in done.stderr) == (not platforms)


@pytest.mark.slow
def test_processes_that_share_an_accelerator_do_not_take_all_its_memory():
    """One worker, then two: what JAX would find in the environment where it is to start."""
    code = """
import os
from jax._src import xla_bridge
from src import environment, laboratory

def start_jax():
    print(os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE"), xla_bridge.backends_are_initialized())
    raise InterruptedError

environment.start_jax = start_jax
for workers in (1, 2):
    try:
        laboratory.main(["--config=configs/quick.py", f"--config.workers={workers}"], "")
    except InterruptedError:
        pass
"""
    variables = {k: v for k, v in os.environ.items() if k != "XLA_PYTHON_CLIENT_PREALLOCATE"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(
        command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["None False", "false False"], done.stderr


def test_warnings_that_a_shell_makes_errors_stay_warnings():
    """In the process itself, where a library warns, and in those that it starts."""
    code = (
        "import os, warnings; from src import environment; environment.configure_jax();"
        " warnings.warn('old', DeprecationWarning); print(os.environ.get('PYTHONWARNINGS'))"
    )
    variables = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=variables, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


@pytest.mark.slow
def test_jax_starts_with_what_is_set():
    """An unknown flag would end the process."""
    code = (
        "from experiments.speed import measure; measure.convolve_on_all_threads();"
        " import jax; jax.devices()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["JAX_PLATFORMS=cuda", "JAX_PLATFORMS=tpu,cpu,no_such"])
def test_devices_that_are_not_there_are_said_in_one_line(asked):
    code = "from src import environment; environment.start_jax()"
    name, value = asked.split("=")
    variables = {**os.environ, name: value}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1].startswith("src.environment.MachineError: JAX does not")
    assert f"with {asked}: unset it, or set JAX_PLATFORMS=cpu" in done.stderr.splitlines()[-1]


ABANDONED = """
import asyncio, sys
from src import environment

async def fail():
    await asyncio.sleep(0)
    raise ValueError("the disk is full")

async def save():
    tasks = [asyncio.create_task(fail()) for _ in range(3)]
    try:
        await tasks[0]
    except ValueError as error:
        print(error)

{first}
asyncio.run(save())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("first", "quiet"), [("environment.silence_orbax()", True), ("", False)])
def test_of_several_writes_that_fail_one_is_said(first, quiet):
    run = subprocess.run(
        [sys.executable, "-c", ABANDONED.format(first=first)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stdout == "the disk is full\n"
    assert (run.stderr == "") == quiet, run.stderr


def test_no_text_is_read_or_written_by_the_locale():
    """Text files are UTF-8 whatever the shell says."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _by_locale(node):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found


def _by_locale(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    named = {keyword.arg for keyword in call.keywords}
    if name in ("read_text", "write_text"):
        texts = len(call.args) - (name == "write_text")
        return "encoding" not in named and texts < 1 and "files" not in ast.unparse(call.func)
    of = ast.unparse(call.func).rpartition(".")[0]
    if name not in ("open", "fdopen") or (of in ("os", "Image", "tarfile") and name == "open"):
        return False
    place = 0 if of and name == "open" else 1  # path.open(mode), open(path, mode)
    mode = ast.unparse(call.args[place]) if len(call.args) > place else "'r'"
    return "b" not in mode and "encoding" not in named
