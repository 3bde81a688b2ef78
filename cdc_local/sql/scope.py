"""What names mean in a source file: `USE`, `SET` and the queries after them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession

from cdc_local.dataflow.graph import Graph
from cdc_local.errors import Location, PipelineError, UsageError, locate
from cdc_local.sql.dialect import leave_paths_to_spark, translate
from cdc_local.sql.parser import Statement, spanned_text
from cdc_local.sql.positions import find_position
from cdc_local.sql.relations import Relation, find_relations
from cdc_local.storage import TableName


@dataclass
class Scope:
    "What `USE` and `SET` have set so far in a source file."

    catalog: str | None = None  # After USE CATALOG
    schema: str | None = None  # After USE SCHEMA
    settings: dict[str, str] = field(default_factory=dict)  # After SET: parameters and Spark settings

    def name(self, graph: Graph, text: str, location: Location | None = None) -> TableName:
        "The full name of a table as written."
        try:
            name = TableName.parse(text, self.catalog or graph.catalog, self.schema or graph.schema)
            return graph.spell(name)
        except UsageError as wrong:
            raise PipelineError(wrong.message, location, wrong.hint) from None


@dataclass
class Reading:
    "Where declarations go, and what is known while they are read."

    graph: Graph  # Takes the declarations
    spark: SparkSession  # Classic: parses and runs queries
    scope: Scope  # `USE` and `SET`

    def name(self, statement: Statement, text: str) -> TableName:
        "The full name of a table as written in a statement."
        return self.scope.name(self.graph, text, statement.location)

    @property
    def names(self) -> tuple[str, str]:
        "Catalog and schema of names that give none, after `USE`."
        return self.scope.catalog or self.graph.catalog, self.scope.schema or self.graph.schema


def drop_live(
    text: str,  # A name as written
) -> str:
    "A name for messages and specs: as written, without the `LIVE.` of old."
    return re.sub(r"(?i)^live\.", "", text)


def read_query(
    reading: Reading,  # Has the session
    statement: Statement,  # Stands before the query
    names: Sequence[str] = (),  # Names for its columns, where the CREATE gives them
) -> tuple[Callable[[], DataFrame], list[Relation]]:  # Returns the rows; what it reads
    "Take the rest of a statement as a query; `PipelineError` if Spark cannot parse it."
    start = statement.here.start
    sql = spanned_text(statement, statement.words[statement.at :])
    origin = locate(statement.sql, start, statement.origin)
    position = find_position(statement.sql, start, statement.origin)
    sql = translate(sql, position)
    leave_paths_to_spark(reading.spark, sql, position)
    statement.at = len(statement.words)
    found = find_relations(reading.spark, sql, origin)
    if names:
        sql = f"SELECT * FROM (\n{sql}\n) AS named({', '.join(names)})"
    return (lambda: reading.spark.sql(sql)), found
