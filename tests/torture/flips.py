"""Single flipped bytes in every file of a workdir: noticed, or of no consequence."""

import contextlib
import io
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import jax

from src import data, environment
from src.analysis.effects import analyse
from src.analysis.study import load_study
from src.config.config import Config
from src.errors import Stopped
from src.records import provenance
from src.records import trial as records
from src.reports import compose as report
from src.study import question, runner
from tests.torture import study_config, subject
from tests.torture.subject import Subject


@dataclass
class Flips:
    """What was tried and what came of it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Laboratory:
    """The study in this process, so that nothing is compiled twice."""

    def __init__(self, study: Subject):
        # JAX was imported before the study's environment was set. With its threads and its cache,
        # this process has the programs that the study's own start has compiled.
        jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
        environment.start_jax()
        config = study_config.get_config()
        config.data.dir = str(study.data_dir)
        self.config = Config.read(config.to_dict())
        dataset = data.load("tiny", str(study.data_dir))
        self.facts = {"dataset": dataset.name, "digest": dataset.digest, **provenance.provenance()}
        shape = data.image_shape(dataset)
        self.facts |= {"image_shape": shape, "num_classes": dataset.num_classes}

    def go_on(self, workdir: Path) -> str:
        """Runs the study to its end and reads it; what it said on the way."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            runner.run_study(self.config, workdir, self.facts, 1)
            report.compose(analyse(load_study(workdir)))
        return said.getvalue()

    def run_half(self, workdir: Path) -> None:
        """Stops, as by Ctrl-C, with all but one trial finished and the last begun."""

        def interrupt() -> None:
            while len(subject.finished(workdir)) < 7 or not _begun(workdir):
                time.sleep(0.002)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with contextlib.suppress(Stopped):
            self.go_on(workdir)
        assert _begun(workdir), "the study was over before it was stopped"


def _begun(workdir: Path) -> bool:
    """Whether there is a trial with two checkpoints and no result."""
    folders = [p for p in workdir.glob("trials/*") if not (p / "result.json").exists()]
    return any(len(list(p.glob("checkpoints/[0-9]*/manifest.json"))) == 2 for p in folders)


def torture(laboratory: Laboratory, sound: Path, damaged: Path, count: int, seed: int) -> Flips:
    """Flips a byte of a copy of `damaged`, each file as often as any other, and goes on.

    Args:
        laboratory: Runs the study.
        sound: The finished study.
        damaged: The one whose copies are damaged: the same, or half done.
        count: How many bytes are flipped.
        seed: Decides the bytes.
    """
    rng, flips = random.Random(seed), Flips()
    files = sorted(
        p.relative_to(damaged) for p in damaged.rglob("*") if p.stat().st_size and p.is_file()
    )
    rng.shuffle(files)
    for number in range(count):
        file = files[number % len(files)]
        copy = sound.with_name("flipped")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(damaged, copy)
        _flip(copy / file, rng)
        outcome, failures = _outcome(laboratory, sound, copy, file)
        flips.outcomes[outcome] += 1
        flips.failures += failures
    return flips


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    path.write_bytes(content)


def _outcome(laboratory: Laboratory, sound: Path, copy: Path, file: Path) -> tuple[str, list[str]]:
    flipped = (copy / file).read_bytes()
    try:
        said = laboratory.go_on(copy)
    except (records.RecordError, question.StudyError) as error:
        told = str(copy) in str(error) and "\n" not in str(error)
        return "refused by name", [] if told else [f"{file}: unclear message {error}"]
    except Exception as error:
        return "crashed", [f"{file}: {type(error).__name__}: {error}"]
    there = (copy / file).read_bytes() if (copy / file).exists() else b""
    unread = (
        there == flipped and "checkpoints" in file.parts
    )  # The trial is finished, or the checkpoint an older one.
    differing = [
        f"{file}: accepted, then {line}"
        for line in subject.differences(sound, copy, states=not unread)
    ]
    if "is damaged" in said:
        return "set aside, and the one before used", differing
    if there != flipped:
        return "written anew from what is sound", differing
    return "without consequence", differing
