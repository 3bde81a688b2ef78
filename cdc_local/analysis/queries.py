"""`spark.sql` over the pipeline's tables: a table in a text becomes a view of the frame it means."""

import re
from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import Evaluation, current_evaluation, evaluating
from cdc_local.analysis.runtime import Runtime
from cdc_local.analysis.sql_texts import run_by_types
from cdc_local.engines.engine import is_sail
from cdc_local.engines.sql_parser import parser_of
from cdc_local.errors import PipelineError
from cdc_local.sql.dialect import translate
from cdc_local.sql.lexer import tokenize
from cdc_local.sql.relations import Relation, find_relations, substitute_relations
from cdc_local.storage import localize


def run_query(
    runtime: Runtime,  # The update
    run_sql: Callable[..., DataFrame],  # Spark's own `sql`, which takes the text and its arguments
    text: str,  # The SQL
    *args: Any,  # Further arguments of `sql`
    **kwargs: Any,
) -> DataFrame:  # Its rows
    "Run a pipeline's SQL; `PipelineError` for a statement that changes more than the session."
    evaluation, text = current_evaluation.get() or Evaluation(None), translate(text)
    with runtime.lock, evaluating(None):
        if evaluation.flow is None and (moved := apply_use(runtime, text)) is not None:
            return moved
        if parser_of(runtime.spark).is_query(runtime.spark, text):
            return run_by_types(
                runtime.spark,
                [text],
                lambda texts: _query_tables(runtime, run_sql, evaluation, texts[0], *args, **kwargs),
            )
        if evaluation.flow is None and is_session_statement(text):
            return run_sql(text, *args, **kwargs)
        raise PipelineError(
            f"spark.sql({text.strip().split(chr(10))[0][:60]!r}) is not a query",
            hint="a pipeline declares its tables; run other statements outside it",
        )


def _query_tables(
    runtime: Runtime,  # The update
    run_sql: Callable[..., DataFrame],  # Spark's own `sql`
    evaluation: Evaluation,  # Takes the reads
    text: str,  # A query
    args: Any = None,  # Values of its parameters
) -> DataFrame:  # Its rows
    "Run a query over the frames that its tables mean; the text stays as it is otherwise."
    text, frames, views = with_metadata(runtime.spark, text), {}, {}
    for relation in find_relations(runtime.spark, text):
        with evaluating(evaluation):
            frames[relation] = relation_frame(runtime, relation)
    parser = parser_of(runtime.spark)
    if not args:
        starts = {relation.start: frame for relation, frame in frames.items()}
        built = parser.build_frame(runtime.spark, text, starts)
        if built is not None:
            return built
    for number, (relation, frame) in enumerate(frames.items(), 1):
        views[relation] = f"__lakeflow_{number}"
        if relation.function and "_metadata" in text:
            frames[relation] = frame.select("*", "_metadata")
    named = {views[relation]: frame for relation, frame in frames.items()}
    return parser.query_views(runtime.spark, run_sql, substitute_relations(text, views), named, args)


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
        or words[:2] in (["CREATE", "TEMPORARY"], ["CREATE", "FUNCTION"], ["SHOW", "TABLES"])
        or words[:4] == ["CREATE", "OR", "REPLACE", "TEMPORARY"]
    )


def relation_frame(
    runtime: Runtime,  # The update
    relation: Relation,  # A table or a table function of the SQL text
) -> DataFrame:  # Its rows
    "The frame that a table or a table function in SQL means; `PipelineError` for an unknown function."
    if relation.function is None:
        return runtime.read_table(str(relation.name), relation.streaming, relation.options)
    arguments = dict(relation.arguments)
    if "path" not in arguments:
        raise PipelineError(
            f"the table function {relation.function} is not supported by the local runner",
            hint="it has read_files, cloud_files and Spark's own",
        )
    path = localize(runtime.storage, arguments.pop("path"))
    if relation.function not in ("read_files", "cloud_files"):
        runtime.update_inputs.add_paths(path)
        reader = runtime.spark.readStream if relation.streaming else runtime.spark.read
        return reader.format(relation.function).load(path)
    schema = arguments.pop("schema", None)
    if relation.function == "read_files":
        arguments = {"inferColumnTypes": "true"} | arguments
    return runtime.read_files(path, arguments, schema, relation.streaming)
