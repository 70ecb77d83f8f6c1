"""A user's own functions and classes, defined in a config file and named by their place there.

`configs.mine.squared_relu` is the function `squared_relu` of configs/mine.py. Processes and records
exchange the name alone; whoever needs the thing itself imports that file. A digest says whether two
processes imported the same code.
"""

import ast
import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from os.path import abspath
from pathlib import Path
from typing import Any

from src.errors import LabError, one_line

PREFIX = "configs."
USED = "used "  # Begins digests of what a thing uses.
DYNAMIC = {"eval", "exec", "getattr", "globals", "locals", "vars"}  # They may use anything.


class CodeError(LabError):
    """A user's own code is not that of the records. The message is one line."""


def is_own(name: str) -> bool:
    """Whether a name is that of a thing in a config file."""
    return name.startswith(PREFIX)


def find(name: str) -> Any:
    """Imports a config file and returns the thing that it defines under a name.

    Raises:
        ValueError: If the file cannot be run or defines no such thing, or there is no source. The
            message is one line.
    """
    module, _, last = name.rpartition(".")
    hint = "a function of configs/NAME.py is configs.NAME.FUNCTION"
    try:
        sources = _bodies(module)  # Read before they are imported, and kept: see `read_source`.
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
    if not sources:
        raise ValueError(f"{module} is no Python file of configs/; {hint}")
    return found


def check(codes: Mapping[str, str]) -> None:
    """Compares things, as this process imports them, with those of another process.

    Args:
        codes: Name of each -> its digest there.

    Raises:
        CodeError: Naming the first that differs.
    """
    for name, code in codes.items():
        try:
            find(name)
            same = digest(name) == code
        except ValueError:
            same = False
        if not same:
            raise CodeError(
                f"{name} is not what the study began with: {_file(name)}, or what it imports, has"
                " changed since or differs on this machine; give all processes the same files and"
                " start the study again, with the workers of its cluster if there is one"
            )


def check_recorded(name: str, recorded: str, where: Path) -> None:
    """Refuses a record that was made with another thing of that name than there is now.

    Args:
        name: Name of the thing, or any other.
        recorded: Its digest in the record; "" if that has none.
        where: The record, for the message.

    Raises:
        CodeError: If they differ.
    """
    if recorded and digest(name, recorded) != recorded:
        raise CodeError(
            f"{where} was made with another {name} than there is now: {_file(name)}, or what it"
            " imports, has changed since; bring back what it was"
        )


def _file(name: str) -> str:
    return name.rpartition(".")[0].replace(".", "/") + ".py"


def digest(name: str, like: str = "") -> str | None:
    """SHA-256 of the code of a user's own thing; None for any other name.

    It covers what of the file the thing uses, and the files that this imports from the same
    project, in configs/ or beside it, without comments, docstrings and `get_config`, since a
    study's question is compared by itself. It is of the code that this process imports, whatever
    happens to the files later. The laboratory's own code is not covered: records name its commit;
    nor are other files that the thing reads, nor what a statement changes while it defines another
    name: `done = TABLE.append(3)`.

    Args:
        name: Its name; `find` has found it.
        like: A digest that this one is to be compared with. Those of older studies cover the file
            whole, and lack the mark of the others, or are of the code as one Python wrote it.
    """
    if not is_own(name):
        return None
    module, _, thing = name.rpartition(".")
    whole = like != "" and not like.startswith(USED)
    bodies = _bodies(module, "" if whole else thing)
    found = [("" if whole else USED) + _sha256_of(bodies, write) for write in (_text, ast.dump)]
    return found[1] if found[1] == like else found[0]


def _sha256_of(bodies: Mapping[str, list[ast.stmt]], write: Callable[[ast.AST], str]) -> str:
    parts = {each: write(ast.Module(body, [])) for each, body in bodies.items()}
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()


