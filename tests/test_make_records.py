"""Studies within a time limit: in their order, stopped in time, packed, gone on with from packs."""

import functools
import importlib
import os
import signal
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments import records
from src import doors
from src.errors import LabError
from src.records import locks

# A study that saves itself when it is told to stop, as all do.
STUDY = """
import os, signal, sys
from pathlib import Path

folder = Path(sys.argv[-1].partition("=")[2])
folder.mkdir(parents=True)

def save(number, frame):
    (folder / "saved").touch()
    sys.exit(130)

signal.signal(signal.SIGTERM, save)
os.kill(int(sys.argv[1]), int(sys.argv[2]))
signal.pause()
"""


class Studies:
    """Stands for the studies' processes and the clock: each takes its hours and leaves a file."""

    def __init__(self, hours: dict[str, float]):
        self.hours, self.now = hours, 0.0
        self.ran: list[str] = []

    def run(self, command: Sequence[str], seconds: float, should_stop: Any) -> int:
        config, folder = (Path(each.partition("=")[2]) for each in command[-2:])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
        with (folder / "starts").open("a") as file:
            file.write("x")
        self.ran.append(config.stem)
        needed = 3600 * self.hours[config.stem]
        self.now += min(needed, seconds)
        return 0 if needed <= seconds else 130


def run_all(monkeypatch: pytest.MonkeyPatch, place: Path, **hours: float) -> dict[str, int]:
    studies = Studies(hours)
    monkeypatch.setattr(records, "run", studies.run)
    monkeypatch.setattr(records.time, "monotonic", lambda: studies.now)
    packs = place.parent / "packs"
    return records.run_all(1.0, place, packs, list(hours))


def test_what_there_is_no_time_for_is_stopped_and_packed(tmp_path, monkeypatch):
    codes = run_all(monkeypatch, tmp_path / "runs", first=0.4, second=0.7, third=0.1)
    assert codes == {"first": 0, "second": 130}  # 0.6 of the hour were left, then none.
    assert sorted(path.name for path in (tmp_path / "packs").iterdir()) == [
        "first.tar.gz",
        "second.tar.gz",
    ]
    with tarfile.open(tmp_path / "packs" / "second.tar.gz") as file:
        assert sorted(file.getnames()) == ["second", "second/starts"]  # the lock is nobody's


def test_another_machine_goes_on_from_the_packs(tmp_path, monkeypatch):
    run_all(monkeypatch, tmp_path / "one", quick=0.1)
    run_all(monkeypatch, tmp_path / "two", quick=0.1)
    assert (tmp_path / "two" / "quick" / "starts").read_text() == "xx"
    run_all(monkeypatch, tmp_path / "two", quick=0.1)  # What is there is not replaced by a pack.
    assert (tmp_path / "two" / "quick" / "starts").read_text() == "xxx"


def test_what_another_machine_has_packed_since_is_not_replaced(tmp_path, monkeypatch):
    run_all(monkeypatch, tmp_path / "one", quick=0.1)
    run_all(monkeypatch, tmp_path / "two", quick=0.1)
    pack, one = tmp_path / "packs" / "quick.tar.gz", tmp_path / "one" / "quick"
    theirs = pack.read_bytes()
    for hours in ({"quick": 0.1}, {"other": 0.1, "quick": 0.1}):
        with pytest.raises(LabError, match=r"quick\.tar\.gz is another pack than that of .*; move"):
            run_all(monkeypatch, tmp_path / "one", **hours)
    assert pack.read_bytes() == theirs
    assert (one / "starts").read_text() == "x"
    assert not (tmp_path / "one" / "other").exists()  # Nothing ran before it was refused.
    one.rename(tmp_path / "aside")
    run_all(monkeypatch, tmp_path / "one", quick=0.1)
    assert (one / "starts").read_text() == "xxx"


def test_a_pack_that_was_brought_while_the_study_ran_is_not_replaced(tmp_path, monkeypatch):
    pack = tmp_path / "packs" / "quick.tar.gz"

    def run(self: Studies, command: Sequence[str], seconds: float, should_stop: Any) -> int:
        (tmp_path / "runs" / "quick").mkdir(parents=True)
        pack.parent.mkdir()
        pack.write_text("theirs")
        return 0

    monkeypatch.setattr(Studies, "run", run)
    with pytest.raises(LabError, match="is another pack"):
        run_all(monkeypatch, tmp_path / "runs", quick=0.1)
    assert pack.read_text() == "theirs"


