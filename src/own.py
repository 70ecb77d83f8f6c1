"""Things of one's own: functions and classes of a config file, named by where they are.

`configs.mine.squared_relu` is the function `squared_relu` of configs/mine.py. Names are all that
processes and records exchange; whoever needs the thing imports that file.
"""

import ast
import hashlib
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from src.errors import one_line

PREFIX = "configs."


def is_own(name: str) -> bool:
    """Whether a name is that of something that a config file defines."""
    return name.startswith(PREFIX)


def find(name: str) -> Any:
    """What a config file defines under a name.

    Raises:
        ValueError: If the file cannot be run or defines no such thing. The message is one line.
    """
    module, _, last = name.rpartition(".")
    hint = "a function of configs/NAME.py is configs.NAME.FUNCTION"
    try:
        found = getattr(importlib.import_module(module), last)
    except AttributeError as error:
        raise ValueError(f"{error}; {hint}") from None
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise ValueError(f"{where}: {error.msg} ({type(error).__name__})") from None
    except (Exception, SystemExit) as error:  # a config file is code: anything may come
        raise ValueError(f"{module}: {type(error).__name__}: {one_line(error)}; {hint}") from None
    if callable(found) and getattr(found, "__module__", module) != module:
        raise ValueError(f"{last} is not something that {module} defines; {hint}")
    return found


def digest(name: str) -> str | None:
    """SHA-256 of all that decides what a thing of one's own does; None for any other name.

    That is the code of its file and of what it imports of the same project, in configs/ or beside
    it, without comments, docstrings and `get_config`: what a study asks is compared by itself. The
    laboratory's own code is told by its commit.
    """
    if not is_own(name):
        return None
    parts = {module: _code(path) for module, path in _files(name.rpartition(".")[0]).items()}
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()


def _files(module: str) -> dict[str, Path]:
    """A config file and what it imports of the same project, by the names of their modules."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop(0)
        within = found.get(name.rpartition(".")[0])  # a module, not a package, has none in it
        if name in found or (within and within.name != "__init__.py"):
            continue
        path = _source(name)
        if path is None:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            waiting += _imported(node, package)
    return found


def _source(name: str) -> Path | None:
    """The file of a module; None for what is no module, none of this project, or its own code."""
    if name.partition(".")[0] == "src" or name == PREFIX[:-1]:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # something that a module defines
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin).resolve()
    projects = [Path(each).resolve().parent for each in importlib.import_module("configs").__path__]
    installed = "site-packages" in path.parts
    return path if any(map(path.is_relative_to, projects)) and not installed else None


def _imported(node: ast.AST, package: str) -> list[str]:
    """What may be modules in an import statement of a module that lies in `package`."""
    if isinstance(node, ast.Import):
        names = [alias.name.split(".") for alias in node.names]
        return [".".join(parts[:n]) for parts in names for n in range(1, len(parts) + 1)]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            base = importlib.util.resolve_name("." * node.level + base, package)
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return []


def _code(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if getattr(node, "name", "") != "get_config"]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        text = first.value if isinstance(first, ast.Expr) else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            text.value = ""
    return ast.dump(tree)
