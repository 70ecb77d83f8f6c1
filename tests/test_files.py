"""Files are whole or not written, locks are ours or refused, whatever lies in their way."""

import errno
import os
import shutil
import stat

import pytest

from src.records import files, locks
from src.records.files import RecordError
from src.records.locks import InUseError


def test_a_failed_write_leaves_the_old_file_and_says_why(tmp_path, monkeypatch):
    path = tmp_path / "results.csv"
    files.write_atomic(path, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"cannot write .*results\.csv: No space left on device"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["results.csv"]


# --- Files and locks of others. ---


@pytest.mark.parametrize(
    "name",
    [
        "thesis.tmp", "thesis.2024.tmp", "results.csv.tmp", "results.csv.2024.tmp.bak",
        "my-results.csv.9999999999.tmp", "results.csv.x.tmp", "results.csv.01.tmp",
    ],
)  # fmt: skip
def test_only_what_a_killed_writer_left_is_removed(tmp_path, name):
    (tmp_path / name).write_text("years of work")
    (tmp_path / "results.csv.9999999999.tmp").write_text("half")
    (tmp_path / "results.csv.9999999998.tmp").mkdir()
    (tmp_path / "results.csv.9999999997.tmp").symlink_to(tmp_path / name)
    (tmp_path / f"results.csv.{os.getppid()}.tmp").write_text("of a process at work")
    files.write_atomic(tmp_path / "results.csv", "new")
    assert (tmp_path / name).read_text() == "years of work"
    left = {path.name for path in tmp_path.iterdir()} - {name, "results.csv"}
    assert left == {
        "results.csv.9999999998.tmp", "results.csv.9999999997.tmp",
        f"results.csv.{os.getppid()}.tmp",
    }  # fmt: skip


def test_what_a_process_of_another_user_is_writing_is_left(tmp_path, monkeypatch):
    def kill(pid: int, number: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "kill", kill)
    (tmp_path / "results.csv.2024.tmp").write_text("half")
    files.write_atomic(tmp_path / "results.csv", "new")
    assert (tmp_path / "results.csv.2024.tmp").read_text() == "half"


def test_no_write_follows_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("years of work")
    (tmp_path / "study.json").symlink_to(victim)
    (tmp_path / f"study.json.{os.getpid()}.tmp").symlink_to(victim)
    with pytest.raises(RecordError, match="cannot write"):
        files.write_atomic(tmp_path / "study.json", "{}")
    assert victim.read_text() == "years of work"
    files.write_atomic(tmp_path / "study.json", "{}")  # the planted name is gone
    assert victim.read_text() == "years of work"
    assert not (tmp_path / "study.json").is_symlink()


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "words"])
def test_a_lock_that_is_somebodys_file_is_refused_and_left(tmp_path, kind):
    victim, lock = tmp_path / "victim", tmp_path / ".lock"
    victim.write_text("years of work")
    if kind == "link":
        lock.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, lock)
    elif kind == "pipe":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.write_text("my own notes")
    with pytest.raises(RecordError, match=r"\.lock"), locks.locked(tmp_path):
        pass
    with pytest.raises(RecordError, match=r"\.lock"), locks.unchanging(tmp_path):
        pass
    assert victim.read_text() == "years of work"


def test_a_study_that_is_only_read_needs_no_lock_of_its_own(tmp_path):
    with locks.unchanging(tmp_path):
        assert not (tmp_path / ".lock").exists()
    with locks.locked(tmp_path), pytest.raises(InUseError), locks.unchanging(tmp_path):
        pass
    (tmp_path / ".lock").chmod(0o444)
    with locks.unchanging(tmp_path), locks.unchanging(tmp_path):  # readers side by side
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_disk_without_locks_is_said_with_the_file_and_a_way_out(tmp_path, monkeypatch, code):
    def flock(handle: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    words = r"cannot lock .*\.lock.*has no locks.*: write on a local one \(--workdir of a study\)"
    with pytest.raises(RecordError, match=words), locks.locked(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_disk_that_cannot_flush_a_folder_is_passed_over(tmp_path, monkeypatch, code):
    real = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_atomic(tmp_path / "folder" / "file", "new")
    assert (tmp_path / "folder" / "file").read_text() == "new"


def test_a_file_that_cannot_be_flushed_is_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")

    def fsync(handle: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Invalid argument") as caught:
        files.sync(tmp_path / "file")
    assert caught.value.filename == str(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("file", "/file is not a folder"),
        ("file/new/deeper", "/file is not a folder"),
        ("loop", "/loop is not a folder"),
        ("x" * 300, "File name too long"),
        ("closed/new", "/closed may not be written"),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_work(tmp_path, monkeypatch, name, fault):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "closed")  # root may write all
    before = sorted(tmp_path.iterdir())
    with pytest.raises(
        RecordError, match=f"cannot write .*{name}: .*{fault}; choose another --out"
    ):
        files.refuse_unwritable(tmp_path / name)
    files.refuse_unwritable(tmp_path / "new" / "deeper")
    files.refuse_unwritable(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["moved", "moved with its parent", "removed", "replaced"])
def test_nothing_is_written_where_a_held_folder_was(tmp_path, kind):
    study = tmp_path / "study"
    trial = study / "trials" / "one"
    trial.mkdir(parents=True)
    with locks.locked(trial):
        files.write_atomic(trial / "checkpoints" / "file", "ours")
        if kind == "removed":
            shutil.rmtree(study)
        else:
            moved = trial if kind == "moved" else study
            moved.rename(tmp_path / "elsewhere")
        if kind == "replaced":  # By a study that another process has begun there.
            trial.mkdir(parents=True)
            (trial / ".lock").write_text("process 1 on here")
        there = sorted(tmp_path.rglob("*"))
        for path in (trial / "result.json", trial / "checkpoints" / "file"):
            with pytest.raises(RecordError, match="one was moved or removed while"):
                files.write_atomic(path, "ours")
        assert sorted(tmp_path.rglob("*")) == there
    files.write_atomic(trial / "result.json", "another's")  # Held by nobody, it is like any other.
