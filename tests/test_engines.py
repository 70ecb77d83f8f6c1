"""What a study asks of an engine: machines that come and go, trials queued, lost, run twice."""

import ctypes
import json
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src import laboratory
from src.environment import MachineError
from src.errors import Stopped
from src.records import study as studies
from src.records import trial as trials
from src.records.trial import TrialRecord
from src.study import engines, runner, worker
from src.study.engines import EngineError
from src.study.question import StudyError
from src.study.worker import Job, StopFlag
from tests import tiny
from tests.test_runner import FACTS, MADE_BY, make_config, run, tiny_data

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_device")]

assert tiny_data  # a fixture, used here as well


def test_a_machine_whose_settings_change_numbers_is_refused(monkeypatch):
    """There JAX is imported with the first job, before anything could be left out."""
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    with pytest.raises(EngineError, match=r"^a machine of the cluster has JAX_ENABLE_X64=1 in its"):
        engines.prepare_process()


@pytest.mark.parametrize(
    ("trials", "workers", "processes"), [(1, 0, 1), (3, 0, 3), (9, 0, 4), (1, 2, 2)]
)
def test_no_more_processes_than_trials_unless_one_asks(monkeypatch, trials, workers, processes):
    monkeypatch.setattr(laboratory.environment, "usable_cores", lambda: 4)
    monkeypatch.setattr(laboratory.jax, "device_count", lambda: 1)
    seeds = tuple(range(1, 1 + trials))
    config = tiny.make_config(learning_rates=(0.01,), fresh_seeds=seeds, workers=workers)
    assert config.num_trials == trials
    assert laboratory._workers(config) == processes


class LostError(Exception):
    """The error by which the fake engine tells that a machine is lost."""


class FakeEngine:
    """Runs what was submitted in this thread, one each time it is asked for messages."""

    lost = (LostError,)

    def __init__(self, slots: list[int]):
        """`slots` are its answers, one after another; the last one stays."""
        self.answers, self.waiting = slots, list[tuple[Sequence[Job], Future[Any]]]()
        self.most, self.stopped, self.ended = 0, False, False
        self.loses: str = ""  # name of a trial

    def slots(self) -> int:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def submit(self, jobs: Sequence[Job]) -> "Future[list[TrialRecord | None]]":
        future: Future[Any] = Future()
        self.waiting.append((jobs, future))
        self.most = max(self.most, len(self.waiting))
        return future

    def messages(self) -> Iterator[engines.Message]:
        if not self.waiting:
            return
        jobs, future = self.waiting.pop(0)
        if self.stopped:
            future.cancel()
            future.set_running_or_notify_cancel()
        elif jobs[0].task.trial.name.endswith(self.loses) and self.loses:
            future.set_exception(LostError())
        else:
            line = FakeLine()
            future.set_result(worker.run_jobs(jobs, line))
            yield from line.told

    def stop(self) -> None:
        self.stopped = True

    def end(self) -> None:
        self.ended = True


class FakeLine:
    def __init__(self) -> None:
        self.told: list[engines.Message] = []

    def tell(self, trial: str, kind: str, payload: Any) -> None:
        self.told.append((trial, kind, payload))

    def should_stop(self) -> bool:
        return False


