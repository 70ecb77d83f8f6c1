"""H. Records of others, checkpoints, locks, links, reports."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from src.records import files
from tests.torture import subject
from tests.torture.rows.numbers import rows_of, write_set
from tests.torture.rows.room import Room, ended, row
from tests.torture.subject import ROOT

LONG = ("--config.max_epochs=6", "--config.checkpoint_every_epochs=0.2",
        "--config.stop_at_target=False")  # fmt: skip


def begun(room: Room, work: str, *flags: str) -> None:
    """A study that was stopped after its first checkpoint."""
    long = (*room.tiny, *LONG, "--config.max_epochs=300", f"--workdir={work}", *flags)
    process = room.start(*long)
    folder = room.folder / work
    while process.poll() is None and not list(folder.glob("trials/*/checkpoints/*/manifest.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said = ended(process)
    room.check(said.code == 130, f"{work!r}: code {said.code}: {said.lines[-3:]}")


def _goes_on(room: Room, names: tuple[str, ...]) -> None:
    for name in names:
        begun(room, name)
        beside = {path.name for path in room.folder.iterdir()}
        said = room.run(*room.tiny, *LONG, "--config.max_epochs=300", f"--workdir={name}",
                        before=_stop_soon)  # fmt: skip
        room.check(said.code in (0, 130), f"{name!r}: {said.code} {said.lines[-3:]}")
        room.check("is damaged" not in said.text and "other code" not in said.text, said.text)
        left = {path.name for path in room.folder.iterdir()} - beside
        room.check(not left, f"{name!r}: beside it lies {left}")


def _stop_soon() -> None:
    """The study stops itself at its first word of a point."""
    from src.study import runner  # noqa: PLC0415

    original = runner.Display.heard

    def heard(self: object, *arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        runner.Display.heard = original  # type: ignore[method-assign]
        original(self, *arguments)  # type: ignore[arg-type]

    runner.Display.heard = heard  # type: ignore[method-assign, assignment]


@row("H1", "`[2026] lab/study` and other patterns: stopped, gone on with, figures drawn")
def patterns_in_paths(room: Room) -> None:
    _goes_on(room, ("[2026] lab/study", "a*b/[!x]?", "{a,b}/**"))
    room.passed(room.run(*room.tiny, "--workdir=[2026] lab/done"))
    (trial,) = (room.folder / "[2026] lab" / "done" / "trials").iterdir()
    said = room.run(trial, f"--data_dir={room.subject.data_dir}", door="paper_figures")
    room.passed(said)


@row("H2", "a workdir `a\\b`, `gs:` within a path, no UTF-8")
def backslashes_in_paths(room: Room) -> None:
    _goes_on(room, ("a\\b", "x/gs:/y", "a%20b#c"))
    said = room.run(*room.tiny, "--workdir=caf\udce9")
    room.refused(said, "UTF-8", "--workdir")


@row("H3", "study.json lost, or a link to nowhere, and another question asked; a trial begun")
def study_lost(room: Room) -> None:
    room.passed(room.run(*room.tiny))
    for how in ("gone", "link"):
        copy = room.folder / how
        shutil.copytree(room.folder / "w", copy)
        (copy / "study.json").unlink()
        if how == "link":
            (copy / "study.json").symlink_to("nowhere")
        for flag in ("--config.weight_decay=0.9", "--config.weight_decay=0.0"):
            said = room.run(*room.tiny, f"--workdir={how}", flag)
            room.refused(said, "study.json", how)
        room.refused(room.run(how, door="report"), "study.json")
    begun(room, "half")
    (room.folder / "half" / "study.json").unlink()
    said = room.run(*room.tiny, *LONG, "--workdir=half", "--config.weight_decay=0.9")
    room.refused(said, "study.json")


def two_studies(room: Room, *other: str) -> tuple[Path, Path]:
    """The trial of a study, and one of the same name of another."""
    for work, flags in (("w", ()), ("other", other)):
        room.passed(room.run(*room.tiny, f"--workdir={work}", *flags))
    (ours,) = (room.folder / "w" / "trials").iterdir()
    (theirs,) = (room.folder / "other" / "trials").iterdir()
    return ours, theirs


@row("H4", "a trial of another question, or of other data, copied in under the same name")
def trial_of_another(room: Room) -> None:
    write_set(room.data_dir, "data")
    for flags in (("--config.weight_decay=0.9",), room.on("data"), ()):
        ours, theirs = two_studies(room, *(f for f in flags if not f.startswith("--workdir")))
        shutil.rmtree(ours)
        shutil.copytree(theirs, ours)
        room.refused(room.run(*room.tiny), ours.name)
        room.refused(room.run("w", door="report"), ours.name)
        for work in ("w", "other"):
            shutil.rmtree(room.folder / work)


@row("H5", "a trial with a seed, a rate or an arm that the study never asked for")
def seeds_never_asked_for(room: Room) -> None:
    ours, theirs = two_studies(room, "--config.fresh_seeds=(9,)")
    shutil.copytree(theirs, ours.with_name(theirs.name))
    room.refused(room.run(*room.tiny), theirs.name, "seed 9")
    room.refused(room.run("w", door="report"), theirs.name)
    shutil.rmtree(ours.with_name(theirs.name))
    for name in (ours.name.replace("lr0.01", "lr0.5"), ours.name.replace("conv3", "vgg11")):
        shutil.copytree(ours, ours.with_name(name))
        room.refused(room.run(*room.tiny), name)
        shutil.rmtree(ours.with_name(name))


@row("H6", "checkpoints of another seed, rate or study in a trial begun, and in a finished one")
def checkpoints_of_another(room: Room) -> None:
    flags = ("--config.fresh_seeds=(1,2)", "--config.learning_rates=(0.01,)")
    for work in ("w", "other"):
        said = room.run(*room.tiny, *flags, f"--workdir={work}")
        room.passed(said)
    one, two = sorted((room.folder / "w" / "trials").iterdir())
    data = f"--data_dir={room.subject.data_dir}"
    for theirs in (two, room.folder / "other" / "trials" / one.name):
        shutil.rmtree(one / "checkpoints")
        shutil.copytree(theirs / "checkpoints", one / "checkpoints")
        for door in ("paper_figures", "evaluate"):
            room.refused(room.run(one, data, door=door), one.name, what=door)
        kept = (one / "result.json").read_bytes()
        (one / "result.json").unlink()
        room.refused(room.run(*room.tiny, *flags), one.name)
        (one / "result.json").write_bytes(kept)


@row("H11", ".lock of a study or a trial is a link, a hard link, a pipe, a file of the user")
def locks_that_are_links(room: Room) -> None:
    room.passed(room.run(*room.tiny))
    (trial,) = (room.folder / "w" / "trials").iterdir()
    victim = room.folder / "thesis"
    data = f"--data_dir={room.subject.data_dir}"
    for folder in (room.folder / "w", trial):
        for make in ("symlink_to", "hardlink_to"):
            victim.write_text("years of work")
            (folder / ".lock").unlink(missing_ok=True)
            getattr(folder / ".lock", make)(victim)
            if folder == trial:
                room.refused(room.run(trial, data, door="paper_figures"), ".lock")
            else:
                room.refused(room.run(*room.tiny), ".lock")
            room.check(victim.read_text() == "years of work", f"{make}: the file was written")
        (folder / ".lock").unlink()
    os.mkfifo(trial / ".lock")
    room.refused(room.run(trial, data, door="paper_figures"), ".lock")


@row("H13", "thesis.tmp in a folder that is no study; / and the home folder as workdir")
def cleaning_beyond_ones_own(room: Room) -> None:
    work = room.folder / "scratch"
    (work / "x.tmp").mkdir(parents=True)
    for name in ("thesis.tmp", "study.json.tmp", f"study.json.{os.getpid()}.tmp"):
        (work / name).write_text("years of work")
    room.passed(room.run(*room.tiny, "--workdir=scratch"))
    said = room.run(*room.tiny, "--workdir=scratch", "--config.weight_decay=0.5")
    room.refused(said, "holds another study")
    for name in ("thesis.tmp", "study.json.tmp", f"study.json.{os.getpid()}.tmp"):
        room.check((work / name).read_text() == "years of work", f"{name} is gone")
    home = room.folder / "home"
    home.mkdir()
    (home / "thesis.tmp").write_text("years of work")
    room.passed(room.run(*room.tiny, "--workdir=~", HOME=str(home)))
    room.check((home / "thesis.tmp").exists(), "a file of the home folder is gone")


@row("H26", "a clone with core.autocrlf=true: its studies are read")
def lines_as_git_makes_them(room: Room) -> None:
    studies = [path.parent for path in ROOT.glob("experiments/*/study.json")]
    if not (ROOT / ".git").exists() or not studies:
        return
    clone = room.folder / "clone"
    command = ["git", "clone", "-q", "--depth=1", "-c", "core.autocrlf=true", f"file://{ROOT}"]
    subprocess.run([*command, str(clone)], check=True, capture_output=True)
    for study in studies[:1]:
        room.passed(room.run(clone / study.relative_to(ROOT), door="report"))
    room.passed(room.run(*room.tiny))
    (trial,) = (room.folder / "w" / "trials").iterdir()
    for name in ("metrics.csv", "config.json"):
        path = trial / name
        before = path.read_bytes()
        path.write_bytes(before.replace(b"\n", b"\r\n"))
        room.refused(room.run("w", door="report"), name)
        path.write_bytes(before)


@row("H29", "a report that is read while trials finish: forced, and 300 times beside a study")
def reports_read_meanwhile(room: Room) -> None:
    flags = (*room.tiny, "--config.fresh_seeds=(1,2,3,4,5,6)")
    room.passed(room.run(*flags))

    def forced() -> int:
        from src.analysis.study import load_study  # noqa: PLC0415
        from src.records import study as studies  # noqa: PLC0415

        work = Path("w")
        last = sorted((work / "trials").iterdir())[-1]
        whole = (work / "results.csv").read_bytes()
        (last / "result.json").rename(last / "waiting")
        (work / "results.csv").write_bytes(b"\n".join(whole.split(b"\n")[:-2]) + b"\n")
        original = studies._read_trials

        def finishes(*given: object) -> object:
            found = original(*given)  # type: ignore[arg-type]
            (last / "waiting").rename(last / "result.json")
            (work / "results.csv").write_bytes(whole)
            return found

        studies._read_trials = finishes  # type: ignore[assignment]
        return len(load_study(work).trials) - 5

    said = room.fork(forced)
    room.check(said.code == 0, f"forced: {said.lines[-3:]}")
    process = room.start(*flags, "--workdir=beside")

    def read() -> int:
        from src.analysis.study import load_study  # noqa: PLC0415

        while not Path("beside/study.json").exists():
            time.sleep(0.01)
        for _ in range(300):
            load_study(Path("beside"))
            time.sleep(0.005)
        return 0

    said = room.fork(read)
    room.check(said.code == 0, f"beside a study: {said.lines[-3:]}")
    room.passed(ended(process))


@row("H34", "--dry_run of another question in a workdir")
def dry_run_of_another(room: Room) -> None:
    room.passed(room.run(*room.tiny))
    room.passed(room.run(*room.tiny, "--dry_run"), "1 of them done")
    for flag in ("--config.weight_decay=0.9", "--config.data.name=procedural",
                 "--config.data.stream_size=8"):  # fmt: skip
        said = room.run(*room.tiny, "--dry_run", flag)
        if "data.name" in flag:
            room.refused(said, "data", what=flag)
        else:
            room.refused(said, "holds another study", what=flag)


@row("H38", "pictures of the reader's disk as data set, device or baseline; 180,000 arms")
def pictures_in_records(room: Room) -> None:
    private = room.folder / "private.png"
    private.write_bytes(b"\x89PNG private")
    private.with_suffix(".svg").write_text("<svg>private</svg>")
    room.passed(room.run(*room.tiny, "--config.sweep.model.activation=('relu','tanh')"))
    header = json.loads((room.folder / "w" / "study.json").read_text())
    header.pop("checksum")
    for text in (f"![x]({private})", "![x](https://host/x.png)", "![x](../../private.png)",
                 "<img src=x>", "](x) ![y](/etc/hostname"):  # fmt: skip
        files.write_sealed(room.folder / "w" / "study.json", {**header, "dataset": text})
        said = room.run("--index=.", "w", door="report")
        page = "".join(p.read_text() for p in room.folder.glob("**/*.html"))
        room.check(said.code in (0, 2) and "Traceback" not in said.text, said.text[-300:])
        room.check("private" not in page.replace(str(private), "").replace("private.png", ""),
                   f"{text}: the picture is within")  # fmt: skip
        room.check('src="https://host' not in page and "<img src=x>" not in page, f"{text}")
    swept = {"weight_decay": [n / 1e6 for n in range(600)], "batch_size": list(range(1, 301))}
    config = {**header["config"], "sweep": swept}
    files.write_sealed(room.folder / "w" / "study.json", {**header, "config": config})
    start = time.monotonic()
    room.refused(room.run("w", door="report"), "180000 arms")
    room.check(time.monotonic() - start < 20, "180,000 arms take long")


@row("H40", "src.report killed midway; a variant whose name is too long for a folder")
def names_too_long(room: Room) -> None:
    room.passed(room.run(*room.tiny, "--config.sweep.model.activation=('relu','tanh')"))
    left = room.folder / "w" / "ratios.svg.99999999.tmp"
    left.write_text("half")
    room.passed(room.run("w", door="report"))
    room.check(not left.exists(), "what a killed report left stays for ever")
    long = {"ü" * 115: {"weight_decay": 0.1}, "b": {"weight_decay": 0.2}}
    said = room.run(*room.tiny, f"--config.variants={long}", "--workdir=long",
                    "--config.compare.field=variant", "--config.compare.baseline=b")  # fmt: skip
    room.refused(said, "bytes")
    room.check(not (room.folder / "long").exists(), "a folder was made")


@row("H27", "an end between two points: 2.5 epochs of one point each, 0.2 epochs")
def ends_between_points(room: Room) -> None:
    for epochs, steps in (("2.4", "12"), ("0.2", "1"), ("2.5", "13")):
        said = room.run(*room.tiny, "--config.points_per_epoch=1", f"--workdir=w{epochs}",
                        f"--config.max_epochs={epochs}", "--config.target_train_error=0.01",
                        "--config.thresholds=(0.01,)")  # fmt: skip
        room.passed(said)
        (result,) = rows_of(room.folder / f"w{epochs}")
        room.check(result["iterations"] == steps, f"{epochs}: {result['iterations']}")


@row("H-workers", "workers 1, 2 and 5: the same bits, of alexnet_cifar too")
def workers_change_no_number(room: Room) -> None:
    flags = ("--config.fresh_seeds=(1,2)", "--config.max_epochs=2",
             "--config.sweep.model.activation=('relu','tanh')")  # fmt: skip
    for number in (1, 2, 5):
        work = (f"--workdir=w{number}", f"--config.workers={number}")
        room.passed(room.shell(*room.tiny, *flags, *work))
        found = subject.differences(room.folder / "w1", room.folder / f"w{number}", states=False)
        room.check(not found, f"{number} workers: {found}")
