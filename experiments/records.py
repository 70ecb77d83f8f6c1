"""Runs the studies, the most important first, within a time limit, and packs their records.

    python -m experiments.records --hours 0.4 [--packs packs] [--workdir runs]

For a machine that is lent for an hour: each study that has begun is packed as PACKS/NAME.tar.gz,
whether it is finished or not. Given such packs, on this machine or another, the same command goes
on from them. Studies that are finished are not repeated; their reports are written again. A pack
is not replaced by a study that did not come from it. Told to stop, as by Ctrl-C, it lets the study
save itself and packs it.
"""

import argparse
import contextlib
import ctypes
import gzip
import hashlib
import math
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from src import doors
from src.errors import LabError, one_line
from src.paths import local_path_of
from src.records import files, locks

# Names of configs: the claim first, then why, then the rest.
STUDIES = (
    "relu_vs_tanh",
    "why_tanh_is_slow",
    "ablations",
    "alexnet_cifar10",
    "architectures",
    "pretraining",
    "pretraining_long",
    "paper_figures",
)
STACKED = ("pretraining", "pretraining_long")  # Their studies share stacks, which are packed too.
NOT_PACKED = 1  # Exit code.
DAMAGES = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, FileNotFoundError)
SAVE_SECONDS = 120.0  # A study that is asked to stop has saved itself by then.
LEAST_SECONDS = 30.0  # With less time left it is not worth starting.
ASK_SECONDS = 0.2


