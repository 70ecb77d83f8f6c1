"""What is set before JAX starts, in processes of its own."""

import os
import subprocess
import sys

import pytest

from src import environment

FLAG = "--xla_cpu_experimental_ynn_fusion_type"


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "XLA_FLAGS": ""})


def test_a_flag_xla_does_not_know_is_not_set():
    assert not environment._xla_knows("xla_no_such_flag_there_is")
    assert environment._xla_knows("xla_cpu_multi_thread_eigen")  # as old as XLA's CPU backend


def test_flags_already_set_stand(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_cpu_enable_fast_math=false {FLAG}=individual_dot")
    environment.convolve_on_all_threads()
    assert os.environ["XLA_FLAGS"] == f"--xla_cpu_enable_fast_math=false {FLAG}=individual_dot"


def test_a_study_computes_the_same_in_one_process_or_several(monkeypatch):
    """Whatever the workers: a study may go on with another number of them."""
    environment.configure_jax()
    alone = os.environ["XLA_FLAGS"]
    environment.use_one_thread()
    assert os.environ["XLA_FLAGS"] == alone
    assert os.environ["PJRT_NPROC"] == "1"


def test_jax_starts_with_what_is_set():
    """An unknown flag would end the process."""
    code = (
        "from src import environment; environment.convolve_on_all_threads();"
        " import jax; jax.devices()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
