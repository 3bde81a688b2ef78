"""Statements with which a handler of `foreach_batch_sink` writes a table of the storage, by its name."""

from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession

from cdc_local.analysis.runtime import Runtime, read_stored
from cdc_local.errors import PipelineError
from cdc_local.sql.parser import Statement, read_name_parts, skip_bracket, split_statements
from cdc_local.sql.relations import Relation, find_relations, substitute_relations
from cdc_local.sql_names import quote_for_spark
from cdc_local.storage import TableName, is_table

# What stands before the table that a statement writes; a longer phrase before its beginning
_VERBS = (
    *[
        f"CREATE {replace}TABLE{absent}"
        for replace in ("OR REPLACE ", "")
        for absent in (" IF NOT EXISTS", "")
    ],
    "MERGE WITH SCHEMA EVOLUTION INTO",
    "MERGE INTO",
    *[f"INSERT {kind}{word}" for kind in ("INTO", "OVERWRITE") for word in (" TABLE", "")],
    "UPDATE",
    "DELETE FROM",
    "TRUNCATE TABLE",
    "ALTER TABLE",
    "OPTIMIZE",
)
_ALIASED = ("MERGE", "UPDATE", "DELETE")  # Statements whose conditions name the table


def run_table_statement(
    runtime: Runtime,  # The update, whose flows run
    session: SparkSession,  # Of the handler's batch
    run_sql: Callable[..., DataFrame],  # Spark's own `sql`
    text: str,  # A SQL statement
) -> DataFrame | None:  # What it says; None for a statement that writes no table by its name
    "Run a statement over tables of the storage; `PipelineError` where it writes a dataset of the pipeline."
    statements = split_statements(text)
    verb = next((verb for verb in _VERBS if len(statements) == 1 and statements[0].takes(verb)), None)
    if verb is None:
        return None
    statement = statements[0]
    start = statement.here.start
    written = read_name_parts(statement)
    if written.lower().startswith("delta."):
        return None
    name = runtime.graph.name(written)
    if name in runtime.graph.datasets:
        raise PipelineError(
            f"{verb} {written}: a handler may not write {name}, which this pipeline fills",
            hint="let a flow fill it, or write a table that the pipeline does not declare",
        )
    named = _name_folder(runtime, statement, verb, name) + _take_columns(statement, verb)
    rest = statement.sql[statement.words[statement.at - 1].stop : statement.words[-1].stop]
    sql = statement.sql[:start] + named + rest
    return run_sql(_name_sources(runtime, session, sql))


def _take_columns(
    statement: Statement,  # Stands behind the name of its table
    verb: str,  # What stands before that
) -> str:  # The columns of a CREATE TABLE, and what the table is; empty for other statements
    "Let a table that is created be a Delta table where the statement does not say so."
    if not verb.startswith("CREATE"):
        return ""
    start = statement.words[statement.at - 1].stop
    if statement.sees("("):
        skip_bracket(statement)
    columns = statement.sql[start : statement.words[statement.at - 1].stop]
    return columns if statement.sees("USING") else f"{columns} USING DELTA"


def _name_folder(
    runtime: Runtime,  # The update
    statement: Statement,  # Stands behind the name of its table
    verb: str,  # What stands before that
    name: TableName,  # The table
) -> str:  # The same table as Delta Lake finds it, called as before
    "Name a table by its folder."
    folder = f"delta.{quote_for_spark(str(runtime.storage.table_path(name)))}"
    follows = statement.here
    has_alias = follows.says("AS") or (
        follows.kind in ("word", "name") and not follows.says("USING", "SET", "WHERE")
    )
    if not verb.startswith(_ALIASED) or has_alias:
        return folder
    return f"{folder} AS {quote_for_spark(name.table)}"


def _name_sources(
    runtime: Runtime,  # The update
    session: SparkSession,  # Has temporary views
    sql: str,  # A statement
) -> str:  # The same, reading tables of the storage where it names them
    "Let what a statement reads be tables of the storage; another name is one of the session's."
    views: dict[Relation, str] = {}
    for relation in find_relations(session, sql):
        path = (
            None if relation.name is None else runtime.storage.table_path(runtime.graph.name(relation.name))
        )
        if path is not None and is_table(path):
            view = f"__written_from_{len(views)}"
            read_stored(session, path).createOrReplaceTempView(view)
            views[relation] = view
    return substitute_relations(sql, views) if views else sql
