"""Rows of a Delta table in about a second: no Spark, no JVM."""

import base64
import difflib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timezone
from decimal import Decimal

from cdc_local.errors import PipelineError, UsageError
from cdc_local.sql_names import quote_for_duckdb
from cdc_local.storage import Storage, TableName


@dataclass(frozen=True)
class Visible:
    "The part of a Delta table that its readers see."

    columns: tuple[str, ...]  # Visible columns, in order
    predicate: str = ""  # SQL condition on visible rows; empty for all of them
    latest: tuple[str, ...] = ()  # Columns shown with the value kept in `__latest`


def visible_part(
    columns: Iterable[str],  # All columns of the Delta table
    configuration: dict[str, str],  # Its table properties
) -> Visible:  # What to show
    "Read the `cdc.*` table properties."
    shown = json.loads(configuration.get("cdc.columns") or "null")
    latest = json.loads(configuration.get("cdc.latest") or "[]")
    return Visible(
        tuple(columns if shown is None else shown), configuration.get("cdc.visible") or "", tuple(latest)
    )


def visible_sql(
    part: Visible,  # What readers see
    relation: str = "raw",  # The relation that holds all columns
) -> str:  # A query in DuckDB's SQL
    "The query that turns the stored rows into the visible ones."
    shown = ", ".join(
        f'"__latest".{quote_for_duckdb(name)} AS {quote_for_duckdb(name)}'
        if name in part.latest
        else quote_for_duckdb(name)
        for name in part.columns
    )
    return f"SELECT {shown} FROM {relation}" + (f" WHERE {part.predicate}" if part.predicate else "")


def needed_columns(
    part: Visible,  # What readers see
    columns: Iterable[str],  # All columns of the Delta table
) -> list[str]:  # Those to read
    "Leave out hidden columns that neither the rows nor the condition show."
    columns, condition = list(columns), part.predicate.lower()
    needed = [
        name
        for name in columns
        if name in part.columns or name.lower() in condition or (part.latest and name == "__latest")
    ]
    return needed or columns[:1]


def suggest_name(
    wanted: str,  # What was asked for
    known: Iterable[str],  # What exists
) -> str:  # A hint
    "Did you mean …? Else what there is."
    known = list(known)
    by_table = {text.rsplit(".", 1)[-1].lower(): text for text in known}
    close = difflib.get_close_matches(wanted.rsplit(".", 1)[-1].lower(), by_table, 1)
    listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return (f"did you mean {by_table[close[0]]}? " if close else "") + f"there is {listed}"


def open_table(
    storage: Storage,  # Where tables lie
    name: TableName,  # The table
):  # A `deltalake.DeltaTable`
    "Open a table; `UsageError` lists what exists where it does not, `PipelineError` where its log is broken."
    known = storage.tables()
    if name not in known:
        hint = (
            suggest_name(str(name), map(str, known))
            if known
            else "there are no tables yet: `cdc run` or `cdc demo` makes them"
        )
        raise UsageError(f"no table {name} in {storage.root}", hint=hint)
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return DeltaTable(str(storage.table_path(name)))
    except DeltaError as error:
        raise PipelineError(
            f"table {name} cannot be read: {error}",
            hint=f"`cdc run --full-refresh {name.table} …` makes it anew",
        ) from error


