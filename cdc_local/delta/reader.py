"""Rows of a Delta table in about a second: no Spark, no JVM.

delta-rs finds the files and DataFusion reads them; DuckDB filters, sorts and counts.
`read_table` gives an Arrow table, `read_rows` plain Python values.
"""

import difflib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cdc_local.delta.rows import Rows
from cdc_local.errors import PipelineError, UsageError
from cdc_local.sql_names import quote_for_duckdb
from cdc_local.storage import Storage, TableName

if TYPE_CHECKING:  # the command starts faster without these
    import duckdb
    import pyarrow
    from deltalake import DeltaTable

_LATEST = "__latest"  # `cdc_utils.scd2.LATEST`, whose chapter needs pyspark

_Answer = TypeVar("_Answer")


def read_table(
    storage: Storage,  # Where tables lie
    name: TableName,  # The table
    columns: Iterable[str] | None = None,  # Columns to keep, in order; all by default
    where: str | None = None,  # Condition in DuckDB's SQL, on the visible columns
    limit: int | None = None,  # At most this many rows; all by default
    ordered: bool = False,  # Sort by all columns
) -> "pyarrow.Table":  # The visible rows
    "Read a table as Arrow; raises `UsageError` where it, a column or a name in `where` does not exist."
    query = _Query(storage, name, columns, where, limit, ordered)
    return query.ask(lambda rows: rows.to_arrow_table())


def read_rows(
    storage: Storage,  # Where tables lie
    name: TableName,  # The table
    columns: Iterable[str] | None = None,  # Columns to keep, in order; all by default
    where: str | None = None,  # Condition in DuckDB's SQL, on the visible columns
    limit: int | None = None,  # At most this many rows; all by default
    ordered: bool = True,  # Sort by all columns, so that equal tables read equal
) -> Rows:  # The visible rows
    "Read a table as plain Python values; raises `UsageError` as `read_table` does."
    query = _Query(storage, name, columns, where, limit, ordered)
    return query.ask(lambda rows: Rows(tuple(rows.columns), rows.fetchall()))


def count_rows(
    storage: Storage,  # Where tables lie
    name: TableName,  # The table
    where: str | None = None,  # Condition in DuckDB's SQL, on the visible columns
) -> int:  # Visible rows for which it is true
    "Count the rows of one table; raises `UsageError` as `read_table` does."
    if where is None:
        return _count_visible_rows(open_table(storage, name))
    return _Query(storage, name, where=where).ask(lambda rows: int(rows.count("*").fetchall()[0][0]))


def count_rows_of_tables(
    storage: Storage,  # Where tables lie
) -> dict[TableName, int | None]:  # Visible rows of each table, by name; None where a table cannot be read
    "Count the rows of every table."
    counts: dict[TableName, int | None] = {}
    for name in storage.tables():
        try:
            counts[name] = count_rows(storage, name)
        except PipelineError:
            counts[name] = None
    return counts


@dataclass(frozen=True)
class VisiblePart:
    "The part of a Delta table that its readers see."

    columns: tuple[str, ...]  # Visible columns, in order
    predicate: str = ""  # SQL condition on visible rows; empty for all of them
    latest: tuple[str, ...] = ()  # Columns shown with the value kept in `__latest`


def read_visible_part(
    columns: Iterable[str],  # All columns of the Delta table
    configuration: dict[str, str],  # Its table properties
) -> VisiblePart:  # What to show
    "Read the `cdc.*` table properties."
    visible = json.loads(configuration.get("cdc.columns") or "null")
    latest = json.loads(configuration.get("cdc.latest") or "[]")
    return VisiblePart(
        tuple(columns if visible is None else visible), configuration.get("cdc.visible") or "", tuple(latest)
    )


def open_table(
    storage: Storage,  # Where tables lie
    name: TableName,  # The table
) -> "DeltaTable":
    "Open a table; raises `UsageError`, which lists what exists, or `PipelineError` where its log is broken."
    known = storage.tables()
    if name not in known:
        hint = "there are no tables yet: `cdc run` or `cdc demo` makes them"
        if known:
            hint = _suggest_name(str(name), map(str, known))
        raise UsageError(f"no table {name} in {storage.root}", hint=hint)
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    path = storage.table_path(name)
    try:
        return DeltaTable(str(path))
    except DeltaError as error:
        from cdc_local.delta.damage import find_damage

        if damaged := find_damage([path]):
            raise damaged from error
        raise PipelineError(
            f"table {name} cannot be read: {error}",
            hint=f"`cdc run --full-refresh {name.table} …` makes it anew",
        ) from error


