"""Where a fault is tried again: a folder, small data, commands, and what must come of them."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.torture.subject import PATIENCE_SECONDS, ROOT, Subject

BASE = f"--config={ROOT / 'configs' / 'base.py'}"
FEW = (
    BASE, "--workdir=w", "--config.batch_size=32", "--config.max_epochs=1",
    "--config.learning_rates=(0.01,)", "--config.workers=1", "--config.tensorboard=False",
)  # fmt: skip
DRAWN = (*FEW, "--config.data.name=procedural", "--config.train_images=256")
STREAM = "--config.data.stream_size=8"
NOBODY = 12345  # a user without a name, a home or a file


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    lines: list[str]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    @property
    def errors(self) -> list[str]:
        """Its refusals."""
        return [line for line in self.lines if line.startswith("error: ")]


@dataclass
class Room:
    """A place of its own for one row, and a tally.

    Attributes:
        subject: Its environment, and a data set called tiny, 160 images of 8 x 8 pixels.
        folder: Commands run there.
        tried: How many situations were tried.
        failures: Those in which something else came of it than must.
    """

    subject: Subject
    folder: Path
    tried: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def data_dir(self) -> Path:
        """The folder of the data sets that a row writes."""
        return self.folder / "data"

    @property
    def tiny(self) -> tuple[str, ...]:
        """Flags of a study of a second."""
        return (*FEW, "--config.data.name=tiny", f"--config.data.dir={self.subject.data_dir}")

    def on(self, name: str, *flags: str) -> tuple[str, ...]:
        """Flags of a study on a data set of the row's."""
        return (*FEW, f"--config.data.name={name}", f"--config.data.dir={self.data_dir}", *flags)

    # --- Commands. ---

    def run(
        self, *arguments: str, door: str = "main", before: Any = None, **variables: str
    ) -> Said:
        """A command in a fork of this process, in which JAX has not started.

        Args:
            arguments: Arguments of the command.
            door: `main`, `report`, ...
            before: Called first: whatever it changes dies with the fork.
            variables: Variables of its environment.
        """

        def command() -> int:
            from src import doors  # noqa: PLC0415

            os.environ.update(variables)
            if before:
                before()
            return doors.run(import_module(f"src.{door}").main, list(map(str, arguments)))

        said = self.fork(command)
        if said.code == -signal.SIGSEGV and before is None:
            # A fork lacks the threads of its parent: what dies of that lives in its own process.
            return self.shell(*arguments, door=door, **variables)
        return said

    def start(
        self, *arguments: str, door: str = "main", without: tuple[str, ...] = (), **variables: str
    ) -> subprocess.Popen[bytes]:
        """A command in a process of its own, as a shell starts it."""
        there = {k: v for k, v in self.subject.environment.items() if k not in without}
        return subprocess.Popen(
            [sys.executable, "-m", f"src.{door}", *map(str, arguments)],
            cwd=self.folder, env=there | variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def shell(self, *arguments: str, **how: Any) -> Said:
        """The same, to its end."""
        return ended(self.start(*arguments, **how))

    def fork(self, command: Callable[[], int | None]) -> Said:
        """Anything in a fork of this process."""
        output = self.folder.with_suffix(".output")
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            _child(command, self.folder, output)
        code = _wait(pid)
        return Said(code, output.read_text(errors="replace").splitlines())

    # --- What must come of it. ---

    def check(self, holds: Any, what: str) -> None:
        """Counts a situation, and what failed in it."""
        self.tried += 1
        if not holds:
            self.failures.append(what)

    def passed(self, said: Said, *words: str, what: str = "") -> None:
        """It must have gone well, with these words."""
        missing = [word for word in words if word not in said.text]
        traced = any("Traceback" in line or "Warning" in line for line in said.lines)
        good = said.code == 0 and not missing and not traced
        self.check(good, f"{what} code {said.code}, without {missing}: {said.lines[-6:]}")

    def refused(self, said: Said, *words: str, what: str = "") -> None:
        """It must have been refused in one line with these words, and no remedy that destroys."""
        line = " ".join(said.errors)
        missing = [word for word in words if word not in line]
        clear = said.code == 2 and len(said.errors) == 1 and "Traceback" not in said.text
        destroys = re.search(r"\b(remove|delete)\b", line)
        good = clear and not missing and not destroys
        self.check(good, f"{what} code {said.code}, without {missing}: {said.lines[-6:]}")


@dataclass(frozen=True)
class Row:
    """A fault that was found: its name, the situation, and what tries it again."""

    name: str
    situation: str
    attempt: Callable[[Room], None]


ROWS: dict[str, Row] = {}


def row(name: str, situation: str) -> Callable[[Callable[[Room], None]], Callable[[Room], None]]:
    """Enters what follows in the list."""

    def enter(attempt: Callable[[Room], None]) -> Callable[[Room], None]:
        assert name not in ROWS
        ROWS[name] = Row(name, situation, attempt)
        return attempt

    return enter


def try_row(subject: Subject, found: Row) -> Room:
    """Tries a row in a folder of its own, which is gone afterwards."""
    room = Room(subject, subject.folder / "rows" / found.name)
    shutil.rmtree(room.folder, ignore_errors=True)
    room.folder.mkdir(parents=True)
    try:
        found.attempt(room)
    except Exception as error:
        room.failures.append(f"{type(error).__name__}: {error}")
    room.failures = [f"{found.name}: {failure}" for failure in room.failures]
    shutil.rmtree(room.folder, ignore_errors=True)
    return room


def ended(process: subprocess.Popen[bytes]) -> Said:
    """What a process has said once it has ended."""
    try:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return Said(-1, ["it hangs"])
    return Said(process.returncode, said.decode(errors="replace").splitlines())


def can_be_nobody() -> bool:
    """Whether this process may become a user without rights, for whom Python can still be read."""
    prefix = Path(sys.base_prefix).resolve()
    return os.getuid() == 0 and all(path.stat().st_mode & 0o1 for path in (prefix, *prefix.parents))


def as_nobody(*folders: Path) -> Callable[[], None]:
    """Makes a fork one of a user without rights, who owns these folders."""

    def change() -> None:
        for folder in folders:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    return change


@contextlib.contextmanager
def changed(holder: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute for a moment."""
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


def texts(folder: Path) -> Mapping[str, list[str]]:
    """Every text of every figure of a study but the numbers at its axes, by the figure's name."""
    from matplotlib.text import Text  # noqa: PLC0415

    from src.reports import compose  # noqa: PLC0415
    from src.reports.figures import canvas  # noqa: PLC0415

    found: dict[str, list[str]] = {}

    def save(figure: Any, path: Path) -> None:
        ticks = {id(t) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)
                 for t in axis.get_ticklabels(which="both")}  # fmt: skip
        here = [each for each in figure.findobj(Text) if id(each) not in ticks]
        found[path.name] = [each.get_text() for each in here if each.get_text()]
        original(figure, path)

    original = canvas.save
    with changed(canvas, "save", save):
        compose.write_report(folder)
    return found


def _child(command: Callable[[], int | None], cwd: Path, output: Path) -> None:
    """Never returns."""
    code = 1
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(cwd)
        code = command() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(pid: int) -> int:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        ended_pid, status = os.waitpid(pid, os.WNOHANG)
        if ended_pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
