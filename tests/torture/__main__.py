"""Tortures the small study and prints a table: `python -m tests.torture`, or `make torture`.

Exits with 1 if anything was lost, silently wrong or unclear.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from src import environment
from tests.torture.subject import Subject

Line = tuple[str, str, list[str]]  # what was tried, what came of it, failures


def main() -> int:
    """Runs the parts that are asked for, each as often as asked for."""
    options = _options()
    lines = []
    # A shell starts what runs in the background deaf to Ctrl-C, and nohup to SIGHUP; both are sent
    # to studies, which would inherit it. This process goes on without its terminal as nohup means.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    if options.folder:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="torture-", dir=options.folder) as name:
        study = Subject(Path(name))
        os.environ |= study.environment
        environment.configure_jax()  # as the study that is started has it
        for line in _parts(study, options):
            lines.append(line)
            print(f"{line[0]}: {line[1]}", flush=True)
            for failure in line[2]:
                print(f"  FAILED {failure}", flush=True)
    print(f"\n| tried (seed {options.seed}) | came of it | failed |\n|---|---|---|")
    for what, result, failures in lines:
        print(f"| {what} | {result} | {len(failures)} |")
    return int(any(failures for *_, failures in lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.torture", description=__doc__)
    for flag, default, what in (
        ("--configs", 500, "fuzzed configs"),
        ("--kills", 50, "kill -9 at random moments"),
        ("--terms", 20, "SIGTERM or SIGHUP at random moments"),
        ("--fills", 20, "times the disk is full"),
        ("--flips", 200, "flipped bytes, half in a finished study, half in one half done"),
        ("--foreign", 140, "things of others put into a study"),
        ("--paths", 60, "odd names of folders"),
        ("--environments", 40, "odd environments"),
        ("--engines", 9, "nodes and studies killed under each engine that is installed"),
        ("--hosts", 8, "deaths of one of the two processes of a trial"),
        ("--seed", 2012, "of everything drawn"),
    ):
        parser.add_argument(flag, type=_count, default=default, help=f"{what}; default {default}")
    parser.add_argument(
        "--rows",
        default="all",
        help="faults of earlier versions: all, none, or as A1,H16",
    )
    parser.add_argument("--folder", help="where to make the temporary folder")
    return parser.parse_args()


def _count(text: str) -> int:
    if int(text) < 0:
        raise ValueError
    return int(text)


def _parts(study: Subject, options: argparse.Namespace) -> Iterator[Line]:
    """The forks of `fuzz` come first, while JAX has no threads in this process."""
    seed = options.seed
    if options.configs:
        yield _timed(_fuzz, study, options.configs, seed)
    if options.rows != "none":
        yield from _rows(study, [] if options.rows == "all" else options.rows.split(","))
    if options.kills or options.terms or options.fills:
        from tests.torture import kills  # noqa: PLC0415

        sound = kills.run_sound(study, study.folder / "sound")
        gentle = [(signal.SIGTERM, signal.SIGHUP)[n % 2] for n in range(options.terms)]
        signals = [signal.SIGKILL] * options.kills + gentle
        if signals:
            yield _timed(_kills, study, sound, signals, seed)
        if options.fills:
            yield _timed(_fills, study, sound, options.fills, seed)
    if options.environments:
        yield _timed(_environments, study, options.environments, seed)
    if options.engines:
        from tests.torture import clusters, kills  # noqa: PLC0415

        local = kills.run_sound(study, study.folder / "local").workdir
        for name in clusters.KINDS:
            yield _timed(_engines, study, local, name, options.engines, seed)
    if options.hosts:
        yield _timed(_hosts, study, options.hosts, seed)
    if options.flips or options.foreign or options.paths:
        yield from _in_process(study, options, seed)


def _timed(part, *arguments) -> Line:
    start = time.monotonic()
    what, result, failures = part(*arguments)
    return what, f"{result}; {time.monotonic() - start:.0f} s", failures


def _fuzz(study, count, seed) -> Line:
    from tests.torture import fuzz  # noqa: PLC0415

    done = fuzz.torture(study, count, seed)
    refused, accepted = done.outcomes["refused"], done.outcomes["accepted"]
    result = f"{refused} refused, {accepted} sound and accepted"
    return f"{refused + accepted} fuzzed configs", result, done.failures


def _rows(study, names) -> Iterator[Line]:
    """Each fault that was found in earlier versions, in its own situation; a line a fault."""
    from tests.torture import rows  # noqa: PLC0415

    for found in rows.chosen(names):
        start = time.monotonic()
        room = rows.try_row(study, found)
        result = f"{room.tried} tried; {time.monotonic() - start:.0f} s"
        yield f"{found.name}: {found.situation}", result, room.failures


def _kills(study, sound, signals, seed) -> Line:
    from tests.torture import kills  # noqa: PLC0415

    done = kills.torture(study, sound, signals, seed)
    tried = ", ".join(f"{n} {what}" for what, n in sorted(done.tried.items()))
    hits = ", ".join(f"{n} {what}" for what, n in done.hits.most_common())
    result = f"{done.rounds} studies to their end, equal to the uninterrupted one; hit: {hits}"
    return f"{len(signals)} kills ({tried})", result, done.failures


def _fills(study, sound, count, seed) -> Line:
    from tests.torture import disk  # noqa: PLC0415

    with disk.small_disk(study.folder / "disk") as folder:
        if folder is None:
            return "full disk", "SKIPPED: mounting a tmpfs is not permitted here", []
        done = disk.torture(study, sound, folder, count, seed)
    return f"{done.tried} full disks", "each said in one line, then gone on with", done.failures


def _engines(study, local, name, count, seed) -> Line:
    from tests.torture import clusters, engines  # noqa: PLC0415

    if not clusters.is_installed(name):
        return f"{name}", f"SKIPPED: pip install -r requirements-{name}.txt", []
    done = engines.torture(study, local, name, count, seed)
    tried = ", ".join(f"{n} {what}" for what, n in sorted(done.tried.items()))
    result = f"{done.rounds} studies to their end, equal to a local one"
    return f"{name}: {tried}", result, done.failures


def _hosts(study, count, seed) -> Line:
    from tests.torture import pairs  # noqa: PLC0415

    done, seconds = pairs.torture(study, count, seed)
    tried = ", ".join(f"{n} {what}" for what, n in sorted(done.tried.items()))
    result = f"both ended after {min(seconds):.1f} to {max(seconds):.1f} s, gone on with"
    return f"{count} deaths of a host ({tried})", result, done.failures


def _environments(study, count, seed) -> Line:
    from tests.torture import environments  # noqa: PLC0415

    done = environments.torture(study, count, seed)
    return f"{count} environments", _counted(done.outcomes), done.failures


def _in_process(study, options, seed) -> Iterator[Line]:
    """The parts that go on with copies of a finished study."""
    from tests.torture import flips, foreign, paths  # noqa: PLC0415

    laboratory = flips.Laboratory(study)
    sound, half = study.folder / "whole", study.folder / "half"
    if (done := study.folder / "sound").exists():  # of the kills
        shutil.copytree(done, sound)
    laboratory.go_on(sound)
    if count := options.flips // 2:
        laboratory.run_half(half)
        for name, damaged in (("finished", sound), ("half-done", half)):
            what = f"{count} bytes flipped in a {name} study"
            yield _counting(what, flips.torture, laboratory, sound, damaged, count, seed)
    if count := options.foreign:
        others = foreign.make_others(laboratory, study.folder)
        what = f"{count} things of others in a study"
        yield _counting(what, foreign.torture, laboratory, sound, others, count, seed)
    if count := options.paths:
        what = f"{count + len(paths.REFUSED)} odd paths"
        yield _counting(what, paths.torture, laboratory, sound, count, seed)


def _counting(what, part, *arguments) -> Line:
    start = time.monotonic()
    done = part(*arguments)
    return what, f"{_counted(done.outcomes)}; {time.monotonic() - start:.0f} s", done.failures


def _counted(outcomes) -> str:
    return ", ".join(f"{n} {what}" for what, n in outcomes.most_common())


if __name__ == "__main__":
    sys.exit(main())
