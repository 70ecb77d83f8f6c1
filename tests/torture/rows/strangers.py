"""H. Data, caches and servers of strangers."""

import functools
import http.server
import json
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests import prepared
from tests import test_data_archives as archives
from tests.torture import subject
from tests.torture.rows.numbers import rows_of, write_set
from tests.torture.rows.room import STREAM, Room, row
from tests.torture.subject import apart


@row("H8", "features.json names a module beside it, unittest.__main__, os: nothing runs")
def features_that_name_code(room: Room) -> None:
    (room.folder / "datasets").mkdir()
    flags = [f.replace(str(room.data_dir), "datasets") for f in room.on("tiny")]
    folder = write_set(room.folder / "datasets", "tiny")
    (folder.parent / "payload.py").write_text("open('/tmp/it-ran', 'w')\nclass Label: pass\n")
    for package in (room.folder / "datasets", folder.parent):
        (package / "__init__.py").write_text("")
    for name in ("datasets.tiny.payload.Label", "unittest.__main__.X", "os.system",
                 "tensorflow_datasets.testing.test_utils.X"):  # fmt: skip
        feature = {"pythonClassName": name, "classLabel": {"numClasses": "10"}}
        prepared.change(folder / "features.json", prepared.label_as(feature))
        for way in ((), (STREAM,)):
            said = room.run(*flags, *way)
            room.refused(said, name, "would run code", what=name)
        room.check(not Path("/tmp/it-ran").exists(), f"{name} ran")


class _Steps:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any):
        self.what = function, arguments

    def __reduce__(self) -> Any:
        return self.what


@row("H9", "pickles beside the archives: object pointers, uninitialized memory, calls")
def pickles_of_strangers(room: Room) -> None:
    objects = np.array([[1, 2]], dtype=object)
    raw = np.frombuffer(b"A" * 3072, np.uint8).reshape(1, 3072)
    hostile: dict[str, bytes] = {
        "pointers": _lying_dtype(),
        "objects": pickle.dumps({"data": objects, "labels": [1]}),
        "memory": pickle.dumps({"data": _Steps(np.ndarray, (10_000, 3072), np.dtype("u1")),
                                "labels": [0] * 10_000}),
        "call": pickle.dumps({"data": _Steps(os.system, "touch ran"), "labels": [1]}),
        "floats": pickle.dumps({"data": raw.astype(np.float64), "labels": [1]}),
        "halved": pickle.dumps({"data": raw, "labels": [1]})[:-40],
        "recursion": b"(" * 100_000 + b".",
        "huge": pickle.dumps({"data": raw, "labels": [10**30]}),
    }  # fmt: skip
    for name, content in hostile.items():
        folder = room.folder / name / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        for batch in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
            (folder / batch).write_bytes(content)
        said = room.run(*room.on("cifar10"), f"--config.data.dir={room.folder / name}")
        room.refused(said, "cifar-10-batches-py", what=name)
        room.check(not (room.folder / "ran").exists(), f"{name} ran")


def _lying_dtype() -> bytes:
    """Bytes whose dtype is then told that they are objects."""
    content = pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [1]}, 2)
    return content.replace(b"X\x02\x00\x00\x00u1", b"X\x02\x00\x00\x00O8")


@row("H10", "each entry of JAX's compilation cache damaged: bits, cuts, zeros, another's entry")
def damaged_compilations(room: Room) -> None:
    cache = room.folder / "cache"
    room.passed(room.shell(*room.tiny, "--workdir=sound", XDG_CACHE_HOME=str(cache)))
    entries = sorted(p for p in (cache / "alexnet-claims" / "xla").rglob("*-cache") if p.is_file())
    room.check(entries, "nothing is kept")
    rng = np.random.default_rng(2012)
    for how in ("bit", "bytes", "cut", "zeros", "empty", "swapped"):
        contents = [path.read_bytes() for path in entries]
        for path, content in zip(entries, contents, strict=True):
            path.write_bytes(_damaged(how, content, contents[0], rng))
        said = room.shell(*room.tiny, f"--workdir={how}", XDG_CACHE_HOME=str(cache))
        room.passed(said, what=how)
        found = subject.differences(room.folder / "sound", room.folder / how, states=False)
        room.check(not found, f"{how}: {found}")


