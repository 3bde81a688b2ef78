"""Rows as their table declares its columns: what a query does not bring is computed before it is written."""

from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from cdc_local.dataflow.graph import Dataset
from cdc_local.dataflow.table_schema import (
    DeclaredColumn,
    Identity,
    TableSchema,
    complete_rows,
)
from cdc_local.engines.engine import engine_of
from cdc_local.sql_names import quote_for_spark


def complete_new_rows(
    frame: DataFrame,  # A batch of new rows
    dataset: Dataset,  # The streaming table that gets them; its lock is held
    path: Path,  # Its folder
) -> DataFrame:
    "Compute generated columns, defaults and identities of rows to append; a number goes on from the rows."

    def next_number(column: DeclaredColumn) -> int:
        identity = column.identity or Identity()
        stored = engine_of(frame.sparkSession).read_delta(frame.sparkSession, path, {})
        number = F.col(quote_for_spark(column.name))
        [row] = stored.agg(F.max(number) if identity.step > 0 else F.min(number)).collect()
        return identity.start if row[0] is None else int(row[0]) + identity.step

    return complete_rows(frame, dataset.schema, next_number)


def complete_all_rows(
    frame: DataFrame,  # All rows of a materialized view
    dataset: Dataset,  # The view
) -> DataFrame:  # In the order of the declared columns
    "Compute generated columns, defaults and identities of rows that replace the others."
    frame = complete_rows(frame, dataset.schema, lambda column: (column.identity or Identity()).start)
    if not isinstance(dataset.schema, TableSchema) or not dataset.schema.ddl:
        return frame
    places = {column.name.lower(): place for place, column in enumerate(dataset.schema.columns)}
    names = sorted(frame.columns, key=lambda name: places.get(name.lower(), len(places)))
    return frame.select(*map(quote_for_spark, names)) if names != frame.columns else frame
