"""A Delta table is created, appended to, overwritten or merged into, in one commit.

`choice.py` says who writes: delta-rs where the rows are few, which needs no Spark job, else Spark.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from weakref import WeakSet

import pyarrow
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from cdc_local.delta import choice
from cdc_local.delta.checksum import write_checksum
from cdc_local.delta.choice import (
    Choice,
    choose_append,
    choose_create,
    choose_overwrite,
    choose_rows_of_sail,
)
from cdc_local.delta.log import find_table_folder, read_schema
from cdc_local.delta.sail_writer import require_delta_rs, write_rows
from cdc_local.engines.engine import engine_of, is_sail
from cdc_local.engines.sail.staged_rows import stage_frame
from cdc_local.engines.spark.jobs import release_checkpoint
from cdc_local.sql_names import quote_for_duckdb, quote_for_spark
from cdc_local.storage import check_free_space

_COMES = "__comes"  # Column of the rows of a merge that replaces: whether it is inserted, or says what goes
_HELD: WeakSet[DataFrame] = WeakSet()  # Frames that `hold_rows` gave


def create_table(
    spark: SparkSession,  # Creates the table where delta-rs may not
    path: Path,  # Its folder, where there is no table
    schema: StructType,  # Its columns
    comment: str | None = None,  # What it holds
    properties: dict[str, str] | None = None,  # Table properties
    partition_cols: list[str] | None = None,  # Columns that divide its files into folders
    cluster_by: list[str] | None = None,  # Columns of liquid clustering
) -> None:
    "Create a Delta table that has no rows; raises what Spark raises."
    properties = {key: str(value) for key, value in (properties or {}).items()}
    chosen = choose_create(spark, schema, properties, partition_cols, cluster_by)
    if is_sail(spark):
        require_delta_rs(path, chosen)
    if not chosen.is_delta_rs:
        create_with_spark(spark, path, schema, comment, properties, partition_cols, cluster_by)
        return
    table = DeltaTable.create(
        str(path),
        Schema.from_json(schema.json()),
        description=comment,
        configuration=properties,
        raise_if_key_not_exists=False,
    )
    write_checksum(table)


def append_batch(
    batch: DataFrame,  # Rows
    path: Path,  # A Delta table, created before
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> int | None:  # Rows written, None where nobody has counted them
    "Append a batch in one commit; one that the table has already is computed, and not written."
    table = DeltaTable(str(path))
    if is_sail(batch.sparkSession):
        require_delta_rs(path, choose_rows_of_sail(table, batch.schema))
        if has_batch(table, transaction):
            return None
        return write_rows(batch, table, "append", transaction)
    with hold_few_rows(batch, choose_append(table, batch)) as (held, few):
        if has_batch(table, transaction):
            if few is None:
                held.write.format("noop").mode("overwrite").save()
        elif few is None:
            append_with_spark(held, path, transaction)
        elif few.num_rows:
            commit_rows(table, few, "append", transaction)
            return int(few.num_rows)
    return None


def overwrite_table(
    rows: DataFrame,  # All rows of the table
    path: Path,  # A Delta table, created before
    partition_cols: list[str] | None = None,  # As declared
    cluster_by: list[str] | None = None,  # As declared
) -> None:
    "Replace rows and columns of a table, in one commit."
    table = DeltaTable(str(path))
    if is_sail(rows.sparkSession):
        require_delta_rs(path, choose_rows_of_sail(table, rows.schema))
        write_rows(rows, table, "overwrite")
        return
    with hold_few_rows(rows, choose_overwrite(table, rows, partition_cols, cluster_by)) as (held, few):
        if few is None:
            overwrite_with_spark(held, path, partition_cols, cluster_by)
        else:
            commit_rows(table, few, "overwrite")


def merge_rows(
    table: DeltaTable,  # A table that `choose_merge` gives to delta-rs
    rows: pyarrow.Table,  # Rows with some or all of its columns
    identity: list[str],  # Columns that tell its rows apart; never NULL
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
    gone: str | None = None,  # SQL condition on a row `new`: the table's own row goes
) -> None:
    "Merge rows into a table, in one commit; none where there are no rows."
    if not rows.num_rows:
        return
    # in parentheses: `a = b AND c` may be read as `a = (b AND c)`
    same_row = " AND ".join(
        f"(old.{quote_for_duckdb(name)} = new.{quote_for_duckdb(name)})" for name in identity
    )
    values = {f"old.{quote_for_duckdb(name)}": f"new.{quote_for_duckdb(name)}" for name in rows.column_names}
    check_free_space(find_table_folder(table), rows.nbytes)
    merge = table.merge(
        rows,
        same_row,
        source_alias="new",
        target_alias="old",
        commit_properties=_commit_properties(transaction),
        streamed_exec=not _has_exact_bounds(rows.schema, identity),
    )
    if gone is not None:
        merge = merge.when_matched_delete(gone)
    merge.when_matched_update(values).when_not_matched_insert(values).execute()
    write_checksum(table)


def replace_keys(
    table: DeltaTable,  # A table that `choose_merge` gives to delta-rs
    outdated: pyarrow.Table,  # Keys, each once, whose stored rows go
    rows: pyarrow.Table,  # Rows that come, with all columns of the table
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Delete the rows of some keys and insert others, in one commit."
    if not outdated.num_rows:
        if rows.num_rows:
            commit_rows(table, rows, "append", transaction)
        return

    def same(key: str) -> str:
        has_nulls = outdated.column(key).null_count
        name = quote_for_duckdb(key)
        return f"(old.{name} {'IS NOT DISTINCT FROM' if has_nulls else '='} new.{name})"

    keys = outdated.column_names
    marked = rows.append_column(_COMES, pyarrow.array([True] * rows.num_rows, pyarrow.bool_()))
    goes = pyarrow.array([False] * outdated.num_rows, pyarrow.bool_())
    source = pyarrow.concat_tables(
        [marked, outdated.append_column(_COMES, goes)], promote_options="permissive"
    )
    values = {f"old.{quote_for_duckdb(name)}": f"new.{quote_for_duckdb(name)}" for name in rows.column_names}
    check_free_space(find_table_folder(table), rows.nbytes)
    merge = table.merge(
        source,
        " AND ".join([f"(new.{_COMES} = false)", *map(same, keys)]),
        source_alias="new",
        target_alias="old",
        commit_properties=_commit_properties(transaction),
    )
    merge.when_matched_delete().when_not_matched_insert(values, predicate=f"new.{_COMES}").execute()
    write_checksum(table)


def _has_exact_bounds(
    schema: pyarrow.Schema,  # Columns of the rows
    identity: list[str],  # Columns that tell rows apart
) -> bool:
    """Whether delta-rs may leave out files by the least and greatest values of the rows.

    It has no bounds of a struct, and rounds those of a decimal.
    """
    types = [schema.field(name).type for name in identity]
    return not any(pyarrow.types.is_struct(kind) or pyarrow.types.is_decimal(kind) for kind in types)


def commit_rows(
    table: DeltaTable,  # A table whose choice is delta-rs
    rows: pyarrow.Table,  # Rows with some or all of its columns
    mode: Literal["append", "overwrite"],  # What becomes of the rows that are there
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Write rows in one commit; a column that they do not have is NULL."
    schema = to_arrow_schema(read_schema(table), timezone="UTC")
    columns = [
        rows[field.name] if field.name in rows.column_names else pyarrow.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    properties = _commit_properties(transaction)
    complete = pyarrow.table(columns, names=schema.names).cast(schema)
    check_free_space(find_table_folder(table), complete.nbytes)
    # two overloads of the same call, one a mode
    if mode == "overwrite":
        write_deltalake(table, complete, mode="overwrite", commit_properties=properties)
    else:
        write_deltalake(table, complete, mode="append", commit_properties=properties)
    write_checksum(table)


@contextmanager
def hold_rows(
    frame: DataFrame,  # A batch
) -> Iterator[DataFrame]:  # The same rows, computed once however often they are read
    "Hold rows that are read more than once; a frame that is held already is the one to read."
    if frame in _HELD:
        yield frame
        return
    with _compute_once(frame) as held:
        _HELD.add(held)
        yield held


@contextmanager
def _compute_once(
    frame: DataFrame,  # A batch
) -> Iterator[DataFrame]:  # Its rows, as the engine keeps them
    "Compute rows and keep them for a while."
    if is_sail(frame.sparkSession):
        with stage_frame(frame) as staged:
            yield staged
        return
    held = frame.localCheckpoint(eager=True)  # not `persist`, which shares equal plans and what they count
    try:
        yield held
    finally:
        release_checkpoint(held)


def give_rows(
    spark: SparkSession,  # The session
    rows: pyarrow.Table,  # Rows of this process
    schema: StructType,  # Their columns
) -> DataFrame:
    "Give rows to the engine."
    if is_sail(spark):
        return engine_of(spark).frame_of_batches(spark, rows.schema, iter(rows.to_batches()))
    return spark.createDataFrame(rows, schema)


@contextmanager
def hold_few_rows(
    frame: DataFrame,  # A batch
    chosen: Choice,  # Who writes it
) -> Iterator[tuple[DataFrame, pyarrow.Table | None]]:  # The frame to go on with; its rows, None for Spark
    "Hold the rows that delta-rs is to write in this process; Spark writes them if they turn out to be many."
    if not chosen.is_delta_rs:
        yield frame, None
        return
    with hold_rows(frame) as held:
        yield held, collect_few_rows(held)


def collect_few_rows(
    frame: DataFrame,  # A batch
) -> pyarrow.Table | None:  # Its rows; None where they are more than `choice.MOST_EVENTS`
    "Collect rows if they are few."
    rows = collect_rows(frame.limit(choice.MOST_EVENTS + 1))
    return rows if rows.num_rows <= choice.MOST_EVENTS else None


def collect_rows(
    frame: DataFrame,  # Rows
) -> pyarrow.Table:  # The same, all nullable: a NULL struct can't have fields that are NOT NULL
    "Collect rows."
    return frame.to(frame.schema.toNullable()).toArrow()


def has_batch(
    table: DeltaTable,  # The table
    transaction: tuple[str, int] | None,  # Name of the stream, number of its batch
) -> bool:
    "Whether a table has a batch already."
    if transaction is None:
        return False
    newest = table.transaction_version(transaction[0])
    return newest is not None and newest >= transaction[1]


def _commit_properties(
    transaction: tuple[str, int] | None,  # Name of the stream, number of its batch
) -> CommitProperties:
    "Name what a commit carries besides its rows."
    return CommitProperties(app_transactions=[Transaction(*transaction)] if transaction else None)


def create_with_spark(
    spark: SparkSession,  # Creates the table
    path: Path,  # Its folder, where there is no table
    schema: StructType,  # Its columns
    comment: str | None = None,  # What it holds
    properties: dict[str, str] | None = None,  # Table properties
    partition_cols: list[str] | None = None,  # Columns that divide its files into folders
    cluster_by: list[str] | None = None,  # Columns of liquid clustering
) -> None:
    "Create any table that Delta Lake knows."
    from delta.tables import DeltaTable as SparkTable

    builder = SparkTable.createIfNotExists(spark).location(str(path)).addColumns(schema)
    if comment:
        builder = builder.comment(comment)
    if partition_cols:
        builder = builder.partitionedBy(*partition_cols)
    if cluster_by:
        builder = builder.clusterBy(*_quote_columns(cluster_by, schema.names))
    for key, value in (properties or {}).items():
        builder = builder.property(key, value)
    builder.execute()


def overwrite_in_batch(
    rows: DataFrame,  # All rows that the table is to have, read of it in part
    path: Path,  # A Delta table, created before
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Replace the rows of any table that Delta Lake writes as a stream's batch; new columns are added."
    _write_with_spark(rows, path, "overwrite", transaction)


def _quote_columns(
    names: list[str],  # Columns, or paths into structs
    columns: list[str],  # Columns that there are
) -> list[str]:  # As Delta Lake reads them: a dot or a blank belongs to the name of a column
    "Quote the names of columns, and leave paths as they are."
    known = {name.lower() for name in columns}
    return [quote_for_spark(name) if name.lower() in known else name for name in names]


def append_with_spark(
    rows: DataFrame,  # Of a batch
    path: Path,  # A Delta table
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Append rows of any number to any table that Delta Lake writes; new columns are added."
    _write_with_spark(rows, path, "append", transaction)


def _write_with_spark(
    rows: DataFrame,
    path: Path,  # A Delta table
    mode: Literal["append", "overwrite"],
    transaction: tuple[str, int] | None,  # Name of the stream, number of its batch
) -> None:
    writer = rows.write.format("delta").mode(mode).option("mergeSchema", "true")
    if transaction:
        writer = writer.option("txnAppId", transaction[0]).option("txnVersion", transaction[1])
    writer.save(str(path))


def overwrite_with_spark(
    rows: DataFrame,  # All rows of the table
    path: Path,  # A Delta table
    partition_cols: list[str] | None = None,  # As declared
    cluster_by: list[str] | None = None,  # As declared
) -> None:
    "Replace rows and columns of any table that Delta Lake writes; what is said of a column stays with it."
    writer = rows.write.format("delta").mode("overwrite")
    if _keeps_columns(rows, path, partition_cols):
        writer.save(str(path))
        return
    writer = writer.option("overwriteSchema", "true")
    if partition_cols:
        writer = writer.partitionBy(*partition_cols)
    if cluster_by:
        writer = writer.clusterBy(*_quote_columns(cluster_by, rows.columns))
    writer.save(str(path))


def _keeps_columns(
    rows: DataFrame,  # All rows of the table
    path: Path,  # A Delta table
    partition_cols: list[str] | None,  # As declared
) -> bool:
    "Whether rows fit a table as it is, of whose columns something is said: NOT NULL, a comment."
    table = DeltaTable(str(path))
    stored = read_schema(table)
    if all(field.nullable and not field.metadata for field in stored):
        return False
    same = [(field.name, field.dataType) for field in stored.toNullable()]
    given = [(field.name, field.dataType) for field in rows.schema.toNullable()]
    return same == given and table.metadata().partition_columns == list(partition_cols or ())
