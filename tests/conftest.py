"""Strict by default: shapes are checked, ranks are never promoted silently, warnings are errors."""

import os
import shutil
import tempfile

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
# Many tests compile the same; a folder of this process alone, for JAX does not write it atomically.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="xla-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

import jax
import pytest
from jaxtyping import install_import_hook

install_import_hook("src", "beartype.beartype")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="module", autouse=True)
def no_data_of_other_tests():
    """Many tests call their images `tiny`: what a process has loaded by that name is let go."""
    from src import worker  # noqa: PLC0415  (under the hook above)

    worker._program.cache_clear()
    worker._dataset.cache_clear()


def pytest_unconfigure():
    shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
