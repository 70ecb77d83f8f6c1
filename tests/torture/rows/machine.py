"""D. The machine's settings and limits."""

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.torture.rows.numbers import metrics_of, rows_of, write_set
from tests.torture.rows.room import STREAM, Room, as_nobody, can_be_nobody, row

DOORS: dict[str, tuple[str, ...]] = {
    "report": ("nowhere",), "claims": ("nowhere",), "paper_figures": ("nowhere/trials/x",),
    "evaluate": ("nowhere/trials/x",), "networks": ("conv3",),
    "write_tfds": ("mine", "nowhere"),
}  # fmt: skip


@row("D16", "JAX_PLATFORMS=cuda, gpu, tpu, nonsense, JAX_PLATFORM_NAME=gpu: every command")
def devices_that_are_not_there(room: Room) -> None:
    asked = [{"JAX_PLATFORMS": name} for name in ("cuda", "gpu", "tpu", "nonsense")]
    for variables in (*asked, {"JAX_PLATFORM_NAME": "gpu"}):
        ((name, value),) = variables.items()
        room.refused(room.shell(*room.tiny, **variables), f"{name}={value}", "JAX_PLATFORMS=cpu")
    room.check(not (room.folder / "w").exists(), "a folder was made")
    for door, arguments in DOORS.items():
        said = room.shell(*arguments, door=door, JAX_PLATFORMS="cuda")
        if door == "networks":
            room.passed(said, what=door)
        else:
            room.refused(said, what=door)


@row("D17", "JAX_ENABLE_X64=1, JAX_DISABLE_JIT=1, JAX_TRANSFER_GUARD=disallow: the same numbers")
def settings_of_numbers(room: Room) -> None:
    room.passed(room.shell(*room.tiny))
    sound = _numbers(room.folder / "w")
    for name, value in (
        ("JAX_ENABLE_X64", "1"), ("JAX_ENABLE_X64", "True"), ("JAX_DISABLE_JIT", "1"),
        ("JAX_TRANSFER_GUARD", "disallow"), ("JAX_DEFAULT_MATMUL_PRECISION", "bfloat16"),
        ("JAX_NUMPY_RANK_PROMOTION", "raise"), ("JAX_DEFAULT_DTYPE_BITS", "64"),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
    ):  # fmt: skip
        work = f"{name}{room.tried}"
        said = room.shell(*room.tiny, f"--workdir={work}", **{name: value})
        room.passed(said, f"note: {name}=", what=name)
        room.check(_numbers(room.folder / work) == sound, f"other numbers with {name}={value}")


def _numbers(workdir: Path) -> list[dict[str, str]]:
    rows = [*rows_of(workdir), *metrics_of(workdir)]
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


@row("D18", "JAX_DEBUG_NANS=1 and a rate that diverges")
def debugging_a_rate_that_diverges(room: Room) -> None:
    said = room.shell(
        *room.tiny, "--config.learning_rates=(0.02,1e6)", "--config.model.activation=leaky_relu",
        "--config.max_epochs=3", JAX_DEBUG_NANS="1", JAX_DEBUG_INFS="1",
    )  # fmt: skip
    room.passed(said)
    status = {float(r["learning_rate"]): r["status"] for r in rows_of(room.folder / "w")}
    room.check(status.get(1e6) == "diverged", f"{status}")


@row("D19", "MPLBACKEND of a notebook, not installed, nonsense: every command that draws")
def backends_of_notebooks(room: Room) -> None:
    for backend in ("module://matplotlib_inline.backend_inline", "GTK4Agg", "nonsense", ""):
        work = f"w{room.tried}"
        room.passed(room.shell(*room.tiny, f"--workdir={work}", MPLBACKEND=backend), what=backend)
    work = room.folder / "w0"
    (trial,) = (work / "trials").iterdir()
    backend, data = "module://matplotlib_inline.backend_inline", room.subject.data_dir
    room.passed(room.shell(work, door="report", MPLBACKEND=backend))
    room.passed(room.shell(trial, f"--data_dir={data}", door="paper_figures", MPLBACKEND=backend))
    (room.folder / "nets").mkdir()
    room.passed(room.shell("alexnet", "--draw=nets", door="networks", MPLBACKEND=backend))
    (room.folder / "relu_vs_tanh").mkdir()  # The study of a claim, without records.
    room.passed(room.shell(room.folder, door="claims", MPLBACKEND=backend))


