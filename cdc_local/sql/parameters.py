"""What a SQL text leaves open: `:name`, `?`, `${key}`, `IDENTIFIER(…)`. All is filled in before it is parsed.

Delta's parser drops the values that Spark is given for `:name` and `?` (delta-io/delta, issue 7640), and
Spark counts positions in a text whose `${key}` it has replaced. A text that is whole is the same text to both
engines and to us.
"""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cdc_local.errors import Location, PipelineError, locate
from cdc_local.sql.lexer import Token, closing_bracket, lex, tokenize
from cdc_local.sql.relations import constant_value

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_INT_MAX = 2**31 - 1
_LONG_MAX = 2**63 - 1


class SqlText(str):
    "A value that is written as SQL already."


def write_literal(
    value: Any,  # A plain value of Python, or a list of them
) -> str:  # SQL text, of the type that `pyspark.sql.functions.lit` gives
    "Write a value as SQL; `PipelineError` for one that has no literal."
    if value is None:
        return "NULL"
    for kind, write in _LITERALS:
        if isinstance(value, kind):
            return write(value)
    raise PipelineError(
        f"a parameter of SQL has no value of the type {type(value).__name__}",
        hint="give a string, a number, a bool, bytes, a date, a moment, a time span, None or a list of these",
    )


def _write_string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return "'" + escaped.replace("${", "\\u0024{") + "'"  # else Spark would look for a setting of that name


def _write_int(value: int) -> str:
    if abs(value) > _LONG_MAX:
        raise PipelineError(f"{value} is greater than a BIGINT can be", hint="give it as a Decimal")
    return f"{value}L" if abs(value) > _INT_MAX else str(value)


def _write_float(value: float) -> str:
    return f"{value!r}D" if math.isfinite(value) else f"CAST('{value}' AS DOUBLE)"


def _write_moment(value: datetime) -> str:
    "A moment without a zone is one of this machine's zone, as to `lit`."
    return f"TIMESTAMP'{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00'"


def _write_span(value: timedelta) -> str:
    sign, span = ("-", -value) if value < timedelta(0) else ("", value)
    hours, rest = divmod(span.seconds, 3600)
    clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}.{span.microseconds:06}"
    return f"INTERVAL '{sign}{span.days} {clock}' DAY TO SECOND"


# The first type that fits: SQL is a str, a bool is an int, and a moment is a date
_LITERALS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (SqlText, str),
    (bool, lambda value: str(value).lower()),
    (str, _write_string),
    (int, _write_int),
    (float, _write_float),
    (Decimal, lambda value: f"{value:f}BD"),
    ((bytes, bytearray), lambda value: f"X'{value.hex()}'"),
    (datetime, _write_moment),
    (date, lambda value: f"DATE'{value.isoformat()}'"),
    (timedelta, _write_span),
    ((list, tuple), lambda value: f"array({', '.join(map(write_literal, value))})"),
)


def bind_parameters(
    sql: str,  # A text with `:name` or `?`
    values: Mapping[str, Any] | Sequence[Any],  # By name, or in order
    location: Location | None = None,  # Where the text's first line stands
    hint: str = "",  # Where to give a value that is missing; of Python, in `args`, by default
) -> str:  # The text with literals
    "Put values in the places of parameters; `PipelineError` names one that has none."
    words = tokenize(sql, location)
    if isinstance(values, Mapping):
        edits = [
            (
                colon.start,
                name.stop,
                _find_value(values, name.text.strip("`"), locate(sql, colon.start, location), hint),
            )
            for colon, name in _find_named(words)
        ]
    else:
        marks = [
            word
            for word, after in pairwise([*words, Token("end", "", len(sql), len(sql))])
            if word.says("?") and not after.says(":")  # `a ?:: INT` is a cast
        ]
        if len(marks) > len(values):
            place = locate(sql, marks[len(values)].start, location)
            raise PipelineError(f"the SQL has {len(marks)} `?` and {len(values)} values are given", place)
        edits = [
            (mark.start, mark.stop, write_literal(value)) for mark, value in zip(marks, values, strict=False)
        ]
    return _edit(sql, edits)


def _find_named(
    words: Sequence[Token],  # Of a text
) -> list[tuple[Token, Token]]:  # Each colon, with the name after it
    "Find `:name`; not `a::int`, a cast, and not `raw:field`, a path into JSON."
    found = []
    for n, word in enumerate(words[:-1]):
        name = words[n + 1]
        before = words[n - 1] if n else None
        touches = before is not None and before.stop == word.start
        follows_value = (
            touches and before is not None and (before.kind != "sign" or before.says(")", "]", ":"))
        )
        if (
            word.says(":")
            and not follows_value
            and name.start == word.stop
            and name.kind in ("word", "name", "number")
        ):
            found.append((word, name))
    return found


def _find_value(
    values: Mapping[str, Any],  # By name
    name: str,  # Of a parameter
    place: Location,  # Of the parameter
    hint: str,  # Where to give it
) -> str:  # A literal
    if name in values:
        return write_literal(values[name])
    given = ", ".join(values) or "none"
    raise PipelineError(
        f"the parameter :{name} of this SQL has no value",
        place,
        f"given: {given}" + (f"; {hint.format(name)}" if hint else ""),
    )


_SETTING = re.compile(r"\$\{(?:(\w+):)?([^}\s]+)\}")
_SPACES_OF_SETTINGS = (None, "spark", "sparkconf", "hivevar", "hiveconf")  # What may stand before a key


def fill_settings(
    sql: str,  # A text with `${key}`
    find_setting: Callable[[str], str | None],  # Value of a setting of the session
    location: Location | None = None,  # Where the text's first line stands
) -> str:  # The text with their values
    """Put settings in the places of `${key}`, as Spark does before it parses a text.

    One without value is nothing in strings and comments, as to Spark, and a `PipelineError` elsewhere.
    """
    held = [token for token in lex(sql) if token.kind in ("string", "comment")]

    def value(match: re.Match[str]) -> str:
        space, key = match[1], match[2]
        if space == "env":
            found = os.environ.get(key)
        else:
            found = find_setting(key) if space in _SPACES_OF_SETTINGS else None
        if found is not None:
            return found
        if any(token.start <= match.start() < token.stop for token in held):
            return ""
        raise PipelineError(
            f"parameter {match[0]} has no value",
            locate(sql, match.start(), location),
            f"set it in the pipeline's configuration, or by --conf {key}=value",
        )

    return _SETTING.sub(value, sql)


def expand_identifiers(
    spark: "SparkSession",  # Computes constants
    sql: str,  # A text with `IDENTIFIER(…)`
    location: Location | None = None,  # Where the text's first line stands
) -> str:  # The text with the names
    "Write `IDENTIFIER('a.' || 'b')` as the name that it means; `PipelineError` for what is no constant."
    if not re.search(r"\bidentifier\s*\(", sql, re.I):
        return sql
    words = tokenize(sql, location)
    edits = []
    for n, word in enumerate(words[:-1]):
        if not (word.says("IDENTIFIER") and words[n + 1].says("(")):
            continue
        last = closing_bracket(words, n + 1)
        written = sql[words[n + 1].stop : words[last].start]
        name = constant_value(spark, written, locate(sql, word.start, location))
        edits.append((word.start, words[last].stop, name or "NULL"))
    return _edit(sql, edits)


def _edit(
    sql: str,  # A text
    edits: Sequence[tuple[int, int, str]],  # (start, stop, what stands there instead), in order
) -> str:
    for start, stop, text in reversed(edits):
        sql = sql[:start] + text + sql[stop:]
    return sql
