"""What came out is written into a test file, and all else in it stays as it is, comments included."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from cdc_local.delta.rows import Rows, format_cell, format_json
from cdc_local.unit_tests.check import CountDiffers, Mismatch, RowsDiffer
from cdc_local.unit_tests.difference import Line
from cdc_local.unit_tests.nodes import Node, read_document

_PLAIN = re.compile(r"[^\W\d](?:[\w ./@+-]*[\w./@+-])?")  # A text that needs no quotes
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}  # Texts that YAML reads otherwise
_WIDTH = 110  # Columns of a line


def rewrite(
    path: Path,  # A file of unit tests
    mismatch: Mismatch,  # What differs
) -> None:
    "Write what came out; `UnitTestError` where the file says it in a form that cannot be rewritten."
    if isinstance(mismatch, RowsDiffer) and not mismatch.expected.is_inline:
        fixture = path.parent / mismatch.expected.node.value["fixture"]
        fixture.write_text("".join(f"{line}\n" for line in _csv_lines(mismatch)))
        return
    document, lines = read_document(path), path.read_text().split("\n")
    if isinstance(mismatch, CountDiffers):
        node = _same_node(document, mismatch.node)
        number = node.location.line - 1
        lines[number] = re.sub(
            rf"(\b{node.key}\s*:\s*)\d+", rf"\g<1>{mismatch.actual}", lines[number], count=1
        )
    else:
        rows = _same_node(document, mismatch.expected.node)
        _rewrite_rows(lines, Node(document.document, (*rows.path, "rows"), rows.value.get("rows")), mismatch)
    path.write_text("\n".join(lines))


def _same_node(
    document: Node,  # The file as it is now
    node: Node,  # A value of the file as it was
) -> Node:
    "Find a value where it stands now: rows before it may have been rewritten."
    for key in node.path:
        document = document.child(key)
    return document


def _rewrite_rows(
    lines: list[str],  # Of the file; changed
    rows: Node,  # What stands there as `rows`
    mismatch: RowsDiffer,  # What came out
) -> None:
    "Put the rows that came out where those stand that were expected."
    start = rows.location.line - 1
    indent = len(lines[start]) - len(lines[start].lstrip(" -"))
    if mismatch.expected.format == "csv":
        end = _end_of_block(lines, start + 1, indent + 1)
        lines[start + 1 : end] = [" " * (indent + 2) + line for line in _csv_lines(mismatch)]
        return
    key = re.match(r"([ -]*rows\s*:)\s*(\[.*\])?\s*(#.*)?$", lines[start])
    if key is None or (key[2] is None and not rows.value):
        hint = "write one row a line, each after `- `"
        raise rows.error("these rows are written in a form that cannot be rewritten", hint)
    written = _Rows.read(lines, rows) if key[2] is None else _Rows.of_one_line(start, indent + 2, rows)
    text = list(written.lay_out(mismatch))
    lines[written.start : written.end] = text
    comment = f"  {key[3]}" if key[3] else ""
    lines[start] = key[1] + ("" if text else " []") + comment


def _end_of_block(
    lines: Sequence[str],  # Of a file
    start: int,  # First line of a block
    indent: int,  # Its lines are indented at least so far
) -> int:  # The line after its last one; blank lines and comments behind it are left out
    "Find where a block ends."
    end = number = start
    while number < len(lines):
        text = lines[number].lstrip(" ")
        if text and not text.startswith("#"):
            if len(lines[number]) - len(text) < indent:
                break
            end = number + 1
        number += 1
    return end


@dataclass
class _Rows:
    "Rows as they stand in a file, one after `- ` each."

    start: int  # First line
    end: int  # The line after the last
    indent: int  # Of `- `
    bodies: Sequence[list[str]] = ()  # Lines of each row
    leads: Sequence[list[str]] = ()  # Blank lines and comments before each row
    values: Sequence[Mapping[str, Any]] = ()  # Each row

    @classmethod
    def read(
        cls,
        lines: Sequence[str],  # Of the file
        rows: Node,  # A list with an entry a line, or several
    ) -> "_Rows":
        "Find the lines of each row."
        starts = [entry.location.line - 1 for entry in rows.entries()]
        indent = len(lines[starts[0]]) - len(lines[starts[0]].lstrip(" "))
        end = _end_of_block(lines, starts[-1], indent)
        bodies, leads = [], [list(lines[rows.location.line : starts[0]])]
        for start, after in zip(starts, [*starts[1:], end], strict=True):
            last = _end_of_block(lines[:after], start, indent)
            bodies.append(list(lines[start:last]))
            leads.append(list(lines[last:after]))
        return cls(rows.location.line, end, indent, bodies, leads, [entry.value for entry in rows.entries()])

    @classmethod
    def of_one_line(
        cls,
        line: int,  # Of the file
        indent: int,  # Of `- `, once each row has a line
        rows: Node,  # A list that stands on one line
    ) -> "_Rows":
        "Give each row of a list in brackets a line, below its key."
        bodies = [[f"{' ' * indent}- {to_yaml(entry.value)}"] for entry in rows.entries()]
        values = [entry.value for entry in rows.entries()]
        return cls(line + 1, line + 1, indent, bodies, [[] for _ in bodies], values)

    def lay_out(
        self,
        mismatch: RowsDiffer,  # What came out
    ) -> Iterator[str]:  # Lines
        "Write the rows that came out: one that is as expected stays as it stands."
        lines = mismatch.lines
        for position, line in enumerate(lines):
            after = lines[position + 1] if position + 1 < len(lines) else None
            if line.mark != "+" and line.expected is not None:
                yield from self.leads[line.expected]
            if line.mark == " " and line.expected is not None:
                yield from self.bodies[line.expected]
            elif line.mark == "-" and after is not None and after.expected == line.expected is not None:
                yield from self._write_in_place(line.expected, after)
            elif line.mark == "+" and line.expected is None:
                yield from self._write_row(dict(line.row))

    def _write_in_place(
        self,
        number: int,  # Of the row that was expected
        line: Line,  # The row that came out instead
    ) -> list[str]:
        "Write a row in the place of another: with its columns, in their order, and its comment."
        before = [name.lower() for name in self.values[number]]
        own = {name.lower(): name for name in line.row}
        row = {own[name]: line.row[own[name]] for name in before}
        row |= {
            name: value
            for name, value in line.row.items()
            if name.lower() not in before and value is not None
        }
        written, old = self._write_row(row), self.bodies[number]
        comment = re.search(r"\}(\s+#.*)$", old[0]) if len(old) == len(written) == 1 else None
        return [written[0] + comment[1]] if comment else written

    def _write_row(
        self,
        row: Mapping[str, Any],  # Column -> value
    ) -> list[str]:  # Lines
        "Write a row as those before it are written: on one line, or a line a column."
        entries = [f"{to_yaml(name)}: {to_yaml(value)}" for name, value in row.items()]
        dash, flow = " " * self.indent + "- ", "{" + ", ".join(entries) + "}"
        is_flow = (
            self.bodies[0][0].lstrip(" -").startswith("{") if self.bodies else len(dash + flow) <= _WIDTH
        )
        if is_flow or not entries:
            return [dash + flow]
        return [dash + entries[0], *[" " * (self.indent + 2) + entry for entry in entries[1:]]]


def to_yaml(
    value: Any,  # As pyarrow gives it
) -> str:  # On one line
    "Write a value so that it is read as the same."
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, float):
        return (
            repr(value)
            if math.isfinite(value)
            else f"{'-' if value < 0 else ''}.{'nan' if value != value else 'inf'}"
        )
    if isinstance(value, Decimal):
        return format(value, "f") if Decimal(repr(float(value))) == value else f'"{value:f}"'
    if isinstance(value, date):
        return format_cell(value)
    if isinstance(value, list) and not (value and isinstance(value[0], tuple)):
        return "[" + ", ".join(map(to_yaml, value)) + "]"
    if isinstance(value, (list, Mapping)):
        return "{" + ", ".join(f"{to_yaml(key)}: {to_yaml(item)}" for key, item in dict(value).items()) + "}"
    text = value if isinstance(value, str) else format_json(value).strip('"')
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _csv_lines(
    mismatch: RowsDiffer,  # What came out
) -> Iterator[str]:
    "Write all rows that came out as CSV."
    actual = [line.row for line in mismatch.lines if line.mark != "-"]
    values = [tuple(row[name] for name in mismatch.columns) for row in actual]
    return Rows(tuple(mismatch.columns), values).csv_lines()
