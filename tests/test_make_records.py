"""Studies within a time limit: in their order, stopped in time, packed, gone on with from packs."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from experiments import records


class Studies:
    """Stands for the studies' processes and the clock: each takes its hours and leaves a file."""

    def __init__(self, hours: dict[str, float]):
        self.hours, self.now = hours, 0.0
        self.ran: list[str] = []

    def run(self, command: Sequence[str], seconds: float) -> int:
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
    run_all(monkeypatch, tmp_path / "one", quick=0.1)  # what is there is not replaced by a pack
    assert (tmp_path / "one" / "quick" / "starts").read_text() == "xx"


def test_every_study_has_a_config():
    root = Path(records.__file__).parents[1]
    for name in records.STUDIES:
        assert (root / "configs" / f"{name}.py").is_file()