def _damaged(how: str, content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    if how == "bit":
        return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]
    if how == "bytes":
        return content[:at] + rng.bytes(16) + content[at + 16 :]
    cases = {"cut": content[:at], "zeros": bytes(len(content)), "empty": b"", "swapped": other}
    return cases[how]


@row("H14", "cifar10 with wrong labels and an original.json of its own digest")
def a_seal_of_ones_own(room: Room) -> None:
    from src.data import Split, digest, write_tfds  # noqa: PLC0415
    from src.data.cifar10.load import load_cifar10, stream_cifar10  # noqa: PLC0415

    batches = archives.make_batches()
    original = archives.original_of(batches)
    train, test = (Split(*map(np.concatenate, zip(*part, strict=True)))
                   for part in (batches[:5], batches[5:]))  # fmt: skip
    wrong = Split(train.images, (train.labels + 1) % 10)
    folder = room.folder / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    apart(write_tfds.write_prepared)(folder, wrong, test)
    seal = json.dumps({"digest": digest(wrong, test), "verified": True})
    (folder / "original.json").write_text(seal)
    for load in (load_cifar10, functools.partial(stream_cifar10, size=32)):
        said = room.fork(lambda: print(load(room.folder, original=original).name))  # noqa: B023
        room.check(said.lines[-1:] == ["cifar10-unverified"], f"called {said.lines[-1:]}")


@row("H18", "flags of XLA that change numbers, devices that are not there")
def flags_that_change_numbers(room: Room) -> None:
    room.passed(room.shell(*room.tiny))
    for flag in (
        "--xla_cpu_enable_fast_math=true", "--xla_cpu_enable_fast_min_max=true",
                 "--xla_backend_optimization_level=0", "--xla_allow_excess_precision=false",
    ):  # fmt: skip
        work = f"w{room.tried}"
        said = room.shell(*room.tiny, f"--workdir={work}", XLA_FLAGS=flag)
        room.passed(said, f"note: XLA_FLAGS={flag}")
        found = subject.differences(room.folder / "w", room.folder / work, states=False)
        room.check(not found, f"{flag}: {found}")
        (result,) = rows_of(room.folder / work)
        room.check(result["xla_flags"] == "none", f"recorded: {result['xla_flags']}")


@row("H19", "`$x^$` as class, baseline, variant, data set and device, in every figure")
def formats_in_words(room: Room) -> None:
    from src.records import files  # noqa: PLC0415
    from tests.torture.rows.room import texts  # noqa: PLC0415

    flags = ("--config.variants={'a':{'weight_decay':0.1},'b':{'weight_decay':0.2}}",
             "--config.compare.field=variant", "--config.compare.baseline=a")  # fmt: skip
    room.passed(room.run(*room.tiny, *flags))
    header = json.loads((room.folder / "w" / "study.json").read_text())
    header.pop("checksum")
    odd = "$x^$ $\\frac$ _{ | `#`"
    files.write_sealed(room.folder / "w" / "study.json", {**header, "dataset": odd})
    results = list((room.folder / "w").glob("trials/*/result.json"))
    for path in results:
        content = json.loads(path.read_text())
        content.pop("checksum")
        content["result"] |= {"dataset": odd, "device": odd}
        files.write_sealed(path, content)
    said = room.fork(lambda: print(len(texts(Path("w")))))
    room.passed(said)
    said = room.run(*room.tiny, "--config.variants={'$x^$':{'weight_decay':0.1}}",
                    "--config.compare.baseline=$x^$", "--workdir=v")  # fmt: skip
    room.refused(said, "$x^$")


def _serve(answer: Callable[[Any], None]) -> str:
    """A server on loopback, gone with its process."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """The other end has left: as it should."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def _head(handler: Any, **headers: str) -> None:
    handler.send_response(200)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def _broken_chunk(handler: Any) -> None:
    handler.protocol_version = "HTTP/1.1"
    _head(handler, Transfer_Encoding="chunked")
    handler.wfile.write(b"400\r\nhalf")


