"""Statements of a task that engines do not run over names of three parts.

They are `USE`, `CREATE SCHEMA`, `DROP TABLE`, `DESCRIBE HISTORY`, `OPTIMIZE`, and writes on Sail."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from cdc_local.analysis.catalog import StoredTable
from cdc_local.analysis.catalog_statements import NAME, Answer, Statements, match_statement
from cdc_local.analysis.queries import run_query
from cdc_local.analysis.runtime import Runtime
from cdc_local.analysis.task_catalog import TaskCatalog
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.sql.lexer import QUERY_STARTS
from cdc_local.sql.parser import Statement, read_name_parts, split_statements
from cdc_local.sql_names import quote_for_spark

_NO_ROWS = Answer("result string", [])


def _use_catalog(catalog: TaskCatalog, name: str) -> Answer:
    catalog.use_catalog(name.strip("`"))
    return _NO_ROWS


def _use_schema(catalog: TaskCatalog, name: str) -> Answer:
    catalog.use_schema(name)
    return _NO_ROWS


def _create_catalog(catalog: TaskCatalog, absent: str | None, name: str) -> Answer:
    catalog.create_schema(f"{name}.default", bool(absent))
    return _NO_ROWS


def _create_schema(catalog: TaskCatalog, absent: str | None, name: str) -> Answer:
    catalog.create_schema(name, bool(absent))
    return _NO_ROWS


def _drop_table(catalog: TaskCatalog, absent: str | None, name: str) -> Answer:
    catalog.drop_table(name, bool(absent))
    return _NO_ROWS


def _describe_history(catalog: TaskCatalog, name: str) -> Answer:
    columns = (
        "version bigint, timestamp timestamp, operation string, operationParameters map<string,string>, "
        "operationMetrics map<string,string>, engineInfo string"
    )
    rows = [
        (
            commit["version"],
            datetime.fromtimestamp(commit["timestamp"] / 1000, UTC),
            commit.get("operation"),
            _write_texts(commit.get("operationParameters")),
            _write_texts(commit.get("operationMetrics")),
            commit.get("engineInfo"),
        )
        for commit in DeltaTable(str(catalog.find_path(name))).history()
    ]
    return Answer(columns, rows)


def _write_texts(
    values: dict[str, Any] | None,  # Of a commit
) -> dict[str, str]:
    "Write values as texts, as a map of SQL has them."
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in (values or {}).items()
    }


def _optimize(catalog: TaskCatalog, name: str, columns: str | None) -> Answer:
    path = catalog.find_path(name)
    optimizer = DeltaTable(str(path)).optimize
    names = [column.strip().strip("`") for column in columns.split(",")] if columns else []
    metrics = optimizer.z_order(names) if names else optimizer.compact()
    return Answer("path string, metrics string", [(str(path), json.dumps(metrics, default=str))])


# What a statement looks like, and who answers it with its parts
_STATEMENTS: Statements = (
    (rf"USE\s+CATALOG\s+{NAME}", _use_catalog),
    (rf"(?:USE|SET)\s+CATALOG\s+{NAME}", _use_catalog),
    (rf"USE\s+(?:SCHEMA\s+|DATABASE\s+)?{NAME}", _use_schema),
    (rf"CREATE\s+CATALOG\s+(IF\s+NOT\s+EXISTS\s+)?{NAME}(?:\s+COMMENT\s.*)?", _create_catalog),
    (
        rf"CREATE\s+(?:SCHEMA|DATABASE)\s+(IF\s+NOT\s+EXISTS\s+)?{NAME}(?:\s+COMMENT\s.*)?",
        _create_schema,
    ),
    (rf"DROP\s+TABLE\s+(IF\s+EXISTS\s+)?{NAME}", _drop_table),
    (rf"(?:DESCRIBE|DESC)\s+HISTORY\s+{NAME}", _describe_history),
    (rf"OPTIMIZE\s+{NAME}(?:\s+ZORDER\s+BY\s*\(([^)]*)\))?", _optimize),
)


def answer_task_statement(
    catalog: TaskCatalog,  # Answers
    text: str,  # A statement that is no query
) -> DataFrame | None:  # Its rows; None for a statement of another kind
    "Answer a statement about catalogs, schemas and tables."
    return match_statement(_STATEMENTS, catalog, text)


# Writes on Sail: what a query gives goes to the folder of a table

_CREATE, _REPLACE = "CREATE TABLE", "CREATE OR REPLACE TABLE"

_MODES = {  # What stands before the name of the table -> what becomes of rows that are there
    _REPLACE: "overwrite",
    f"{_CREATE} IF NOT EXISTS": "ignore",
    _CREATE: "error",
    "INSERT INTO TABLE": "append",
    "INSERT INTO": "append",
    "INSERT OVERWRITE TABLE": "overwrite",
    "INSERT OVERWRITE": "overwrite",
}


def write_on_sail(
    runtime: Runtime,  # Of the task
    catalog: TaskCatalog,  # Knows where tables lie
    run_sql: Callable[..., DataFrame],  # The session's own `sql`
    text: str,  # A statement that is no query
) -> DataFrame | None:  # No rows; None for a statement that writes no table by its name
    "Write what a query gives; `NeedsSparkError` for a write that Spark alone does."
    statements = split_statements(text)
    verb = next((verb for verb in _MODES if len(statements) == 1 and statements[0].takes(verb)), None)
    if verb is None:
        if statements and statements[0].sees("MERGE", "UPDATE", "DELETE", "ALTER", "TRUNCATE"):
            raise NeedsSparkError(f"{statements[0].here.text.upper()} is run by Spark alone")
        return None
    statement = statements[0]
    name = read_name_parts(statement)
    path = catalog.choose_path(name)
    query = _take_query(statement, verb)
    frame = run_query(runtime, run_sql, query)
    if verb.startswith("INSERT"):
        frame = fit_columns(frame, catalog.find_table(name))
    writer = frame.write.format("delta").mode(_MODES[verb])
    if verb == _REPLACE:
        writer = writer.option("overwriteSchema", "true")
    writer.save(str(path))
    return _NO_ROWS.to_frame(catalog.spark)


def fit_columns(
    frame: DataFrame,  # Rows to insert
    table: StoredTable,  # Where they go
) -> DataFrame:  # With the table's columns
    "Take columns by their position, as INSERT does; `PipelineError` for another number of them."
    if len(frame.columns) != len(table.fields):
        raise PipelineError(
            f"[INSERT_COLUMN_ARITY_MISMATCH] {len(frame.columns)} columns are written to {table.name}",
            hint=f"it has {', '.join(field.name for field in table.fields)}",
        )
    named = frame.toDF(*[field.name for field in table.fields])
    return named.select(*[F.col(quote_for_spark(field.name)).cast(field.dataType) for field in table.fields])


def _take_query(
    statement: Statement,  # Stands behind the name of its table
    verb: str,  # What stands before that
) -> str:
    "Take the query whose rows are written; `NeedsSparkError` where the statement says more."
    if verb.startswith("CREATE"):
        statement.takes("USING DELTA")
        if not statement.takes("AS"):
            raise NeedsSparkError(f"{verb} with {statement.here.text or 'no query'} is run by Spark alone")
    if not statement.sees(*QUERY_STARTS):
        raise NeedsSparkError(f"{verb} with {statement.here.text} is run by Spark alone")
    return statement.sql[statement.here.start : statement.words[-1].stop]
