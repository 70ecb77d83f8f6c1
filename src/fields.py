"""Settings declared once: type, range, default and the sentence of `--help` in one line.

    @dataclass(frozen=True)
    class Schedule:
        name: Annotated[str, OneOf("constant", "steps"), "when the rate falls"] = "constant"
        factor: Annotated[float, Within(0, 1), "what each drop multiplies the rate by"] = 0.1

Each room declares what it uses. `read` makes such a dataclass from a nested mapping, or says in one
line what is wrong with it; `plain` is the way back. A class whose shape in a config differs from
its fields converts itself by `from_tree(tree, group)` and `as_tree()`.
"""

import dataclasses
import difflib
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, get_args, get_origin

from src.errors import LabError
from src.trees import dotted

NAME_BYTES = 150  # Names of folders, 255 bytes at most, begin with the name of an arm.
FOLDER_NAME = (
    f"the name of a folder is needed: letters, digits, and . + - _, {NAME_BYTES} bytes at most"
)
T = TypeVar("T")
Number = int | float
Value = str | bool | int | float


class ConfigError(LabError):
    """A config cannot be run. The message is one line: field, value, remedy."""


# --- The values that a field may have. ---


@dataclass(frozen=True)
class Rule:
    """A condition on the value of a field, and its words in an error: "should be `words`"."""

    holds: Callable[[Any], Any]
    words: str


@dataclass(frozen=True, init=False)
class OneOf:
    """One of a few names or numbers."""

    names: tuple[Value, ...]

    def __init__(self, *names: Value):
        object.__setattr__(self, "names", names)


def Within(low: Number, high: Number, words: str = "") -> Rule:
    """From `low` to `high`, both included."""
    said = _up_to(words, high) if words else f"from {low:g} to {high:g}"
    return Rule(lambda x: low <= x <= high, said)


def AtLeast(low: Number, words: str = "", most: Number = math.inf) -> Rule:
    """`low` or more, up to `most`, beyond which a number is absurd."""
    return Rule(lambda x: low <= x <= most, _up_to(words or f"{low:g} or more", most))


def Above(low: Number, words: str = "", most: Number = math.inf) -> Rule:
    """More than `low`, up to `most`, beyond which a number is absurd."""
    return Rule(lambda x: low < x <= most, _up_to(words or f"above {low:g}", most))


def _up_to(words: str, most: Number) -> str:
    return f"{words}, {most:,} at most" if most < math.inf else words


def Fraction() -> Rule:
    """Between 0 and 1, neither included."""
    return Rule(lambda x: 0 < x < 1, "a fraction between 0 and 1")


