"""Studies of a few seconds from start to end: stopped, gone on with, refused."""

import ctypes
import functools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from src import data, environment, laboratory
from src.analysis.effects import analyse
from src.analysis.study import load_study
from src.config.config import Config
from src.doors import SIGNALS
from src.environment import MachineError
from src.errors import Stopped
from src.records import locks, provenance
from src.records import study as studies
from src.records.files import RecordError
from src.records.locks import InUseError
from src.reports import compose as report
from src.study import engines, runner, worker
from src.study.engines import local
from src.study.engines.local import Channel
from src.study.question import StudyError
from src.study.worker import StopFlag
from tests import tiny
from tests.torture.subject import PATIENCE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_device")]

DATASET = tiny.make_dataset(64, 16)
FACTS = {
    "dataset": "tiny", "digest": DATASET.digest, "image_shape": (8, 8, 3), "num_classes": 10,
}  # fmt: skip
MADE_BY = {"device": "1 x cpu", "jax_version": "0.10", "commit": "abc"}


def make_config(**changes: Any) -> Config:
    small = {"data__name": "tiny", "max_epochs": 1.0, "learning_rates": (0.02,), "workers": 1}
    return tiny.make_config(**(small | changes))


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **options: DATASET)
    monkeypatch.setattr(worker, "made_by", lambda: MADE_BY)


def run(workdir: Path, facts: dict[str, Any] | None = None, **changes: Any) -> None:
    runner.run_study(make_config(**changes), workdir, facts or FACTS, 1)


def untimed(workdir: Path) -> list[dict[str, Any]]:
    return [tiny.without_times(trial.row) for trial in studies.read_finished(workdir)]


def at_point(monkeypatch, number: int, do: Callable[[], None]) -> None:
    """Does something when so many points have been heard of; until then the trial waits there."""
    heard: list[Any] = []
    told: list[Any] = []
    done = threading.Event()
    hear, tell, ask = runner.Display.heard, Channel.tell, Channel.should_stop

    def noted(self: Any, *arguments: Any) -> None:
        heard.append(arguments)
        if len(heard) == number:
            do()
            done.set()
        hear(self, *arguments)

    def counted(self: Channel, *message: Any) -> None:
        told.append(message)
        tell(self, *message)

    def waiting(self: Channel) -> bool:
        assert len(told) < number or done.wait(PATIENCE_SECONDS)
        return ask(self)

    monkeypatch.setattr(runner.Display, "heard", noted)
    monkeypatch.setattr(Channel, "tell", counted)
    monkeypatch.setattr(Channel, "should_stop", waiting)


def test_a_study_runs_to_its_end_and_is_not_repeated(tmp_path, capfd):
    run(tmp_path, fresh_seeds=(1, 2))
    first = untimed(tmp_path)
    assert [row["seed"] for row in first] == [1, 2]
    assert {row["commit"] for row in first} == {"abc"}
    capfd.readouterr()
    (tmp_path / "results.csv").write_text("gone wrong\n\n\n\n")
    run(tmp_path, fresh_seeds=(1, 2))
    assert "starting" not in capfd.readouterr().out
    assert len(studies.read_study(tmp_path).trials) == 2  # results.csv is written anew
    assert untimed(tmp_path) == first


