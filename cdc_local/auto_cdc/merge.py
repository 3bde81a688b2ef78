"""A batch of new events reaches its table in one commit: read the keys that it touches, compute them anew, write what differs."""

import glob
from functools import reduce
from operator import and_
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from cdc_local.auto_cdc.target import Target, compute_rows
from cdc_local.delta.support import (
    can_identify,
    can_read_files,
    data_files,
    fits_rows,
    is_local,
    stored_schema,
)
from cdc_local.delta.writer import (
    MOST_EVENTS,
    append_batch,
    arrow_rows,
    collect_few_rows,
    has_batch,
    merge_rows,
)
from cdc_local.sql_names import quote_for_duckdb
from cdc_utils import scd1


def as_events(
    stored: DataFrame,  # Rows of the backing table
    target: Target,  # The target
) -> DataFrame:  # The same rows; of the target's columns those that are stored, `__sequence`, `__deleted`, perhaps `__writes`
    "Give back the events that rows were: what was computed is left out."
    own = [
        *target.columns,
        scd1.SEQUENCE,
        scd1.DELETED,
        *([scd1.WRITES] if target.spec.columns_to_update else []),
    ]
    return stored.select(*[scd1.column(name) for name in own if name in stored.columns])


def read_touched_rows(
    stored: DataFrame,  # The backing table
    events: DataFrame,  # New events
    target: Target,  # The target
) -> DataFrame:  # The stored rows of the events' keys
    "Read the rows that a batch touches."
    return stored.join(
        F.broadcast(events.select(*target.spec.keys).distinct()), list(target.spec.keys), "left_semi"
    )


def recompute_rows(
    touched: DataFrame,  # Stored rows of the events' keys
    events: DataFrame,  # New events
    target: Target,  # The target
) -> DataFrame:  # The keys' rows, as the backing table should have them
    "Compute the touched keys anew."
    return compute_rows(as_events(touched, target).unionByName(events, allowMissingColumns=True), target)


def row_differs(
    columns: list[str],  # Columns of the computed rows
    stored: list[str],  # Columns of the backing table
    types: StructType,  # Types of the computed rows
) -> Column:  # True where `new` and `old` differ
    "Tell rows that must be written from those that stay."

    def value(side, name):
        return scd1.comparable(F.col(f"{side}.`{name}`"), types[name].dataType)

    answer = F.lit(False)
    for name in columns:
        answer = answer | (
            ~value("new", name).eqNullSafe(value("old", name))
            if name in stored
            else F.col(f"new.`{name}`").isNotNull()
        )
    return answer


def is_same_row(
    target: Target,  # The target
) -> Column:  # True where `old` and `new` are one row of the backing table
    "Compare what tells rows apart."
    return reduce(and_, [F.col(f"old.`{name}`") == F.col(f"new.`{name}`") for name in target.identity])


def changed_rows(
    touched: DataFrame,  # Stored rows of the events' keys
    events: DataFrame,  # New events
    target: Target,  # The target
) -> DataFrame:  # Rows of the backing table that must be written
    "Of the recomputed rows keep those that are new or not as they are stored."
    rows = recompute_rows(touched, events, target)
    beside = rows.alias("new").join(
        F.broadcast(touched.withColumn("__stored", F.lit(True)).alias("old")), is_same_row(target), "left"
    )
    return beside.where(
        F.col("old.__stored").isNull() | row_differs(rows.columns, touched.columns, rows.schema)
    ).select("new.*")


def can_merge_small(
    events: DataFrame,  # New events of one batch
    table,  # The backing table, a `deltalake.DeltaTable`
    target: Target,  # The target
) -> bool:
    "Tell, before anything is read, whether a batch may be merged without Spark reading and writing the table."
    types = {field.name: field.dataType for field in stored_schema(table)}
    return (
        is_local(events.sparkSession)
        and fits_rows(table, events.schema)
        and all(can_identify(types[name]) for name in target.identity)
    )