def _text(tree: ast.AST) -> str:
    """Code as text, as Python 3.11 writes it.

    Python 3.12 adds parameters of types, and an empty text behind the format of a value; 3.13
    leaves out what is empty.
    """
    texts = [(node, node.values) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    try:
        for node, values in texts:
            node.values = [each for each in values if getattr(each, "value", None) != ""]
        written = ast.dump(tree, **({"show_empty": True} if sys.version_info >= (3, 13) else {}))
    finally:
        for node, values in texts:
            node.values = values
    return written.replace(", type_params=[]", "")


def _bodies(module: str, thing: str = "") -> dict[str, list[ast.stmt]]:
    """Name of a module -> its code: of a config file what the thing uses, and all it imports.

    Without a thing it is the whole file, and so it is where what the thing uses imports the file
    again, for that may use anything in it.
    """
    found: dict[str, list[ast.stmt]] = {}
    paths: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop(0)
        if thing and name == module and name in found:
            return _bodies(module)
        within = paths.get(name.rpartition(".")[0])  # Only packages hold modules.
        if name in found or (within and within.name != "__init__.py"):
            continue
        path = _path(name)
        if path is None:
            continue
        walked = read_source(path).body
        code = [node for node in walked if getattr(node, "name", "") != "get_config"]
        if name == module and thing:
            code = walked = _used(code, thing, module)
        paths[name], found[name] = path, code
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in _nodes(walked):
            waiting += _imported(node, package)
        for text in _names_in(code):
            known = name == module and text != module  # `_used` has looked for it in this file.
            waiting += [each for each in _and_holders(text) if not (known and each == module)]
    return found


@functools.cache
def read_source(path: Path) -> ast.Module:
    """A file's code without docstrings that nobody reads, as it was when this process first asked.

    Python imports a file once, so a process goes on with what it was then.
    """
    content = path.read_bytes()
    tree = ast.parse(content, str(path))
    read = b"__doc__" in content or b"getdoc" in content
    for node in [] if read else ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        text = first.value if isinstance(first, ast.Expr) else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            text.value = ""
    return tree


def _path(name: str) -> Path | None:
    """The file of a module; None if it is not a module, or not of the user's own project.

    What a link in the project leads to is of the project.
    """
    if name.partition(".")[0] == "src" or name == PREFIX[:-1]:
        return None
    try:
        spec = _spec(name)
    except (ImportError, ValueError):  # It is a function or class, not a module.
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    path = Path(abspath(spec.origin))
    folders = [Path(abspath(each)) for each in importlib.import_module("configs").__path__]
    projects = {each.parent for folder in folders for each in (folder, folder.resolve())}
    ours = any(each.is_relative_to(p) for each in (path, path.resolve()) for p in projects)
    return path if ours and "site-packages" not in path.parts else None


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is; what holds it is not imported, for that may be a large library."""
    holder = name.rpartition(".")[0]
    if not holder or name in sys.modules:
        return importlib.util.find_spec(name)
    if holder in sys.modules:
        places = getattr(sys.modules[holder], "__path__", None)
    else:
        places = getattr(_spec(holder), "submodule_search_locations", None)
    return PathFinder.find_spec(name, places) if places else None


def _imported(node: ast.AST, package: str) -> list[str]:
    """Names in an import statement that may be modules; `package` holds the importing module."""
    if isinstance(node, ast.Import):
        return [name for alias in node.names for name in _and_holders(alias.name)]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            base = importlib.util.resolve_name("." * node.level + base, package)
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return []


def _and_holders(name: str) -> list[str]:
    """`a.b.c` -> `a`, `a.b` and `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _names_in(body: list[ast.stmt]) -> list[str]:
    """Strings that are names of own things or modules, for `get_activation` or `import_module`."""
    texts = [node.value for node in _nodes(body) if isinstance(node, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and is_own(text)]


def _nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    return (node for statement in body for node in ast.walk(statement))


def _used(body: list[ast.stmt], thing: str, module: str) -> list[ast.stmt]:
    """The statements that define a thing or what these use, and those that define nothing."""
    defined = [_defines(node) for node in body]
    kept: set[int] = set()
    wanted = {thing, "__getattr__"}
    while more := {
        place
        for place, names in enumerate(defined)
        if place not in kept and (not names or names & wanted)
    }:
        kept |= more
        statements = [body[place] for place in more]
        wanted |= {node.id for node in _nodes(statements) if isinstance(node, ast.Name)}
        wanted |= {text.removeprefix(f"{module}.") for text in _names_in(statements)}
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