def use(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> None:
    @contextmanager
    def open_engine(*_: Any) -> Iterator[FakeEngine]:
        yield engine

    monkeypatch.setattr(runner, "open_engine", open_engine)
    monkeypatch.setattr(runner, "ASK_SECONDS", 0.01)


def seeds(workdir: Path) -> list[int]:
    return [trial.row["seed"] for trial in studies.read_finished(workdir)]


def test_machines_come_and_go(tmp_path, monkeypatch, capfd):
    """None at first, then two, then one: as many trials are under way, and all are done."""
    engine = FakeEngine([1, 0, 0, 2, 1])  # the first is asked for the time that is left
    use(monkeypatch, engine)
    shown: list[int] = []  # How many the estimate of the time left reckons with, as trials begin.
    started = runner.Display.started

    def start(display: runner.Display, *given: Any) -> None:
        shown.append(display.workers)
        started(display, *given)

    monkeypatch.setattr(runner.Display, "started", start)
    run(tmp_path, fresh_seeds=(1, 2, 3), engine="ray", trial_resources__cpus=4.0)
    assert engine.most == 2
    assert shown == [2, 2, 1]
    assert seeds(tmp_path) == [1, 2, 3]
    told = [line for line in capfd.readouterr().out.splitlines() if "waiting" in line]
    assert len(told) == 1  # though it was asked twice
    assert told[0].endswith("has what a trial needs (config.trial_resources: cpus = 4)")


@pytest.mark.parametrize(
    ("there", "asked", "number"),
    [
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 0.0}, 8),
        ({"CPU": 8.0}, {"CPU": 3.0}, 2),
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0}, 0),  # it has no GPU, or does not say so
        ({"CPU": 8.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 0.5}, 4),
    ],
)
def test_a_machine_has_room_for_what_each_of_its_resources_allows(there, asked, number):
    assert engines.places(there, asked) == number


def test_a_lost_machine_ends_the_study_in_one_line_and_what_was_done_stays(tmp_path, monkeypatch):
    engine = FakeEngine([1])
    engine.loses = "-s2"
    use(monkeypatch, engine)
    with pytest.raises(StudyError, match=r"a worker process died .* run the same command again"):
        run(tmp_path, fresh_seeds=(1, 2, 3))
    assert engine.stopped
    assert engine.ended
    assert seeds(tmp_path) == [1]
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 2


def test_trials_that_have_not_begun_do_not_begin_when_the_study_is_stopped(tmp_path, monkeypatch):
    engine = FakeEngine([3])
    use(monkeypatch, engine)
    heard = runner.Display.heard

    def stop(self: Any, *message: Any) -> None:
        if not engine.stopped:
            engine.stopped = True
            os.kill(os.getpid(), signal.SIGTERM)
        heard(self, *message)

    monkeypatch.setattr(runner.Display, "heard", stop)
    with pytest.raises(Stopped):
        run(tmp_path, fresh_seeds=(1, 2, 3))
    assert seeds(tmp_path) == [1]  # it was under way


def test_a_trial_that_another_worker_has_finished_is_read_and_not_repeated(tmp_path, monkeypatch):
    """A machine that was taken for dead had not died."""
    run(tmp_path, fresh_seeds=(1,))
    (done,) = studies.read_finished(tmp_path)
    (folder,) = (tmp_path / "trials").iterdir()
    before = (folder / "result.json").read_bytes()
    monkeypatch.setattr(worker, "_train", None)  # whoever trains would notice
    config = make_config(fresh_seeds=(1,))
    header = studies.read_study_header(tmp_path)
    of = studies.identity_of(header, folder.name, folder)
    (task,) = runner.Queue(config, {}).take(5)
    job = Job(task, folder, of, {}, "tiny", "", tmp_path, config.runtime)
    (found,) = worker.run_jobs([job], FakeLine())
    assert found is not None
    assert found.row["trial"] == done.row["trial"]
    assert (folder / "result.json").read_bytes() == before


def test_device_and_commit_are_those_of_the_worker(tmp_path, monkeypatch):
    facts = {**FACTS, "device": "1 x laptop", "commit": "abc"}
    monkeypatch.setattr(worker, "made_by", lambda: {**MADE_BY, "device": "8 x H100"})
    run(tmp_path, facts, fresh_seeds=(1,))
    (trial,) = studies.read_finished(tmp_path)
    assert trial.row["device"] == "8 x H100"
    assert json.loads((tmp_path / "study.json").read_text())["device"] == "1 x laptop"


@pytest.mark.parametrize(("keep", "count"), [("last", 1), ("none", 0)])
def test_checkpoints_of_finished_trials_go(tmp_path, keep, count):
    run(tmp_path, fresh_seeds=(1,), keep_checkpoints=keep, max_epochs=2.0)
    (folder,) = (tmp_path / "trials").iterdir()
    found = [path.name for path in (folder / "checkpoints").iterdir()]
    assert found == ["8"][:count]  # the last of 2 epochs of 64 images, 16 at a time


