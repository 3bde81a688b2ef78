"""Expected rows beside those that came out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow

from cdc_local.delta.rows import format_cell

_SAME, _EXPECTED, _ACTUAL = " ", "-", "+"  # What a line of the table begins with


@dataclass(frozen=True)
class Line:
    "One line of the table that shows a difference."

    mark: str  # Whether the row is as expected, missing, or too many
    row: Mapping[str, Any]  # Column -> value
    expected: int | None  # Position of the row among those that were expected
    differing: tuple[str, ...] = ()  # Columns in which the row differs from the one above it


def compare(
    expected: Sequence[Mapping[str, Any]],  # Rows, each with all columns that are compared
    actual: Sequence[Mapping[str, Any]],  # Rows, the same columns
) -> list[Line]:  # In the order of what was expected; what is too many comes beside what is nearest, or last
    "Lay rows beside each other, whatever their order."
    left = list(range(len(actual)))
    same: set[int] = set()
    for number, row in enumerate(expected):
        found = next((other for other in left if are_equal(row, actual[other])), None)
        if found is not None:
            left.remove(found)
            same.add(number)
    lines = []
    for number, row in enumerate(expected):
        lines.append(Line(_SAME if number in same else _EXPECTED, row, number))
        nearest = None if number in same else _find_nearest(row, [actual[other] for other in left])
        if nearest is not None:
            other = actual[left.pop(nearest)]
            differing = tuple(name for name in row if not are_equal(row[name], other[name]))
            lines.append(Line(_ACTUAL, other, number, differing))
    return lines + [Line(_ACTUAL, actual[other], None) for other in left]


def is_different(
    lines: Sequence[Line],  # What `compare` found
) -> bool:
    "Whether rows are missing or too many."
    return any(line.mark != _SAME for line in lines)


def _find_nearest(
    row: Mapping[str, Any],  # A row that is missing
    others: Sequence[Mapping[str, Any]],  # Rows that are too many
) -> int | None:  # Position of the one that has most of its values; None where none has one
    "Find the row that was probably meant."

    def likeness(number: int) -> int:
        other = others[number]
        return sum(row[name] is not None and are_equal(row[name], other[name]) for name in row)

    best = max(range(len(others)), key=likeness, default=None)
    return best if best is not None and likeness(best) > 0 else None


def are_equal(
    one: Any,  # A value as pyarrow gives it
    other: Any,  # The same
) -> bool:
    "Compare values: NULL is NULL, NaN is NaN, a map has no order, and doubles may differ in the last digits."
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-9)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(are_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_equal, _ordered(one), _ordered(other)))
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(are_equal, one, other))
    return bool(one == other)


def _ordered(
    items: list[Any],  # An array, or the entries of a map, which are tuples
) -> list[Any]:
    return sorted(items, key=repr) if items and isinstance(items[0], tuple) else items


def render(
    lines: Sequence[Line],  # What `compare` found
    columns: Sequence[str],  # Columns that were compared
) -> str:  # `-` before what is missing, `+` before what is too many
    "Write the table of a difference."
    table = [["", *columns, ""]]
    for position, line in enumerate(lines):
        table.append(
            [line.mark, *[format_cell(line.row[name]) for name in columns], _describe(lines, position)]
        )
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in table
    )


def _describe(
    lines: Sequence[Line],  # What `compare` found
    position: int,  # Of one of them
) -> str:  # What the mark before the row means
    "Say what is wrong with a row."
    line = lines[position]
    if line.mark == _SAME:
        return ""
    if line.mark == _ACTUAL:
        return f"actual, differs in {', '.join(line.differing)}" if line.differing else "actual, not expected"
    is_paired = position + 1 < len(lines) and lines[position + 1].expected == line.expected
    return "expected" if is_paired else "expected, missing"


def rows_of(
    table: pyarrow.Table,  # Rows
) -> list[dict[str, Any]]:  # Column -> value
    "Take rows as plain values."
    found: list[dict[str, Any]] = table.to_pylist()
    return found