def connect_duckdb():
    "A DuckDB connection in UTC that reads no file and no network by itself."
    import duckdb

    connection = duckdb.connect(config={"enable_external_access": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def scan_rows(
    table,  # A `DeltaTable`
    connection,  # A DuckDB connection
    limit: int = None,  # Stop after this many stored rows; only where every row is visible
):  # A DuckDB relation: the visible rows, in no order
    "The visible rows of a table; nothing is read before the result is asked for."
    from deltalake import QueryBuilder

    columns = [field.name for field in table.schema().fields]
    part = visible_part(columns, table.metadata().configuration)
    stored = f"SELECT {', '.join(map(quote_for_duckdb, needed_columns(part, columns)))} FROM stored"
    if limit is not None and not part.predicate:
        stored += f" LIMIT {limit}"
    connection.register("raw", QueryBuilder().register("stored", table).execute(stored))
    return connection.sql(visible_sql(part))


def check_columns(
    columns: Iterable[str],  # Columns asked for
    known: list[str],  # Columns of the table
    name: TableName,  # The table
) -> str:  # A projection
    "Refuse a column that is not there."
    for column in columns:
        if column not in known:
            raise UsageError(f"{name} has no column {column!r}", hint=suggest_name(column, known))
    return ", ".join(map(quote_for_duckdb, columns))


def select_rows(
    storage: Storage,  # Where tables lie
    name: TableName,  # The table
    columns: Iterable[str] | None,  # Columns to keep, in order; all by default
    where: str | None,  # Condition in DuckDB's SQL
    limit: int | None,  # At most this many rows
    ordered: bool,  # Sort by all columns, so that equal tables read equal
):  # A DuckDB relation
    "The relation behind `read_table` and `read_rows`."
    if limit is not None and limit < 0:
        raise UsageError(f"limit is {limit}", hint="give 0 or more")
    rows = scan_rows(
        open_table(storage, name), connect_duckdb(), limit if where is None and not ordered else None
    )
    if where is not None:
        rows = rows.filter(where)
    if columns is not None:
        rows = rows.project(check_columns(list(columns), rows.columns, name))
    if ordered:
        rows = rows.order("ALL")
    return rows if limit is None else rows.limit(limit)


def duckdb_reason(
    error: Exception,  # What DuckDB raised
) -> str:  # One line
    "What DuckDB says is wrong."
    lines = [line.strip() for line in str(error).split("\nLINE ")[0].splitlines()]
    return " ".join(line for line in lines if line)


def run_duckdb_query(
    storage: Storage,
    name: TableName,
    columns,
    where,
    limit,
    ordered,  # As for `_selected`
    answer,  # Asks the relation for its result
):  # What `answer` returned
    "Run a query; what is wrong with `where` becomes a `UsageError`."
    import duckdb

    try:
        return answer(select_rows(storage, name, columns, where, limit, ordered))
    except duckdb.Error as error:
        if where is None:
            raise PipelineError(f"table {name} cannot be read: {duckdb_reason(error)}") from error
        raise UsageError(
            f"where {where!r} on {name}: {duckdb_reason(error)}",
            hint="write a condition in SQL, e.g. \"id = '1'\"",
        ) from error


def read_table(
    storage: Storage,  # Where tables lie
    name: TableName,  # The table
    columns: Iterable[str] = None,  # Columns to keep, in order; all by default
    where: str = None,  # Condition in DuckDB's SQL, on the visible columns
    limit: int = None,  # At most this many rows; all by default
    ordered: bool = False,  # Sort by all columns
):  # A `pyarrow.Table` of the visible rows
    "Read a table without a JVM."
    return run_duckdb_query(storage, name, columns, where, limit, ordered, lambda rows: rows.to_arrow_table())


def count_visible_rows(
    table,  # A `DeltaTable`
) -> int:  # Visible rows
    "Count from Delta's statistics where every row is visible, else by the condition."
    from deltalake import QueryBuilder

    columns = [field.name for field in table.schema().fields]
    part = visible_part(columns, table.metadata().configuration)
    counted = Visible((), part.predicate)
    wanted = (
        ", ".join(map(quote_for_duckdb, needed_columns(counted, columns)))
        if part.predicate
        else "count(*) AS rows"
    )
    rows = QueryBuilder().register("stored", table).execute(f"SELECT {wanted} FROM stored")
    if not part.predicate:
        return rows.read_all()["rows"][0].as_py()
    connection = connect_duckdb()
    connection.register("raw", rows)
    return connection.execute(f"SELECT count(*) FROM raw WHERE {part.predicate}").fetchone()[0]


def count_rows(
    storage: Storage,  # Where tables lie
    name: TableName,  # The table
    where: str = None,  # Condition in DuckDB's SQL, on the visible columns
) -> int:  # Visible rows for which it holds
    "Count the rows of one table."
    if where is None:
        return count_visible_rows(open_table(storage, name))
    return run_duckdb_query(
        storage, name, None, where, None, False, lambda rows: rows.count("*").fetchall()[0][0]
    )


def row_counts(
    storage: Storage,  # Where tables lie
) -> dict[TableName, int | None]:  # Visible rows of each table, by name; None where a table cannot be read
    "Count the rows of every table."
    counts = {}
    for name in storage.tables():
        try:
            counts[name] = count_visible_rows(open_table(storage, name))
        except PipelineError:
            counts[name] = None
    return counts


def iso_text(
    value: date | datetime,  # A moment, a wall-clock time without a zone, or a day
) -> str:  # ISO 8601; a moment in UTC ends in `Z`
    "Write a date or a timestamp as ISO 8601."
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    return value.isoformat()


def json_text(
    value,  # A value as DuckDB returns it: nested dicts and lists included
) -> str:  # JSON
    "Write a value as JSON, losing nothing."
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json_text(json_key(key))}: {json_text(item)}" for key, item in value.items())
            + "}"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(json_text, value)) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and not math.isfinite(value):
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    if isinstance(value, (date, datetime)):
        return f'"{iso_text(value)}"'
    if isinstance(value, (bytes, bytearray)):
        return f'"{base64.b64encode(value).decode()}"'
    return json.dumps(value, ensure_ascii=False, default=str)


