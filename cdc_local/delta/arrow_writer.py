"""Rows of Sail reach a Delta table: read as Arrow, written by delta-rs, piece by piece, in one commit."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pyarrow
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructField, StructType

from cdc_local.delta.checksum import write_checksum
from cdc_local.delta.choice import Choice
from cdc_local.delta.log import find_table_folder, read_schema
from cdc_local.engines.sail.batches import read_batches
from cdc_local.errors import NeedsSparkError, PipelineError


def require_delta_rs(
    path: Path,  # Folder of the table
    chosen: Choice,  # Who is to write it
) -> None:
    "Raise `NeedsSparkError` where a table is one that delta-rs does not write as Spark does."
    if chosen.reason is not None:
        raise NeedsSparkError(f"the table {path.name} is written by Spark alone: {chosen.reason}")


def write_rows(
    rows: DataFrame,  # A batch on Sail
    table: DeltaTable,  # The table, which delta-rs may write
    mode: Literal["append", "overwrite"],  # What becomes of the rows that are there
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> int:  # Rows written
    """Write a frame's rows in one commit; appending none is no commit.

    Columns that the table does not have are added; overwriting, the rows' columns replace its own.
    """
    schema, mode_of_schema = _merge_columns(table, rows.schema, mode)
    counted = _CountedBatches(find_table_folder(table).name, schema, read_batches(rows))
    batches: Iterator[pyarrow.RecordBatch] = iter(counted)
    if mode == "append":
        first = next(batches, None)
        if first is None:
            return 0
        batches = chain([first], batches)
    arrow = pyarrow.schema([field.with_nullable(True) for field in to_arrow_schema(schema, timezone="UTC")])
    properties = CommitProperties(app_transactions=[Transaction(*transaction)] if transaction else None)
    options: dict[str, Any] = {"schema_mode": mode_of_schema} if mode_of_schema else {}
    try:
        write_deltalake(
            table,
            pyarrow.RecordBatchReader.from_batches(arrow, batches),
            mode=mode,
            commit_properties=properties,
            **options,
        )
    except Exception:
        if counted.failure is not None:  # delta-rs tells it in words of its own
            raise counted.failure from None
        raise
    table.update_incremental()
    write_checksum(table)
    return counted.rows


def add_columns(
    table: DeltaTable,  # The table
    schema: StructType,  # Columns that it is to have
    properties: dict[str, str],  # Properties to set
) -> None:
    "Add the columns that a table does not have, and set properties of it."
    known = {field.name.lower() for field in read_schema(table)}
    new = [field for field in schema.toNullable() if field.name.lower() not in known]
    if new:
        table.alter.add_columns(Schema.from_json(StructType(new).json()).fields)
    if properties:
        table.alter.set_table_properties(properties, raise_if_not_exists=False)


def _merge_columns(
    table: DeltaTable,  # The table
    rows: StructType,  # Columns of its new rows
    mode: str,  # 'append' or 'overwrite'
) -> tuple[StructType, Literal["merge", "overwrite"] | None]:  # Columns to write; how they change the table's
    stored = read_schema(table)
    spelled = {field.name.lower(): field for field in rows.toNullable()}
    if mode == "overwrite":
        same = [(field.name, field.dataType) for field in stored.toNullable()]
        if same == [(field.name, field.dataType) for field in rows.toNullable()]:
            return stored, None
        return rows.toNullable(), "overwrite"
    known = {field.name.lower() for field in stored}
    new: list[StructField] = [field for name, field in spelled.items() if name not in known]
    return StructType([*stored.fields, *new]), "merge" if new else None


class _CountedBatches:
    "Batches as a table has them: its columns, in its types, NULL for one that the rows do not have."

    def __init__(self, table: str, schema: StructType, batches: Iterator[pyarrow.RecordBatch]) -> None:
        self.table, self.schema, self.batches = table, schema, batches
        self.rows = 0
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[pyarrow.RecordBatch]:
        arrow = to_arrow_schema(self.schema.toNullable(), timezone="UTC")
        try:
            for batch in self.batches:
                if not batch.num_rows:
                    continue
                self.rows += batch.num_rows
                yield self._complete(batch, arrow)
        except Exception as failure:
            self.failure = failure
            raise

    def _complete(self, batch: pyarrow.RecordBatch, arrow: pyarrow.Schema) -> pyarrow.RecordBatch:
        given = {name.lower(): number for number, name in enumerate(batch.schema.names)}
        columns = []
        for stored, field in zip(self.schema, arrow, strict=True):
            number = given.get(field.name.lower())
            column = pyarrow.nulls(batch.num_rows, field.type) if number is None else batch.column(number)
            if not stored.nullable and column.null_count:
                raise PipelineError(
                    f"{self.table}: column {field.name} is NOT NULL, and a row has NULL in it",
                    hint="let an expectation drop such rows, or declare the column without NOT NULL",
                )
            columns.append(column if column.type == field.type else column.cast(field.type))
        return pyarrow.RecordBatch.from_arrays(columns, schema=arrow)
