"""What whole numbers an expression can have, so far as its form tells: `year(d) * 100 + month(d)` is small.

Sums and products of whole numbers wrap on Sail and raise on Spark. One that fits its type, whatever the rows
hold, is the same on both."""

from collections.abc import Callable
from typing import Any

from cdc_local.engines.known.calls import Call, constant_of
from cdc_local.engines.known.expressions import read_expression

Range = tuple[int, int]

_OF_TYPES = {"tinyint": 2**7, "smallint": 2**15, "int": 2**31, "bigint": 2**63}
_LONGEST = 2**31 - 16  # of texts and arrays in a JVM
_OF_FUNCTIONS: dict[str, Range] = {
    "year": (-200_000, 200_000),  # those of dates that anybody stores are fewer
    **dict.fromkeys(("datediff", "date_diff"), (-10_000_000, 10_000_000)),  # some 27,000 years
    "quarter": (1, 4),
    "month": (1, 12),
    **dict.fromkeys(("day", "dayofmonth"), (1, 31)),
    "dayofweek": (1, 7),
    "weekday": (0, 6),
    "dayofyear": (1, 366),
    "weekofyear": (1, 53),
    "hour": (0, 23),
    **dict.fromkeys(("minute", "second"), (0, 59)),
    **dict.fromkeys(("length", "char_length", "character_length", "instr", "levenshtein"), (0, _LONGEST)),
    **dict.fromkeys(("size", "cardinality", "array_size"), (-1, _LONGEST)),
    **dict.fromkeys(("count", "count_if", "count DISTINCT"), (0, 2**53)),
}
_OF_ONE_ARGUMENT = {"coalesce", "nvl", "ifnull", "greatest", "least"}

TypeReader = Callable[[Any], Any]  # Tells the type of an expression, None where it can't be had


def always_fits(
    call: Call,  # A sum, a difference or a product
    type_of: TypeReader,
) -> bool:
    "Whether what a call computes fits the wider type of its arguments in any case."
    found = _range_of_call(call, type_of)
    kinds = [_range_of_type(type_of(part)) for part in call.arguments]
    widest = max((kind for kind in kinds if kind), key=lambda kind: kind[1], default=None)
    return found is not None and None not in kinds and _is_inside(found, widest)


def _range_of(expression: Any, type_of: TypeReader) -> Range | None:
    "The whole numbers that an expression can have, None where it is no whole number."
    value = constant_of(expression)
    if isinstance(value, int):
        return value, value
    of_type = _range_of_type(type_of(expression))
    calls = read_expression(expression).calls  # that of the expression itself is the first one
    of_call = _range_of_call(calls[0], type_of) if calls and of_type else None
    return of_call if _is_inside(of_call, of_type) else of_type


def _range_of_type(kind: Any) -> Range | None:
    count = _OF_TYPES.get(kind.simpleString()) if hasattr(kind, "simpleString") else None
    return (-count, count - 1) if count else None


def _is_inside(inner: Range | None, outer: Range | None) -> bool:
    return bool(inner and outer and outer[0] <= inner[0] and inner[1] <= outer[1])


def _range_of_call(call: Call, type_of: TypeReader) -> Range | None:
    if call.name in _OF_FUNCTIONS:
        return _OF_FUNCTIONS[call.name]
    if call.name == "cast":
        return _range_of(call.arguments[0], type_of)
    if call.name in _OF_ONE_ARGUMENT:
        ranges = [_range_of(part, type_of) for part in call.arguments]
        known = [one for one in ranges if one]
        return (min(low for low, _ in known), max(high for _, high in known)) if known == ranges else None
    if call.name in ("+", "-", "*") and len(call.arguments) == 2:
        return _range_of_sum(call, type_of)
    return None


def _range_of_sum(call: Call, type_of: TypeReader) -> Range | None:
    left, right = (_range_of(part, type_of) for part in call.arguments)
    if left is None or right is None:
        return None
    if call.name == "+":
        return left[0] + right[0], left[1] + right[1]
    if call.name == "-":
        return left[0] - right[1], left[1] - right[0]
    products = [one * other for one in left for other in right]
    return min(products), max(products)
