"""Strict by default: shapes are checked, ranks are never promoted silently, warnings are errors."""

import contextlib
import functools
import gc
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from unittest import mock

# Of this process alone: the user's own stays as it is.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="tests-")
# What a user's shell says to JAX and Python is for other work: here it would fail tests.
OTHERS = ("NPROC", "NVIDIA_TF32_OVERRIDE", "PYTHONWARNINGS", "PYTHONDEVMODE")
for variable in [*os.environ]:
    if variable.startswith(("JAX_", "XLA_", "PJRT_")) or variable in OTHERS:
        del os.environ[variable]
os.environ |= {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
# Tests start many processes, which need not all compile src/ again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Many tests compile the same, and Matplotlib lists the fonts, once for all processes of a run:
# xdist's inherit the first one's.
SHARED = Path(os.environ.setdefault("TESTS_SHARED", os.environ["XDG_CACHE_HOME"]))
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(SHARED / "xla")
os.environ["MPLCONFIGDIR"] = str(SHARED / "fonts")
(SHARED / "fonts").mkdir(exist_ok=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.02"

import jax
import pytest
from beartype import BeartypeConf
from beartype.claw import beartype_package
from jax._src import compiler
from jaxtyping import install_import_hook

gc.disable()  # Until all is imported; from then on it looks as seldom as in src.
gc.set_threshold(10_000)

# A shell starts what runs in the background deaf to Ctrl-C, and nohup to SIGHUP; tests send both.
for number, action in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, action)

# Where no shapes are named beartype alone checks the types: jaxtyping takes longer for each call.
# beartype also checks the fields of NamedTuples, and a Split holds other things at times.
SOURCE, CONFIGS = (Path(__file__).parents[1] / name for name in ("src", "configs"))
SHAPED = [path for path in SOURCE.rglob("*.py") if "jaxtyping" in path.read_text(encoding="utf-8")]
SHAPED.append(SOURCE / "data" / "dataset.py")
install_import_hook(
    [".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in SHAPED],
    "beartype.beartype",
)
beartype_package("src", conf=BeartypeConf(claw_is_pep526=False, violation_type=TypeError))
jax.config.update("jax_numpy_rank_promotion", "raise")

from src import environment  # under the hook

environment.seal_compilations()  # JAX does not write atomically: what is half there does not count


@pytest.fixture(scope="module", autouse=True)
def nothing_of_other_tests():
    """Drops what a process has loaded and compiled for the tests of another file.

    Many call their images `tiny`, and their own config file `mine`. Compiled programs stay mapped
    into memory as long as JAX keeps them, and Linux kills a process of 65,530 mappings: a long
    suite had that many.
    """
    from src.study import worker  # noqa: PLC0415  (under the hook above)

    worker._program.cache_clear()
    worker._dataset.cache_clear()
    jax.clear_caches()
    for name, module in [*sys.modules.items()]:
        place = getattr(module, "__file__", None)
        if name.startswith("configs.") and place and not Path(place).is_relative_to(CONFIGS):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def environment_as_before():
    """A command that is run in this process sets its environment; the next test has another."""
    with mock.patch.dict(os.environ):
        yield


EMITTERS = "xla_cpu_use_fusion_emitters"
make_options = compiler.get_compile_options


def make_options_fast(*arguments, **named):
    """What JAX asks of XLA: LLVM's least effort, and the older emitters, which write less code."""
    options = make_options(*arguments, **named)
    options.env_option_overrides = [*options.env_option_overrides, (EMITTERS, False)]
    return options


@functools.cache
def has_older_emitters():
    """Whether the installed XLA can be asked for them: that of JAX 0.12 cannot."""
    try:
        jax.jit(lambda: 0, compiler_options={EMITTERS: False})()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def compile_fast(fast):
    jax.config.update("jax_disable_most_optimizations", fast)
    older = fast and has_older_emitters()
    compiler.get_compile_options = make_options_fast if older else make_options


@pytest.fixture
def compiled_fast():
    """Serves tests that compile long and compute little."""
    compile_fast(True)
    yield
    compile_fast(False)


@pytest.fixture(scope="module")
def compiled_alike():
    """Serves files of tests that compile long: all functions have the same, few optimizations."""
    compile_fast(True)
    yield
    compile_fast(False)


@pytest.fixture
def compiled_well():
    """Serves a test, in such a file, of what only whole optimization does."""
    compile_fast(False)
    yield
    compile_fast(True)


@pytest.fixture
def float64():
    """Serves tests that compare with arithmetic in double precision."""
    with jax.enable_x64(True):
        yield


def devices_of_a_file(count: int):
    """Serves files whose tests claim nothing of devices: eight wait for one another."""

    @pytest.fixture(scope="module")
    def few_devices():
        devices = jax.devices()[:count]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jax, "devices", lambda: devices)
            yield

    return few_devices


one_device, two_devices = devices_of_a_file(1), devices_of_a_file(2)


@pytest.fixture
def in_process(monkeypatch):
    """Serves tests that run a command here: what it would set for its process stays as it is."""
    for name in ("configure_jax", "silence_orbax", "start_jax"):
        monkeypatch.setattr(environment, name, lambda: None)


@pytest.fixture
def killed_after(monkeypatch):
    """Serves tests of what is cut short: the command ends when so many files are in their place."""

    @contextlib.contextmanager
    def killed(number):
        left = [os.replace] * number

        def put(*paths):
            left.pop()(*paths)

        with monkeypatch.context() as patch, pytest.raises(IndexError):
            patch.setattr(os, "replace", put)
            yield

    return killed


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Serves tests that look at what is kept between two starts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    """Serves a file of tests that look at what is kept, and may share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory):
    """The folder of a finished study of ReLU against tanh, made of arithmetic."""
    from tests import synthetic  # noqa: PLC0415  (under the hook above)

    path = tmp_path_factory.mktemp("study")
    synthetic.write_study(path)
    return path


def pytest_collection_modifyitems(items):
    """The slow ones first, so that none of them is left to the end alone."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish():
    """What is imported by now stays until the end: the garbage collector need not look at it."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)
