"""A frame as the table that a notebook shows, in the very text that Spark writes: Sail writes none."""

import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from html.entities import codepoint2name
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.connect.dataframe import DataFrame

PREFIX = "spark.sql.repl.eagerEval."
DEFAULTS = {"enabled": "false", "maxNumRows": "20", "truncate": "20"}  # Sail has none of its own

# Characters that have a name in HTML 4, and those that would move the cursor
ENTITIES = {code: f"&{name};" for code, name in codepoint2name.items()}
ESCAPED = str.maketrans(
    {character: f"\\{name}" for character, name in zip("\n\r\t\f\b\v\a", "nrtfbva", strict=True)}
)


def show_frames_in_notebooks() -> None:
    "Where this process is a notebook's, have it show frames of Spark Connect as tables."
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython
    from pyspark.sql.connect.dataframe import DataFrame

    shell = get_ipython()
    if shell is not None and shell.display_formatter is not None:
        shell.display_formatter.formatters["text/html"].for_type(DataFrame, write_html)


def write_html(
    frame: "DataFrame",  # Of a session of Sail
) -> str | None:  # A table of HTML; None where the session shows frames by name alone
    "Compute the first rows of a frame, and write them as Spark's `_repr_html_` does."
    frame._support_repr_html = True  # its plain text is its type from now on, as after `_repr_html_`
    conf = frame.sparkSession.conf
    enabled, count, width = (conf.get(PREFIX + name, default) for name, default in DEFAULTS.items())
    if enabled != "true":
        return None
    most, zone = int(count or 0), ZoneInfo(conf.get("spark.sql.session.timeZone") or "UTC")
    rows = frame.limit(most + 1).toArrow()
    return write_table(rows, most, int(width or 0), zone)


def write_table(
    rows: "pa.Table",  # One more than are shown, where there are more
    most: int,  # Rows to show
    width: int,  # Characters that a cell shows; 0 for all
    zone: ZoneInfo,  # Of timestamps
) -> str:
    "Write rows as a table of HTML."
    columns = []
    for column in rows.slice(0, most).itercolumns():
        write = text_writer(column.type, zone)
        columns.append([_cut(write(value).translate(ESCAPED), width) for value in column.to_pylist()])
    names = [name.translate(ESCAPED) for name in rows.column_names]
    lines = [_write_line("th", names), *(_write_line("td", cells) for cells in zip(*columns, strict=True))]
    more = f"only showing top {most} row{'s' if most != 1 else ''}\n" if rows.num_rows > most else ""
    return "<table border='1'>\n" + "".join(lines) + "</table>\n" + more


def _write_line(tag: str, cells: Iterable[str]) -> str:
    "Write a row of a table."
    joined = f"</{tag}><{tag}>".join(cell.translate(ENTITIES) for cell in cells)
    return f"<tr><{tag}>{joined}</{tag}></tr>\n"


def _cut(text: str, width: int) -> str:
    "Shorten a cell, as Spark does."
    if not 0 < width < len(text):
        return text
    return text[:width] if width < 4 else text[: width - 3] + "..."


def text_writer(
    kind: "pa.DataType",  # Of the values
    zone: ZoneInfo,  # Of timestamps
) -> Callable[[Any], str]:  # What Spark's table shows of a value
    "Choose how values of a type are written; NULL is NULL, within a list or a struct, too."
    write = _value_writer(kind, zone)
    return lambda value: "NULL" if value is None else write(value)


def _value_writer(kind: "pa.DataType", zone: ZoneInfo) -> Callable[[Any], str]:
    "Choose how values of a type are written that are not NULL."
    from pyarrow import types

    if types.is_boolean(kind):
        return lambda value: "true" if value else "false"
    if types.is_floating(kind):
        return lambda value: write_float(value, kind.bit_width)
    if types.is_decimal(kind):
        return lambda value: format(value, "f")
    if types.is_timestamp(kind):
        return lambda value: _write_timestamp(value.astimezone(zone) if kind.tz else value)
    if types.is_binary(kind) or types.is_large_binary(kind):
        return lambda value: f"[{value.hex(' ').upper()}]"
    if types.is_struct(kind):
        fields = [(field.name, text_writer(field.type, zone)) for field in kind]
        return lambda value: "{" + ", ".join(write(value[name]) for name, write in fields) + "}"
    if types.is_map(kind):
        key, item = text_writer(kind.key_type, zone), text_writer(kind.item_type, zone)
        return lambda value: "{" + ", ".join(f"{key(k)} -> {item(v)}" for k, v in value) + "}"
    if types.is_nested(kind):
        element = text_writer(kind.value_type, zone)
        return lambda value: "[" + ", ".join(map(element, value)) + "]"
    return str


def write_float(
    value: float,  # A number, NaN or an infinity
    bits: int,  # 32 or 64
) -> str:
    "Write a number as Java does: without an exponent from a thousandth to ten millions."
    import numpy

    if value != value or abs(value) == float("inf"):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    number = numpy.float32(value) if bits == 32 else numpy.float64(value)
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return numpy.format_float_positional(number, unique=True, trim="0")
    text = numpy.format_float_scientific(number, unique=True, trim="0", exp_digits=1)
    return text.replace("e+", "E").replace("e", "E")


def _write_timestamp(value: datetime) -> str:
    "Write a moment; zeros at the end of its fraction are left out."
    fraction = f".{value.microsecond:06}".rstrip("0").rstrip(".")
    return value.replace(microsecond=0, tzinfo=None).isoformat(" ") + fraction