def test_the_same_study_twice_has_the_same_records(tmp_path):
    for name in ("one", "two"):
        run(tmp_path / name)
    assert untimed(tmp_path / "one") == untimed(tmp_path / "two")


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU],
)
def test_a_signal_saves_and_the_study_goes_on_to_the_same_end(tmp_path, monkeypatch, capfd, number):
    changes = {"max_epochs": 6.0, "target_train_error": 0.01, "checkpoint_every_epochs": 100.0}
    expected = run_once(tuple(changes.items()))
    at_point(monkeypatch, 1, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", **changes)
    assert signal.getsignal(number) is before
    assert "saving the trials under way" in capfd.readouterr().err
    assert len(list(tmp_path.glob("stopped/trials/*/checkpoints/[0-9]*"))) == 1
    assert not untimed(tmp_path / "stopped")
    monkeypatch.setattr(worker, "made_by", lambda: {**MADE_BY, "commit": "def"})
    run(tmp_path / "stopped", **changes)
    (stopped,) = untimed(tmp_path / "stopped")
    assert stopped.pop("commit") == "abc + def"  # both codes made it
    assert expected["commit"] == "abc"
    assert stopped | {"commit": "abc"} == expected


@functools.cache
def run_once(changes: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """The one trial of a study that nobody stops: every signal's is compared with it."""
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), **dict(changes))
        (whole,) = untimed(Path(folder))
        return whole


def test_a_grid_grows_in_its_folder_to_the_answer_of_the_wide_one(tmp_path, capfd):
    """Of the narrow grid 0.0001 is chosen, for its two are equal; of the wide one 0.02."""
    narrow, wide = (0.0001, 0.0002), (0.0001, 0.0002, 0.02)
    grown = tmp_path / "grown"
    run(grown, learning_rates=narrow)
    before = untimed(grown)
    run(grown, learning_rates=wide)
    assert "[5/4 done]" not in (said := capfd.readouterr().out)
    assert said.count("[4/4 done]") == 1
    run(tmp_path / "wide", learning_rates=wide)
    rows, whole = untimed(grown), untimed(tmp_path / "wide")
    assert [row for row in rows if row in before] == before  # None was made anew.
    (replaced,) = (row for row in rows if row not in whole)
    assert (replaced["learning_rate"], replaced["purpose"]) == ("0.0001", "fresh")
    assert [row for row in rows if row != replaced] == whole

    found = analyse(load_study(grown))
    assert [trial.row["trial"] for trial in found.replaced] == [replaced["trial"]]
    text = report.summary(found)
    assert "extended in 1 arm after the study had begun; 1 trial at rates chosen before" in text
    assert "Not finished" not in text
    for lacking in (narrow, (0.0002, 0.02)):
        with pytest.raises(StudyError, match="learning_rates was"):
            run(grown, learning_rates=lacking)


def test_until_a_wider_grid_is_done_fresh_seeds_do_not_count(tmp_path, monkeypatch, capfd):
    """The new rate is not the best: the trial on a fresh seed counts again."""
    run(tmp_path, learning_rates=(0.0001, 0.02))
    with monkeypatch.context() as patch:
        patch.setattr(runner.Runner, "run", lambda self: None)
        run(tmp_path, learning_rates=(0.00001, 0.0001, 0.02))
    text = report.summary(analyse(load_study(tmp_path)))
    assert "Not finished: 2 of 4 trials are done" in text
    capfd.readouterr()
    run(tmp_path, learning_rates=(0.00001, 0.0001, 0.02))
    said = capfd.readouterr().out
    assert "[2/4 done] conv3-modern-relu-lr1e-05-s0: starting" in said
    assert "[4/4 done] conv3-modern-relu-lr1e-05-s0: ended" in said
    assert "s100" not in said
    text = report.summary(analyse(load_study(tmp_path)))
    assert "extended in 1 arm after the study had begun." in text


@pytest.mark.parametrize(
    "field", ["arm_learning_rates__conv3-modern-relu", "recipes__modern__learning_rates"]
)
def test_the_grid_of_an_arm_or_a_recipe_grows_as_well(tmp_path, field, monkeypatch):
    monkeypatch.setattr(runner.Runner, "run", lambda self: None)
    others = {} if field.startswith("arm") else {"learning_rates": ()}
    run(tmp_path, **others, **{field: (0.01, 0.02)})
    run(tmp_path, **others, **{field: (0.01, 0.02, 0.04)})
    header = studies.read_study_header(tmp_path)
    assert header["arms"]["conv3-modern-relu"]["learning_rates"] == [0.01, 0.02, 0.04]
    assert header["rates_before"] == [{"conv3-modern-relu": [0.01, 0.02]}]


