"""Rows of Sail reach a Delta table: Sail writes the files, delta-rs commits them, all in one commit."""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow.parquet
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.transaction import AddAction
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from cdc_local.delta.checksum import write_checksum
from cdc_local.delta.choice import Choice
from cdc_local.delta.log import find_table_folder, read_schema
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.sql_names import quote_for_spark

_STAGED = "staged"  # Folder in a table's own, which a vacuum looks into: files that no commit names yet


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
    stored = read_schema(table)
    schema = _merge_columns(stored, rows.schema, mode)
    folder = find_table_folder(table)
    with _staging_folder(folder) as staged:
        _arrange_columns(rows, schema).write.mode("append").parquet(str(staged))
        added = [_describe_file(file, folder.name, schema) for file in sorted(staged.glob("*.parquet"))]
        added = [one for one in added if one.rows]
        if mode == "append" and not added:
            return 0
        for one in added:
            one.file.rename(folder / one.name)
    if mode == "append" and len(schema) > len(stored):
        add_columns(table, schema, {})
    table.create_write_transaction(
        [one.as_action(folder) for one in added],
        mode,
        Schema.from_json(schema.json()),
        commit_properties=CommitProperties(
            app_transactions=[Transaction(*transaction)] if transaction else None
        ),
    )
    table.update_incremental()
    write_checksum(table)
    return sum(one.rows for one in added)


@contextmanager
def _staging_folder(
    folder: Path,  # Of a table
) -> Iterator[Path]:  # A folder for files that no commit names yet
    "Make room for files on the table's own disk; what a killed write left there goes first."
    staged = folder / _STAGED
    if staged.exists():
        shutil.rmtree(staged)
    staged.mkdir()
    try:
        yield staged
    finally:
        shutil.rmtree(staged)


def _arrange_columns(
    rows: DataFrame,  # A batch
    schema: StructType,  # Columns of the files
) -> DataFrame:  # These columns in this order and these types, NULL for one that the rows do not have
    given = {field.name.lower(): field for field in rows.schema}

    def value(field: StructField) -> Column:
        found = given.get(field.name.lower())
        if found is None:
            return F.lit(None).cast(field.dataType).alias(field.name)
        column = F.col(quote_for_spark(found.name))
        return (column if found.dataType == field.dataType else column.cast(field.dataType)).alias(field.name)

    return rows.select(*map(value, schema.toNullable()))


@dataclass(frozen=True)
class _WrittenFile:
    "A file that Sail has written."

    file: Path
    name: str  # In the table's folder
    rows: int
    null_counts: dict[str, int]  # Of the columns that are no structs, arrays or maps

    def as_action(
        self,
        folder: Path,  # Of the table
    ) -> AddAction:
        "The file as a commit names it, with the statistics that are exact in every reader."
        status = (folder / self.name).stat()
        stats = json.dumps({"numRecords": self.rows, "nullCount": self.null_counts})
        return AddAction(self.name, status.st_size, {}, status.st_mtime_ns // 1_000_000, True, stats)


def _describe_file(
    file: Path,  # Of rows
    table: str,  # Its name
    schema: StructType,  # Columns of the table
) -> _WrittenFile:
    "Read what a file's footer says; `PipelineError` for NULL in a column that must have a value."
    footer = pyarrow.parquet.read_metadata(file)
    nulls: dict[str, int] = {}
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            if "." not in column.path_in_schema and column.is_stats_set:
                nulls[column.path_in_schema] = (
                    nulls.get(column.path_in_schema, 0) + column.statistics.null_count
                )
    for field in schema:
        if not field.nullable and nulls.get(field.name):
            raise PipelineError(
                f"{table}: column {field.name} is NOT NULL, and a row has NULL in it",
                hint="let an expectation drop such rows, or declare the column without NOT NULL",
            )
    return _WrittenFile(file, f"part-{uuid.uuid4()}.zstd.parquet", footer.num_rows, nulls)


def add_columns(
    table: DeltaTable,  # The table
    schema: StructType,  # Columns that it is to have
    properties: dict[str, str],  # Properties to set
) -> None:
    "Add the columns that a table does not have, and set properties of it."
    new = _find_new_columns(read_schema(table), schema)
    if new:
        table.alter.add_columns(Schema.from_json(StructType(new).json()).fields)
    if properties:
        table.alter.set_table_properties(properties, raise_if_not_exists=False)


def _merge_columns(
    stored: StructType,  # Columns of the table
    rows: StructType,  # Columns of its new rows
    mode: str,  # 'append' or 'overwrite'
) -> StructType:  # Columns of the table with these rows
    if mode == "overwrite":
        same = [(field.name, field.dataType) for field in stored.toNullable()]
        given = rows.toNullable()
        return stored if same == [(field.name, field.dataType) for field in given] else given
    return StructType([*stored, *_find_new_columns(stored, rows)])


def _find_new_columns(
    stored: StructType,  # Columns of the table
    rows: StructType,  # Columns of rows
) -> list[StructField]:  # Those that the table does not have; any may be NULL
    known = {field.name.lower() for field in stored}
    return [field for field in rows.toNullable() if field.name.lower() not in known]