class Named(tuple[tuple[str, Any], ...]):
    """A group whose names the user chooses: an immutable, hashable mapping."""

    __slots__ = ()
    kind: ClassVar[type] = object

    def __new__(cls, content: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> Any:
        """Makes one from a mapping or from pairs."""
        pairs = content.items() if isinstance(content, Mapping) else content
        return super().__new__(cls, tuple((str(name), value) for name, value in pairs))

    def items(self) -> Iterator[tuple[str, Any]]:
        """Pairs of a name and its value."""
        return iter(self)

    def __or__(self, other: Mapping[str, Any]) -> Any:
        return type(self)(dict(self) | dict(other))


class NamedNumbers(Named):
    """A group of numbers by names that the user chooses."""

    kind = float


class NamedValues(Named):
    """A group of strings, numbers and truths by names that the user chooses."""

    kind = Value  # type: ignore[assignment]


# --- Declarations. ---


class Field(NamedTuple):
    """One declared field.

    Attributes:
        path: Names that lead to it, such as ("schedule", "factor").
        kind: Its type: str, bool, int, float, a tuple or a choice of these, or a `Named`.
        rules: Rules that its value, or each value of a tuple, must fulfil.
        help: The sentence of `--help`.
        default: Its value if none is given.
    """

    path: tuple[str, ...]
    kind: Any
    rules: tuple[Rule | OneOf, ...]
    help: str
    default: Any


@functools.cache
def declared(cls: type) -> tuple[Field, ...]:
    """The fields of a settings dataclass, those of its groups under their paths.

    Fields without a sentence are not settings; flax modules have some of these.
    """
    found: list[Field] = []
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            found += [f._replace(path=(field.name, *f.path)) for f in declared(hint)]
        elif get_origin(hint) is Annotated:
            kind, *extras = get_args(hint)
            sentence = next(extra for extra in extras if isinstance(extra, str))
            found.append(
                Field((field.name,), kind, rules_of(kind, extras), sentence, _default(field))
            )
    return tuple(found)


def rules_of(kind: Any, extras: Iterable[Any]) -> tuple[Rule | OneOf, ...]:
    """The rules among the extras of an annotation; those of a `Literal` are its values."""
    names = get_args(kind) if get_origin(kind) is typing.Literal else ()
    stated = (extra for extra in extras if isinstance(extra, Rule | OneOf))
    return (*([OneOf(*names)] if names else ()), *stated)


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


# --- Reading and writing. ---


def read(cls: type[T], tree: Any, group: Sequence[str] = (), **given: Any) -> T:
    """Reads settings from a nested mapping; a field that it does not name has its default.

    Args:
        cls: A frozen dataclass whose fields are declared as above, or are such dataclasses.
        tree: Name -> value; names that are not declared are refused.
        group: The path of the mapping in the config, for messages.
        **given: Values of fields that are known already.

    Raises:
        ConfigError: Naming the field, its value and what would be valid.
    """
    require_group(group, tree)
    from_tree = getattr(cls, "from_tree", None)
    if from_tree:
        return typing.cast(T, from_tree(tree, group))
    hints = typing.get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls) if field.name not in given]  # type: ignore[arg-type]
    values = dict(given)
    for name, value in tree.items():
        path = (*group, name)
        if name not in names:
            raise ConfigError(f"config.{dotted(path)}: no such field{nearest(name, names)}")
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            values[name] = read(hint, value, path)
        else:
            [field] = [each for each in declared(typing.cast(type, cls)) if each.path == (name,)]
            values[name] = checked(field, path, value)
    return cls(**values)


def checked(field: Field, path: Sequence[str], value: Any) -> Any:
    """Returns the value in the type of its field: lists become tuples, whole numbers floats.

    Raises:
        ConfigError: If it is of another type or breaks a rule.
    """
    name, kind = dotted(path), field.kind
    if isinstance(kind, type) and issubclass(kind, Named):
        require_group(path, value)
        for key, each in value.items():
            require(f"{name}.{key}", each, lambda x: same_kind(x, kind.kind), describe(kind.kind))
            _check_rules(field, f"{name}.{key}", each, kind.kind)
        return kind(value)
    if kind is dict:
        require_group(path, value)
        return dict(value)
    if get_origin(kind) is tuple:
        require(name, value, lambda x: isinstance(x, tuple | list), "a tuple")
        item = get_args(kind)[0]
        for each in value:
            if not (same_kind(each, item) and _rules_hold(field, each)):
                _refuse(field, name, each, item)
        return _in_kind(value, kind)
    if not same_kind(value, kind):
        _refuse(field, name, value, kind)
    _check_rules(field, name, value, kind)
    return _in_kind(value, kind)


def _in_kind(value: Any, kind: Any) -> Any:
    """A value in the type of its field: a list as a tuple, a whole number as a float."""
    if isinstance(value, tuple | list):
        tuples = [each for each in (kind, *get_args(kind)) if get_origin(each) is tuple]
        item = get_args(tuples[0])[0] if tuples else object
        return tuple(_in_kind(each, item) for each in value)
    kinds = get_args(kind) or (kind,)
    return float(value) if type(value) is int and float in kinds and int not in kinds else value


def _check_rules(field: Field, name: str, value: Any, kind: Any) -> None:
    if not _rules_hold(field, value):
        _refuse(field, name, value, kind)


def _rules_hold(field: Field, value: Any) -> bool:
    return value is None or all(
        value in rule.names if isinstance(rule, OneOf) else rule.holds(value)
        for rule in field.rules
    )


