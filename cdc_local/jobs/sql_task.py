"""The process of a `sql_task`: statements over the tables of the storage, on the local engine.

`run_from_stdin` is where the process begins. What a statement may say is what a pipeline's `spark.sql` may
say, and no more: it reads. The rows of the last query are printed, and left for `{{tasks.….output.rows}}`.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdc_local.delta.rows import format_json
from cdc_local.errors import Location, NeedsSparkError, PipelineError, UsageError
from cdc_local.jobs.paths import JobPaths, find_notebook
from cdc_local.storage import Storage, read_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from cdc_local.analysis.runtime import Runtime

_MOST_ROWS = 1_000  # That a query leaves for other tasks, as on Databricks

_READS = (
    *("SELECT", "WITH", "FROM", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC"),
    *("USE", "SET", "RESET", "DECLARE"),
)  # Words that begin a statement which changes no table

_OTHER_KINDS = {
    "alert": "an alert is evaluated and sent on Databricks",
    "dashboard": "a dashboard is refreshed and sent on Databricks",
}  # What a sql_task may name instead of SQL, and what becomes of it


@dataclass(frozen=True)
class SqlRun:
    "SQL to run, and all that it finds around it."

    text: str  # Statements with semicolons between them
    source: str  # Where they stand, for messages
    storage: str  # Storage folder: where tables lie
    rows_path: str  # Where the rows of the last query go
    parameters: dict[str, str] = field(default_factory=dict)  # Values of `:name`
    catalog: str = "main"  # Of names that give none
    schema: str = "default"  # Of names that give none


def check_sql_task(
    task: Mapping[str, Any],  # With a `sql_task`
) -> None:
    "Raise `UsageError` for one that names no SQL."
    settings = task["sql_task"]
    for kind, meaning in _OTHER_KINDS.items():
        if kind in settings:
            raise UsageError(
                f"task {task['task_key']}: a sql_task with {kind} is not supported by the local runner",
                hint=f"{meaning}; here, let it name a file or a query",
            )
    if not {"file", "query"} & settings.keys():
        raise UsageError(f"task {task['task_key']}: its sql_task names no file and no query")


def read_sql_run(
    task: Mapping[str, Any],  # With a `sql_task` whose references are filled in
    paths: JobPaths,  # Where its paths lie
    rows_path: Path,  # Where the rows of the last query go
) -> SqlRun:
    "Find the SQL of a task; `UsageError` where there is none."
    check_sql_task(task)
    settings, root = task["sql_task"], paths.storage.root
    given = {name: str(value) for name, value in (settings.get("parameters") or {}).items()}
    if "file" in settings:
        named = settings["file"]["path"]
        path = find_notebook(paths.local(named))
        if not path.is_file():
            raise UsageError(f"task {task['task_key']}: there is no file {named}")
        return SqlRun(path.read_text(), str(path), str(root), str(rows_path), given)
    number = str(settings["query"].get("query_id", ""))
    saved = next((query for query in _saved_queries(paths.storage) if query["id"] == number), None)
    if saved is None:
        raise UsageError(
            f"task {task['task_key']}: there is no saved query {number!r}",
            hint="save it in `cdc workspace` of this storage, or name a file",
        )
    defaults = {place: saved[place] for place in ("catalog", "schema") if saved.get(place)}
    text, source = saved.get("query_text", ""), saved.get("display_name", number)
    return SqlRun(text, source, str(root), str(rows_path), given, **defaults)


def _saved_queries(
    storage: Storage,  # Where a workspace keeps its notes
) -> Iterable[dict[str, Any]]:
    "Read the queries that were saved in the workspace of a storage."
    for path in sorted((storage.root / "workspace" / "queries").glob("*.json")):
        note = read_json(path)
        if note:
            yield note["value"]


def run_from_stdin() -> None:
    "Run the SQL that standard input describes; exit status 1: it failed, 2: it cannot be run."
    run = SqlRun(**json.load(sys.stdin))
    try:
        run_sql(run)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def run_sql(
    run: SqlRun,  # What to run
) -> None:
    "Run statements on the engine that is asked for; `auto` is Sail, and Spark where something needs it."
    from cdc_local.engines.sail.session import end_session, start_sail
    from cdc_local.engines.session import choose_engine
    from cdc_local.engines.spark.session import start_spark

    asked = choose_engine()
    if asked != "spark":
        try:
            return _run_statements(run, start_sail(), is_strict=asked == "auto")
        except NeedsSparkError as reason:
            if asked == "sail":
                raise
            end_session()
            print(f"runs on Spark: {reason.message}", file=sys.stderr)
    _run_statements(run, start_spark(log=Storage(Path(run.storage)).spark_log_path))


def _run_statements(
    run: SqlRun,  # What to run
    spark: "SparkSession",  # The session
    is_strict: bool = False,  # Whether `NeedsSparkError` names what is not known to be the same on Spark
) -> None:
    "Run statements, print the rows of the last query, and leave them for other tasks."
    from pyspark.errors import PySparkException

    from cdc_local.source.user_errors import describe_exception
    from cdc_local.sql.parser import split_statements

    runtime = _make_runtime(run, spark)
    rows: list[dict[str, Any]] = []
    for statement in split_statements(run.text, Location(run.source, 1)):
        if not statement.sees(*_READS):
            begin = " ".join(word.text for word in statement.words[:2])
            message = f"{begin} … is no query, and a sql_task only reads here"
            hint = "write tables in a pipeline, or in a notebook of the job"
            raise PipelineError(message, statement.location, hint)
        text = statement.sql[statement.words[0].start : statement.words[-1].stop]
        try:
            rows = _compute(runtime, text, run.parameters, is_strict) or rows
        except PySparkException as error:
            message = describe_exception(error)
            if is_strict:
                raise NeedsSparkError(f"Sail says {message}", statement.location) from None
            raise PipelineError(message, statement.location) from None
        except PipelineError as error:
            if error.location is None:
                error.location = statement.location
            raise
    _leave_rows(run, rows)


def _make_runtime(
    run: SqlRun,  # What to run
    spark: "SparkSession",  # The session
) -> "Runtime":
    "Make what a pipeline's SQL finds around it, of a pipeline that declares nothing."
    from pyspark.sql.types import StructType

    from cdc_local.analysis.runtime import Runtime
    from cdc_local.dataflow.graph import Graph

    graph, storage = Graph(run.catalog, run.schema), Storage(Path(run.storage))
    runtime = Runtime(spark, graph, storage, lambda runtime, name: StructType())
    runtime.analysing = False
    return runtime


def _compute(
    runtime: "Runtime",  # What the statement finds around it
    text: str,  # A statement that reads
    parameters: Mapping[str, str],  # Values of `:name`
    is_strict: bool,  # Whether `NeedsSparkError` names what is not known to be the same on Spark
) -> list[dict[str, Any]] | None:  # Its rows; None for a statement that has none
    "Run one statement."
    from cdc_local.analysis.queries import run_query
    from cdc_local.engines.engine import engine_of
    from cdc_local.sql.parameters import bind_parameters

    frame = run_query(runtime, runtime.spark.sql, bind_parameters(text, parameters))
    if not frame.columns:
        return None
    unknown = engine_of(runtime.spark).find_unknown(frame) if is_strict else []
    if unknown:
        raise NeedsSparkError(f"{unknown[0]} to give the same on Sail as on Spark")
    rows: list[dict[str, Any]] = frame.limit(_MOST_ROWS + 1).toArrow().to_pylist()
    return rows


def _leave_rows(
    run: SqlRun,  # What was run
    rows: list[dict[str, Any]],  # Of its last query
) -> None:
    "Print rows, one a line as JSON, and leave them for other tasks."
    lines = [format_json(row) for row in rows[:_MOST_ROWS]]
    for line in lines:
        print(line)
    if len(rows) > _MOST_ROWS:
        print(f"warning: the query finds more than {_MOST_ROWS:,} rows; these are the first", file=sys.stderr)
    path = Path(run.rows_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[{', '.join(lines)}]")
