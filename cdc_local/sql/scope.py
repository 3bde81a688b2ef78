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
from cdc_local.sql.relations import Relation, find_relations, substitute_relations
from cdc_local.sql_names import quote_for_spark
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
            return TableName.parse(text, self.catalog or graph.catalog, self.schema or graph.schema)
        except UsageError as wrong:
            raise PipelineError(wrong.message, location, wrong.hint) from None

    @property
    def moved(self) -> bool:
        "Whether USE was used."
        return bool(self.catalog or self.schema)


@dataclass
class Reading:
    "Where declarations go, and what is known while they are read."

    graph: Graph  # Takes the declarations
    spark: SparkSession  # Classic: parses and runs queries
    scope: Scope  # `USE` and `SET`

    def name(self, statement: Statement, text: str) -> TableName:
        "The full name of a table as written in a statement."
        return self.scope.name(self.graph, text, statement.location)

    def display_name(self, text: str, full: TableName) -> str:
        "A name for messages and specs: as written, unless USE changed what that means."
        return str(full) if self.scope.moved else re.sub(r"(?i)^live\.", "", text)


def read_query(
    reading: Reading,  # Knows the scope
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
    sql = qualify_names(reading, statement, sql, found)
    if names:
        sql = f"SELECT * FROM (\n{sql}\n) AS named({', '.join(names)})"
    return (lambda: reading.spark.sql(sql)), found


def qualify_names(
    reading: Reading,  # Knows the scope
    statement: Statement,  # For the location
    sql: str,  # A query
    found: list[Relation],  # What it reads
) -> str:  # The same with full names, after USE
    "Write a query's names out in full where USE changed what they mean."
    if not reading.scope.moved:
        return sql

    def write_in_full(relation: Relation, written: str) -> str:
        name = reading.name(statement, written)
        text = ".".join(map(quote_for_spark, (name.catalog, name.schema, name.table)))
        options = ", ".join(f"'{key}' = '{value}'" for key, value in relation.options.items())
        return ("STREAM " if relation.streaming else "") + text + (f" WITH ({options})" if options else "")

    return substitute_relations(
        sql, {found_one: write_in_full(found_one, found_one.name) for found_one in found if found_one.name}
    )