def _refuse(field: Field, name: str, value: Any, kind: Any) -> None:
    """Raises the error that names the broken rule, and guesses at a percentage for a fraction."""
    for rule in field.rules:
        if isinstance(rule, OneOf):
            one_of(name, value, rule.names)
    words = ", ".join(rule.words for rule in field.rules if isinstance(rule, Rule))
    number = same_kind(value, float) and not same_kind(value, bool)
    if "fraction" in words and number and 1 <= value <= 100:
        words += f"; did you mean {value / 100:g}?"
    known = describe(field.kind)
    if not same_kind(value, kind) and field.kind is kind and not words.startswith((known, "0 ")):
        words = known
    raise ConfigError(f"config.{name} = {value!r} should be {words or describe(kind)}")


def plain(settings: Any) -> Any:
    """Settings as nested dicts, lists and values: what `read` would make them of again."""
    if isinstance(settings, Named):
        return {name: plain(value) for name, value in settings}
    if hasattr(settings, "as_tree"):
        return settings.as_tree()
    if dataclasses.is_dataclass(settings):
        fields = dataclasses.fields(settings)
        return {field.name: plain(getattr(settings, field.name)) for field in fields}
    return [plain(item) for item in settings] if isinstance(settings, tuple) else settings


# --- Words of refusals, for checks of several fields too. ---


def names_folder(name: str) -> bool:
    """Whether a name can be that of a folder, and begin longer ones."""
    allowed = re.fullmatch(r"[\w.+-]+", name) and name not in (".", "..")
    return bool(allowed) and len(name.encode()) <= NAME_BYTES


def require(name: str, value: Any, valid: Callable[[Any], Any], expected: str) -> None:
    """Refuses a value that is not valid, saying what is expected."""
    if not valid(value):
        raise ConfigError(f"config.{name} = {value!r} should be {expected}")


def require_group(path: Sequence[str], value: Any) -> None:
    """Refuses a value that is not a mapping of names to values."""
    require(dotted(path), value, lambda x: isinstance(x, Mapping | Named), "a group of fields")


def require_once(name: str, values: Sequence[Any]) -> None:
    """Refuses a tuple that holds a value twice."""
    if any(value in values[:place] for place, value in enumerate(values)):
        raise ConfigError(f"config.{name} = {tuple(values)} holds a value twice")


def one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    """Refuses a value that is not among the known ones, and names the nearest."""
    if not any(value == each and type(value) is type(each) for each in known):
        listed = ", ".join(map(str, known))
        if all(isinstance(each, str) for each in known):
            text = f"config.{name} = {value!r} is not one of {listed}{nearest(value, known)}"
            raise ConfigError(text)
        words = " or ".join(map(str, known))
        raise ConfigError(f"config.{name} = {value!r} should be {words}")


def nearest(value: Any, known: Iterable[Any]) -> str:
    """A hint such as `; did you mean 'relu'?`, or "" if no known value is near."""
    near = difflib.get_close_matches(str(value), [str(k) for k in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def same_kind(value: Any, kind: Any) -> bool:
    """Whether a field of that type may have the value; a whole number may stand for a float."""
    if kind is float:
        number = type(value) is float and not math.isnan(value)
        return number or (type(value) is int and abs(value) < 2**1000)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return isinstance(value, tuple | list) and all(same_kind(each, item) for each in value)
    if isinstance(kind, types.UnionType):
        return type(value) in get_args(kind) or any(same_kind(value, k) for k in get_args(kind))
    if get_origin(kind) is typing.Literal:
        return type(value) is type(get_args(kind)[0])
    return kind is object or type(value) is kind


def describe(kind: Any) -> str:
    """A type in words."""
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}
    if get_origin(kind) is tuple:
        return "a tuple"
    if isinstance(kind, types.UnionType) and kind != Value:
        return " or ".join("None" if k is types.NoneType else describe(k) for k in get_args(kind))
    return names.get(kind, "a value")