def run_all(
    hours: float,
    workdir: Path,
    packs: Path,
    studies: Sequence[str] = STUDIES,
    command: Sequence[str] = (sys.executable, "-m", "src.main"),
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Runs the studies that there is time for.

    Args:
        hours: Time for all of them.
        workdir: Folder in which each study has a folder of its name.
        packs: Folder where packs are looked for and written.
        studies: Names of configs.
        command: The command that runs a study.
        should_stop: Asked while a study runs; if it says so, the study saves itself, is packed, and
            no other is begun.

    Returns:
        Name -> exit code, which is 130 for a study that was stopped and saved, and `NOT_PACKED` for
        one that has begun and could not be packed.

    Raises:
        LabError: If packs cannot be written, or one is damaged, or another than that of the study
            that is there.
    """
    end, codes = time.monotonic() + 3600 * hours, dict[str, int]()
    files.refuse_unwritable(packs, "choose other --packs")
    for name in studies:
        refuse_other(packs / f"{name}.tar.gz", workdir / name)
    for name in studies:
        left = end - time.monotonic()
        if left < min(LEAST_SECONDS, 1800 * hours):
            print(f"{name}: no time left", flush=True)
            continue
        folder, pack = workdir / name, packs / f"{name}.tar.gz"
        unpack(pack, folder)
        if should_stop():
            break
        asked = [*command, f"--config=configs/{name}.py", f"--workdir={folder}"]
        if name in STACKED:
            asked.append(f"--config.stacks_dir={folder / 'stacks'}")
        codes[name] = run(asked, left, should_stop)
        begun = folder.is_dir() and codes[name] != doors.REFUSED
        packed, parts, code = "not packed", studies_in(folder), codes[name]
        if begun or parts:  # It may have broken half way, too.
            try:
                with contextlib.ExitStack() as held:
                    # A study may have been refused for another process that is at work in it.
                    for each in dict.fromkeys(path.resolve() for path in (folder, *parts)):
                        held.enter_context(locks.locked(each))
                    refuse_other(pack, folder)  # It may have been brought here meanwhile.
                    write_pack(folder, pack)
                packed = str(pack)
            except (locks.InUseError, OSError) as error:
                packed = f"not packed: {one_line(error)}"
                codes[name] = code if code not in (0, doors.STOPPED) else NOT_PACKED
        print(f"{name}: exit code {code}, {packed}", flush=True)
    return codes


def studies_in(folder: Path) -> list[Path]:
    """The folders of the studies of a config file that have begun: its own, or those in it."""
    return [each for each in (folder, *sorted(folder.glob("*"))) if (each / "study.json").exists()]


def run(command: Sequence[str], seconds: float, should_stop: Callable[[], bool]) -> int:
    """Runs a study, asks it to stop when its time is up or it should, and returns its exit code."""
    end = time.monotonic() + seconds
    process = subprocess.Popen(command)
    while process.poll() is None and time.monotonic() < end and not should_stop():
        time.sleep(ASK_SECONDS)
    asked = process.poll() is None
    process.send_signal(signal.SIGTERM)  # It reaches nobody where the study has ended.
    try:
        code = process.wait(SAVE_SECONDS)
        # So it ends where it has no trial to save, as while it starts or reports.
        return doors.STOPPED if asked and code == 128 + signal.SIGTERM else code
    except subprocess.TimeoutExpired:
        process.kill()  # its trials go on from their last checkpoints
        return process.wait()


def write_pack(folder: Path, pack: Path) -> None:
    """Packs a study with its checkpoints; the old pack is kept until the new one is whole.

    What a link leads to is packed in its place: on another machine the link would lead nowhere. One
    that leads nowhere here, or around in a circle, is left out.
    """
    pack.parent.mkdir(parents=True, exist_ok=True)
    partial = pack.with_name(pack.name + ".part")
    with _Pack.open(partial, "w:gz", compresslevel=1, dereference=True) as file:
        file.add(folder, folder.name, filter=lambda e: None if e.name.endswith("/.lock") else e)
    _note(folder, *(each for each in (pack, partial) if each.is_file()))  # Killed here: either.
    os.replace(partial, pack)
    _note(folder, pack)


class _Pack(tarfile.TarFile):
    """An archive without links that lead nowhere, or to a folder that they lie in."""

    def gettarinfo(self, name: Any = None, *arguments: Any, **named: Any) -> Any:
        """Facts of a file; None leaves it out."""
        path = Path(name)
        around = path.is_symlink() and path.resolve() in map(Path.resolve, path.absolute().parents)
        return (
            None if around or not path.exists() else super().gettarinfo(name, *arguments, **named)
        )


def refuse_other(pack: Path, folder: Path) -> None:
    """Refuses to replace a pack in which another machine may have gone on with the study.

    Raises:
        LabError: If the study has neither come from it nor been packed in it, or it is no file.
    """
    if pack.exists() and not pack.is_file():
        raise LabError(f"{pack} is no file; move it away, for a pack is to be written there")
    if not folder.exists() or not pack.is_file():
        return
    noted = _noted(folder)
    if not noted.is_file() or _digest(pack) not in files.read_text(noted).split():
        raise LabError(
            f"{pack} is another pack than that of {folder}: another machine may have gone on with"
            f" the study in it; move {folder} away to go on from the pack, or {pack} to go on"
            " without it"
        )


def _note(folder: Path, *packs: Path) -> None:
    """Keeps the digest of a study's pack beside its folder; of both while one replaces another."""
    files.write_atomic(_noted(folder), "".join(f"{_digest(pack)}\n" for pack in packs))


def _noted(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.pack")


def _digest(pack: Path) -> str:
    with pack.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(pack: Path, folder: Path) -> None:
    """Brings a study back from its pack, unless it is there; half of one is not left.

    Raises:
        LabError: If the pack is damaged.
    """
    if not pack.is_file() or folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as partial:
        try:
            with gzip.open(pack) as whole, tarfile.open(fileobj=whole) as file:
                file.extractall(partial, filter="data")
                while whole.read(2**20):  # The checksum stands at the end.
                    pass
            _note(folder, pack)
            os.replace(Path(partial, folder.name), folder)
        except DAMAGES as error:
            raise LabError(
                f"{pack} cannot be unpacked ({one_line(error)}); restore it from a copy, or move it"
                " away to begin anew"
            ) from error


def main(arguments: Sequence[str]) -> int:
    """Does what the command line asks for.

    Returns:
        Exit code: 0 if every study that ran is finished or saved, 130 if it was told to stop.

    Raises:
        LabError: If a pack is damaged, or another than that of the study that is there.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=hours, default=0.4, help="more than 0; default 0.4")
    parser.add_argument("--workdir", type=local_path_of("--workdir"), default=Path("runs"))
    parser.add_argument("--packs", type=local_path_of("--packs"), default=Path("packs"))
    asked = parser.parse_args(arguments)
    # They import JAX, whose environment is set now.
    from src.study.runner import stopping_on_signals  # noqa: PLC0415
    from src.study.worker import StopFlag  # noqa: PLC0415

    stop = StopFlag(ctypes.c_bool())
    with stopping_on_signals(stop):
        codes = run_all(asked.hours, asked.workdir, asked.packs, should_stop=stop.is_set)
    if stop.is_set():
        print("Stopped. To go on, give the same command again.")
        return doors.STOPPED
    return int(any(code not in (0, 130) for code in codes.values()))


def hours(text: str) -> float:
    """A time limit; a ValueError where it is none."""
    if not 0 < float(text) < math.inf:
        raise ValueError
    return float(text)


if __name__ == "__main__":
    sys.exit(doors.run(main, sys.argv[1:]))
