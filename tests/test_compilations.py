"""JAX's cache of compiled programs is used as it was written, or not at all."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jax._src import compilation_cache, compiler
from jax._src.lru_cache import LRUCache

from src import compilations
from src.compilations import SealedCache, Turn

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


def taking_turns(folder: Path) -> SealedCache:
    return SealedCache(LRUCache(str(folder), max_size=-1), folder, Turn())


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


def test_what_another_process_is_making_is_waited_for(tmp_path, monkeypatch):
    mine = taking_turns(tmp_path)
    others = taking_turns(tmp_path)
    assert others.get("key") is None  # It makes it now.

    def sleep(seconds: float) -> None:
        others.put("key", b"program")
        others.turn.end()

    monkeypatch.setattr(compilations.time, "sleep", sleep)
    assert mine.get("key") == b"program"


def test_what_another_process_did_not_make_is_made_by_one_of_those_who_waited(
    tmp_path, monkeypatch
):
    others, mine = (taking_turns(tmp_path) for _ in range(2))
    assert others.get("key") is None
    monkeypatch.setattr(compilations.time, "sleep", lambda seconds: others.turn.end())
    assert mine.get("key") is None
    assert not list(tmp_path.iterdir())  # What it waited for was removed.


def test_a_process_that_does_not_go_on_is_not_waited_for_without_end(tmp_path, monkeypatch):
    others, mine = (taking_turns(tmp_path) for _ in range(2))
    assert others.get("key") is None
    slept: list[float] = []
    monkeypatch.setattr(compilations.time, "sleep", slept.append)
    monkeypatch.setattr(compilations.time, "monotonic", lambda: 100.0 * len(slept))
    assert mine.get("key") is None
    assert len(slept) == 6  # Ten minutes.


@pytest.mark.parametrize("fault", [OSError(37, "No locks available"), PermissionError(13, "no")])
def test_a_disk_without_locks_keeps_programs_too(tmp_path, monkeypatch, fault):
    def refuse(*_: object) -> None:
        raise fault

    monkeypatch.setattr(compilations.fcntl, "flock", refuse)
    cache = taking_turns(tmp_path)
    assert cache.get("key") is None
    cache.put("key", b"program")
    cache.turn.end()
    assert [path.name for path in tmp_path.glob("*-turn")] == []
    assert cache.get("key") == b"program"


@pytest.mark.parametrize(("platform", "waits"), [("cpu", True), ("gpu", False)])
def test_processes_with_an_accelerator_do_not_wait_for_one_another(
    tmp_path, monkeypatch, platform, waits
):
    """They may compile one program together."""
    monkeypatch.setattr(compilation_cache, "get_file_cache", lambda path: (None, path))
    monkeypatch.setattr(compiler, "compile_or_get_cached", lambda: None)
    monkeypatch.setattr(compiler, "_cache_write", compiler._cache_write)
    monkeypatch.setattr("jax.default_backend", lambda: platform)
    compilations.seal_cache("this processor")
    cache, _ = compilation_cache.get_file_cache(str(tmp_path))
    assert (cache.turn is not None) == waits


@pytest.mark.slow
def test_a_program_is_locked_while_it_is_compiled_and_no_longer(tmp_path):
    code = """
import os
from jax._src import compiler
from pathlib import Path
folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
original = compiler.backend_compile_and_load

def compile(*args, **options):
    found.append(len(list(folder.glob("sealed-*/*-turn"))))
    return original(*args, **options)

found, compiler.backend_compile_and_load = [], compile
"""
    after = "print(found, list(folder.rglob('*-turn')))"
    assert run(tmp_path, code + CODE + after).splitlines()[-1] == "[1] []"


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
    assert float(run(tmp_path / "file" / "jax")) == pytest.approx(8 * math.tanh(1), rel=1e-6)


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