@pytest.mark.parametrize(
    "field",
    ["learning_rates", "arm_learning_rates__conv3-modern-relu", "recipes__modern__learning_rates"],
)
def test_the_same_grid_in_another_order_is_the_same_study(tmp_path, field, monkeypatch):
    monkeypatch.setattr(runner.Runner, "run", lambda self: None)
    others = {"learning_rates": ()} if field.startswith("recipes") else {}
    for grid in ((0.01, 0.02), (0.02, 0.01), (0.01, 0.02)):
        run(tmp_path, **others, **{field: grid})
    assert "rates_before" not in studies.read_study_header(tmp_path)


@pytest.mark.parametrize("more", [{"fresh_seeds": (100, 101)}, {"learning_rates": (0.01, 0.02)}])
def test_what_is_refused_for_its_records_has_asked_nothing_more(tmp_path, more):
    run(tmp_path)
    header = (tmp_path / "study.json").read_text()
    (metrics,) = tmp_path.glob("trials/*-s100/metrics.csv")
    sound = metrics.read_text()
    metrics.write_text(sound + "x")
    with pytest.raises(RecordError, match="is not as it was written"):
        run(tmp_path, **more)
    assert (tmp_path / "study.json").read_text() == header
    metrics.write_text(sound)
    run(tmp_path)


def test_the_rates_of_pretraining_belong_to_the_question(tmp_path, monkeypatch):
    monkeypatch.setattr(runner.Runner, "run", lambda self: None)
    stacked = {"pretraining__method": "conv_rbm", "stacks_dir": str(tmp_path / "stacks")}
    run(tmp_path / "w", **stacked, pretraining__learning_rates=(0.01,))
    with pytest.raises(StudyError, match=r"pretraining.learning_rates was \[0.01\]"):
        wider = {"learning_rates": (0.02, 0.04)}  # The trials' own may grow, not these beside them.
        run(tmp_path / "w", **stacked, **wider, pretraining__learning_rates=(0.01, 0.02))


def test_what_nohup_ignores_stays_ignored():
    stop = StopFlag(ctypes.c_bool())
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with runner.stopping_on_signals(stop):
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_leaves_at_once(monkeypatch, capfd):
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    stop = StopFlag(ctypes.c_bool())
    with runner.stopping_on_signals(stop):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert not codes  # `timeout` sends two at once, and means one.
        monkeypatch.setattr(runner, "SAME_SIGNAL_SECONDS", 0.0)
        os.kill(os.getpid(), signal.SIGINT)
    assert codes == [130]  # 128 + SIGINT, as a shell says it
    assert "again to leave at once" in capfd.readouterr().err


def test_another_question_is_refused_field_by_field(tmp_path):
    run(tmp_path)
    with pytest.raises(StudyError, match=r"max_epochs was 1\.0, is 2\.0; choose another"):
        run(tmp_path, max_epochs=2.0)
    with pytest.raises(StudyError, match=r"data\.digest was"):
        run(tmp_path, {**FACTS, "digest": "0"})
    run(tmp_path, parallel="shard_map")  # changes no number


