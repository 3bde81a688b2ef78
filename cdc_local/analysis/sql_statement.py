"""One SQL statement over the storage's tables, as a warehouse answers it: a query, or SHOW and DESCRIBE."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DayTimeIntervalType,
    DecimalType,
    MapType,
    StructType,
    YearMonthIntervalType,
)

from cdc_local.analysis.catalog import UnknownTableError
from cdc_local.analysis.flow_analysis import table_schema
from cdc_local.analysis.queries import run_query
from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.graph import Graph
from cdc_local.delta.rows import format_json
from cdc_local.engines.engine import engine_of
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.sql.lexer import QUERY_STARTS, first_word
from cdc_local.sql.parameters import SqlText, bind_parameters, write_literal
from cdc_local.storage import Storage

_QUESTIONS = ("SHOW", "DESCRIBE", "DESC")  # How a statement begins that asks the catalog

_INLINE_BYTES = 25 * 2**20  # How large a result may be, as the engine has it

# Right for a client that asks once: any rows of a LIMIT, and a text over tables, which is read by its parts
_FINE_HERE = {f"the plan node `{node}` is not known" for node in ("limit without sort", "with_relations")}

_TYPE_NAMES = {
    "tinyint": "BYTE",
    "smallint": "SHORT",
    "bigint": "LONG",
    "void": "NULL",
    "timestamp_ntz": "TIMESTAMP",
}  # Spark's name of a type -> the API's, where they differ


@dataclass(frozen=True)
class SqlRequest:
    "A statement that a client sent."

    text: str  # The SQL
    catalog: str  # Catalog of names that give none
    schema: str  # Schema of names that give none
    parameters: Sequence[Mapping[str, Any]] = ()  # `name`, `value` and `type` of each `:name`
    row_limit: int | None = None  # At most so many rows; all by default
    byte_limit: int | None = None  # At most so many bytes, counted as UTF-8 in JSON


@dataclass(frozen=True)
class SqlAnswer:
    "What a statement gave."

    columns: list[dict[str, Any]]  # In the shape of a manifest
    rows: list[list[str | None]]  # Values as texts
    truncated: bool  # Whether there are more rows than were asked for


class StatementError(PipelineError):
    "A statement that failed, with the SQLSTATE of the mistake."

    def __init__(
        self,
        message: str,  # What is wrong with it
        sql_state: str,  # Five characters, as the SQL standard has them
        hint: str = "",  # What to do
    ) -> None:
        super().__init__(message, hint=hint)
        self.sql_state = sql_state


def run_statement(
    spark: SparkSession,  # The session
    storage: Storage,  # Its tables
    request: SqlRequest,  # What to run
    may_leave: bool,  # Whether Spark may answer what Sail is not known to answer as Spark does
) -> SqlAnswer:
    "Run a statement that reads; `StatementError` for one that writes, `NeedsSparkError` to ask Spark."
    values = {str(item.get("name")): _read_parameter(item) for item in request.parameters}
    text = bind_parameters(request.text, values).strip().rstrip(";")
    first = first_word(text)
    if first not in (*QUERY_STARTS, *_QUESTIONS):
        raise StatementError(
            f"[UNSUPPORTED_OPERATION] {first or 'an empty statement'} is not run by the local warehouse",
            "0A000",
            "it reads: SELECT, WITH, VALUES, SHOW, DESCRIBE TABLE; tables are written by pipelines",
        )
    graph = Graph(request.catalog, request.schema)
    runtime = Runtime(spark, graph, storage, table_schema, keep_schemas=False)
    runtime.analysing = False
    try:
        frame = run_query(runtime, spark.sql, text)
        if may_leave and first in QUERY_STARTS:
            _leave_unknown(frame)
        return _collect(frame, request)
    except UnknownTableError as error:
        message = f"[TABLE_OR_VIEW_NOT_FOUND] {error.message.replace('in this pipeline nor ', '', 1)}"
        raise StatementError(message.replace("is neither", "is not", 1), "42P01", error.hint) from error


def _leave_unknown(
    frame: DataFrame,  # A query
) -> None:
    "Raise `NeedsSparkError` for what is not known to be the same on Sail."
    unknown = [one for one in engine_of(frame.sparkSession).find_unknown(frame) if one not in _FINE_HERE]
    if unknown:
        raise NeedsSparkError(unknown[0])


def _read_parameter(
    item: Mapping[str, Any],  # `name`, `value`, `type`
) -> SqlText:
    "Write a parameter's value as SQL of its type; `StatementError` for a value that is none of the type."
    value, kind = item.get("value"), str(item.get("type") or "STRING").upper()
    base = kind.partition("(")[0].strip()
    if base not in _PARAMETERS:
        raise StatementError(
            f"[UNSUPPORTED_DATATYPE] parameter {item.get('name')} has type {kind!r}",
            "0A000",
            f"it can be {', '.join(_PARAMETERS)}",
        )
    if value is None:
        return SqlText("NULL")
    try:
        literal = _PARAMETERS[base](str(value))
    except (ValueError, InvalidOperation):
        raise StatementError(
            f"[CAST_INVALID_INPUT] the value {value!r} of parameter {item.get('name')} is no {kind}", "22018"
        ) from None
    needs_cast = base in ("TINYINT", "SMALLINT", "BIGINT", "FLOAT", "DECIMAL") and not literal.endswith("L")
    return SqlText(f"CAST({literal} AS {_check_type(kind)})" if needs_cast else literal)


def _check_type(kind: str) -> str:
    "Let a type's digits and brackets through, and nothing else: it becomes a part of the SQL."
    if all(sign.isalnum() or sign in "(), " for sign in kind):
        return kind
    raise StatementError(f"[UNSUPPORTED_DATATYPE] {kind!r} is no type", "0A000")


def _read_boolean(value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise ValueError(value)
    return value.lower()


_PARAMETERS: dict[str, Callable[[str], str]] = {
    "STRING": write_literal,
    "BOOLEAN": _read_boolean,
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT"), lambda value: write_literal(int(value))),
    **dict.fromkeys(("FLOAT", "DOUBLE"), lambda value: write_literal(float(value))),
    "DECIMAL": lambda value: write_literal(Decimal(value)),
    "DATE": lambda value: write_literal(date.fromisoformat(value)),
    "TIMESTAMP": lambda value: f"TIMESTAMP'{datetime.fromisoformat(value).isoformat(' ')}'",
    "TIMESTAMP_NTZ": lambda value: f"TIMESTAMP_NTZ'{datetime.fromisoformat(value).isoformat(' ')}'",
}  # Type of a parameter -> writes its text as SQL


def _collect(
    frame: DataFrame,  # The result
    request: SqlRequest,  # With its limits
) -> SqlAnswer:
    "Read the rows as texts."
    limit = request.row_limit
    table = (frame if limit is None else frame.limit(limit + 1)).toArrow()
    if table.nbytes > _INLINE_BYTES:
        raise StatementError(
            f"the result has {table.nbytes:,} bytes, and at most {_INLINE_BYTES:,} are answered INLINE",
            "54000",
            "ask for fewer rows or columns, or give row_limit",
        )
    columns = [column.to_pylist() for column in table.slice(0, limit).columns]
    texts = [
        [write_value(value, field.dataType) for value in column]
        for column, field in zip(columns, frame.schema, strict=True)
    ]
    rows = _cut([list(row) for row in zip(*texts, strict=True)], request.byte_limit)
    return SqlAnswer(describe_columns(frame.schema), rows, len(rows) < table.num_rows)


def _cut(rows: list[list[str | None]], byte_limit: int | None) -> list[list[str | None]]:
    "Keep the rows that a limit has room for."
    if byte_limit is None:
        return rows
    sizes = accumulate(len(json.dumps(row, ensure_ascii=False).encode()) for row in rows)
    return [row for row, size in zip(rows, sizes, strict=True) if size <= byte_limit]


def describe_columns(
    schema: StructType,  # Of a result
) -> list[dict[str, Any]]:  # As a manifest has them
    "Describe columns with the names of Databricks' types."
    return [
        {"name": field.name, "position": position, **_describe_type(field.dataType)}
        for position, field in enumerate(schema)
    ]


def _describe_type(kind: DataType) -> dict[str, Any]:
    "Name a type: its SQL text, the API's name of its kind, and what belongs to some."
    base = kind.simpleString().partition("<")[0].partition("(")[0]
    described: dict[str, Any] = {
        "type_text": _write_type(kind),
        "type_name": _TYPE_NAMES.get(base, base.upper()),
    }
    if isinstance(kind, DecimalType):
        described |= {"type_precision": kind.precision, "type_scale": kind.scale}
    if isinstance(kind, (DayTimeIntervalType, YearMonthIntervalType)):
        described |= {
            "type_name": "INTERVAL",
            "type_interval_type": _write_type(kind).removeprefix("INTERVAL "),
        }
    return described


def _write_type(kind: DataType) -> str:
    "Write a type as SQL; names of fields stay as they are."
    if isinstance(kind, ArrayType):
        return f"ARRAY<{_write_type(kind.elementType)}>"
    if isinstance(kind, MapType):
        return f"MAP<{_write_type(kind.keyType)}, {_write_type(kind.valueType)}>"
    if isinstance(kind, StructType):
        return f"STRUCT<{', '.join(f'{field.name}: {_write_type(field.dataType)}' for field in kind)}>"
    return kind.simpleString().upper()


def write_value(
    value: Any,  # As Arrow gives it
    kind: DataType,  # Of its column
) -> str | None:  # None is SQL's NULL
    "Write a value as the API's JSON arrays have it: a text, whatever its type."
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _write_float(value)
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(
            timespec="microseconds" if value.microsecond % 1000 else "milliseconds"
        )
        return text if kind.simpleString() == "timestamp_ntz" else f"{text}Z"
    if isinstance(value, list) and kind.typeName() == "map":
        value = dict(value)
    return format_json(value).strip('"')


def _write_float(value: float) -> str:
    "Write a float as Java and Spark do: digits between a thousandth and ten millions, else an exponent."
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    digits, _, exponent = f"{Decimal(repr(value)).normalize():E}".partition("E")
    return f"{digits if '.' in digits else digits + '.0'}E{int(exponent)}"