def _no_length(handler: Any) -> None:
    _head(handler, Content_Length="abc")
    handler.wfile.write(b"x" * 99)


def _endless(handler: Any) -> None:
    _head(handler)
    while True:
        handler.wfile.write(b"x" * 100_000)


def _drop_by_drop(handler: Any) -> None:
    _head(handler, Content_Length="170052171")
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.1)


def _short(handler: Any) -> None:
    _head(handler, Content_Length="1000")
    handler.wfile.write(b"x" * 10)


def _redirected_to_itself(handler: Any) -> None:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def _redirected_to_a_file(handler: Any) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/hostname")
    handler.end_headers()


def _no_http(handler: Any) -> None:
    handler.wfile.write(b"\x16\x03\x01 hello\r\n\r\n")


def _download(room: Room, answer: Callable[[Any], None], what: str) -> None:
    def command() -> int:
        from src import doors  # noqa: PLC0415
        from src.data.cifar10 import download  # noqa: PLC0415
        from src.data.cifar10.load import load_cifar10  # noqa: PLC0415

        download.STALL_SECONDS = 1.0
        url = _serve(answer)
        original = archives.original_of(archives.make_batches(), url=url)
        return doors.run(lambda argv: bool(load_cifar10(room.data_dir, original)), [])

    start = time.monotonic()
    room.refused(room.fork(command), "http://127.0.0.1", what=what)
    room.check(time.monotonic() - start < 30, f"{what}: it takes long")
    left = list(room.data_dir.rglob("*")) if room.data_dir.exists() else []
    room.check(not left, f"{what}: left behind: {left}")


@row("H24", "servers that break off, give no length, lead to themselves or a file, no HTTP")
def servers_that_break_off(room: Room) -> None:
    for answer in (_broken_chunk, _no_length, _short, _redirected_to_itself,
                   _redirected_to_a_file, _no_http):  # fmt: skip
        _download(room, answer, answer.__name__)


@row("H25", "a server that never ends, and one of a byte now and then")
def servers_without_end(room: Room) -> None:
    for answer in (_endless, _drop_by_drop):
        _download(room, answer, answer.__name__)


@row("H30", "a record file replaced by one of equal size; class names reversed; labels.txt changed")
def data_replaced(room: Room) -> None:
    folder = write_set(room.data_dir, "mine")
    other = write_set(room.folder / "other", "mine", prefix="y")
    (ours,), (theirs,) = folder.glob("*-train*"), other.glob("*-train*")
    room.check(ours.stat().st_size == theirs.stat().st_size, "they differ in size")
    kept = ours.read_bytes()
    names = folder / "label.labels.txt"
    for number, way in enumerate(((), (STREAM,))):
        work = (*room.on("mine", *way), f"--workdir=w{number}")
        room.passed(room.run(*work))
        changed = bytearray(kept)
        changed[2000:2010] = b"0123456789"
        ours.write_bytes(changed)
        said = room.run(*work)
        room.check(said.code == 2 and "Traceback" not in said.text, f"records: {said.lines[-2:]}")
        ours.write_bytes(kept)
        before = names.read_text()
        for text in ("\n".join(reversed(before.split())), before.replace("a", "z")):
            names.write_text(text + "\n")
            room.refused(room.run(*work), "data.digest")
        names.write_text(before)
        room.passed(room.run(*work))


