"""What is asked of SQL text before it runs: which engine's parser answers, and in which words."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from cdc_local.engines.engine import is_sail
from cdc_local.engines.parsed import ParsedRelation
from cdc_local.errors import Location

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class SqlParser(Protocol):
    "What `spark/catalyst.py` and `sail/sql.py` both answer."

    def parse_relations(
        self,
        spark: "SparkSession",  # The session
        sql: str,  # One statement
        location: Location | None = None,  # Where its first line stands
    ) -> list[ParsedRelation]:  # What it reads, in any order
        "Find what a query reads; `PipelineError` with the line of what can't be parsed."
        ...

    def is_query(
        self,
        spark: "SparkSession",  # The session
        sql: str,  # One statement
        location: Location | None = None,  # Where its first line stands
    ) -> bool:  # False for a command, DDL, DML or a script
        "Whether a statement only reads; `PipelineError` if it can't be parsed."
        ...

    def is_table_function(
        self,
        spark: "SparkSession",  # The session
        function: str,  # Name in lower case
    ) -> bool:  # True for a table function of Spark's own, or one registered with the session
        "Whether the engine itself has a table function."
        ...

    def compute_text(
        self,
        spark: "SparkSession",  # The session
        expression: str,  # SQL that reads no table, of type STRING
    ) -> str | None:  # Its value
        "Compute a constant; raises what the engine raises."
        ...

    def build_frame(
        self,
        spark: "SparkSession",  # The session
        sql: str,  # A query
        frames: "Mapping[int, DataFrame]",  # What it reads, by where it stands in the text
    ) -> "DataFrame | None":  # Its rows; None where the engine runs the text itself, over views of the frames
        "Build the plan of a query, where the engine needs one to see what the text does."
        ...

    def query_views(
        self,
        spark: "SparkSession",  # The session
        run_sql: "Callable[..., DataFrame]",  # The session's own `sql`
        sql: str,  # A query
        views: "Mapping[str, DataFrame]",  # What its names mean
    ) -> "DataFrame":  # Its rows
        "Run a text over frames."
        ...


def parser_of(
    spark: "SparkSession",  # Any session of this process
) -> SqlParser:
    "Tell whose parser reads the SQL of a session."
    if is_sail(spark):
        from cdc_local.engines.sail import sql

        return sql
    from cdc_local.engines.spark import catalyst

    return catalyst
