"""H 15 to 17. Functions of one's own, with mistakes."""

import shutil
from pathlib import Path

from tests.torture.rows.room import Room, Said, row
from tests.torture.subject import ROOT

HEAD = """
import jax
import jax.numpy as jnp
import numpy as np
from configs import base
SLOPE = 0.1
def get_config():
    config = base.get_config()
    config.model.activation = "configs.mine.f"
    return config
"""
# What is wrong, and what its line must say.
MISTAKES: tuple[tuple[str, str], ...] = (
    ("def f(x): return jax.nn.rellu(x)", "has no attribute 'rellu'"),
    ("def f(x) return x", "expected ':'"),
    ("def f(x): raise ValueError('my own words')", "my own words"),
    ("def f(x): pass", "returns NoneType"),
    ("def f(x): raise SystemExit(7)", "SystemExit: 7"),
    ("import sys\nsys.exit(7)", "sys.exit(7)"),
    ("def f(x, slope): return x", "missing 1 required positional argument: 'slope'"),
    ("def f(x): return x if x > 0 else SLOPE * x", "truth value"),
    ("def f(x): return np.maximum(x, 0)", "TracerArrayConversionError"),
    ("def f(x): return x > 0", "of bool: keep the type"),
    ("def f(x): return (x > 0).astype(int)", "of int32: keep the type"),
    ("def f(x): return x[:1]", "keep the shape"),
    ("def f(x): return x.sum()", "keep the shape"),
    ("def f(x): return jnp.log(x)", "infinities or NaN"),
    ("def f(x): return x - x.mean(0, keepdims=True)", "depends on the other images"),
    ("class f: pass", "is not a function"),
    ("from configs.base import get_config as f", "not something that configs.mine defines"),
    ("g = 1", "no attribute 'f'"),
    ("def f(x): return (x, x)", "returns tuple"),
    ("def f(x): return jax.nn.relu(x).astype(jnp.bfloat16)", "of bfloat16: keep the type"),
    ("def f(x):\n    while True: x = x + 1 if x.sum() > 1 else x", "TracerBoolConversionError"),
    ("import nowhere_at_all\ndef f(x): return x", "No module named 'nowhere_at_all'"),
    ("def f(x): return float(x)", "Only scalar arrays"),
)  # fmt: skip


def project(room: Room, text: str) -> Path:
    """A checkout with configs/mine.py."""
    folder = room.folder / "project"
    if not folder.exists():
        folder.mkdir()
        (folder / "src").symlink_to(ROOT / "src")
        shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "configs" / "mine.py").write_text(HEAD + text + "\n")
    return folder


def run(room: Room, folder: Path, *flags: str) -> Said:
    """The study of configs/mine.py."""

    def before() -> None:
        import os  # noqa: PLC0415
        import sys  # noqa: PLC0415

        import configs  # noqa: PLC0415

        os.chdir(folder)
        sys.path.insert(0, str(folder))
        configs.__path__[:] = [str(folder / "configs")]
        for name in [n for n in sys.modules if n.startswith("configs.")]:
            del sys.modules[name]
        sys.dont_write_bytecode = True

    given = [flag for flag in room.tiny if not flag.startswith("--config=")]
    return room.run("--config=configs/mine.py", *given, *flags, before=before)


@row("H15", "an own function that changes the batch axis, or mixes images")
def functions_that_change_the_batch(room: Room) -> None:
    for text in (
        "x[:1]", "x[::-1]", "jnp.flip(x, 0)", "x - x.mean()", "x / (1 + jnp.abs(x).max())",
                 "jnp.roll(x, 1, 0)", "jnp.broadcast_to(x[:1], x.shape)", "x.reshape(-1)",
    ):  # fmt: skip
        folder = project(room, f"def f(x): return {text}")
        room.refused(run(room, folder), "configs.mine.f", what=text)
        room.check(not (folder / "w").exists(), f"{text}: a folder was made")


@row("H16", "23 mistakes in a function of one's own: each has its own line")
def mistakes(room: Room) -> None:
    lines = {}
    for text, words in MISTAKES:
        said = run(room, project(room, text))
        room.refused(said, words, what=text)
        lines[text] = " ".join(said.errors)
        room.check("too small" not in lines[text], f"{text}: {lines[text]}")
    room.check(len(set(lines.values())) == len(lines), "two mistakes have the same line")


@row("H17", "a number, or a file that is imported in any way, changed beside an own function")
def code_beside_a_function(room: Room) -> None:
    forms = {
        "a number": ("def f(x): return jnp.maximum(x, SLOPE * x)", ""),
        "import from": ("from configs.helper import SLOPE\ndef f(x): return x * SLOPE", "SLOPE"),
        "relative": ("from .helper import SLOPE\ndef f(x): return x * SLOPE", "SLOPE"),
        "relative module": ("from . import helper\ndef f(x): return x * helper.SLOPE", "SLOPE"),
        "import as": ("import configs.helper as h\ndef f(x): return x * h.SLOPE", "SLOPE"),
        "a file beside": ("from beside import SLOPE\ndef f(x): return x * SLOPE", "SLOPE"),
        "a package": ("from package.inner import SLOPE\ndef f(x): return x * SLOPE", "SLOPE"),
    }
    for number, (what, (text, helper)) in enumerate(forms.items()):
        folder, work = project(room, text), f"--workdir=w{number}"
        (folder / "package").mkdir(exist_ok=True)
        (folder / "package" / "__init__.py").write_text("")
        places = [folder / "configs" / "helper.py", folder / "beside.py",
                  folder / "package" / "inner.py"]  # fmt: skip
        for place in places:
            place.write_text("SLOPE = 0.1\n")
        if what.startswith("relative"):  # The config file itself is run outside of its package.
            room.refused(run(room, folder, work), "mine.py, line ", "from configs.", what=what)
            continue
        room.passed(run(room, folder, work), what=what)
        room.passed(run(room, folder, work, "--config.fresh_seeds=(100,101)"), what=what)
        if helper:
            for place in places:
                place.write_text("SLOPE = 0.9\n")
        else:
            mine = folder / "configs" / "mine.py"
            mine.write_text(mine.read_text().replace("0.1", "0.9"))
        said = run(room, folder, work, "--config.fresh_seeds=(100,101,102)")
        room.refused(said, "own_code", what=what)
