"""How the house is built: which room may know which, and what stands in one place only."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from src import wording
from src.analysis import curves

SRC = Path(__file__).parent.parent / "src"
# Each room knows only those before it; rooms of one line know nothing of each other.
FLOORS = (
    ("errors",),
    ("trees", "paths", "wording", "own", "processor", "compilations", "hosts", "pickles"),
    ("fields",),
    ("environment",),
    ("doors",),
    ("models", "records"),
    ("data",),
    ("training",),
    ("pretraining", "weights"),
    ("config",),
    ("analysis",),
    ("study", "reports"),
    ("trained",),
    ("laboratory",),
    ("main", "report", "claims", "paper_figures", "networks", "evaluate", "write_tfds"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(SRC.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Modules of this project that a file imports, `src.` left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: an import says from where"
            whole = node.module == "src"
            names = [f"src.{a.name}" for a in node.names] if whole else [node.module or ""]
        for name in names:
            first, _, rest = name.partition(".")
            if first in ("src", "configs"):
                yield rest if first == "src" else first


@pytest.mark.parametrize("time", ["first", "second"])
def test_what_a_test_sets_for_its_process_is_gone_in_the_next(time):
    assert "SET_BY_A_TEST" not in os.environ
    os.environ["SET_BY_A_TEST"] = time


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_run_one_way(path):
    """Settings are declarations: whoever composes them may import them from any room."""
    room = path.relative_to(SRC).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    assert room in FLOOR, f"{room} is new: say in FLOORS where it stands"
    for module in imports(path):
        other = module.split(".")[0]
        assert other != "configs", "configs/ are programs of the user: src/ does not know them"
        if other != room and not module.endswith(".settings"):
            assert FLOOR[other] < FLOOR[room], f"{path} imports {module}"


def test_devices_are_placed_in_one_file():
    placing = re.compile(r"jax\.pmap|shard_map\(|lax\.p(mean|sum)|NamedSharding\(")
    found = [path.name for path in FILES if placing.search(path.read_text(encoding="utf-8"))]
    assert found == ["step.py"]


def test_settings_are_never_looked_up_by_strings():
    lookup = re.compile(r"\b(settings|trial|recipe|runtime)\[[\"']|config\[[\"'](?!\w+_seeds)")
    for path in FILES:
        if path.relative_to(SRC).parts[0] != "config":
            found = lookup.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path}: {found}"


def test_types_and_shapes_are_checked_in_all_tests():
    """By tests/conftest.py, which does it in two ways."""
    with pytest.raises(TypeError, match="percent"):
        wording.percent("0.25")
    two = curves.Series(np.arange(2.0), np.arange(2.0))
    with pytest.raises(TypeError, match="value_at"):
        curves.value_at(two, np.zeros((2, 1)), 0.5)
