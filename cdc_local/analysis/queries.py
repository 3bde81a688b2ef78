"""`spark.sql` over the pipeline's tables: a table in a text becomes a view of the frame it means."""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdc_local.analysis.catalog_statements import answer_statement
from cdc_local.analysis.evaluation import Evaluation, current_evaluation, evaluating
from cdc_local.analysis.event_log_rows import read_event_log
from cdc_local.analysis.runtime import Runtime
from cdc_local.analysis.sql_texts import run_by_types
from cdc_local.autoloader.files import detect_format
from cdc_local.autoloader.options import option_key
from cdc_local.engines.engine import is_sail
from cdc_local.engines.sql_parser import parser_of
from cdc_local.errors import PipelineError
from cdc_local.sql.dialect import translate
from cdc_local.sql.lexer import tokenize
from cdc_local.sql.parameters import bind_parameters, expand_identifiers, fill_settings
from cdc_local.sql.relations import Relation, find_relations, substitute_relations
from cdc_local.storage import localize


def run_query(
    runtime: Runtime,  # The update
    run_sql: Callable[[str], DataFrame],  # Spark's own `sql`, which takes the text
    text: str,  # The SQL
    args: Any = None,  # Values of `:name`, or of `?`
    **values: Any,  # Of `{name}`: frames, columns, plain values
) -> DataFrame:  # Its rows
    "Run a pipeline's SQL; `PipelineError` for a statement that changes more than the session."
    evaluation = current_evaluation.get() or Evaluation(None)
    with runtime.lock, evaluating(None):
        text, given = complete_text(runtime, text, args, values)
        text = translate(text)
        if evaluation.flow is None and (moved := apply_use(runtime, text)) is not None:
            return moved
        if parser_of(runtime.spark).is_query(runtime.spark, text):
            return run_by_types(
                runtime.spark,
                [text],
                lambda texts: _query_tables(runtime, run_sql, evaluation, texts[0], given),
            )
        if (answer := answer_statement(runtime.catalog, text)) is not None:
            return answer
        if evaluation.flow is None and is_session_statement(text):
            return run_sql(text)
        raise PipelineError(
            f"spark.sql({text.strip().split(chr(10))[0][:60]!r}) is not a query",
            hint="a pipeline declares its tables, and asks by SHOW and DESCRIBE TABLE; "
            "run other statements outside it",
        )


def complete_text(
    runtime: Runtime,  # The update
    text: str,  # The SQL as written
    args: Any,  # Values of `:name`, or of `?`
    values: Mapping[str, Any],  # Of `{name}`
) -> tuple[str, dict[str, DataFrame]]:  # The SQL without open places; the frames that it names
    "Fill in what a text of Python's leaves open, in the order in which Spark does."
    text, given = format_text(runtime.spark, text, values) if values else (text, {})
    text = fill_settings(text, lambda key: runtime.spark.conf.get(key, None))
    if args is not None and not isinstance(args, dict | list):
        raise PipelineError(f"args is a {type(args).__name__}", hint="give spark.sql a dict or a list")
    if args:
        runtime.graph.warn(
            "spark.sql(…, args=…): pipelines on Databricks were seen to refuse `args` (August 2026); "
            "values that are written into the text run everywhere"
        )
    if args or "?" in text:
        text = bind_parameters(text, args or [])
    return expand_identifiers(runtime.spark, text), given


def format_text(
    spark: SparkSession,  # The session
    text: str,  # The SQL, with `{name}`
    values: Mapping[str, Any],  # Frames, columns, plain values
) -> tuple[str, dict[str, DataFrame]]:  # The text; its names of frames, the same in every update
    "Write values into a text as PySpark does, whose own names of frames are random."
    if is_sail(spark):
        from pyspark.sql.connect.sql_formatter import SQLStringFormatter
    else:
        from pyspark.sql.sql_formatter import SQLStringFormatter  # type: ignore[assignment]

    frames: dict[str, DataFrame] = {}

    class Formatter(SQLStringFormatter):
        def _convert_value(self, value: Any, field: str) -> Any:
            if not isinstance(value, DataFrame):
                return super()._convert_value(value, field)
            known = [name for name, frame in frames.items() if frame is value]
            name = known[0] if known else f"__given_{len(frames) + 1}"
            frames[name] = value
            return name

    return Formatter(cast(Any, spark)).format(text, **values), frames


def _query_tables(
    runtime: Runtime,  # The update
    run_sql: Callable[[str], DataFrame],  # Spark's own `sql`
    evaluation: Evaluation,  # Takes the reads
    text: str,  # A query
    given: Mapping[str, DataFrame],  # Frames that it names
) -> DataFrame:  # Its rows
    "Run a query over the frames that its tables mean; the text stays as it is otherwise."
    text, frames, views = with_metadata(runtime.spark, text), {}, {}
    for relation in find_relations(runtime.spark, text):
        with evaluating(evaluation):
            known = given.get(relation.name or "")
            frames[relation] = relation_frame(runtime, relation) if known is None else known
    parser = parser_of(runtime.spark)
    built = parser.build_frame(
        runtime.spark, text, {relation.start: frame for relation, frame in frames.items()}
    )
    if built is not None:
        return built
    for number, (relation, frame) in enumerate(frames.items(), 1):
        views[relation] = f"__lakeflow_{number}"
        if relation.function and "_metadata" in text:
            frames[relation] = frame.select("*", "_metadata")
    named = {views[relation]: frame for relation, frame in frames.items()}
    return parser.query_views(runtime.spark, run_sql, substitute_relations(text, views), named)


