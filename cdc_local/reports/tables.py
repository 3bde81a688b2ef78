"""The console, and tables in the one style of this program: numbers, rows of a table, statuses in colour."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cdc_local.delta.rows import Rows, format_cell

_PIPE_WIDTH = 100  # Columns of text where no terminal tells its width

_WIDEST = 10_000  # Columns of text: wider than any table

_VALUE_WIDTH = 12  # Columns of text that a long value needs at least

STATUS_STYLES = {
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "STARTING": "cyan",
    "PLANNING": "cyan",
    "FAILED": "bold red",
    "STOPPED": "yellow",
    "CANCELED": "yellow",
    "SKIPPED": "dim",
    "EXCLUDED": "dim",
    "DISABLED": "dim",
    "QUEUED": "dim",
    "ERROR": "bold red",
    "WARN": "yellow",
}


def make_console(
    file: TextIO | None = None,  # Where to write; standard output by default
) -> Console:  # With colours for a terminal, without for anything else
    "Make a console; in a pipe it is 100 columns wide unless `COLUMNS` says otherwise."
    file = sys.stdout if file is None else file
    terminal = file.isatty()
    width = None if terminal or os.environ.get("COLUMNS") else _PIPE_WIDTH
    return Console(
        file=file,
        width=width,
        force_terminal=terminal,
        no_color=None if terminal else True,
        highlight=False,
        soft_wrap=False,
        force_jupyter=False,
    )


def format_number(
    value: int | float | None,  # A count, or seconds
    decimals: int = 0,  # Digits after the point
) -> str:  # With commas; empty for None
    "Write a number for a table."
    return "" if value is None else f"{value:,.{decimals}f}"


class _FittingTable(Table):
    "A table whose columns stand closer where that makes it fit the console."

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needed = Measurement.get(console, options.update(max_width=_WIDEST), self).maximum
        if 0 < needed - options.max_width < len(self.columns):
            self.padding = (0, 1, 0, 0)
        yield from super().__rich_console__(console, options)


def plain_table(
    title: str = "",  # Shown above, where there is one
    columns: Iterable[str] = (),  # Headings; one that starts with `>` is right-aligned
    rows: Iterable[Sequence[object]] = (),  # Texts of each row; a status gets its colour
) -> Table:  # It folds long texts: nothing is cut off
    "Make a table in the one style of this program."
    table = _FittingTable(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        min_width=len(title) or None,
    )
    for heading in columns:
        table.add_column(
            Text(heading.lstrip(">")),
            justify="right" if heading.startswith(">") else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(_status_text, row))
    return table


def _status_text(
    cell: object,  # A text, or what becomes one
) -> Text:
    "Write a cell; a status in its colour."
    return cell if isinstance(cell, Text) else Text(str(cell), STATUS_STYLES.get(str(cell), ""))


def rows_table(
    rows: Rows,  # Rows of a table
    width: int,  # Columns of the console
    title: str = "",  # Shown above
) -> Table:  # One line a row; where there is no room for all columns, one line a value
    "Make a table of rows."
    if not _has_room(rows, width):
        return _values_table(rows, title)
    numeric = [_is_numeric(rows, position) for position in range(len(rows.columns))]
    headings = [(">" if right else "") + name for name, right in zip(rows.columns, numeric, strict=True)]
    return plain_table(title, headings, ([_value_text(value) for value in row] for row in rows.values))


def _values_table(
    rows: Rows,  # Rows of a table
    title: str,  # Shown above
) -> Table:
    "Make a table with one line a value."
    table = plain_table(title, ("Row", "Column", "Value"))
    for number, row in enumerate(rows.values, 1):
        for position, (name, value) in enumerate(zip(rows.columns, row, strict=True)):
            table.add_row(
                "" if position else str(number),
                Text(name),
                _value_text(value),
                end_section=position == len(row) - 1,
            )
    return table


def _value_text(
    value: Any,  # A value of a row
) -> Text:
    "Write a value; NULL is dim, and brackets are no markup."
    return Text(format_cell(value), "dim" if value is None else "")


def _is_numeric(
    rows: Rows,  # Rows of a table
    position: int,  # Of a column
) -> bool:
    "Whether a column has numbers."
    return any(
        isinstance(row[position], (int, float)) and not isinstance(row[position], bool) for row in rows.values
    )


def _has_room(
    rows: Rows,  # Rows of a table
    width: int,  # Columns of the console
) -> bool:
    "Whether every column has room for its name, and its values for `_VALUE_WIDTH` letters."
    needed = 0
    for position, name in enumerate(rows.columns):
        values = (min(len(format_cell(row[position])), _VALUE_WIDTH) for row in rows.values)
        needed += max([len(name), *values]) + 2
    return needed <= width