@row("D20", "a bare user id: no HOME and no name, with and without a cache, every command")
def user_without_a_home(room: Room) -> None:
    if not can_be_nobody():
        return
    cache = room.folder / "cache"
    for number, (chosen, gone) in enumerate([(str(cache), ()), ("", ("XDG_CACHE_HOME",))]):

        def before(gone: tuple[str, ...] = gone, mine: tuple[Path, ...] = ()) -> None:
            for name in ("HOME", "USER", "LOGNAME", *gone):
                os.environ.pop(name, None)
            as_nobody(room.folder, *mine)()

        _open_ways(room)
        said = room.run(*room.tiny, f"--workdir=n{number}", before=before, XDG_CACHE_HOME=chosen)
        room.passed(said, what=f"cache {chosen!r}")
    said = room.run(*room.tiny, "--config.data.dir=", before=before, XDG_CACHE_HOME="")
    room.refused(said, "home folder")
    (trial,) = (room.folder / "n0" / "trials").iterdir()
    for door, arguments in (
        ("report", ("n0",)),
        ("paper_figures", (str(trial), f"--data_dir={room.subject.data_dir}")),
        ("evaluate", (str(trial), f"--data_dir={room.subject.data_dir}", "--out=out")),
        ("networks", ("conv3",)),
    ):
        room.passed(room.run(*arguments, door=door, before=before), what=door)


def _open_ways(room: Room) -> None:
    """Lets others through the temporary folder that all lies in."""
    for folder in (room.subject.folder, room.folder.parent):
        folder.chmod(0o755)
    subprocess.run(["chmod", "-R", "a+rX", room.subject.data_dir], check=True)


@row("D22", "streaming with less shared memory than a batch needs")
def small_shared_memory(room: Room) -> None:
    write_set(room.data_dir, "set")

    def before() -> None:
        from src.data import loader  # noqa: PLC0415
        from src.training import program  # noqa: PLC0415

        class Usage:
            free = 4_000

        loader.shutil = type("", (), {"disk_usage": staticmethod(lambda _: Usage)})
        original = loader.read_batches

        def read(*given: Any, processes: int, **others: Any) -> Any:
            return original(*given, processes=2, **others)

        for module in (loader, program, *_holders(loader.read_batches)):
            if getattr(module, "read_batches", None):
                module.read_batches = read

    said = room.run(*room.on("set", STREAM), before=before)
    room.passed(said, "/dev/shm is too small")
    room.check("leaked" not in said.text, f"{said.lines[-3:]}")


def _holders(function: Any) -> list[Any]:
    import sys  # noqa: PLC0415

    return [m for m in list(sys.modules.values()) if getattr(m, "read_batches", None) is function]


@row("D23", "a disk without flock, or that cannot flush a folder or a file")
def disks_that_cannot(room: Room) -> None:
    for code in (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EIO):
        said = room.run(*room.tiny, before=lambda code=code: _no_locks(code))
        room.refused(said, ".lock", "--workdir")
    for code in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
        said = room.run(
            *room.tiny, f"--workdir=w{code}", before=lambda code=code: _no_sync(code, True)
        )
        room.passed(said, what=errno.errorcode[code])
    said = room.run(*room.tiny, "--workdir=bad", before=lambda: _no_sync(errno.EIO, False))
    room.refused(said, "Input/output error", "bad")


def _no_locks(code: int) -> None:
    import fcntl  # noqa: PLC0415

    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    fcntl.flock = fail


def _no_sync(code: int, folders: bool) -> None:
    sync = os.fsync

    def fail(handle: int) -> None:
        import stat  # noqa: PLC0415

        if stat.S_ISDIR(os.fstat(handle).st_mode) == folders:
            raise OSError(code, os.strerror(code))
        sync(handle)

    os.fsync = fail


@row("D24", "figures of a colleague's study, readable only; a bare name; few training images")
def studies_of_a_colleague(room: Room) -> None:
    room.passed(room.run(*room.tiny))
    (trial,) = (room.folder / "w" / "trials").iterdir()
    data = f"--data_dir={room.subject.data_dir}"
    room.refused(room.run(trial.name, data, door="paper_figures"), trial.name)
    if can_be_nobody():
        mine = room.folder / "mine"
        mine.mkdir()
        _open_ways(room)
        for path in (room.folder, room.folder / "w"):
            path.chmod(0o755)
        before = as_nobody(mine)
        for door in ("paper_figures", "evaluate"):
            said = room.run(trial, data, "--out=mine", door=door, before=before)
            room.passed(said, what=door)
        room.refused(room.run(trial, data, door="paper_figures", before=before), "paper_figures")
        room.refused(room.run("w", door="report", before=before), "Permission denied", "w/")
    write_set(room.data_dir, "five", names=("a", "b"), train=5)
    room.passed(room.run(*room.on("five"), "--config.batch_size=5", "--workdir=few"))
    (trial,) = (room.folder / "few" / "trials").iterdir()
    room.passed(room.run(trial, f"--data_dir={room.data_dir}", door="paper_figures"))
    write_set(room.data_dir, "one", names=("a", "b"), test=1)
    room.passed(room.run(*room.on("one"), "--workdir=one"))
    (trial,) = (room.folder / "one" / "trials").iterdir()
    room.passed(room.run(trial, f"--data_dir={room.data_dir}", door="paper_figures"))
