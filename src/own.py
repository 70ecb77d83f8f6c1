"""A user's own functions and classes, defined in a config file and named by their place there.

`configs.mine.squared_relu` is the function `squared_relu` of configs/mine.py. Processes and records
exchange the name alone; whoever needs the thing itself imports that file.
"""

import ast
import hashlib
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from src.errors import one_line

PREFIX = "configs."
USED = "used "  # Begins digests of what a thing uses.
DYNAMIC = {"eval", "exec", "getattr", "globals", "locals", "vars"}  # They may use anything.


def is_own(name: str) -> bool:
    """Whether a name is that of a thing in a config file."""
    return name.startswith(PREFIX)


def find(name: str) -> Any:
    """Imports a config file and returns the thing that it defines under a name.

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
    except (Exception, SystemExit) as error:  # The user's code may raise anything.
        raise ValueError(f"{module}: {type(error).__name__}: {one_line(error)}; {hint}") from None
    named = callable(found) and hasattr(found, "__name__")  # A partial function has no name.
    if named and getattr(found, "__module__", module) != module:
        raise ValueError(f"{last} is not something that {module} defines; {hint}")
    return found


def digest(name: str, like: str = "") -> str | None:
    """SHA-256 of the code of a user's own thing; None for any other name.

    It covers what of the file the thing uses, and the files that this imports from the same
    project, in configs/ or beside it, without comments, docstrings and `get_config`, since a
    study's question is compared by itself. The laboratory's own code is not covered: records name
    its commit.

    Args:
        name: Its name.
        like: A digest that this one is to be compared with. Those of older studies cover the file
            whole, and lack the mark of the others.
    """
    if not is_own(name):
        return None
    module, _, thing = name.rpartition(".")
    whole = like != "" and not like.startswith(USED)
    parts = {each: ast.dump(tree) for each, tree in _trees(module, "" if whole else thing).items()}
    return ("" if whole else USED) + hashlib.sha256(
        repr(sorted(parts.items())).encode()
    ).hexdigest()


def _trees(module: str, thing: str) -> dict[str, ast.Module]:
    """Name of a module -> its code: of a config file what the thing uses, and all it imports.

    Without a thing it is the whole file.
    """
    found: dict[str, ast.Module] = {}
    paths: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop(0)
        within = paths.get(name.rpartition(".")[0])  # Only packages hold modules.
        if name in found or (within and within.name != "__init__.py"):
            continue
        path = _source(name)
        if path is None:
            continue
        paths[name], found[name] = path, _code(path)
        walked = ast.parse(path.read_text(encoding="utf-8"))
        if name == module and thing:
            found[name].body = _used(found[name].body, thing)
            walked = found[name]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(walked):
            waiting += _imported(node, package)
    return found


def _source(name: str) -> Path | None:
    """The file of a module; None if it is not a module, or not of the user's own project."""
    if name.partition(".")[0] == "src" or name == PREFIX[:-1]:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # It is a function or class, not a module.
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin).resolve()
    projects = [Path(each).resolve().parent for each in importlib.import_module("configs").__path__]
    installed = "site-packages" in path.parts
    return path if any(map(path.is_relative_to, projects)) and not installed else None


def _imported(node: ast.AST, package: str) -> list[str]:
    """Names in an import statement that may be modules; `package` holds the importing module."""
    if isinstance(node, ast.Import):
        names = [alias.name.split(".") for alias in node.names]
        return [".".join(parts[:n]) for parts in names for n in range(1, len(parts) + 1)]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            base = importlib.util.resolve_name("." * node.level + base, package)
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return []


def _used(body: list[ast.stmt], thing: str) -> list[ast.stmt]:
    """The statements that define a thing or what these use, and those that define nothing."""
    defined = [_defines(node) for node in body]
    kept: set[int] = set()
    wanted = {thing}
    while more := {
        place
        for place, names in enumerate(defined)
        if place not in kept and (not names or names & wanted)
    }:
        kept |= more
        for place in more:
            wanted |= {node.id for node in ast.walk(body[place]) if isinstance(node, ast.Name)}
    return body if wanted & DYNAMIC else [body[place] for place in sorted(kept)]


def _defines(node: ast.stmt) -> set[str]:
    """The names that a statement gives to things, if it does nothing else."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return set() if node.decorator_list else {node.name}  # `@f.defjvp` changes f.
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        return names if "*" not in names else set()
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    plain = isinstance(node, ast.Assign | ast.AnnAssign) and len(names) == len(targets)
    return names if plain else set()


def _code(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if getattr(node, "name", "") != "get_config"]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        text = first.value if isinstance(first, ast.Expr) else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            text.value = ""
    return tree
