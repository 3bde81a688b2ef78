"""The change feed of an AUTO CDC target: the changes of the rows that its readers see.

The backing table changes more often than these. A commit removes files and adds others, and the rows of a key
are in both: compared, they say what a reader saw before and sees after. So each target has a feed, whoever
wrote it and with whatever properties, as long as its files are there.
"""

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_
from pathlib import Path

from deltalake import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from cdc_local.auto_cdc.target import select_visible_rows, stored_keys
from cdc_local.delta.change_feed import (
    CHANGE_COLUMNS,
    CHANGE_TYPE,
    COMMIT_TIMESTAMP,
    COMMIT_VERSION,
    check_feed_is_recorded,
    check_files,
    list_changed_files,
)
from cdc_local.delta.reader import VisiblePart, read_visible_part
from cdc_local.delta.table_options import read_commit_times
from cdc_local.engines.commit_files import CommitFiles
from cdc_local.engines.engine import engine_of
from cdc_local.sql_names import quote_for_spark
from cdc_utils.bitemporal import SYSTEM_START_AT
from cdc_utils.events import comparable_value
from cdc_utils.scd2 import START_AT

_IS_THERE = "__is_there"


def is_backing_table(
    path: Path,  # A Delta table's folder
) -> bool:
    "Whether a table is that of an AUTO CDC target."
    return "cdc.declaration" in DeltaTable(str(path)).metadata().configuration


def check_feed(
    path: Path,  # A Delta table's folder
    first: int,  # A version
    last: int,  # A version
) -> None:
    "`PipelineError` where a table has no change feed of some commits."
    if not is_backing_table(path):
        check_feed_is_recorded(path, first, last)


def read_changes(
    spark: SparkSession,  # Reads the table
    path: Path,  # A Delta table's folder
    first: int,  # A version
    last: int,  # A version
) -> DataFrame:  # Its columns and `CHANGE_COLUMNS`
    """Read the changes that some commits made.

    `PipelineError` where nobody recorded them, `SourceLostError` where they are gone."""
    check_feed(path, first, last)
    commits = list_changed_files(path, first, last)
    if not commits:
        return read_as_inserts(spark, path, first).where(F.lit(False))
    if is_backing_table(path):
        check_files(path, [file for commit in commits for file in (*commit.removed, *commit.added)])
        return _read_visible_changes(spark, path, commits)
    recorded = [commit.recorded or (*commit.removed, *commit.added) for commit in commits]
    check_files(path, [file for files in recorded for file in files])
    return engine_of(spark).read_recorded_changes(spark, path, commits)


def read_as_inserts(
    spark: SparkSession,  # Reads the table
    path: Path,  # A Delta table's folder
    version: int,  # Of the table
) -> DataFrame:  # Its visible rows and `CHANGE_COLUMNS`
    "Read a version as a stream of changes begins with it: each row is an insert."
    check_feed(path, version, version)
    stored = engine_of(spark).read_delta(spark, path, {"versionAsOf": version})
    rows = select_visible_rows(stored, _visible_part(stored, path)) if is_backing_table(path) else stored
    commit = CommitFiles(version, read_commit_times(path)[version], (), (), ())
    return add_commit(rows.withColumn(CHANGE_TYPE, F.lit("insert")), commit)


def _read_visible_changes(spark: SparkSession, path: Path, commits: Sequence[CommitFiles]) -> DataFrame:
    "Compare what each commit has removed with what it has added."

    def read(side: str) -> DataFrame:
        frames = [
            add_commit(engine_of(spark).read_added_files(spark, path, getattr(commit, side)), commit)
            for commit in commits
        ]
        return _show(reduce(DataFrame.unionAll, frames), path)

    old, new = read("removed"), read("added")
    gone = _compare(old, new, path, "delete", "update_preimage")
    return gone.unionAll(_compare(new, old, path, "insert", "update_postimage"))


def _show(
    rows: DataFrame,  # Of a backing table, with the commit that tells of them
    path: Path,  # Its folder
) -> DataFrame:  # What readers see of them
    part = _visible_part(rows, path)
    shown = VisiblePart((*part.columns, COMMIT_VERSION, COMMIT_TIMESTAMP), part.predicate, part.latest)
    return select_visible_rows(rows, shown)


def _compare(
    rows: DataFrame,  # Visible rows on one side of their commits
    others: DataFrame,  # Those on the other side
    path: Path,  # Folder of the backing table
    alone: str,  # What a row is without another of its identity
    changed: str,  # What it is beside another one that says something else
) -> DataFrame:  # The rows that a feed has
    "Keep the rows that their commit has changed."
    keys, stored = stored_keys(path), set(rows.columns)
    identity = [*keys, *[name for name in (START_AT, SYSTEM_START_AT) if name in stored]]
    same = [_of("row", name) == _of("other", name) for name in (*identity, COMMIT_VERSION)]
    beside = others.withColumn(_IS_THERE, F.lit(True)).alias("other")
    both = rows.alias("row").join(beside, reduce(and_, same), "left")
    values = [name for name in rows.columns if name not in (*identity, COMMIT_VERSION, COMMIT_TIMESTAMP)]
    is_alone = F.col(f"other.{_IS_THERE}").isNull()
    differs = reduce(or_, [_differs(rows, name) for name in values], F.lit(False))
    kind = F.when(is_alone, F.lit(alone)).otherwise(F.lit(changed)).alias(CHANGE_TYPE)
    columns = [name for name in rows.columns if name not in CHANGE_COLUMNS.names]
    return both.where(is_alone | differs).select(
        *[_of("row", name).alias(name) for name in columns],
        kind,
        _of("row", COMMIT_VERSION).alias(COMMIT_VERSION),
        _of("row", COMMIT_TIMESTAMP).alias(COMMIT_TIMESTAMP),
    )


def add_commit(
    rows: DataFrame,  # Rows
    commit: CommitFiles,  # What tells of them
) -> DataFrame:  # The rows, the commit's version and its time
    "Say of rows in which commit they are."
    return rows.select(
        "*",
        F.lit(commit.version).cast("bigint").alias(COMMIT_VERSION),
        F.lit(commit.moment).cast("timestamp").alias(COMMIT_TIMESTAMP),
    )


def _visible_part(
    rows: DataFrame,  # Of a backing table
    path: Path,  # Its folder
) -> VisiblePart:
    part = read_visible_part(rows.columns, DeltaTable(str(path)).metadata().configuration)
    return VisiblePart(part.columns, part.predicate or "true", part.latest)


def _of(
    side: str,  # 'row' or 'other'
    name: str,  # A column
) -> Column:
    return F.col(f"{side}.{quote_for_spark(name)}")


def _differs(
    rows: DataFrame,  # Visible rows
    name: str,  # One of their columns
) -> Column:  # True where the two sides have different values in it
    kind = rows.schema[name].dataType
    return ~comparable_value(_of("row", name), kind).eqNullSafe(comparable_value(_of("other", name), kind))
