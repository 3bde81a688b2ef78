"""`spark.sql` over the pipeline's tables."""

import re
from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import current_evaluation, evaluating
from cdc_local.analysis.runtime import Runtime
from cdc_local.engines.spark.catalyst import is_query
from cdc_local.errors import PipelineError
from cdc_local.sql.lexer import tokenize
from cdc_local.sql.relations import find_relations, substitute_relations
from cdc_local.storage import localize


def run_query(
    runtime: Runtime,  # The update
    original: Callable,  # `SparkSession.sql`
    session: SparkSession,  # The user's session
    text: str,  # The SQL
    *args: Any,  # Further arguments of `sql`
    **kwargs: Any,
) -> DataFrame:
    "`spark.sql` over the pipeline's tables."
    evaluation = current_evaluation.get()
    with runtime.lock, evaluating(None):
        if evaluation.flow is None and (moved := apply_use(runtime, text)) is not None:
            return moved
        if not is_query(runtime.spark, text):
            if evaluation.flow is not None or not is_session_statement(text):
                raise PipelineError(
                    f"spark.sql({text.strip().split(chr(10))[0][:60]!r}) is not a query",
                    hint="a pipeline declares its tables; run other statements outside it",
                )
            return original(session, text, *args, **kwargs)
        text, views = with_metadata(runtime.spark, text), {}
        for relation in find_relations(runtime.spark, text):
            with evaluating(evaluation):
                frame = relation_frame(runtime, relation)
            if relation.function and "_metadata" in text:
                frame = frame.select("*", "_metadata")
            runtime.views += 1
            views[relation] = f"__lakeflow_{runtime.views}"
            frame.createOrReplaceTempView(views[relation])
        try:
            return original(session, substitute_relations(text, views), *args, **kwargs)
        finally:
            for view in views.values():
                runtime.spark.catalog.dropTempView(view)


def with_metadata(
    spark: SparkSession,  # Parses the text
    text: str,  # A query
) -> str:  # The same, its `*` leaving out `_metadata` where the query reads files and asks for it
    "Keep `SELECT *, _metadata.file_path FROM read_files(…)` what it means."
    files = (
        [relation for relation in find_relations(spark, text) if relation.function]
        if "_metadata" in text
        else []
    )
    words, stars = tokenize(text), set()
    for relation in files:
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
    text: str,  # A SQL statement that is no query
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
        or words[:2] == ["CREATE", "TEMPORARY"]
        or words[:2] in (["CREATE", "FUNCTION"], ["SHOW", "TABLES"])
        or words[:4] == ["CREATE", "OR", "REPLACE", "TEMPORARY"]
    )


def relation_frame(
    runtime: Runtime,  # The update
    relation: Any,  # A `Relation` of the SQL text
) -> DataFrame:  # Its rows
    "The frame that a table or a table function in SQL means."
    if relation.function is None:
        return runtime.read_name(relation.name, relation.streaming, relation.options)
    arguments = dict(relation.arguments)
    if "path" not in arguments:
        raise PipelineError(
            f"the table function {relation.function} is not supported by the local runner",
            hint="it has read_files, cloud_files and Spark's own",
        )
    path = localize(runtime.storage, arguments.pop("path"))
    if relation.function not in ("read_files", "cloud_files"):
        return (
            runtime.spark.read.format(relation.function).load(path)
            if not relation.streaming
            else runtime.spark.readStream.format(relation.function).load(path)
        )
    schema = arguments.pop("schema", None)
    if relation.function == "read_files":
        arguments = {"inferColumnTypes": "true"} | arguments
    return runtime.load_files(path, arguments, schema, relation.streaming)