@row("H32", "files of a data set replaced, size and time kept (cp -p, tar, rsync -t)")
def data_replaced_with_its_times(room: Room) -> None:
    folder = write_set(room.data_dir, "mine")
    room.passed(room.run(*room.on("mine")))
    (ours,) = folder.glob("*-train*")
    times, content = ours.stat(), bytearray(ours.read_bytes())
    other = bytearray(content)
    other[len(other) // 50] ^= 1  # Of a record: what is behind them is filled up.
    for how in ("written over", "moved into place"):
        path = ours if how == "written over" else ours.with_name("new")
        path.write_bytes(other)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        path.replace(ours)
        said = room.run(*room.on("mine"), "--config.fresh_seeds=(100,101)")
        room.check(said.code == 2 and "Traceback" not in said.text, f"{how}: {said.lines[-2:]}")
        ours.write_bytes(content)


@row("H35", "prepared data emptied by a power cut: its remedy is named")
def emptied_by_a_power_cut(room: Room) -> None:
    folder = write_set(room.data_dir, "mine")
    whole = room.folder / "whole"
    shutil.copytree(folder, whole)
    for pattern in ("*-train*", "*-test*", "features.json", "dataset_info.json",
                    "label.labels.txt"):  # fmt: skip
        for size in (0, 100):
            (path,) = folder.glob(pattern)
            path.write_bytes(path.read_bytes()[:size] if size else b"")
            if pattern == "label.labels.txt" and size:
                continue
            for way in ((), (STREAM,)):
                said = room.run(*room.on("mine", *way))
                room.refused(said, "prepare it again", str(folder), what=f"{pattern} {size}")
            shutil.copy(whole / path.name, path)


@row("H36", "homes that are none, in every field and flag that is a folder")
def homes_that_are_none(room: Room) -> None:
    bad = "~nosuchuser/x"
    for flag in ("--config.data.dir", "--workdir", "--config.stacks_dir"):
        room.refused(room.run(*room.tiny, f"{flag}={bad}"), bad, what=flag)
    room.refused(room.run(*room.tiny, "--config.data.dir=", TFDS_DATA_DIR=bad), bad)
    for door, arguments in (
        ("report", (bad,)), ("report", (f"--index={bad}", ".")), ("claims", (bad,)),
        ("paper_figures", (bad,)), ("paper_figures", (".", f"--out={bad}")),
        ("evaluate", (bad,)), ("evaluate", (f"--weights={bad}",)),
        ("networks", ("conv3", f"--draw={bad}")), ("write_tfds", ("mine", bad)),
        ("write_tfds", ("mine", ".", f"--data_dir={bad}")),
    ):  # fmt: skip
        room.refused(room.run(*arguments, door=door), bad, what=f"{door} {arguments}")


@row("H21", "src.paper_figures of x, /, a name without a seed, a damaged or foreign config.json")
def trials_that_are_none(room: Room) -> None:
    room.passed(room.run(*room.tiny))
    (trial,) = (room.folder / "w" / "trials").iterdir()
    data = f"--data_dir={room.subject.data_dir}"
    doors: tuple[str, ...] = ("paper_figures", "evaluate")
    for door in doors:
        for argument in ("x", "/", ".", "w", "w/trials", "", "w/study.json"):
            room.refused(room.run(argument, data, door=door), what=f"{door} {argument!r}")
        before = (trial / "config.json").read_text()
        for text in ("", "{", "[]", "{}", "null", before.replace("relu", "selu"),
                     before.replace("relu", "configs.nowhere.f"), "\xff"):  # fmt: skip
            (trial / "config.json").write_bytes(text.encode("latin1"))
            said = room.run(trial, data, door=door)
            room.refused(said, "config.json", what=f"{door} {text[:20]!r}")
        (trial / "config.json").write_text(before)
        shutil.copytree(trial, trial.with_name("without"), dirs_exist_ok=True)
        room.refused(room.run(trial.with_name("without"), data, door=door), "without")
        shutil.rmtree(trial.with_name("without"))


@row("H22", "src.report of a file, of w/trials, --index=FILE; README.md that is no UTF-8; locale C")
def reports_of_no_study(room: Room) -> None:
    room.passed(room.run(*room.tiny))
    (room.folder / "file").write_text("x")
    for argument in ("file", "w/trials", "w/study.json", "nowhere", ".", ""):
        room.refused(room.run(argument, door="report"), what=argument)
    said = room.run("--index=file", "w", door="report")
    room.refused(said, "file")
    readme = room.folder / "w" / "README.md"
    marks = f"<!-- answer: {room.folder.name}/w -->\n<!-- /answer: {room.folder.name}/w -->\n"
    readme.write_bytes(b"\xff\xfe" + marks.encode())
    room.refused(room.run("w", door="report"), "README.md", "UTF-8")
    readme.write_text("é 猴\n" + marks)
    said = room.shell("w", door="report", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    room.passed(said)
    room.check(readme.read_text(encoding="utf-8").startswith("é 猴"), "README.md lost its letters")
