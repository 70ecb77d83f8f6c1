"""One trial over two processes of this machine, one of which dies at a random moment."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.torture.clusters import free_port
from tests.torture.kills import STOPPED, Kills
from tests.torture.subject import CONFIG, PATIENCE_SECONDS, ROOT, Subject

DEVICES = 2  # of each process
# Of one trial. The engine of other processes trains one trial at a time.
SMALL = (
    "--config.learning_rates=(0.02,)", "--config.fresh_seeds=(1,)", "--config.max_epochs=8",
    "--config.sweep.model.activation=('relu',)", "--config.target_train_error=0.01",
    "--config.checkpoint_every_epochs=2",
)  # fmt: skip
END_SECONDS = 20.0  # what a death may take until both processes have ended, on a quiet machine


class Pair:
    """The same command as two processes."""

    def __init__(
        self,
        subject: Subject,
        workdir: Path,
        *more: str,
        only: Mapping[int, str] | None = None,
        project: Path | tuple[Path, Path] = ROOT,
    ):
        """Starts both.

        Args:
            subject: Whose data and environment they have.
            workdir: Of the study.
            more: Arguments of both.
            only: Process -> an argument that it alone is given.
            project: Where they run, the folder of src/ and configs/; two, if each has its own.
        """
        port = free_port()
        self.workdir = workdir
        self.before = self.checkpoints()
        self.outputs = [workdir.with_name(f"{workdir.name}-{i}.txt") for i in (0, 1)]
        self.processes = []
        projects = project if isinstance(project, tuple) else (project, project)
        for i, output in enumerate(self.outputs):
            arguments = [f"--config={CONFIG}", f"--workdir={workdir}", *SMALL, *more]
            arguments += [
                f"--config.data.dir={subject.data_dir}",
                f"--hosts=127.0.0.1:{port},2,{i}",
            ]
            arguments += [only[i]] if only and i in only else []
            self.processes.append(start(subject, arguments, DEVICES, output, projects[i]))

    def end(self, seconds: float = PATIENCE_SECONDS) -> list[int]:
        """Exit codes; a process that does not end by then hangs."""
        return [process.wait(seconds) for process in self.processes]

    def said(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.outputs)

    def checkpoints(self) -> set[Path]:
        """Those of the trial."""
        return set(self.workdir.glob("trials/*/checkpoints/[0-9]*"))

    def await_checkpoint(self) -> None:
        """Returns once the trial can be gone on with from further than before these processes."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.checkpoints() - self.before:
            running = all(process.poll() is None for process in self.processes)
            assert running and time.monotonic() < end, self.said()
            time.sleep(0.1)


def start(
    subject: Subject, arguments: list[str], devices: int, output: Path, project: Path = ROOT
) -> "subprocess.Popen[bytes]":
    """`src.main` as a process of so many CPU devices."""
    variables = subject.environment | {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "src.main", *arguments],
            cwd=project, env=variables, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip


def metrics(workdir: Path) -> list[dict[str, str]]:
    """Points of the study's one trial, without what the clock has measured."""
    (path,) = workdir.glob("trials/*/metrics.csv")
    with path.open() as file:
        return [
            {name: value for name, value in row.items() if "seconds" not in name}
            for row in csv.DictReader(file)
        ]


def torture(study: Subject, count: int, seed: int) -> tuple[Kills, list[float]]:
    """Ends one process so many times, each in a trial of its own, which is then gone on with.

    Args:
        study: Whose data and environment it has.
        count: Of deaths: SIGKILL and SIGTERM to either process in turn.
        seed: Of the moments.

    Returns:
        What was tried and failed, and the seconds from each death until both had ended.
    """
    rng, kills, seconds = random.Random(f"pairs {seed}"), Kills(), []
    sound = Pair(study, study.folder / "pair-sound")
    assert sound.end() == [0, 0], sound.said()
    for n in range(count):
        number, victim = (signal.SIGKILL, signal.SIGTERM)[n % 2], n // 2 % 2
        pair = Pair(study, study.folder / f"pair-{n}")
        pair.await_checkpoint()
        time.sleep(rng.uniform(0, 0.5))
        begin = time.monotonic()
        os.kill(pair.processes[victim].pid, number)
        codes = pair.end()
        seconds.append(time.monotonic() - begin)
        kills.tried[f"{number.name} to process {victim}"] += 1
        if seconds[-1] > END_SECONDS:
            kills.failures.append(f"both had ended after {seconds[-1]:.0f} s")
        died = [STOPPED] * 2
        if number == signal.SIGKILL:
            died = [-number if i == victim else codes[i] or None for i in (0, 1)]
        if codes not in ([0, 0], died):
            kills.failures.append(f"{number.name} to process {victim}: codes {codes}")
        again = Pair(study, pair.workdir)
        if again.end() != [0, 0] or metrics(again.workdir) != metrics(sound.workdir):
            kills.failures.append(f"not gone on with to the same bits: {again.said()[-300:]}")
        kills.rounds += 1
    return kills, seconds
