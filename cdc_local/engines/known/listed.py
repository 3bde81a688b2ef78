"""The list of what is known to be the same on both engines, and whether a call is on it."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

# Ways to write one operator
_SPELLINGS = {"=": "==", "<>": "!=", "!": "not", "~": "not", "regexp": "rlike", "regexp_like": "rlike"}


# Constants that mean one thing to all engines: text without a sign that means something to a regular
# expression, and expressions of letters, sets and repetitions. `.`, `$`, `\\d` are read in different ways.
# An expression is solid where it can't match nothing: engines look for nothing in different places
_SIGN = r"[A-Za-z0-9 _,;:/@#=&%~'\"!<>-]"
_ITEM = rf"(?:{_SIGN}|\[\^?(?:[A-Za-z0-9 _,;:/@]|-(?!-))+\])"
_PLAIN = {
    "plain": re.compile(f"{_SIGN}*"),
    "text": re.compile(f"{_SIGN}+"),
    "regex": re.compile(rf"\^?(?:{_ITEM}[*+?]?)+"),
    "solid": re.compile(rf"\^?(?:{_ITEM}[*+?]?)*{_ITEM}(?![*?])\+?(?:{_ITEM}[*+?]?)*"),
    "groups": re.compile(rf"\^?(?:{_ITEM}[*+?]?|\((?:{_ITEM}[*+?]?)+\)\??)+"),
    "path": re.compile(r"\$(?:\.[A-Za-z_][A-Za-z0-9_]*)+"),
}


FITS = "that fits"  # Sums of whole numbers that never leave their type, `+ that fits(int, int)`


@dataclass(frozen=True)
class Known:
    """The list, as it was written: calls that give the same, or raise on Sail and are run on Spark then."""

    calls: frozenset[str]  # `abs(int)`, `cast(int AS string)`
    nodes: frozenset[str]  # Kinds of plan nodes, `filter`, `join INNER`
    differs: frozenset[str] = frozenset()  # Calls that are known to differ
    # `coalesce(T, ...)` -> what T may be made of: `int`, `struct`, inside another type `<int>`
    patterns: dict[str, frozenset[str]] = field(default_factory=dict)

    def has(
        self,
        name: str,  # Of a function, in lower case, or an operator
        types: "list[DataType | str]",  # Of its arguments; `*` and `lambda` have none
        constants: list[Any] | None = None,  # Values of the arguments that are constants; None for the others
    ) -> bool:
        "Whether a call is on the list."
        name = _SPELLINGS.get(name, name)
        call = write_call(name, types)
        if call in self.calls:
            return True
        values = constants or [None] * len(types)
        return any(
            _fits(shape, types, values, self.patterns[pattern])
            for pattern, shape in _shapes(frozenset(self.patterns)).get(name, ())
            if call not in self.differs or any(map(_asks_for_constant, shape))
        )


@cache
def read_known() -> Known:
    "Read the list that is part of this package."
    return known_of(json.loads(files(__package__).joinpath("functions.json").read_text(encoding="utf-8")))


def known_of(
    data: dict[str, Any],  # The list as its file holds it
) -> Known:
    "What a list knows."
    in_some_form = {call.removesuffix("(?)") for call in data["differs"] if call.endswith("(?)")}
    same = [*data["same"], *data["raises"]]
    calls = frozenset(call for call in same if call.partition("(")[0] not in in_some_form)
    patterns = {pattern: frozenset(made_of) for pattern, made_of in data["patterns"].items()}
    return Known(calls, frozenset(data["nodes"]), frozenset(data["differs"]), patterns)


def write_call(
    name: str,  # Of a function or an operator
    types: "list[DataType | str]",  # Of its arguments
) -> str:  # `abs(int)`, `cast(int AS string)`, as the list has it
    "Write a call with the types of its arguments."
    name = _SPELLINGS.get(name, name)
    texts = [kind if isinstance(kind, str) else kind.simpleString() for kind in types]
    return f"{name}({(' AS ' if name in ('cast', 'try_cast') else ', ').join(texts)})"


def parts_of(
    kind: "DataType | str",  # A type
) -> set[str]:  # `array`, `<struct>`, `<int>` of array<struct<x:int>>
    "Tell what a type is made of: its own kind, and in angle brackets the kinds inside it."
    from pyspark.sql.types import ArrayType, DecimalType, MapType, StructType

    if isinstance(kind, str):
        return {kind}
    inner: list[DataType] = []
    keys: set[str] = set()
    name = kind.simpleString()
    if isinstance(kind, DecimalType):  # two narrow ones have sums and products that no engine has to cut
        name = "decimal" if kind.precision <= 18 else "wide decimal"
    elif isinstance(kind, ArrayType):
        name, inner = "array", [kind.elementType]
    elif isinstance(kind, MapType):
        name, inner = "map", [kind.valueType]
        keys = {f"key {part}" for part in parts_of(kind.keyType)}
    elif isinstance(kind, StructType):
        name, inner = "struct", [part.dataType for part in kind]
    inside = {part for one in inner for part in parts_of(one)}
    return {name, *keys, *(part if part[0] == "<" or part[:4] == "key " else f"<{part}>" for part in inside)}


@cache
def _shapes(patterns: frozenset[str]) -> dict[str, list[tuple[str, list[str]]]]:
    "Patterns by the name of their function, with the shapes of their arguments."
    found = defaultdict(list)
    for pattern in sorted(patterns):
        name, _, arguments = pattern.removesuffix(")").partition("(")
        found[name].append((pattern, split_types(arguments)))
    return dict(found)


def split_types(
    text: str,  # `map<T,U>, T`
) -> list[str]:
    "Split at the commas that stand in no brackets."
    parts, depth, quoted = [""], 0, False
    for sign in text:
        quoted ^= sign == "'"
        depth += 0 if quoted else (sign in "<(") - (sign in ">)")
        if sign == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def _fits(
    shape: list[str],  # `T`, `array<T>`, `int`; `...` repeats the one before it
    types: "list[DataType | str]",  # Of the arguments
    constants: list[Any],  # Their values, None for what is no constant
    made_of: frozenset[str],  # What T, U and `any` may be made of
) -> bool:
    "Whether types are an instance of a shape."
    if shape[-1:] == ["..."]:
        shape = shape[:-1] + shape[-2:-1] * (len(types) - len(shape) + 1)
    if len(shape) != len(types):
        return False
    bound: dict[str, Any] = {}
    seen: list[Any] = []
    return all(
        _is_constant(part, constant) or _binds(part, kind, bound, seen)
        for part, kind, constant in zip(shape, types, constants, strict=True)
    ) and all(parts_of(kind) <= made_of for kind in seen)


def _asks_for_constant(part: str) -> bool:
    return part in ("natural", "day", "moment", *_PLAIN) or part.startswith("'")


def _is_moment(value: Any, length: int) -> bool:
    "Whether a text is a day, `2024-02-29`, or a moment, `2024-02-29 23:59:59`, of our times."
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return len(value) == length and value[10:11] in ("", " ") and 1900 <= moment.year < 2200


def _is_constant(part: str, value: Any) -> bool:
    "Whether a shape asks for a constant, `natural`, `day`, `regex` … or a text in quotes, and this is one."
    if part == "natural":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if part in ("day", "moment"):
        return _is_moment(value, 10 if part == "day" else 19)
    if part in _PLAIN:
        return isinstance(value, str) and _PLAIN[part].fullmatch(value) is not None
    return isinstance(value, str) and part == f"'{value}'"


def _binds(
    part: str,  # `T`, `any`, `array<T>`, `map<T,U>`, `struct`, `decimal`, or a type by its name
    kind: "DataType | str",  # A type
    bound: dict[str, Any],  # What T and U stand for so far
    seen: list[Any],  # Types that have to be made of what the pattern has
) -> bool:
    "Match one argument; NULL alone is of the type of the others."
    from pyspark.sql.types import ArrayType, DecimalType, MapType, StructType

    outer, _, inner = part.removesuffix(">").partition("<")
    general = {"any": object, "T": object, "U": object, "struct": StructType, "decimal": DecimalType}
    if part in general:
        seen.append(kind)
        return isinstance(kind, general[part]) and (part not in ("T", "U") or _agrees(part, kind, bound))
    if outer == "array" and inner in ("T", "U"):
        seen.append(kind)
        return isinstance(kind, ArrayType) and _agrees(inner, kind.elementType, bound)
    if outer == "map" and inner == "T,U":
        seen.append(kind)
        return (
            isinstance(kind, MapType)
            and _agrees("T", kind.keyType, bound)
            and _agrees("U", kind.valueType, bound)
        )
    return part == (kind if isinstance(kind, str) else kind.simpleString())


def _agrees(name: str, kind: "DataType | str", bound: dict[str, Any]) -> bool:
    "Whether a name can stand for a type, after what it stood for before."
    from pyspark.sql.types import NullType

    if isinstance(bound.get(name), NullType | type(None)):
        bound[name] = kind
    before = bound[name]
    return isinstance(kind, NullType) or write_call("", [before]) == write_call("", [kind])
