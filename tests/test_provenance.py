"""What the records say of code and machine."""

import os
import subprocess
from pathlib import Path

import pytest

from src import processor
from src.records import provenance

# The first entries of /proc/cpuinfo of two machines.
X86 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7B13
stepping\t: 0
flags\t\t: fpu sse4_1 sse4_2 avx avx2 sha_ni

processor\t: 1
model name\t: another
"""
ARM = """\
processor\t: 0
Features\t: fp asimd evtstrm aes
CPU implementer\t: 0x41
CPU part\t: 0xd0c
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "src").mkdir(parents=True)
    (root / "src" / "code.py").write_text("1\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    return root


def git(root: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(root), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("folder", ["src", "configs"])
def test_the_commit_is_that_of_the_code(repository, folder):
    head = git(repository, "rev-parse", "HEAD")
    assert provenance.commit(repository) == head[:10]
    (repository / "notes").write_text("beside the code")
    assert provenance.commit(repository) == head[:10]
    (repository / folder).mkdir(exist_ok=True)
    (repository / folder / "new.py").write_text("2\n")
    assert provenance.commit(repository) == f"{head[:10]}-dirty"


def test_no_other_repository_lends_its_commit(repository, tmp_path, monkeypatch):
    head = git(repository, "rev-parse", "HEAD")[:10]
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    git(other, "commit", "--quiet", "--allow-empty", "-m", "other")
    unpacked = other / "unpacked"
    (unpacked / "src").mkdir(parents=True)
    assert provenance.commit(unpacked) == "unknown"
    # as in a hook, `rebase --exec` or `bisect run`
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert provenance.commit(repository) == head
    assert provenance.commit(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", "")  # no git at all
    assert provenance.commit(repository) == "unknown"


def test_the_commit_of_a_worktree_a_clone_and_a_detached_head(repository, tmp_path):
    head = git(repository, "rev-parse", "HEAD")[:10]
    beside = tmp_path / "beside"  # its .git is a file
    git(repository, "worktree", "add", "--quiet", "--detach", str(beside))
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    for root in (beside, tmp_path / "shallow"):
        assert provenance.commit(root) == head
        (root / "src" / "code.py").write_text("changed\n")
        assert provenance.commit(root) == f"{head}-dirty"


def test_a_repository_in_a_folder_whose_name_is_no_utf8(repository):
    other = Path(os.fsdecode(bytes(repository) + b"\xe9"))
    repository.rename(other)
    (other / "src" / os.fsdecode(b"\xe9.py")).write_text("2\n")
    git(other, "config", "core.quotePath", "false")
    assert provenance.commit(other) == f"{git(other, 'rev-parse', 'HEAD')[:10]}-dirty"


def test_what_is_committed_while_a_process_runs_is_not_its_code(monkeypatch):
    heads = ["before"]
    monkeypatch.setattr(provenance, "commit", lambda: heads[-1])
    provenance.loaded_commit.cache_clear()
    try:
        assert provenance.loaded_commit() == "before"
        heads.append("after")
        assert provenance.machine().commit == "before"
    finally:
        provenance.loaded_commit.cache_clear()


def test_a_repository_without_a_commit_has_none(tmp_path):
    (tmp_path / "src").mkdir()
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    assert provenance.commit(tmp_path) == "unknown"


@pytest.mark.parametrize(
    ("text", "model", "vectors"),
    [
        (X86, "AMD EPYC 7B13 (family 25, model 1, stepping 0)", "avx2"),
        (X86.replace("avx2", "avx2 avx512f"), "AMD EPYC 7B13 (family 25, model 1, stepping 0)",
         "avx512"),
        (ARM, "aarch64 (implementer 0x41, part 0xd0c)", "neon"),
        ("", "aarch64", "unknown"),
    ],
)  # fmt: skip
def test_a_processor_is_told_from_others_of_its_name(tmp_path, monkeypatch, text, model, vectors):
    path = tmp_path / "cpuinfo"
    if text:
        path.write_text(text)
    monkeypatch.setattr(processor, "CPUINFO", path)
    monkeypatch.setattr(processor.platform, "processor", lambda: "")
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    info = processor.read_info()
    assert (processor.model(info), processor.vectors(info)) == (model, vectors)


def test_what_decides_last_bits_is_recorded(monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=0")
    found = provenance.machine()
    assert (found.threads, found.xla_flags) == ("1", "--xla_gpu_autotune_level=0")
    monkeypatch.delenv("XLA_FLAGS")
    assert provenance.machine().xla_flags == "none"
    assert set(vars(found)) <= set(provenance.provenance())
