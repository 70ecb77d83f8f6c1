"""kill -9 and SIGTERM at random moments: nothing finished is lost, and the answer is the same."""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture import subject
from tests.torture.subject import Process, Subject

STOPPED = 130


@dataclass
class Kills:
    """What was tried and what came of it."""

    tried: Counter[str] = field(default_factory=Counter)  # by what was killed
    hits: Counter[str] = field(default_factory=Counter)  # by what it was doing
    failures: list[str] = field(default_factory=list)
    rounds: int = 0  # studies that came to their end


@dataclass(frozen=True)
class Sound:
    """An uninterrupted run."""

    workdir: Path
    start_seconds: float  # until its first trial
    seconds: float

    def moment(self, rng: random.Random) -> float:
        """Seconds after a start, anywhere from the first instant to a third of the study."""
        return rng.uniform(0, self.start_seconds + (self.seconds - self.start_seconds) / 3)


def run_sound(study: Subject, workdir: Path) -> Sound:
    """Runs the study to its end, faster the second time: its programs are compiled then."""
    for path, workers in ((workdir.with_name("warm-up"), 1), (workdir, 2)):
        begin = time.monotonic()
        process = study.start(path, workers)
        while not any("starting" in line for line in process.lines()) and process.running(0.05):
            pass
        started = time.monotonic() - begin
        assert process.end() == 0, process.lines()
    assert not subject.differences(workdir.with_name("warm-up"), workdir), "not deterministic"
    return Sound(workdir, started, time.monotonic() - begin)


def torture(study: Subject, sound: Sound, signals: list[signal.Signals], seed: int) -> Kills:
    """Interrupts the study by each of the signals, going on after each."""
    rng, kills = random.Random(seed), Kills()
    left = rng.sample(signals, len(signals))
    workdir = study.folder / "killed-0"
    while True:
        before = subject.finished(workdir)
        process = study.start(workdir, rng.choice([1, 2, 2, 3]))
        if left and process.running(sound.moment(rng)):
            _interrupt(process, left.pop(), rng, kills, workdir)
        else:
            code = process.end()
            if code:
                kills.failures.append(f"ended with {code}: {process.lines()[-3:]}")
        _check(process, before, workdir, kills)
        if process.popen.returncode == 0:
            kills.rounds += 1
            kills.failures += subject.differences(sound.workdir, workdir)
            if not left:
                return kills
            workdir = study.folder / f"killed-{kills.rounds}"


def _interrupt(
    process: Process, number: signal.Signals, rng: random.Random, kills: Kills, workdir: Path
) -> None:
    workers = process.workers()
    whom = rng.choice(["study", "study", "worker", "all"]) if workers else "study"
    if number != signal.SIGKILL and whom == "worker":
        whom = "study"
    kills.tried[f"{number.name} {whom}"] += 1
    if whom == "all":
        os.killpg(process.popen.pid, number)
    else:
        os.kill(process.popen.pid if whom == "study" else rng.choice(workers), number)
    kills.hits[_stage(workdir)] += 1
    code = process.end()
    expected = {0, -number} if whom != "worker" else {0, 2}
    if number != signal.SIGKILL:
        expected |= {STOPPED, 128 + number}
        told = any("To go on" in line for line in process.lines()[-4:])
        if code in (STOPPED, 128 + number) and not told:
            kills.failures.append(f"not told how to go on: {process.lines()[-3:]}")
    if code not in expected:
        kills.failures.append(f"{number.name} to {whom}: code {code}, {process.lines()[-3:]}")


def _stage(workdir: Path) -> str:
    """What the study was doing, by what it has left."""
    if any(workdir.glob("trials/*/checkpoints/partial-*")):
        return "writing a checkpoint"
    if any(workdir.glob("**/*.tmp")):
        return "writing a record"
    return "training" if any(workdir.glob("trials/*/metrics.csv")) else "starting"


def _check(process: Process, before: dict[str, bytes], workdir: Path, kills: Kills) -> None:
    after = subject.finished(workdir)
    lost = [name for name, content in before.items() if after.get(name) != content]
    kills.failures += [f"trial {name} was lost or repeated" for name in lost]
    lines = process.lines()
    if traces := [n for n, line in enumerate(lines) if "Traceback" in line]:
        kills.failures.append(f"traceback: {lines[traces[0] :]}")
