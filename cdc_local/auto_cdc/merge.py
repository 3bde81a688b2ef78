"""A batch of new events reaches its table in one commit.

The stored rows of the events' keys are read and computed anew with the events; what differs is written.
Begin at `apply_events`. delta-rs writes where `delta/choice.py` allows it and the batch is small, else Spark.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import and_
from pathlib import Path

import pyarrow
from deltalake import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from cdc_local.auto_cdc.target import Target, compute_rows, may_be_emptied, restore_events
from cdc_local.delta import choice
from cdc_local.delta.choice import choose_merge
from cdc_local.delta.files import can_read_files, list_data_files, read_rows_with_keys
from cdc_local.delta.log import read_nullable_schema
from cdc_local.delta.sail_writer import require_delta_rs, write_rows
from cdc_local.delta.writer import (
    append_batch,
    collect_few_rows,
    collect_rows,
    give_rows,
    has_batch,
    hold_rows,
    merge_rows,
)
from cdc_local.engines.engine import engine_of, is_sail
from cdc_local.sql_names import quote_for_spark
from cdc_utils.events import DELETED, comparable_value, exact_column, is_keyless, remove_truncated

IS_GONE = f"new.{DELETED} IS NULL"  # Of a row that is computed no more: of all others it says something

# Gets the new events of a batch with the stored ones of their keys; None where none are stored
EventsReader = Callable[[DataFrame | None], None]


def ignore_events(
    events: DataFrame | None,  # New events, and the stored ones of their keys
) -> None:
    "Look at no events."


def apply_events(
    events: DataFrame,  # New events of one batch, as `extract_events` returns them
    path: Path,  # The backing table, created before
    target: Target,  # The target
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
    look_at: EventsReader = ignore_events,  # Gets the events that are merged
) -> None:
    "Bring the backing table up to date with a batch, in one commit."
    table = DeltaTable(str(path))
    truncates = may_be_emptied(table)
    if not truncates and not table.file_uris():
        # The first batch has nothing to merge with, and is looked at once
        written = append_batch(compute_rows(events, target), path, transaction)
        if not target.keeps_events or written is None or events.count() > written:
            look_at(None)  # a row for each event means that no two had one place
        return
    with hold_rows(events) as held:  # From here on it is looked at more than once
        if truncates:
            look_at(held.where(~is_keyless(target.keys)))
            left = apply_truncates(held, path, target)
            if left is not None and is_sail(left.sparkSession):
                merge_with_sail(left, table, path, target)
            elif left is not None:
                merge_with_spark(left, path, target)
            return
        merge_batch(held, table, path, target, transaction, look_at)


def merge_batch(
    events: DataFrame,  # New events of one batch
    table: DeltaTable,  # The backing table
    path: Path,  # Its folder
    target: Target,  # The target
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
    look_at: EventsReader = ignore_events,  # Gets the events that are merged
) -> None:
    "Merge a batch: delta-rs does where it may, and on Sail always."
    chosen = choose_merge(table, events, target.identity)
    if is_sail(events.sparkSession):
        require_delta_rs(path, chosen)
    if chosen.is_delta_rs and merge_with_delta_rs(events, table, path, target, transaction, look_at):
        return
    if is_sail(events.sparkSession):
        merge_with_sail(events, table, path, target, transaction, look_at)
    else:
        merge_with_spark(events, path, target, look_at)


def merge_with_delta_rs(
    events: DataFrame,  # New events of one batch
    table: DeltaTable,  # The backing table, which `choose_merge` gives to delta-rs
    path: Path,  # Its folder
    target: Target,  # The target
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
    look_at: EventsReader = ignore_events,  # Gets the events that are merged
) -> bool:  # False where the batch is not small, or a file needs Spark: nothing was written
    "Merge a small batch: only the rows of its keys go through Spark."
    few, stored, files = collect_few_rows(events), read_nullable_schema(table), list_data_files(table, path)
    if few is None:
        return False
    if has_batch(table, transaction):
        return True  # only now: a stream's batch has to be computed, for the state that it may keep
    if not can_read_files(files):
        return False
    arrow_schema = to_arrow_schema(stored, timezone="UTC")
    limit = choice.MOST_STORED_ROWS
    touched = read_rows_with_keys(files, few.select(list(target.keys)), arrow_schema, limit + 1)
    if touched.num_rows > limit:
        return False
    spark = events.sparkSession
    new_events = give_rows(spark, few, events.schema.toNullable())
    old_rows = give_rows(spark, touched, stored)
    if have_one_place([few, touched], target.identity_of_events):
        look_at(join_events(old_rows, new_events, target))
    rows = find_changed_rows(old_rows, new_events, target)
    if any(stored[field.name].dataType != field.dataType for field in rows.schema.toNullable()):
        return False
    merge_rows(table, collect_rows(rows), target.identity, transaction, gone_condition(target))
    return True


def have_one_place(
    events: Sequence[pyarrow.Table],  # New events, and the stored ones of their keys
    names: list[str],  # Columns that tell events apart
) -> bool:  # True, too, where it can't be told
    "Whether two events have one key and one sequence."
    places = pyarrow.concat_tables([rows.select(names) for rows in events], promote_options="permissive")
    if any(pyarrow.types.is_nested(field.type) for field in places.schema):
        return True
    return bool(places.group_by(names).aggregate([]).num_rows < places.num_rows)


def merge_with_sail(
    events: DataFrame,  # New events of one batch
    table: DeltaTable,  # The backing table, which `choose_merge` gives to delta-rs
    path: Path,  # Its folder
    target: Target,  # The target
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
    look_at: EventsReader = ignore_events,  # Gets the events that are merged
) -> None:
    "Merge a batch of any size: Sail finds the rows to write, delta-rs merges them."
    if has_batch(table, transaction):
        return
    stored = engine_of(events.sparkSession).read_delta(events.sparkSession, path, {})
    touched = read_touched_rows(stored, events, target)
    look_at(join_events(touched, events, target))
    rows = find_changed_rows(touched, events, target)
    merge_rows(table, collect_rows(rows), target.identity, transaction, gone_condition(target))


def merge_with_spark(
    events: DataFrame,  # New events of one batch
    path: Path,  # The backing table
    target: Target,  # The target
    look_at: EventsReader = ignore_events,  # Gets the events that are merged
) -> None:
    "Merge a batch of any size, into any table that Delta Lake writes."
    from delta.tables import DeltaTable as SparkTable

    table = SparkTable.forPath(events.sparkSession, str(path))
    stored = table.toDF()
    touched = read_touched_rows(stored, events, target)
    look_at(join_events(touched, events, target))
    rows = recompute_rows(touched, events, target)
    merge = table.alias("old").merge(rows.alias("new"), is_same_row(target)).withSchemaEvolution()
    if target.is_bitemporal:
        merge = merge.whenMatchedDelete(condition=IS_GONE)
    merge = merge.whenMatchedUpdateAll(condition=row_differs(rows.columns, stored.columns, rows.schema))
    merge.whenNotMatchedInsertAll().execute()


def apply_truncates(
    events: DataFrame,  # New events of one batch
    path: Path,  # The backing table
    target: Target,  # A target that may be emptied
) -> DataFrame | None:  # The events left to merge; None where a truncate has written the table anew
    """Let truncates remove what is older.

    A batch that brings one writes the table anew, and later batches lose the events older than it.
    """
    stored = engine_of(events.sparkSession).read_delta(events.sparkSession, path, {})
    is_truncate = is_keyless(target.keys)
    if events.where(is_truncate).isEmpty():
        truncates = restore_events(stored.where(is_truncate), target)
        both = truncates.unionByName(events, allowMissingColumns=True)
        return remove_truncated(both, target.keys).where(~is_truncate)
    rows = recompute_rows(stored, events, target)
    if is_sail(events.sparkSession):
        write_rows(rows, DeltaTable(str(path)), "overwrite")
    else:
        rows.write.format("delta").mode("overwrite").option("mergeSchema", "true").save(str(path))
    return None


def read_touched_rows(
    stored: DataFrame,  # The backing table
    events: DataFrame,  # New events
    target: Target,  # The target
) -> DataFrame:  # The stored rows of the events' keys
    "Read the rows that a batch touches."
    keys = events.select(*map(exact_column, target.keys)).distinct()
    return stored.join(F.broadcast(keys), list(target.keys), "left_semi")


def recompute_rows(
    touched: DataFrame,  # Stored rows of the events' keys
    events: DataFrame,  # New events
    target: Target,  # The target
) -> DataFrame:  # The keys' rows, as the backing table should have them
    "Compute the touched keys anew; of a bitemporal table, with the rows that go."
    rows = compute_rows(join_events(touched, events, target), target)
    return add_gone_rows(rows, touched, target) if target.is_bitemporal else rows


def add_gone_rows(
    rows: DataFrame,  # The keys' rows, computed anew
    touched: DataFrame,  # Their stored rows
    target: Target,  # A bitemporal target
) -> DataFrame:  # The rows, and what tells those apart that are stored and computed no more
    "Say which rows go: an event that the system knew earlier than others leaves spans that nobody knew."
    gone = touched.join(rows, target.identity, "left_anti").select(*map(exact_column, target.identity))
    return rows.unionByName(gone, allowMissingColumns=True)


def gone_condition(
    target: Target,  # The target
) -> str | None:  # Condition on a new row; None where no row goes
    "Say how `merge_rows` knows the rows that go; only bitemporal tables have such."
    return IS_GONE if target.is_bitemporal else None


def join_events(
    touched: DataFrame,  # Stored rows of the events' keys
    events: DataFrame,  # New events
    target: Target,  # The target
) -> DataFrame:  # All that is known of the keys
    "Put the events that stored rows were beside the new ones."
    return restore_events(touched, target).unionByName(events, allowMissingColumns=True)


def find_changed_rows(
    touched: DataFrame,  # Stored rows of the events' keys
    events: DataFrame,  # New events
    target: Target,  # The target
) -> DataFrame:  # Rows of the backing table that must be written
    "Of the recomputed rows keep those that are new or not as they are stored."
    rows = recompute_rows(touched, events, target)
    stored = F.broadcast(touched.withColumn("__stored", F.lit(True)).alias("old"))
    beside = rows.alias("new").join(stored, is_same_row(target), "left")
    is_new = F.col("old.__stored").isNull()
    return beside.where(is_new | row_differs(rows.columns, touched.columns, rows.schema)).select("new.*")


def row_differs(
    columns: list[str],  # Columns of the computed rows
    stored: list[str],  # Columns of the backing table
    types: StructType,  # Types of the computed rows
) -> Column:  # True where `new` and `old` differ
    "Tell rows that must be written from those that stay."
    answer = F.lit(False)
    for name in columns:
        new = _column_of("new", name)
        if name in stored:
            kind = types[name].dataType
            old = comparable_value(_column_of("old", name), kind)
            answer = answer | ~comparable_value(new, kind).eqNullSafe(old)
        else:
            answer = answer | new.isNotNull()
    return answer


def is_same_row(
    target: Target,  # The target
) -> Column:  # True where `old` and `new` are one row of the backing table
    "Compare what tells rows apart."
    return reduce(and_, [_column_of("old", name) == _column_of("new", name) for name in target.identity])


def _column_of(
    side: str,  # 'old' or 'new'
    name: str,  # A column
) -> Column:
    return F.col(f"{side}.{quote_for_spark(name)}")
