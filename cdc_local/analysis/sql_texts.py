"""Databricks' SQL in the texts that Python hands to Spark: `spark.sql`, `expr`, `selectExpr`, `where`.

What a text says in Databricks' words goes through `cdc_local.sql.dialect`. What a path like `raw:id` is, the
type of `raw` decides, which only the engine knows: over a JSON string it is read by Spark's functions, which
take no other type; over a VARIANT the path is Spark's own. Spark is asked for the first, and where it refuses
for the second; a text with both kinds is refused. On Sail a path needs Spark."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from cdc_local.analysis.runtime import Runtime
from cdc_local.errors import PipelineError
from cdc_local.sql.dialect import leave_paths_to_spark, translate
from cdc_local.sql.json_paths import (
    IN_VARIANT,
    find_json_paths,
    find_other_type,
    name_json_paths,
    write_json_paths,
)
from cdc_local.sql.positions import refuse_at

Answer = TypeVar("Answer")


def run_by_types(
    spark: SparkSession,  # The session
    texts: list[str],  # SQL, translated but for its paths
    run: Callable[[list[str]], Answer],  # Gives the texts to the engine, which looks at their types
) -> Answer:  # What it answered
    "Run texts whose paths mean what the types say; `PipelineError` for a path into anything else."
    paths = [path for text in texts for path in find_json_paths(text)]
    if not paths:
        return run(texts)
    for text in texts:
        leave_paths_to_spark(spark, text)
    try:
        return run([write_json_paths(text) for text in texts])
    except AnalysisException as error:
        of_strings = error
    try:
        return run([name_json_paths(text) for text in texts])
    except Exception:  # Spark 4.2 says of a path into a string that it lacks the words for its error
        raise _describe_type(of_strings, texts) or of_strings from None


def _describe_type(error: AnalysisException, texts: list[str]) -> PipelineError | None:
    "The error for a path into what is no JSON; None for another mistake."
    found = find_other_type(error)
    if found is None:
        return None
    text = next(text for text in texts if find_json_paths(text))
    path = find_json_paths(text)[0]
    shown = text[path.start : path.stop]
    if found == "VARIANT":
        message, hint = f"{shown}: the paths of one text lead into JSON strings and into VARIANT", IN_VARIANT
    else:
        message = f"{shown}: a path with `:` leads into a JSON string or a VARIANT, and one here into {found}"
        hint = "a field of a STRUCT is written with a dot"
    return refuse_at(text, path.start, None, message, hint)


def translate_expression(
    runtime: Runtime,  # The update
    original: Any,  # `pyspark.sql.functions.expr`
) -> Any:  # The same, which translates its text
    "`F.expr`: what is no column yet, so its paths lead into JSON strings."

    @wraps(original)
    def expr(str: str) -> Any:  # noqa: A002 (PySpark's own name for it)
        text = translate(str)
        leave_paths_to_spark(runtime.spark, text)
        return original(write_json_paths(text))

    return expr


def translate_condition(
    runtime: Runtime,  # The update
    original: Any,  # `DataFrame.where` or `filter`
) -> Any:  # The same, which translates a text
    "`where` and `filter` of a text."

    @wraps(original)
    def where(frame: Any, condition: Any) -> Any:
        if not isinstance(condition, str):
            return original(frame, condition)
        return run_by_types(runtime.spark, [translate(condition)], lambda texts: original(frame, texts[0]))

    return where


def translate_selection(
    runtime: Runtime,  # The update
    original: Any,  # `DataFrame.selectExpr`
) -> Any:  # The same, which translates its texts
    "`selectExpr`."

    @wraps(original)
    def select_expressions(frame: Any, *expr: Any) -> Any:
        given = expr[0] if len(expr) == 1 and isinstance(expr[0], list) else expr
        texts = [translate(text) for text in given]
        return run_by_types(runtime.spark, texts, lambda texts: original(frame, *texts))

    return select_expressions