def with_metadata(
    spark: SparkSession,  # Parses the text
    text: str,  # A query
) -> str:  # The same, its `*` leaving out `_metadata` where the query reads files and asks for it
    "Keep `SELECT *, _metadata.file_path FROM read_files(…)` what it means."
    if "_metadata" not in text or is_sail(spark):  # there, frames hide it themselves
        return text
    words = tokenize(text)
    stars: set[int] = set()  # positions behind a `*` of a SELECT that reads files
    for relation in find_relations(spark, text):
        if not relation.function:
            continue
        depth, after = 0, None
        for word in reversed([word for word in words if word.start < relation.start]):
            depth += word.says(")") - word.says("(")
            if depth < 0:
                break
            if depth == 0 and word.says("*") and after is not None and after.says(",", "FROM"):
                stars.add(word.stop)
            if depth == 0 and word.says("SELECT"):
                break
            after = word
    for stop in sorted(stars, reverse=True):
        text = text[:stop] + " EXCEPT (_metadata)" + text[stop:]
    return text


def apply_use(
    runtime: Runtime,  # The update
    text: str,  # A SQL statement
) -> DataFrame | None:  # No rows; None where the statement is another one
    "`USE CATALOG c`, `USE SCHEMA s`, `USE c.s`: what one-part names mean in the rest of this source file."
    found = re.fullmatch(r"\s*USE\s+(?:(CATALOG|SCHEMA|DATABASE)\s+)?([\w`.-]+)\s*;?\s*", text, re.I)
    if found is None:
        return None
    graph, parts = runtime.graph, found[2].replace("`", "").split(".")
    if (found[1] or "").upper() == "CATALOG":
        graph.catalog = parts[0]
    else:
        graph.catalog, graph.schema = parts if len(parts) == 2 else (graph.catalog, parts[0])
    return runtime.spark.createDataFrame([], StructType())


def is_session_statement(
    text: str,  # A SQL statement that is no query
) -> bool:  # Whether a source file may run it while declaring
    "Tell settings and session objects from statements that change tables."
    words = text.strip().upper().split()
    return (
        words[0] in ("SET", "USE", "RESET", "DECLARE")
        or words[:2] in (["CREATE", "TEMPORARY"], ["CREATE", "FUNCTION"])
        or words[:4] == ["CREATE", "OR", "REPLACE", "TEMPORARY"]
    )


def relation_frame(
    runtime: Runtime,  # The update
    relation: Relation,  # A table or a table function of the SQL text
) -> DataFrame:  # Its rows
    "The frame that a table or a table function in SQL means; `PipelineError` for an unknown function."
    if relation.function is None:
        return runtime.read_table(str(relation.name), relation.streaming, relation.options)
    if relation.function in _FUNCTIONS_OF_TABLES:
        return _FUNCTIONS_OF_TABLES[relation.function](runtime, relation)
    arguments = dict(relation.arguments)
    if "path" not in arguments:
        raise PipelineError(
            f"the table function {relation.function} is not supported by the local runner",
            hint="it has read_files, cloud_files, event_log, table_changes and Spark's own",
        )
    path = localize(runtime.storage, arguments.pop("path"))
    if relation.function not in ("read_files", "cloud_files"):
        runtime.update_inputs.add_paths(path)
        reader = runtime.spark.readStream if relation.streaming else runtime.spark.read
        return reader.format(relation.function).load(path)
    schema = arguments.pop("schema", None)
    if relation.function == "read_files":
        arguments = {"inferColumnTypes": "true"} | arguments
        if relation.streaming and not any(option_key(name) == "format" for name in arguments):
            arguments["format"] = detect_format(runtime.spark, path)
    return runtime.read_files(path, arguments, schema, relation.streaming)


def _read_event_log(
    runtime: Runtime,  # The update
    relation: Relation,  # `event_log(TABLE(t))`
) -> DataFrame:  # Events of earlier updates
    "The log of the pipeline that fills a table."
    if "table" not in relation.arguments:
        raise PipelineError(
            "event_log() names a pipeline by its id, which there is none of here",
            hint="name one of its tables: event_log(TABLE(t))",
        )
    runtime.graph.warn(
        "event_log(): Databricks has it for pipelines in the legacy publishing mode; others read "
        "the table that `event_log` in their settings names"
    )
    name = runtime.graph.name(relation.arguments["table"])
    if name not in runtime.graph.datasets and name not in runtime.storage.tables():
        raise runtime.catalog.describe_unknown(relation.arguments["table"])
    return read_event_log(runtime.spark, runtime.storage, name)


def _read_changes(
    runtime: Runtime,  # The update
    relation: Relation,  # `table_changes('t', start, end)`
) -> DataFrame:  # The change feed
    "The change feed of a table."
    arguments = relation.arguments
    if not arguments.keys() >= {"table", "start"}:
        raise PipelineError(
            "table_changes() has no start", hint="write table_changes('t', 0), a version or a moment"
        )
    options = {"readChangeFeed": "true"}
    for bound, option in (("start", "starting"), ("end", "ending")):
        if value := arguments.get(bound):
            options[f"{option}{'Version' if value.isdigit() else 'Timestamp'}"] = value
    return runtime.read_table(arguments["table"], relation.streaming, options)


_FUNCTIONS_OF_TABLES = {"event_log": _read_event_log, "table_changes": _read_changes}