def connect_duckdb() -> "duckdb.DuckDBPyConnection":
    "Connect to a DuckDB in UTC that reads no file and no network by itself."
    import duckdb

    connection = duckdb.connect(config={"enable_external_access": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def scan_rows(
    table: "DeltaTable",  # The table
    connection: "duckdb.DuckDBPyConnection",  # Where the relation lives
    limit: int | None = None,  # Stop after this many stored rows; only where every row is visible
) -> "duckdb.DuckDBPyRelation":  # The visible rows, in no order
    "Scan the visible rows of a table; nothing is read before the result is asked for."
    from deltalake import QueryBuilder

    columns = [field.name for field in table.schema().fields]
    part = read_visible_part(columns, table.metadata().configuration)
    query = f"SELECT {_list_columns(_needed_columns(part, columns))} FROM stored"
    if limit is not None and not part.predicate:
        query += f" LIMIT {limit}"
    connection.register("raw", QueryBuilder().register("stored", table).execute(query))
    return connection.sql(_visible_rows_query(part))


@dataclass(frozen=True)
class _Query:
    "Which rows of a table are asked for; the arguments of `read_table`."

    storage: Storage
    name: TableName
    columns: Iterable[str] | None = None
    where: str | None = None
    limit: int | None = None
    ordered: bool = False

    def ask(
        self,
        answer: Callable[["duckdb.DuckDBPyRelation"], _Answer],  # Asks the relation for its result
    ) -> _Answer:  # What `answer` returned
        "Run the query; what is wrong with `where` becomes a `UsageError`."
        import duckdb

        try:
            return answer(self._select())
        except duckdb.Error as error:
            reason = _first_paragraph(error)
            if self.where is None:
                raise PipelineError(f"table {self.name} cannot be read: {reason}") from error
            raise UsageError(
                f"where {self.where!r} on {self.name}: {reason}",
                hint="write a condition in SQL, e.g. \"id = '1'\"",
            ) from error

    def _select(self) -> "duckdb.DuckDBPyRelation":
        if self.limit is not None and self.limit < 0:
            raise UsageError(f"limit is {self.limit}", hint="give 0 or more")
        may_stop_early = self.where is None and not self.ordered
        table = open_table(self.storage, self.name)
        rows = scan_rows(table, connect_duckdb(), self.limit if may_stop_early else None)
        if self.where is not None:
            rows = rows.filter(self.where)
        if self.columns is not None:
            rows = rows.project(self._check_columns(list(self.columns), rows.columns))
        if self.ordered:
            rows = rows.order("ALL")
        return rows if self.limit is None else rows.limit(self.limit)

    def _check_columns(
        self,
        columns: list[str],  # Columns asked for
        known: list[str],  # Columns of the table
    ) -> str:  # A projection
        for column in columns:
            if column not in known:
                raise UsageError(f"{self.name} has no column {column!r}", hint=_suggest_name(column, known))
        return _list_columns(columns)


def _count_visible_rows(
    table: "DeltaTable",  # The table
) -> int:  # Visible rows
    "Count from Delta's statistics where every row is visible, else by the condition."
    from deltalake import QueryBuilder

    columns = [field.name for field in table.schema().fields]
    predicate = read_visible_part(columns, table.metadata().configuration).predicate
    stored = QueryBuilder().register("stored", table)
    if not predicate:
        rows: Any = stored.execute("SELECT count(*) AS rows FROM stored").read_all()
        return int(rows["rows"][0].as_py())
    needed = _list_columns(_needed_columns(VisiblePart((), predicate), columns))
    connection = connect_duckdb()
    connection.register("raw", stored.execute(f"SELECT {needed} FROM stored"))
    [(count,)] = connection.execute(f"SELECT count(*) FROM raw WHERE {predicate}").fetchall()
    return int(count)


def _visible_rows_query(
    part: VisiblePart,  # What readers see
) -> str:  # A query in DuckDB's SQL on the relation `raw`, which has the stored columns
    "Write the query that turns the stored rows into the visible ones."
    columns = []
    for name in part.columns:
        quoted = quote_for_duckdb(name)
        columns.append(f"{quote_for_duckdb(_LATEST)}.{quoted} AS {quoted}" if name in part.latest else quoted)
    return f"SELECT {', '.join(columns)} FROM raw" + (f" WHERE {part.predicate}" if part.predicate else "")


def _needed_columns(
    part: VisiblePart,  # What readers see
    columns: list[str],  # All columns of the Delta table
) -> list[str]:  # Those to read
    "Leave out hidden columns that neither the rows nor the condition show."
    condition = part.predicate.lower()
    needed = [
        name
        for name in columns
        if name in part.columns or name.lower() in condition or (part.latest and name == _LATEST)
    ]
    return needed or columns[:1]


def _list_columns(
    names: Iterable[str],  # Columns
) -> str:  # A projection in SQL
    return ", ".join(map(quote_for_duckdb, names))


def _suggest_name(
    wanted: str,  # What was asked for
    known: Iterable[str],  # What exists
) -> str:  # A hint
    "Did you mean …? Else what there is."
    known = list(known)
    by_table = {text.rsplit(".", 1)[-1].lower(): text for text in known}
    close = difflib.get_close_matches(wanted.rsplit(".", 1)[-1].lower(), by_table, 1)
    listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return (f"did you mean {by_table[close[0]]}? " if close else "") + f"there is {listed}"


def _first_paragraph(
    error: Exception,  # What DuckDB raised
) -> str:  # One line: what is wrong, without the query
    lines = [line.strip() for line in str(error).split("\nLINE ")[0].splitlines()]
    return " ".join(line for line in lines if line)
