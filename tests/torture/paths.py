"""Folders as people name them: a study goes on there, or is refused at the start."""

import contextlib
import os
import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from src import paths
from src.errors import LabError
from tests.torture import subject
from tests.torture.flips import Laboratory

# What means something to a shell, a pattern, an address, a format or a terminal; and letters.
NASTY = "[]*?\\{}~#%&;$'\"`!|<>^:=+,@()- .\t" + "éß猴ñ\u202e\u00a0\u0301\U0001f600" + "abAB12_"
REFUSED = (
    "gs://bucket/x", "s3://b/x", "gs:/bucket", "file:///tmp/x", "https://host/x", "hdfs://x",
    "~nosuchuser/x", "~no.such-user", "a\0b", "a\nb", "a\rb", "", "  ", "caf\udce9/x", "\udcff",
)  # fmt: skip


@dataclass
class Paths:
    """What was tried and what came of it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def torture(laboratory: Laboratory, sound: Path, count: int, seed: int) -> Paths:
    """Goes on with a copy of a study, one trial of which lost its result, under `count` names."""
    rng, found = random.Random(seed), Paths()
    for text in REFUSED:
        _refuse(text, found)
    for _ in range(count):
        name = "".join(rng.choices(NASTY, k=rng.randint(1, 12))).strip() or "[a]"
        if name in (".", ".."):
            name += "x"
        workdir = sound.with_name("paths") / name / rng.choice(["w", "[w]", "w\\"])
        shutil.rmtree(sound.with_name("paths"), ignore_errors=True)
        shutil.copytree(sound, workdir)
        trial = rng.choice(sorted(p for p in (workdir / "trials").iterdir()))
        (trial / "result.json").unlink()
        found.outcomes["gone on with"] += 1
        found.failures += [f"{name!r}: {failure}" for failure in _go_on(laboratory, sound, workdir)]
        beside = {path.name for path in sound.with_name("paths").iterdir()}
        found.failures += [f"{name!r}: left {extra!r} beside it" for extra in beside - {name}]
    return found


def _go_on(laboratory: Laboratory, sound: Path, workdir: Path) -> list[str]:
    try:
        with _inside(workdir.parent):  # as it was typed, and as a relative path
            said = laboratory.go_on(paths.local_path(workdir.name))
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    failures = ["a checkpoint was not found again"] if "is damaged" in said else []
    return failures + subject.differences(sound, workdir, states=False)


@contextlib.contextmanager
def _inside(folder: Path):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _refuse(text: str, found: Paths) -> None:
    found.outcomes["refused at the start"] += 1
    try:
        paths.local_path(text, "--workdir")
    except LabError as error:
        if "\n" in str(error) or not str(error).isprintable():
            found.failures.append(f"{text!a}: unclear message {str(error)!a}")
    else:
        found.failures.append(f"{text!a} passed")