def json_key(
    key,  # A key of a map or struct
) -> str:  # A key of a JSON object
    "JSON knows only text as a key."
    return key if isinstance(key, str) else json_text(key).strip('"')


def csv_text(
    value,  # A value as DuckDB returns it
) -> str:  # One field of a CSV line
    "Write a value for CSV, telling NULL from an empty string."
    if value is None:
        return ""
    if isinstance(value, (date, datetime)):
        return iso_text(value)
    text = value if isinstance(value, str) else json_text(value)
    if not isinstance(value, (str, dict, list, tuple)):
        text = text.strip('"')
    unsafe = text == "" or any(sign in text for sign in ',"\r\n') or text != text.strip()
    return '"' + text.replace('"', '""') + '"' if unsafe else text


def cell_text(
    value,  # A value as DuckDB returns it
) -> str:  # Text for a table in a terminal
    "Write a value for the eye: a moment without its `T` and `Z`, NULL as NULL."
    if value is None:
        return "NULL"
    if isinstance(value, (date, datetime)):
        text = iso_text(value).replace("T", " ").removesuffix("Z")
        return text.rstrip("0") if "." in text else text
    if isinstance(value, str):
        return value
    return json_text(value).strip('"')


@dataclass(frozen=True)
class Rows:
    "Rows of a table as plain Python values."

    columns: tuple[str, ...]  # Names
    values: list[tuple]  # One tuple a row

    def json_lines(self) -> Iterator[str]:
        "One JSON object per row."
        for row in self.values:
            yield json_text(dict(zip(self.columns, row)))

    def csv_lines(self) -> Iterator[str]:
        "A header, then one line per row."
        yield ",".join(map(csv_text, self.columns))
        for row in self.values:
            yield ",".join(map(csv_text, row))


def read_rows(
    storage: Storage,  # Where tables lie
    name: TableName,  # The table
    columns: Iterable[str] = None,  # Columns to keep, in order; all by default
    where: str = None,  # Condition in DuckDB's SQL, on the visible columns
    limit: int = None,  # At most this many rows; all by default
    ordered: bool = True,  # Sort by all columns, so that equal tables read equal
) -> Rows:  # The rows
    "Read a table as plain Python values."
    return run_duckdb_query(
        storage, name, columns, where, limit, ordered, lambda rows: Rows(tuple(rows.columns), rows.fetchall())
    )
