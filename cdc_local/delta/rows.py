"""Rows of a table as plain Python values, and the text of a value: JSON, CSV, a cell in a terminal."""

import base64
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Rows:
    "Rows of a table as plain Python values."

    columns: tuple[str, ...]  # Names
    values: list[tuple[Any, ...]]  # One tuple a row

    def json_lines(self) -> Iterator[str]:
        "One JSON object a row."
        for row in self.values:
            yield format_json(dict(zip(self.columns, row, strict=True)))

    def csv_lines(self) -> Iterator[str]:
        "A header, then one line a row."
        yield ",".join(map(format_csv, self.columns))
        for row in self.values:
            yield ",".join(map(format_csv, row))


def format_count(
    value: int,  # How many
    noun: str,  # Of what, in the singular
) -> str:
    "Write a number of things: `1 row`, `2 rows`."
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def format_timestamp(
    value: date | datetime,  # A moment, a wall-clock time without a zone, or a day
) -> str:  # ISO 8601; a moment in UTC ends in `Z`
    "Write a date or a timestamp as ISO 8601."
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    return value.isoformat()


def format_json(
    value: Any,  # A value as DuckDB returns it: nested dicts and lists included
) -> str:  # JSON
    "Write a value as JSON, losing nothing."
    if isinstance(value, dict):
        items = [f"{format_json(_json_key(key))}: {format_json(item)}" for key, item in value.items()]
        return "{" + ", ".join(items) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(format_json, value)) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and not math.isfinite(value):
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    if isinstance(value, (date, datetime)):
        return f'"{format_timestamp(value)}"'
    if isinstance(value, (bytes, bytearray)):
        return f'"{base64.b64encode(value).decode()}"'
    return json.dumps(value, ensure_ascii=False, default=str)


def _json_key(
    key: Any,  # A key of a map or struct
) -> str:  # A key of a JSON object
    "JSON knows only text as a key."
    return key if isinstance(key, str) else format_json(key).strip('"')


def format_csv(
    value: Any,  # A value as DuckDB returns it
) -> str:  # One field of a CSV line
    "Write a value for CSV, telling NULL from an empty string."
    if value is None:
        return ""
    if isinstance(value, (date, datetime)):
        return format_timestamp(value)
    text = value if isinstance(value, str) else format_json(value)
    if not isinstance(value, (str, dict, list, tuple)):
        text = text.strip('"')
    must_quote = text == "" or any(sign in text for sign in ',"\r\n') or text != text.strip()
    return '"' + text.replace('"', '""') + '"' if must_quote else text


def format_cell(
    value: Any,  # A value as DuckDB returns it
) -> str:  # Text for a table in a terminal
    "Write a value for the eye: a moment without its `T` and `Z`, NULL as NULL."
    if value is None:
        return "NULL"
    if isinstance(value, (date, datetime)):
        text = format_timestamp(value).replace("T", " ").removesuffix("Z")
        return text.rstrip("0") if "." in text else text
    if isinstance(value, str):
        return value
    return format_json(value).strip('"')