def test_a_study_that_was_killed_before_it_was_packed_goes_on(tmp_path, monkeypatch):
    for _ in range(2):
        run_all(monkeypatch, tmp_path / "runs", quick=0.1)
    (tmp_path / "runs" / "quick" / "starts").write_text("xxx")
    run_all(monkeypatch, tmp_path / "runs", quick=0.1)
    assert (tmp_path / "runs" / "quick" / "starts").read_text() == "xxxx"


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 1.0])
def test_a_damaged_pack_is_refused_and_leaves_nothing_that_would_replace_it(
    tmp_path, monkeypatch, kept
):
    run_all(monkeypatch, tmp_path / "one", quick=0.1)
    pack = tmp_path / "packs" / "quick.tar.gz"
    damaged = bytearray(pack.read_bytes())
    if kept < 1:
        del damaged[int(kept * len(damaged)) :]
    else:
        damaged[-6] ^= 1  # of the checksum
    pack.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(LabError, match=r"cannot be unpacked .*; restore it from a copy, or"):
            run_all(monkeypatch, tmp_path / "two", quick=0.1)
        assert pack.read_bytes() == damaged
        assert not list((tmp_path / "two").iterdir())


def test_a_study_that_was_killed_before_its_pack_had_its_name_goes_on(tmp_path, monkeypatch):
    run_all(monkeypatch, tmp_path / "runs", quick=0.1)

    def replace(source: Path, target: Path) -> None:
        if str(target).endswith(".tar.gz"):
            raise KeyboardInterrupt
        os.rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(records.os, "replace", replace)
        run_all(monkeypatch, tmp_path / "runs", quick=0.1)
    run_all(monkeypatch, tmp_path / "runs", quick=0.1)
    assert (tmp_path / "runs" / "quick" / "starts").read_text() == "xxx"
    noted = (tmp_path / "runs" / "quick.pack").read_text().split()
    assert noted == [records._digest(tmp_path / "packs" / "quick.tar.gz")]


@pytest.mark.parametrize("study", ["quick", "quick/named"])
def test_a_study_that_breaks_half_way_is_packed(tmp_path, monkeypatch, capsys, study):
    """It ends as one that is refused does: a worker was killed, or the disk is full."""
    folder, packs = tmp_path / "runs" / study, tmp_path / "packs"

    def run(*_: Any) -> int:
        folder.mkdir(parents=True)
        (folder / "study.json").touch()
        return doors.REFUSED

    monkeypatch.setattr(records, "run", run)
    assert records.run_all(1.0, tmp_path / "runs", packs, ["quick"]) == {"quick": 2}
    assert (packs / "quick.tar.gz").is_file()
    assert capsys.readouterr().out == f"quick: exit code 2, {packs / 'quick.tar.gz'}\n"


@pytest.mark.parametrize("code", [doors.REFUSED, doors.STOPPED])
@pytest.mark.parametrize("study", ["quick", "quick/named"])
def test_a_study_that_another_process_is_at_work_in_is_not_packed(
    tmp_path, monkeypatch, capsys, study, code
):
    folder = tmp_path / "runs" / study
    folder.mkdir(parents=True)
    (folder / "study.json").touch()
    monkeypatch.setattr(records, "run", lambda *_: code)
    with locks.locked(folder):
        records.run_all(1.0, tmp_path / "runs", tmp_path / "packs", ["quick"])
    assert not (tmp_path / "packs").exists()
    assert f"quick: exit code {code}, not packed: " in (said := capsys.readouterr().out)
    assert "is in use by process" in said


@pytest.mark.parametrize("linked", ["quick", "quick/trials/one"])
def test_what_lies_elsewhere_is_in_the_pack(tmp_path, monkeypatch, linked):
    """A study or a trial on a larger disk, with a link in its place."""
    runs, there = tmp_path / "runs", tmp_path / "elsewhere"
    there.mkdir()
    (there / "study.json").write_text("whole")
    (runs / linked).parent.mkdir(parents=True)
    (runs / linked).symlink_to(there)
    monkeypatch.setattr(records, "run", lambda *_: 0)
    records.run_all(1.0, runs, tmp_path / "packs", ["quick"])
    records.unpack(tmp_path / "packs" / "quick.tar.gz", tmp_path / "brought" / "quick")
    assert (tmp_path / "brought" / linked / "study.json").read_text() == "whole"


def test_links_that_lead_nowhere_or_around_are_left_out(tmp_path, monkeypatch, capsys):
    runs = tmp_path / "runs"
    (runs / "quick" / "named").mkdir(parents=True)
    (runs / "quick" / "named" / "study.json").write_text("whole")
    for name, target in (("gone", "/nowhere"), ("latest", "named"), ("self", ".")):
        (runs / "quick" / name).symlink_to(target)
    monkeypatch.setattr(records, "run", lambda *_: 0)
    records.run_all(1.0, runs, tmp_path / "packs", ["quick"])
    assert "not packed" not in capsys.readouterr().out
    records.unpack(tmp_path / "packs" / "quick.tar.gz", tmp_path / "brought" / "quick")
    found = sorted(path.name for path in (tmp_path / "brought" / "quick").iterdir())
    assert found == ["latest", "named"]


