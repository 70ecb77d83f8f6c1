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
    environment.configure_jax()
    assert os.environ["XLA_FLAGS"] == f"--xla_cpu_enable_fast_math=false {FLAG}=individual_dot"


def test_one_thread_keeps_foreign_flags_and_drops_ours(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    environment.configure_jax()
    environment.use_one_thread()
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"
    assert os.environ["PJRT_NPROC"] == "1"


def test_jax_starts_with_what_is_set():
    """An unknown flag would end the process."""
    code = "from src import environment; environment.configure_jax(); import jax; jax.devices()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
