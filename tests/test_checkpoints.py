import dataclasses
import errno
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from src.records import locks
from src.records.files import RecordError
from src.training import checkpoints
from src.training.optimizers import Recipe, make_optimizer
from src.training.step import TrainState
from tests import tiny

OF = tiny.identity("conv3-modern-relu-lr0.01-s1")


def make_arrays(iteration: int) -> dict:
    params = {"fc": {"kernel": jnp.full((3, 2), iteration + 1 / 3), "bias": jnp.zeros(2)}}
    opt_state = make_optimizer(0.1, Recipe(bias_rate=2.0), 0.0).init(params)
    state = TrainState(jnp.int32(iteration), params, opt_state)
    return {"state": state, "wrong": np.arange(iteration % 7, dtype=np.int32)}


def make_progress(iteration: int) -> dict:
    return {
        "iteration": iteration,
        "rows": [{"train_error": 0.1 + 0.2, "test_error": float("nan")}],
    }


def like() -> dict:
    return make_arrays(0)


def save(directory: Path, *iterations: int) -> None:
    for iteration in iterations:
        checkpoints.save(directory, iteration, make_arrays(iteration), make_progress(iteration), OF)


def assert_restores(directory: Path, iteration: int | None, complaints: int) -> list[str]:
    arrays, progress, lines = checkpoints.restore(directory, like(), OF)
    assert len(lines) == complaints
    if iteration is None:
        assert arrays is None
        return lines
    assert progress["iteration"] == iteration
    expected = make_arrays(iteration)
    assert jax.tree.structure(arrays) == jax.tree.structure(expected)
    for found, wanted in zip(jax.tree.leaves(arrays), jax.tree.leaves(expected), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    return lines


@pytest.mark.slow
def test_a_random_key_of_an_optimizer_goes_on_where_it_was(tmp_path):
    """Drawn from the key that was restored, the next numbers are those of the key that was kept."""
    noise = optax.add_noise(eta=0.1, gamma=0.5, key=jax.random.key(3, impl="rbg"))
    params = {"kernel": jnp.zeros(4)}
    _, state = noise.update(params, noise.init(params))
    checkpoints.save(tmp_path, 1, {"state": state}, {}, OF)
    for read in (checkpoints.restore, checkpoints.read_newest):
        found = read(tmp_path, {"state": noise.init(params)}, OF).arrays["state"]
        assert jax.tree.structure(found) == jax.tree.structure(state)
        drawn, wanted = (noise.update(params, each)[0]["kernel"] for each in (found, state))
        np.testing.assert_array_equal(drawn, wanted)
    shapes = jax.eval_shape(noise.init, params)  # as trained networks are read
    found = checkpoints.read_newest(tmp_path, {"state": shapes}, OF).arrays["state"]
    assert int(found.count) == 1
    drawn, wanted = (noise.update(params, each)[0]["kernel"] for each in (found, state))
    np.testing.assert_array_equal(drawn, wanted)


def files_of(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    save(tmp_path / "checkpoints", 39)
    assert_restores(tmp_path / "checkpoints", 39, complaints=0)
    _, progress, _ = checkpoints.restore(tmp_path / "checkpoints", like(), OF)
    assert progress["rows"][0]["train_error"] == 0.1 + 0.2
    assert np.isnan(progress["rows"][0]["test_error"])


def test_nothing_there_is_no_checkpoint(tmp_path):
    assert_restores(tmp_path / "checkpoints", None, complaints=0)


def test_the_newest_two_are_kept_and_the_newest_used(tmp_path):
    save(tmp_path, 9, 10, 100)  # in the order of numbers, not of letters
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "100"]
    assert checkpoints.KEEP == 2
    assert_restores(tmp_path, 100, complaints=0)


def test_saving_again_at_the_same_iteration_replaces(tmp_path):
    checkpoints.save(tmp_path, 5, make_arrays(4), make_progress(4), OF)
    save(tmp_path, 5)
    assert_restores(tmp_path, 5, complaints=0)


def test_half_written_ones_are_passed_over(tmp_path):
    save(tmp_path, 10, 20)
    shutil.copytree(tmp_path / "20", tmp_path / "partial-30")  # the process died before the rename
    (tmp_path / "partial-30" / "manifest.json").unlink()
    assert_restores(tmp_path, 20, complaints=0)
    save(tmp_path, 30)
    assert_restores(tmp_path, 30, complaints=0)
    assert not (tmp_path / "partial-30").exists()


@pytest.mark.parametrize("fault", ["flip", "truncate", "remove", "add", "empty"])
def test_every_damaged_file_is_noticed_and_the_checkpoint_before_used(tmp_path, fault):
    save(tmp_path / "sound", 10, 20)
    rng = random.Random(0)
    files = [path.relative_to(tmp_path / "sound") for path in files_of(tmp_path / "sound" / "20")]
    assert len(files) >= 3  # manifest.json, progress.json, and Orbax's own
    for file in files[:1] if fault == "add" else files:
        shutil.rmtree(tmp_path / "damaged", ignore_errors=True)
        shutil.copytree(tmp_path / "sound", tmp_path / "damaged")
        damage(tmp_path / "damaged" / file, fault, rng)
        (line,) = assert_restores(tmp_path / "damaged", 10, complaints=1)
        assert "20 is damaged" in line
        assert "set aside as damaged-20" in line
        assert (tmp_path / "damaged" / "damaged-20").is_dir()
        assert_restores(tmp_path / "damaged", 10, complaints=0)


def damage(path: Path, fault: str, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if fault == "flip" and content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    elif fault == "truncate" and content:
        path.write_bytes(content[: len(content) // 2])
    elif fault == "empty" and content:
        path.write_bytes(b"")
    elif fault == "add":
        (path.parent / "more").write_bytes(b"0")
    else:
        path.unlink()


@pytest.mark.parametrize("content", ["[]", "{}", "null", "3", "{", '{"progress.json": 1}'])
def test_a_manifest_that_is_not_one_is_noticed(tmp_path, content):
    save(tmp_path, 10, 20)
    (tmp_path / "20" / "manifest.json").write_text(content)
    assert_restores(tmp_path, 10, complaints=1)


@pytest.mark.parametrize("file", ["manifest.json", "progress.json", "state/_METADATA"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.EMFILE])
def test_what_cannot_be_read_for_the_moment_is_not_called_damaged(
    tmp_path, monkeypatch, number, file
):
    save(tmp_path, 10, 20)
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path == tmp_path / "20" / file:
            raise OSError(number, os.strerror(number), str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        for look in (checkpoints.restore, checkpoints.read_newest):
            with pytest.raises(RecordError, match=f"cannot read .*{file}: .*; it is not set aside"):
                look(tmp_path, like(), OF)
    assert_restores(tmp_path, 20, complaints=0)


def test_a_folder_that_cannot_be_looked_into_is_not_called_damaged(tmp_path, monkeypatch):
    save(tmp_path, 10)
    look = os.scandir

    def fail(path: str) -> Any:
        if str(path).endswith("state"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return look(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", fail)
        with pytest.raises(RecordError, match=r"cannot read .*state: Permission denied; it is not"):
            checkpoints.restore(tmp_path, like(), OF)
    assert_restores(tmp_path, 10, complaints=0)


def test_a_file_that_cannot_be_looked_at_is_not_called_damaged_and_what_was_is_said(
    tmp_path, monkeypatch
):
    save(tmp_path, 10, 20)
    (tmp_path / "20" / "progress.json").write_text("{}")
    look = Path.stat

    def fail(path: Path, **options: Any) -> Any:
        if path == tmp_path / "10" / "progress.json":
            raise OSError(errno.ESTALE, "Stale file handle")
        return look(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", fail)
        said = r"20 is damaged .*; set aside as damaged-20; cannot read .*10: Stale file handle"
        with pytest.raises(RecordError, match=said):
            checkpoints.restore(tmp_path, like(), OF)
    assert_restores(tmp_path, 10, complaints=0)


def test_with_all_damaged_it_starts_again_and_says_so(tmp_path):
    save(tmp_path, 10, 20)
    for iteration in (10, 20):
        (tmp_path / str(iteration) / "progress.json").write_text(json.dumps({}))
    lines = assert_restores(tmp_path, None, complaints=3)
    assert "20" in lines[0] and "10" in lines[1]
    assert "training starts again" in lines[2]
    save(tmp_path, 10)
    assert_restores(tmp_path, 10, complaints=0)


def test_an_optimizer_of_another_kind_is_not_restored_in_silence(tmp_path):
    save(tmp_path, 10)
    other = {"state": optax.adam(0.1).init({"w": jnp.zeros(3)}), "wrong": np.zeros(0, np.int32)}
    with pytest.raises(RecordError, match="10 is whole, but of other code"):
        checkpoints.restore(tmp_path, other, OF)


def test_parameters_of_another_shape_are_not_restored_in_silence(tmp_path):
    save(tmp_path, 10)
    wider = jax.tree.map(lambda x: np.zeros((*x.shape, 2), x.dtype), like())
    with pytest.raises(RecordError, match="10 is whole, but of other code"):
        checkpoints.restore(tmp_path, {**wider, "wrong": np.zeros(0, np.int32)}, OF)


# --- Whose is it, and is it really there? ---


@pytest.mark.parametrize("field", ["study", "trial", "settings", "data"])
def test_a_checkpoint_of_another_trial_is_refused_not_restored_nor_removed(tmp_path, field):
    save(tmp_path, 10)
    other = dataclasses.replace(OF, **{field: "another"})
    for read in (checkpoints.restore, checkpoints.read_newest):
        with pytest.raises(RecordError, match=f"10 is another trial's: {field} .*, not another"):
            read(tmp_path, like(), other)
    assert_restores(tmp_path, 10, complaints=0)


@pytest.mark.parametrize(
    "name",
    [
        "[2026] lab",
        "a*b?",
        "a\\b",
        "gs:",
        "50%",
        "a b",
        "Übung",
        "猴子",
        "~",
        "{a,b}",
        "#1",
        "caf\udce9",
    ],
)
def test_a_checkpoint_is_really_there_whatever_the_folder_is_called(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    folder.mkdir(parents=True)
    save(folder, 10)
    assert_restores(folder, 10, complaints=0)
    assert {path.name for path in tmp_path.iterdir()} == {name}  # and nothing beside it


def test_what_does_not_read_back_is_said_and_the_ones_before_stay(tmp_path, monkeypatch):
    save(tmp_path, 10, 20)
    monkeypatch.setattr(checkpoints, "_read_arrays", lambda path, like: make_arrays(7))
    with pytest.raises(RecordError, match=r"cannot write checkpoint .*30: .* not what was"):
        save(tmp_path, 30)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "20"]
    assert_restores(tmp_path, 20, complaints=0)


def test_looking_at_a_trial_changes_nothing(tmp_path):
    save(tmp_path, 10, 20)
    (tmp_path / "20" / "progress.json").write_text("{}")
    (tmp_path / "partial-30").mkdir()
    before = sorted(tmp_path.rglob("*"))
    _, progress, (line,) = checkpoints.read_newest(tmp_path, like(), OF)
    assert progress["iteration"] == 10 and "20 is damaged" in line
    assert sorted(tmp_path.rglob("*")) == before


def test_links_are_neither_followed_nor_removed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    save(elsewhere, 10)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "10").symlink_to(elsewhere / "10")
    (folder / "partial-10").symlink_to(elsewhere)
    assert_restores(folder, None, complaints=0)
    save(folder, 20, 30, 40)
    assert_restores(elsewhere, 10, complaints=0)
    link = tmp_path / "link"
    link.symlink_to(elsewhere)
    for call in (lambda: save(link, 20), lambda: checkpoints.restore(link, like(), OF)):
        with pytest.raises(RecordError, match="link is a symbolic link"):
            call()
    assert [path.name for path in elsewhere.iterdir()] == ["10"]


def test_folders_of_other_names_are_left_alone(tmp_path):
    for name in ("1e3", "partial-thesis", "2024-thesis", "٣"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "work").write_text("")
    save(tmp_path, 10, 20, 30)
    assert_restores(tmp_path, 30, complaints=0)
    assert len(list(tmp_path.glob("*/work"))) == 4


def test_what_file_managers_leave_damages_nothing(tmp_path):
    save(tmp_path, 10, 20)
    for name in (".DS_Store", "Thumbs.db", "state/.nfs0001", "state/d/desktop.ini"):
        (tmp_path / "20" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "20" / name).write_text("")
    assert_restores(tmp_path, 20, complaints=0)


def test_damaged_ones_are_all_kept(tmp_path):
    for _ in range(3):
        save(tmp_path, 10, 20)
        (tmp_path / "20" / "progress.json").write_text("{}")
        assert_restores(tmp_path, 10, complaints=1)
    kept = sorted(path.name for path in tmp_path.glob("damaged*"))
    assert kept == ["damaged-20", "damaged-20-2", "damaged-20-3"]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_trial_that_was_moved_is_not_saved_into_its_successor(tmp_path, monkeypatch, when):
    trial = tmp_path / "trial"
    trial.mkdir()
    write = checkpoints._write

    def replace_trial() -> None:
        trial.rename(tmp_path / "elsewhere")
        (trial / "checkpoints" / "10").mkdir(parents=True)
        (trial / "checkpoints" / "10" / "theirs").touch()

    def write_then_replace(*arguments) -> None:
        write(*arguments)
        replace_trial()

    with locks.locked(trial):
        save(trial / "checkpoints", 10)
        if when == "before":
            replace_trial()
        else:
            monkeypatch.setattr(checkpoints, "_write", write_then_replace)
        with pytest.raises(RecordError, match="trial was moved or removed while"):
            save(trial / "checkpoints", 10)
    assert [path.name for path in (trial / "checkpoints" / "10").iterdir()] == ["theirs"]
    assert_restores(tmp_path / "elsewhere" / "checkpoints", 10, complaints=0)