def test_a_study_that_cannot_be_packed_is_told_and_the_next_one_is_run(
    tmp_path, monkeypatch, capsys
):
    def write_pack(folder: Path, pack: Path) -> None:
        raise OSError("No space left on device")

    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    monkeypatch.setattr(records, "run", lambda *_: 0)
    monkeypatch.setattr(records, "write_pack", write_pack)
    codes = records.run_all(1.0, tmp_path / "runs", tmp_path / "packs", ["one", "two"])
    assert codes == {"one": records.NOT_PACKED, "two": records.NOT_PACKED}
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "two: exit code 0, not packed: No space left on device"


@pytest.mark.parametrize("place", ["packs", "packs/quick.tar.gz"])
def test_packs_that_could_not_be_written_are_refused_before_a_study_is_run(
    tmp_path, monkeypatch, place
):
    """A file in place of their folder, or a folder in place of one of them."""
    if place == "packs":
        (tmp_path / place).write_text("")
    else:
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.setattr(records, "run", lambda *_: pytest.fail("it was run"))
    with pytest.raises(LabError, match=place):
        records.run_all(1.0, tmp_path / "runs", tmp_path / "packs", ["quick"])


def test_stacks_are_in_the_folder_that_is_packed(tmp_path, monkeypatch):
    asked: list[Sequence[str]] = []
    monkeypatch.setattr(records, "run", lambda command, *_: asked.append(command) or 0)
    records.run_all(1.0, tmp_path / "r", tmp_path / "packs", ["quick", *records.STACKED])
    assert [f"--config.stacks_dir={tmp_path}/r/{name}/stacks" for name in records.STACKED] == [
        command[-1] for command in asked[1:]
    ]
    assert "stacks_dir" not in asked[0][-1]
    for name in records.STUDIES:
        tree = importlib.import_module(f"configs.{name}").get_config()
        assert (tree.stacks_dir == f"runs/{name}/stacks") == (name in records.STACKED)


def test_a_study_that_our_signal_ends_while_it_starts_is_stopped():
    sleeps = [sys.executable, "-c", "import sys, time; time.sleep(99)"]
    ends = [sys.executable, "-c", "import sys; sys.exit(143)"]
    bash = ["bash", "-c", "trap 'exit 143' TERM; while true; do sleep 0.05; done"]
    assert records.run(bash, 1.0, lambda: False) == doors.STOPPED
    assert records.run(ends, 99.0, lambda: False) == 143
    assert records.run(sleeps, 0.1, lambda: False) == -signal.SIGTERM


def test_folders_are_read_as_other_commands_read_theirs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    asked: list[Path] = []
    monkeypatch.setattr(records, "run_all", lambda _, *folders, **__: asked.extend(folders) or {})
    assert records.main(["--workdir=~/runs", "--packs=~/packs"]) == 0
    assert asked == [tmp_path / "runs", tmp_path / "packs"]
    for flag in ("--workdir", "--packs"):
        with pytest.raises(LabError, match=flag):
            records.main([f"{flag}=s3://bucket/folder"])


def test_a_study_that_is_refused_is_not_packed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records, "run", lambda *_: 2)
    (tmp_path / "runs" / "quick").mkdir(parents=True)
    assert records.run_all(1.0, tmp_path / "runs", tmp_path / "packs", ["quick"]) == {"quick": 2}
    assert not (tmp_path / "packs").exists()
    assert capsys.readouterr().out == "quick: exit code 2, not packed\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_told_to_stop_it_lets_the_study_save_itself_and_packs_it(
    tmp_path, monkeypatch, capfd, number
):
    (tmp_path / "study.py").write_text(STUDY)
    study = [sys.executable, str(tmp_path / "study.py"), str(os.getpid()), str(int(number))]
    run_all = functools.partial(records.run_all, studies=["first", "second"], command=study)
    monkeypatch.setattr(records, "run_all", run_all)
    before = signal.getsignal(number)
    runs, packs = tmp_path / "runs", tmp_path / "packs"
    assert records.main([f"--workdir={runs}", f"--packs={packs}"]) == doors.STOPPED
    assert signal.getsignal(number) is before
    assert [path.name for path in packs.iterdir()] == ["first.tar.gz"]
    with tarfile.open(packs / "first.tar.gz") as file:
        assert sorted(file.getnames()) == ["first", "first/saved"]
    assert "first: exit code 130" in capfd.readouterr().out


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "many"])
def test_hours_that_are_no_limit_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        records.main([f"--hours={text}"])
    assert f"invalid hours value: '{text}'" in capsys.readouterr().err


def test_every_study_has_a_config():
    root = Path(records.__file__).parents[1]
    for name in records.STUDIES:
        assert (root / "configs" / f"{name}.py").is_file()
