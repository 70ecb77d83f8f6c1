"""JAX's cache of compiled programs is used as it was written, or not at all."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jax._src.lru_cache import LRUCache

from src.compilations import SealedCache

ROOT = Path(__file__).parent.parent
CODE = """
from src import compilations
compilations.seal_cache("this processor")
import jax, jax.numpy as jnp, numpy as np
step = jax.jit(lambda x: jnp.tanh(x @ x).sum())
print(float(step(np.eye(8, dtype=np.float32))))
"""


@pytest.fixture
def cache(tmp_path: Path) -> SealedCache:
    return SealedCache(LRUCache(str(tmp_path), max_size=-1), tmp_path)


def test_what_was_put_comes_back(cache):
    assert cache.get("a") is None
    for content in (b"program", b"", bytes(1000)):
        cache.put(f"key{len(content)}", content)
        assert cache.get(f"key{len(content)}") == content


@pytest.mark.parametrize(
    "damage", ["flip", "cut", "empty", "zeros", "longer", "unsealed", "another"]
)
def test_what_is_not_as_it_was_put_is_made_again(cache, tmp_path, damage):
    content = bytes(range(256))
    path = tmp_path / "key-cache"
    cache.put("key", content)
    sealed = path.read_bytes()
    cache.put("other", b"another program")
    for position in range(0, len(sealed), 5) if damage == "flip" else (0,):
        damaged = bytearray(sealed)
        damaged[position] ^= 1 << position % 8
        found = {
            "flip": bytes(damaged), "cut": sealed[:-1], "empty": b"", "zeros": bytes(len(sealed)),
            "longer": sealed + b"\0", "unsealed": content,
            "another": (tmp_path / "other-cache").read_bytes(),
        }  # fmt: skip
        path.write_bytes(found[damage])
        assert cache.get("key") is None
        cache.put("key", content)
        assert cache.get("key") == content


@pytest.mark.slow
def test_jax_compiles_again_what_was_damaged(tmp_path):
    folder = tmp_path / "jax"
    folder.mkdir()
    (folder / "theirs-cache").write_bytes(b"of another program")
    first = run(folder)
    entries = sorted(folder.glob("sealed-*/*-cache"))
    assert entries
    for path in entries:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert run(folder) == first
    for path in entries:  # written anew
        key, content = path.name.removesuffix("-cache").encode(), path.read_bytes()
        assert content[-32:] == hashlib.sha256(key + b"\0" + content[:-32]).digest()
    assert run(folder) == first
    assert (folder / "theirs-cache").read_bytes() == b"of another program"


@pytest.mark.slow
def test_every_process_of_a_trial_keeps_what_it_has_compiled(tmp_path):
    other = "from jax._src import distributed\ndistributed.global_state.process_id = 1\n"
    first = run(tmp_path, other + CODE)
    entries = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sealed-*/*-cache")}
    assert entries
    assert run(tmp_path, other + CODE) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("sealed-*/*-cache")} == entries


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_costs_time_alone(tmp_path):
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file" / "jax") == run(tmp_path / "other")


def run(folder: Path, code: str = CODE) -> str:
    variables = {
        "JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout
