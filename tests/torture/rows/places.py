"""B and C. Foreign files; paths and commands as people type them."""

import shlex
import signal
import subprocess
import sys
import time

from tests.torture.rows.numbers import write_set
from tests.torture.rows.room import STREAM, Room, ended, row

WORDS = "years of work"


@row("B10", "a workdir that holds thesis.tmp and a folder backup.tmp, of a study or another's")
def files_of_a_user(room: Room) -> None:
    work = room.folder / "w"
    (work / "backup.tmp").mkdir(parents=True)
    names = ("thesis.tmp", "results.csv.tmp", "study.json.1.2.tmp", "results.csv.0123.tmp")
    for name in names:
        (work / name).write_text(WORDS)
    room.passed(room.run(*room.tiny))
    said = room.run(*room.tiny, "--config.weight_decay=0.9")
    room.refused(said, "holds another study")
    for name in names:
        room.check((work / name).read_text() == WORDS, f"{name} is gone")
    room.check((work / "backup.tmp").is_dir(), "backup.tmp is gone")


@row("B11", "what Finder, Explorer, NFS and synchronizers leave beside the records, mid-study")
def files_beside_records(room: Room) -> None:
    folder = write_set(room.data_dir, "varsize")
    room.passed(room.run(*room.on("varsize", STREAM)))
    for name in (".DS_Store", "Thumbs.db", ".nfs0001", "._features.json", "desktop.ini",
                 "varsize-train.array_record-00000-of-00001 (conflicted copy)"):  # fmt: skip
        (folder / name).write_bytes(b"x")
        said = room.run(*room.on("varsize", STREAM), "--config.fresh_seeds=(100,101)")
        room.passed(said, what=name)


@row("C13", "--workdir=~/runs/x, ~user, config.data.dir=~, --out=~ : no shell expands after =")
def home_after_an_equals_sign(room: Room) -> None:
    home = room.folder / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "tiny").symlink_to(room.subject.data_dir / "tiny")
    room.passed(
        room.run(*room.tiny, "--workdir=~/runs/x", "--config.data.dir=~/data", HOME=str(home))
    )
    room.check((home / "runs" / "x" / "report.md").exists(), "it is not in the home folder")
    room.check(not (room.folder / "~").exists(), "a folder named ~ was made")
    (trial,) = (home / "runs" / "x" / "trials").iterdir()
    said = room.run(
        f"~/runs/x/trials/{trial.name}", "--out=~/figures", "--data_dir=~/data",
        door="paper_figures", HOME=str(home),
    )  # fmt: skip
    room.passed(said)
    room.check((home / "figures" / "kernels.png").exists(), "figures are not in the home folder")
    room.passed(room.run("~/runs/x", door="report", HOME=str(home)))
    room.refused(room.run(*room.tiny, "--workdir=~nosuchuser/x"), "~nosuchuser", "--workdir")


@row("C14", "workdir, data, --out or --index in a bucket, by flag and by variable")
def buckets(room: Room) -> None:
    for url in ("gs://bucket/x", "s3://bucket/x", "gs:/bucket/x", "file:///tmp/x"):
        room.refused(room.run(*room.tiny, f"--workdir={url}"), url, "--workdir", "local folders")
        room.refused(room.run(*room.tiny, f"--config.data.dir={url}"), url, "config.data.dir")
        said = room.run(*room.tiny, "--config.data.dir=", TFDS_DATA_DIR=url)
        room.refused(said, url, "TFDS_DATA_DIR")
        room.refused(room.run(url, door="report"), url)
        room.refused(room.run(url, door="claims"), url)
        room.refused(room.run(url, door="evaluate"), url)
        room.refused(room.run("mine", url, door="write_tfds"), url)
        said = room.run("mine", ".", f"--data_dir={url}", door="write_tfds")
        room.refused(said, url)
        room.refused(room.run("conv3", f"--draw={url}", door="networks"), url)
    left = {path.name for path in room.folder.iterdir()}
    room.check(not left, f"left behind: {left}")


def _pasted(room: Room, number: int) -> None:
    work = f"my runs/{number} $HOME 'b'"
    flags = (*room.tiny, "--config.fresh_seeds=(100, 101)", f"--workdir={work}",
             "--config.max_epochs=400", "--config.stop_at_target=False")  # fmt: skip
    process = room.start(*flags)
    while process.poll() is None and not list((room.folder / work).glob("trials/*/metrics.csv")):
        time.sleep(0.05)
    process.send_signal(number)
    said = ended(process)
    room.check(said.code == 130, f"code {said.code}: {said.lines[-3:]}")
    (line,) = [text for text in said.lines if "To go on: " in text] or [""]
    command = line.partition("To go on: ")[2]
    room.check(shlex.split(command)[3:] == list(flags), f"not what was given: {command}")
    again = subprocess.run(
        ["bash", "-c", command.replace("python", shlex.quote(sys.executable), 1) + " --dry_run"],
        cwd=room.folder, env=room.subject.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    room.check(again.returncode == 0 and work in again.stdout, f"pasted: {again.stderr[-300:]}")


@row("C15", "`To go on: ...` after Ctrl-C pasted: a tuple, spaces, a $ and quotes in its flags")
def pasted_after_ctrl_c(room: Room) -> None:
    _pasted(room, signal.SIGINT)


@row("F42", "ssh drops: SIGHUP, and the command pasted")
def pasted_after_a_hangup(room: Room) -> None:
    _pasted(room, signal.SIGHUP)


@row("H33", "`To go on: ...` after SIGTERM pasted")
def pasted_after_a_signal(room: Room) -> None:
    _pasted(room, signal.SIGTERM)
