"""A disk full at random moments: said in one line, and the study goes on when there is space."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture import subject
from tests.torture.kills import Sound
from tests.torture.subject import Process, Subject

SIZE = "48m"


@dataclass
class Fills:
    """What was tried and what came of it."""

    tried: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A folder on a tmpfs of its own; None where mounting is not permitted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def torture(study: Subject, sound: Sound, disk: Path, count: int, seed: int) -> Fills:
    """Fills the disk `count` times, going on after each with the space given back."""
    rng, fills = random.Random(seed), Fills()
    workdir, rounds = disk / "full-0", 0
    while True:
        before = subject.finished(workdir)
        process = study.start(workdir, rng.choice([1, 2]))
        if fills.tried < count and process.running(sound.moment(rng)):
            filler = _fill(disk)
            code = process.end()
            fills.tried += code != 0  # it may have written all it had to
            filler.unlink()
            fills.failures += _unclear(process, code)
        elif process.end():
            fills.failures.append(f"does not go on: {process.lines()[-3:]}")
        after = subject.finished(workdir)
        if any(after.get(name) != content for name, content in before.items()):
            fills.failures.append("a finished trial was lost")
        if process.popen.returncode == 0:
            fills.failures += subject.differences(sound.workdir, workdir)
            if fills.tried == count:
                return fills
            rounds += 1
            workdir = disk / f"full-{rounds}"


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            while True:
                try:
                    file.write(os.urandom(size))
                except OSError:
                    break
    return filler


def _unclear(process: Process, code: int) -> list[str]:
    """Complaints if the message is not one line that says what happened."""
    errors = process.errors()
    noise = [line for line in process.lines() if "Traceback" in line]
    clear = code == 2 and len(errors) == 1 and "No space left on device" in errors[0]
    return [] if code == 0 or (clear and not noise) else [f"code {code}: {process.lines()[-5:]}"]