def test_results_are_written_now_and_then_and_at_the_end(tmp_path, monkeypatch):
    written: list[int] = []
    original = studies.write_results

    def write(folder: Path, rows: list[Any]) -> None:
        written.append(len(rows))
        original(folder, rows)

    monkeypatch.setattr(runner.records, "write_results", write)
    monkeypatch.setattr(runner, "RESULTS_SECONDS", 1e9)
    run(tmp_path, fresh_seeds=(1, 2, 3))
    assert written == [3]
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 4
    monkeypatch.setattr(runner, "RESULTS_SECONDS", 0.0)
    run(tmp_path, fresh_seeds=(1, 2, 3, 4, 5))
    assert written == [3, 4, 5, 5]


@pytest.mark.parametrize("name", ["ray", "dask"])
def test_an_engine_that_is_not_installed_says_how_to_install_it(monkeypatch, name, tmp_path):
    """It leaves no study behind that the corrected command would have to fit."""
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(EngineError, match=f"pip install -r requirements-{name}.txt"):
        run(tmp_path, engine=name)
    assert not (tmp_path / "study.json").exists()


@pytest.mark.parametrize(
    ("there", "said", "mode"),
    [
        ({}, {}, None),
        ({".ray/auth_token": "x"}, {}, "token"),
        ({}, {"RAY_AUTH_TOKEN": "x"}, "token"),
        ({"mine": "x"}, {"RAY_AUTH_TOKEN_PATH": "mine"}, "token"),
        ({}, {"RAY_AUTH_TOKEN_PATH": "gone"}, None),
        ({".ray/auth_token": "x"}, {"RAY_AUTH_MODE": "disabled"}, "disabled"),
    ],
)
def test_a_token_is_shown_where_there_is_one(tmp_path, monkeypatch, there, said, mode):
    """Ray's own default: heads ask for a token that is there, and those who join show none."""
    for name, text in there.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), **said})
    engines.show_token()
    assert os.environ.get("RAY_AUTH_MODE") == mode


@pytest.mark.parametrize("kind", ["gpus", "tpus"])
def test_a_trial_that_is_to_have_an_accelerator_is_not_trained_on_a_processor(kind):
    worker.check_device(make_config(engine="ray").runtime)
    config = make_config(engine="ray", **{f"trial_resources__{kind}": 1.0})
    job = object.__new__(Job)  # It is refused before any folder is touched.
    object.__setattr__(job, "runtime", config.runtime)
    with pytest.raises(MachineError, match="no accelerator, only cpu"):
        worker.run_jobs([job], FakeLine())


def test_nobody_at_an_address_is_noticed_at_once():
    for other in ("auto", "", "ray://127.0.0.1:1"):
        engines.knock(other)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        engines.knock(address)
    with pytest.raises(OSError, match="refused"):
        engines.knock(address)


def test_the_token_is_shown_before_ray_is_imported(tmp_path, monkeypatch):
    seen = []

    def import_module(name):
        seen.append(os.environ.get("RAY_AUTH_MODE"))
        return SimpleNamespace(open_engine=lambda runtime, workers: nullcontext())

    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "x"})
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda package: package)
    monkeypatch.setattr(engines.importlib, "import_module", import_module)
    engines.open_engine(make_config(engine="ray").runtime, 1, StopFlag(ctypes.c_bool()))
    assert seen == ["token"]


def test_runtime_fields_change_no_number_and_no_question(tmp_path):
    run(tmp_path, fresh_seeds=(1,))
    run(tmp_path, fresh_seeds=(1,), keep_checkpoints="none")
    header = json.loads((tmp_path / "study.json").read_text())
    for name in ("engine", "cluster", "trial_resources", "keep_checkpoints"):
        assert name not in header["config"]
    assert trials.is_finished(next((tmp_path / "trials").iterdir()))