def merge_small_batch(
    events: DataFrame,  # New events of one batch
    table,  # The backing table, a `deltalake.DeltaTable` that `suits`
    path: Path,  # Its folder
    target: Target,  # The target
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> bool:  # False where the batch is not small, or a file needs Spark: nothing was written
    "Merge a small batch: only the rows of its keys go through Spark."
    told, stored, files = collect_few_rows(events, MOST_EVENTS), stored_schema(table), data_files(table, path)
    if told is None:
        return False
    if has_batch(table, transaction):
        return True  # only now: a stream's batch has to be computed, for the state that it may keep
    if not can_read_files(files):
        return False
    found = touched_rows_without_spark(
        files, told, target.keys, to_arrow_schema(stored, timezone="UTC"), MOST_ROWS + 1
    )
    if found.num_rows > MOST_ROWS:
        return False
    spark = events.sparkSession
    rows = changed_rows(
        spark.createDataFrame(found, stored), spark.createDataFrame(told, events.schema.toNullable()), target
    )
    if any(stored[field.name].dataType != field.dataType for field in rows.schema.toNullable()):
        return False
    merge_rows(table, arrow_rows(rows), target.identity, transaction)
    return True


def merge_with_spark(
    events: DataFrame,  # New events of one batch
    path: Path,  # The backing table
    target: Target,  # The target
) -> None:
    "Merge a batch of any size, into any table that Delta Lake writes."
    stored = DeltaTable.forPath(events.sparkSession, str(path))
    rows = recompute_rows(read_touched_rows(stored.toDF(), events, target), events, target)
    merge = stored.alias("old").merge(rows.alias("new"), is_same_row(target)).withSchemaEvolution()
    merge = merge.whenMatchedUpdateAll(
        condition=row_differs(rows.columns, stored.toDF().columns, rows.schema)
    )
    merge.whenNotMatchedInsertAll().execute()


def apply_truncates(
    events: DataFrame,  # New events of one batch
    stored: DataFrame,  # The backing table
    path: Path,  # Its folder
    target: Target,  # A target with `apply_as_truncates`
) -> DataFrame | None:  # The events left to merge; None where a truncate has written the table anew
    "Let truncates remove what is older: a batch that brings one writes the table anew, later ones lose the events older than it."
    is_truncate = scd1.keyless(target.keys)
    if events.where(is_truncate).isEmpty():
        truncates = as_events(stored.where(is_truncate), target)
        return scd1.truncated(truncates.unionByName(events, allowMissingColumns=True), target.keys).where(
            ~is_truncate
        )
    recompute_rows(stored, events, target).write.format("delta").mode("overwrite").option(
        "mergeSchema", "true"
    ).save(str(path))


MOST_ROWS = 1_000_000  # That the keys of a small batch may have


def apply_events(
    events: DataFrame,  # New events of one batch, as `change_events` returns them
    path: Path,  # The backing table, created before
    target: Target,  # The target
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Bring the backing table up to date with a batch, in one commit."
    from deltalake import DeltaTable as Files

    table, truncates = Files(str(path)), target.spec.apply_as_truncates is not None
    if (
        not truncates and not table.file_uris()
    ):  # the first batch has nothing to merge with, and is looked at once
        return append_batch(compute_rows(events, target), path, transaction)
    held = events.persist()  # from here on it is looked at more than once
    try:
        if truncates:
            events = apply_truncates(
                events, events.sparkSession.read.format("delta").load(str(path)), path, target
            )
        if events is None:
            return
        small = not truncates and can_merge_small(events, table, target)
        if not (small and merge_small_batch(events, table, path, target, transaction)):
            merge_with_spark(events, path, target)
    finally:
        held.unpersist()


def touched_rows_without_spark(
    files: list[Path],  # Of the table
    events,  # A `pyarrow.Table` with the key columns
    keys: list[str],  # Columns that identify a row for AUTO CDC
    schema,  # A `pyarrow.Schema`: the columns of the table
    limit: int = MOST_ROWS,  # Read no more rows than that
):  # A `pyarrow.Table`: the stored rows of the events' keys
    "Read the rows that a batch touches."
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("events", events.select(keys))
    connection.register("columns", schema.empty_table())
    stored = "read_parquet($files, union_by_name=true, hive_partitioning=false)"
    rows = connection.sql(
        f"FROM columns UNION ALL BY NAME (FROM {stored} SEMI JOIN events USING ({', '.join(map(quote_for_duckdb, keys))})) LIMIT {limit}",
        params={"files": [glob.escape(str(file)) for file in files]},
    )
    found = rows.to_arrow_table().select(schema.names).cast(schema)
    return (
        found if found.num_rows else schema.empty_table()
    )  # Spark takes no nested column that has not even an empty piece