DECAY = {"compare": {"field": "weight_decay", "baseline": 0.0}}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            {},
            {"data__name": "tiny:3.0.2"},
            r"relu: data\.name was 'tiny', is 'tiny:3\.0\.2'; write",
        ),
        (
            {"recipes__modern__layer_rates": {"conv1": 2}},
            {"recipes__modern__layer_rates": {"conv1": 2.0}},
            r"relu: recipe\.layer_rates\.conv1 was 2, is 2\.0; write it as it was",
        ),
        (
            {"sweep": {"weight_decay": (0, 0.5)}, **DECAY},
            {"sweep": {"weight_decay": (0.0, 0.5)}, **DECAY},
            r"its arms are .*-weight_decay0, .*, none is conv3-modern-relu-weight_decay0\.0; write",
        ),
    ],
)
def test_a_question_written_otherwise_is_refused_before_a_step(tmp_path, before, after, message):
    """Values that are equal may be written in two ways, which records tell apart."""
    run(tmp_path, fresh_seeds=(1,), **before)
    there = {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(StudyError, match=message):
        run(tmp_path, fresh_seeds=(1, 2), **after)
    assert {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")} == there
    run(tmp_path, fresh_seeds=(1, 2), **before)
    assert {row["seed"] for row in untimed(tmp_path)} == {1, 2}


def test_a_question_written_otherwise_is_answered_where_no_trial_is_left(tmp_path):
    run(tmp_path)
    before = untimed(tmp_path)
    run(tmp_path, data__name="tiny:3.0.2")
    assert untimed(tmp_path) == before


def test_fresh_seeds_may_be_added_and_the_report_says_so(tmp_path):
    run(tmp_path, fresh_seeds=(1,))
    (first,) = untimed(tmp_path)
    run(tmp_path, fresh_seeds=(1, 2))
    assert untimed(tmp_path)[0] == first
    assert [row["seed"] for row in untimed(tmp_path)] == [1, 2]
    added = "Fresh seeds were added after the study had begun: 1, then 2 of them."
    assert added in report.compose(analyse(load_study(tmp_path)))
    with pytest.raises(StudyError, match=r"fresh_seeds was \[1, 2\], is \[2, 1, 3\]"):
        run(tmp_path, fresh_seeds=(2, 1, 3))


def test_trials_without_their_study_are_refused_and_left(tmp_path):
    """Whoever removes study.json, so as to ask another question, is not given the old answers."""
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    del before[tmp_path / "study.json"]
    (tmp_path / "study.json").unlink()
    with pytest.raises(RecordError, match=r"holds trials, but no study\.json that says whose"):
        run(tmp_path, weight_decay=0.9)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    after.pop(tmp_path / ".lock"), before.pop(tmp_path / ".lock")
    assert after == before


@pytest.mark.parametrize("what", ["trial", "checkpoints"])
def test_what_another_study_has_trained_does_not_pass(tmp_path, what):
    run(tmp_path / "mine", fresh_seeds=(1,))
    run(tmp_path / "theirs", fresh_seeds=(1,), weight_decay=0.9)
    (mine,), (theirs,) = ((tmp_path / n / "trials").iterdir() for n in ("mine", "theirs"))
    assert mine.name == theirs.name
    if what == "trial":
        shutil.rmtree(mine)
        shutil.copytree(theirs, mine)
    else:
        (mine / "result.json").unlink()
        shutil.rmtree(mine / "checkpoints")
        shutil.copytree(theirs / "checkpoints", mine / "checkpoints")
    with pytest.raises(RecordError, match=r"another trial.*study .*, not .*settings .*, not "):
        run(tmp_path / "mine", fresh_seeds=(1,))


def test_the_checkpoints_of_another_seed_do_not_pass(tmp_path):
    run(tmp_path, fresh_seeds=(1, 2))
    one, two = sorted((tmp_path / "trials").iterdir())
    (two / "result.json").unlink()
    shutil.rmtree(two / "checkpoints")
    shutil.copytree(one / "checkpoints", two / "checkpoints")
    with pytest.raises(RecordError, match=f"is another trial's: trial {one.name}, not {two.name}"):
        run(tmp_path, fresh_seeds=(1, 2))


@pytest.mark.parametrize("name", ["trials", "trials/conv3-modern-relu-lr0.02-s100"])
def test_a_study_does_not_write_through_a_link(tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.tmp").write_text("years of work")
    link = tmp_path / "study" / name
    run(tmp_path / "study", fresh_seeds=(100,))
    (link if link.is_dir() else next(link.parent.iterdir())).rename(tmp_path / "aside")
    link.symlink_to(elsewhere)
    with pytest.raises(RecordError, match="is a symbolic link"):
        run(tmp_path / "study", fresh_seeds=(100,))
    assert [path.name for path in elsewhere.iterdir()] == ["thesis.tmp"]


def test_data_that_changed_meanwhile_is_refused(tmp_path):
    with pytest.raises(data.DataError, match="has changed since"):
        run(tmp_path, {**FACTS, "digest": "0"})


def test_a_second_process_is_refused_while_the_first_runs(tmp_path):
    with (
        locks.locked(tmp_path),
        pytest.raises(InUseError, match="in use by process"),
    ):
        run(tmp_path)
    run(tmp_path)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_study_that_was_moved_while_it_ran_writes_nothing_where_it_was(
    tmp_path, monkeypatch, replaced
):
    study, successor = tmp_path / "study", tmp_path / "successor"
    if replaced:
        run(successor, max_epochs=2.0)
    before = {path.relative_to(successor): path.stat() for path in successor.rglob("*")}

    def replace_study() -> None:
        study.rename(tmp_path / "moved")
        if replaced:
            successor.rename(study)

    at_point(monkeypatch, 2, replace_study)
    with pytest.raises(RecordError, match="study was moved or removed while"):
        run(study, max_epochs=6.0, fresh_seeds=(1, 2))
    after = {path.relative_to(study): path.stat() for path in study.rglob("*")}
    assert {path: (stat.st_ino, stat.st_mtime) for path, stat in after.items()} == {
        path: (stat.st_ino, stat.st_mtime) for path, stat in before.items()
    }
    assert study.exists() == replaced
    run(tmp_path / "moved", max_epochs=6.0, fresh_seeds=(1, 2))


def test_a_damaged_study_is_refused_by_name(tmp_path):
    run(tmp_path)
    path = tmp_path / "study.json"
    path.write_text(path.read_text().replace('"batch_size": 16', '"batch_size": 32'))
    with pytest.raises(RecordError, match=r"study\.json is damaged"):
        run(tmp_path)


def test_a_trial_whose_metrics_are_older_than_its_checkpoint(tmp_path):
    """Killed after the last checkpoint, before metrics.csv and result.json."""
    run(tmp_path)
    (trial_dir,) = (tmp_path / "trials").iterdir()
    sound = (trial_dir / "metrics.csv").read_bytes()
    (trial_dir / "result.json").unlink()
    (trial_dir / "metrics.csv").write_bytes(sound.splitlines(keepends=True)[0])
    run(tmp_path)
    assert (trial_dir / "metrics.csv").read_bytes() == sound


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    (tmp_path / "results.csv.99999999.tmp").write_text("half")
    run(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_workdir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="File exists"):
        run(tmp_path / "file" / "study")


def test_a_trial_that_cannot_be_saved_ends_the_study_in_one_line(tmp_path, monkeypatch):
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker.locks.os, "fsync", full)
    with pytest.raises(RecordError, match=r"cannot write .*: No space left on device"):
        run(tmp_path)


def test_a_finished_study_holds_its_question(tmp_path):
    run(tmp_path)
    header = json.loads((tmp_path / "study.json").read_text())
    assert header["config"]["data"] == {"name": "tiny", "stream_size": 0}
    assert header["digest"] == DATASET.digest
    assert "workers" not in header["config"]


# --- Locks and workers. ---


def hold(folder: Path, ready: Any) -> None:
    with locks.locked(folder):
        ready.set()
        signal.pause()


def test_a_lock_dies_with_its_holder(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    ready.wait()
    with pytest.raises(InUseError, match="in use by process"), locks.locked(tmp_path):
        pass
    process.kill()
    with locks.locked(tmp_path, wait_seconds=600.0):
        pass
    process.join()


def in_new_process(code: str) -> subprocess.CompletedProcess[str]:
    """What a process without an accelerator prints that runs `code`."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        timeout=PATIENCE_SECONDS,
    )


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux")
def test_a_hang_up_does_not_reach_the_tracker_of_semaphores():
    code = """
import ctypes, re
from multiprocessing import resource_tracker
from pathlib import Path
from src.study.engines import local
from src.study.worker import StopFlag
with local.open_engine(2, StopFlag(ctypes.c_bool())):
    status = Path(f"/proc/{resource_tracker._resource_tracker._pid}/status").read_text()
    print(re.search(r"SigBlk:.([0-9a-f]+)", status)[1])
"""
    done = in_new_process(code)
    assert not done.returncode, done.stderr
    assert int(done.stdout, 16) >> signal.SIGHUP - 1 & 1


COPIES = """
import _thread, json, os, re, sys, threading
from pathlib import Path
from src.study.engines import local

def tell():
    status = Path("/proc/self/status").read_text()
    blocked = int(re.search(r"SigBlk:.([0-9a-f]+)", status)[1], 16)
    return os.getpid(), os.getppid(), blocked, jax.devices()[0].platform

def wait():
    threading.Event().wait()

import jax
{before}
with local.fork_engine(2) as engine:
    jax.devices()
    told = engine and engine.executor.submit(tell).result()
print(json.dumps([told, os.getpid()]))
"""


def fork_after(before: str, **variables: str) -> Any:
    """What a copied worker says of itself, and the process that was copied; None for no copies."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COPIES.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | variables,
    )
    assert not done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_workers_are_copies_of_their_study_that_hear_no_signals():
    (worker_id, parent, blocked, platform), study = fork_after("", JAX_PLATFORMS="cpu")
    assert worker_id != parent == study
    assert all(blocked >> number - 1 & 1 for number in SIGNALS)
    assert platform == "cpu"


@pytest.mark.parametrize(
    "before",
    [
        "jax.devices()",
        "threading.Thread(target=wait, daemon=True).start()",
        "_thread.start_new_thread(wait, ())",  # The threading module knows nothing of it.
        "local._LIBRARIES_THREADS = 0",  # As on macOS.
    ],
)
def test_a_process_whose_threads_may_hold_locks_is_not_copied(before):
    assert fork_after(before, JAX_PLATFORMS="cpu")[0] is None


@pytest.mark.parametrize("cpu", [True, False])
def test_a_process_that_may_start_an_accelerator_is_not_copied(monkeypatch, cpu):
    monkeypatch.setattr(local, "_LIBRARIES_THREADS", 1000)
    monkeypatch.setattr(local.threading, "active_count", lambda: 1)
    monkeypatch.setattr(environment, "jax_has_started", lambda: False)
    monkeypatch.setattr(environment, "computes_on_cpu", lambda: cpu)
    assert local._can_fork() == cpu


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize("what", ["os.fork", "threading.Thread.start"])
def test_where_a_process_or_thread_cannot_be_started_none_is_left_waiting(what):
    """As with `ulimit -u`: the second copy, or the thread that would hand out the trials."""
    code = f"""
import os, threading
from src.study.engines import local
original, calls = {what}, []

def refuse(*arguments):
    calls.append(arguments)
    if len(calls) == {2 if what == "os.fork" else 1}:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return original(*arguments)

{what} = refuse
with local.fork_engine(2):
    pass
"""
    done = in_new_process(code)
    assert done.stderr.splitlines()[-1].startswith("BlockingIOError")


@pytest.mark.parametrize(
    ("changes", "how", "started"),
    [
        ({}, "none", [2]),
        ({"workers": 3}, "none", [3]),
        ({"workers": 1}, "none", []),
        ({"fresh_seeds": (1,)}, "none", []),
        ({"engine": "dask"}, "none", []),
        ({}, "slurm", []),
    ],
)
def test_workers_are_started_ahead_where_several_train_here(monkeypatch, changes, how, started):
    found: list[int] = []
    start = lambda workers: nullcontext(found.append(workers))  # noqa: E731
    monkeypatch.setattr(local, "fork_engine", start)
    monkeypatch.setattr(environment, "usable_cores", lambda: 2)
    laboratory._start_workers(make_config(**({"fresh_seeds": (1, 2), "workers": 0} | changes)), how)
    assert found == started


@pytest.mark.parametrize(("devices", "stays"), [(1, True), (8, False)])
def test_copies_end_where_all_devices_train_one_trial(tmp_path, monkeypatch, devices, stays):
    ready = local.LocalEngine(2, ThreadPoolExecutor(2), Channel(local.new_flag(), None, 0, "cpu"))

    def stop(*given: Any) -> None:
        assert given[3:] == ((2, ready) if stays else (1, None))
        raise Stopped

    monkeypatch.setattr(runner, "run_study", stop)
    monkeypatch.setattr(environment, "usable_cores", lambda: 2)
    monkeypatch.setattr(laboratory.jax, "device_count", lambda: devices)
    with pytest.raises(Stopped):
        laboratory._run(make_config(fresh_seeds=(1, 2), workers=0), tmp_path, ready)
    if stays:
        return ready.executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        ready.executor.submit(os.getpid)


def test_a_worker_that_finds_no_accelerator_does_not_train_on_the_processor():
    local.check_platform("cpu")
    with pytest.raises(MachineError, match="found no gpu, only cpu: fewer"):
        local.check_platform("gpu")


def test_a_worker_looks_for_the_accelerator_before_it_trains(monkeypatch):
    channel = Channel(StopFlag(ctypes.c_bool()), None, os.getpid(), "gpu")
    monkeypatch.setattr(local, "_channels", [channel])
    with pytest.raises(MachineError, match="found no gpu"):
        local._run_in_process([])


def heads_of(monkeypatch: Any) -> list[str]:
    """The commits of the repository, of which the last one is checked out."""
    heads = ["before"]
    monkeypatch.setattr(provenance, "commit", lambda: heads[-1])
    provenance.loaded_commit.cache_clear()
    return heads


@pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections
def test_a_study_reads_its_commit_before_it_copies_itself(tmp_path, monkeypatch):
    heads, found = heads_of(monkeypatch), list[str]()
    monkeypatch.setattr(laboratory, "_start_workers", lambda *_: nullcontext(heads.append("after")))
    monkeypatch.setattr(laboratory, "_run", lambda *_: found.append(provenance.loaded_commit()))
    try:
        assert laboratory.main(["--config=configs/quick.py", f"--workdir={tmp_path}"], "") == 0
    finally:
        provenance.loaded_commit.cache_clear()
    assert found == ["before"]


def commit_during(channel: Channel, cluster: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        heads = heads_of(patch)
        engines.prepare_process() if cluster else local.join(channel)
        heads.append("after")
        channel.tell("", "commit", provenance.loaded_commit())


@pytest.mark.parametrize("cluster", [False, True])
def test_a_worker_reads_its_commit_as_it_starts(cluster):
    context = multiprocessing.get_context("spawn")
    channel = Channel(StopFlag(context.RawValue("b")), context.Queue(), os.getpid(), "cpu")
    process = context.Process(target=commit_during, args=(channel, cluster))
    process.start()
    assert channel.points.get(timeout=PATIENCE_SECONDS)[2] == "before"
    process.join()


def orphan(channel: Channel) -> None:
    local.join(channel)


def test_a_worker_ends_where_its_study_is_not_its_parent():
    context = multiprocessing.get_context("spawn")
    for study, code in ((1, 1), (os.getpid(), 0)):
        channel = Channel(StopFlag(context.RawValue("b")), context.Queue(), study, "cpu")
        process = context.Process(target=orphan, args=(channel,))
        process.start()
        process.join()
        assert process.exitcode == code
