"""What `SqlParser` asks, answered by sqlglot and Sail."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from cdc_local.engines.parsed import ParsedRelation
from cdc_local.engines.sail.sql_frames import plan_query
from cdc_local.engines.sail.sql_text import (
    ask_sail,
    blank_words,
    find_left_out,
    parse_expression,
    read_places,
    read_statement,
)
from cdc_local.errors import Location, NeedsSparkError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Table functions that Spark itself has, and those that this project answers
_SPARK_TABLE_FUNCTIONS = re.compile(
    "collations|(explode|inline|posexplode|variant_explode)(_outer)?|json_tuple|python_worker_logs|range|"
    "sql_keywords|stack"
)
_OWN_FUNCTIONS = re.compile("read_files|cloud_files|event_log|table_changes")

# sqlglot's nodes of constants that both engines compute alike; a column is there for Sail to refuse
_CONSTANT_NODES = re.compile(
    "Array|Boolean|Cast|Column|Concat|DataType|DPipe|Identifier|Literal|Neg|Null|Paren|RawString|"
    "JSONFormat|ToMap|VarMap"
)


def is_query(
    spark: "SparkSession",  # Of Sail
    sql: str,  # One statement
    location: Location | None = None,  # Where its first line stands
) -> bool:  # False for a command, DDL, DML or a script
    "Whether a statement only reads."
    return read_statement(spark, sql, location) is not None


def parse_relations(
    spark: "SparkSession",  # Of Sail
    sql: str,  # One statement
    location: Location | None = None,  # Where its first line stands
) -> list[ParsedRelation]:  # What it reads; nothing where it is no query
    "Find what a query reads; `NeedsSparkError` for what sqlglot or Sail don't know, as for wrong SQL."
    text = read_statement(spark, sql, location)
    if text is None:
        return []
    found = [relation for _, relation in read_places(text)]
    streams = {relation.start for relation in found if relation.streaming}
    unknown = {n: n for n, token in enumerate(text.tokens) if token.start in streams}
    refused = ask_sail(
        spark, blank_words(sql, text.tokens, text.options | unknown | find_left_out(text)), location
    )
    if refused:
        raise refused
    return found


def is_table_function(
    spark: "SparkSession",  # Of Sail
    function: str,  # Name in lower case
) -> bool:  # True for a table function of Spark's own, False for one of this project's
    "Whether Spark itself has this table function; `NeedsSparkError` for one that only a session may have."
    if _SPARK_TABLE_FUNCTIONS.fullmatch(function):
        return True
    if _OWN_FUNCTIONS.fullmatch(function):
        return False
    raise NeedsSparkError(f"the table function {function} is not known on Sail")


def compute_text(
    spark: "SparkSession",  # Of Sail
    expression: str,  # SQL that reads no table, of type STRING
) -> str | None:  # Its value
    "Compute a constant; `NeedsSparkError` for more than casts and `||`; else raises what Sail raises."
    from pyspark.sql.connect.plan import SQL

    tree = parse_expression(expression)
    nodes = [type(node).__name__ for node in tree.walk()] if tree is not None else [""]
    if not all(_CONSTANT_NODES.fullmatch(node) for node in nodes):
        raise NeedsSparkError(f"the argument {expression} is no constant that Sail is known to compute")
    client = cast(Any, spark).client
    value: str | None = (
        client.to_table(SQL(f"SELECT {expression}").to_proto(client), {})[0].column(0)[0].as_py()
    )
    return value


def build_frame(
    spark: "SparkSession",  # Of Sail
    sql: str,  # A query
    frames: "Mapping[int, DataFrame]",  # What it reads, by where it stands
) -> "DataFrame | None":  # Its rows; None where it stays a text
    "Build the plan of a query; `NeedsSparkError` for one that Sail doesn't run as a text."
    text = read_statement(spark, sql)
    built = plan_query(text, frames) if text is not None else None
    if text is not None and built is None and (find_left_out(text) or "_metadata" in sql):
        raise text.needs_spark("`* EXCEPT` and `_metadata` in SQL of this shape are read by Spark alone")
    return built


def query_views(
    spark: "SparkSession",  # Of Sail
    run_sql: Callable[..., "DataFrame"],  # The session's own `sql`
    sql: str,  # A query
    views: "Mapping[str, DataFrame]",  # What its names mean
) -> "DataFrame":  # Its rows; the plan holds the frames
    "Run a text over frames."
    from pyspark.sql.connect.dataframe import DataFrame as ConnectFrame
    from pyspark.sql.connect.plan import SQL, SubqueryAlias

    frames = [SubqueryAlias(cast(Any, frame)._plan, name) for name, frame in views.items()]
    plan = SQL(sql, views=frames)
    return cast("DataFrame", ConnectFrame(plan, cast(Any, spark)))
