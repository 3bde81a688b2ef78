"""Rows of a Delta table are replaced by newer rows of their keys, in one commit.

What a key has is a set of rows, not one. The rows of its highest sequence stay, whichever batch brought
them; begin at `replace_older_rows`. delta-rs writes where `choice.py` allows it, else Spark.
"""

from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from cdc_local.delta import choice
from cdc_local.delta.choice import choose_merge
from cdc_local.delta.log import read_nullable_schema
from cdc_local.delta.sail_writer import add_columns, require_delta_rs
from cdc_local.delta.writer import (
    append_batch,
    collect_rows,
    has_batch,
    hold_rows,
    overwrite_in_batch,
    replace_keys,
)
from cdc_local.engines.engine import engine_of, is_sail
from cdc_local.sql_names import quote_for_spark
from cdc_utils.events import as_column, exact_column

NULL_SEQUENCE = "REPLACE USING:"  # Starts the message about a row without a sequence
_SEQUENCE, _HIGHEST, _STORED = "__sequence", "__highest", "__stored"  # Columns while rows are compared


def replace_older_rows(
    rows: DataFrame,  # New rows of one batch
    path: Path,  # A Delta table, created before
    keys: list[str],  # Columns that say which rows belong together; NULL is a value like others
    sequence_by: Any,  # SQL or Column, of which the highest wins
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Bring a table up to date with a batch; rows of a sequence that the table has already are added."
    table = DeltaTable(str(path))
    rows = rows.withColumn(_SEQUENCE, _checked_sequence(rows, sequence_by))
    if not table.file_uris():
        with hold_rows(rows) as held:
            highest = find_highest_sequences(held, keys, F.col(_SEQUENCE))
            append_batch(_rows_at(highest, held, keys).drop(_SEQUENCE), path, transaction)
        return
    with hold_rows(rows) as held:
        if not is_sail(held.sparkSession):
            held.count()  # the batch is looked at, and counted, even if the table has it already
        if not has_batch(table, transaction):
            _replace_in_table(held, table, path, keys, sequence_by, transaction)


def _replace_in_table(
    rows: DataFrame,  # New rows with their sequence
    table: DeltaTable,  # A table with rows
    path: Path,  # Its folder
    keys: list[str],  # Columns that say which rows belong together
    sequence_by: Any,  # SQL or Column, of which the highest wins
    transaction: tuple[str, int] | None,  # Name of the stream, number of its batch
) -> None:
    "Find what goes and what comes, and write both in one commit."
    spark = rows.sparkSession
    stored = engine_of(spark).read_delta(spark, path, {})
    of_batch = rows.select(*map(exact_column, keys)).distinct()
    touched = stored.alias("old").join(F.broadcast(of_batch).alias("new"), is_same_key(keys), "left_semi")
    touched = touched.withColumn(_SEQUENCE, as_column(stored, sequence_by))
    known = find_highest_sequences(touched, keys, F.col(_SEQUENCE)).withColumnRenamed(_HIGHEST, _STORED)
    newest = find_highest_sequences(rows, keys, F.col(_SEQUENCE))
    came = newest.alias("new").join(known.alias("old"), is_same_key(keys), "left")
    came = came.select("new.*", F.col(f"old.{_STORED}").alias(_STORED))
    came = came.where(F.col(_STORED).isNull() | (F.col(_HIGHEST) >= F.col(_STORED)))
    new_rows = _rows_at(came.drop(_STORED), rows, keys).drop(_SEQUENCE)
    outdated = came.where(F.col(_HIGHEST) > F.col(_STORED)).select(*map(exact_column, keys))
    chosen = choose_merge(table, new_rows, keys)
    if is_sail(spark):
        require_delta_rs(path, choice.choose_rows_of_sail(table, new_rows.schema))
        add_columns(table, new_rows.schema, {})
    elif not chosen.is_delta_rs or rows.limit(choice.MOST_EVENTS + 1).count() > choice.MOST_EVENTS:
        outdated = F.broadcast(outdated)
        kept = stored.alias("old").join(outdated.alias("new"), is_same_key(keys), "left_anti")
        overwrite_in_batch(kept.unionByName(new_rows, allowMissingColumns=True), path, transaction)
        return
    schema = read_nullable_schema(table)
    replace_keys(table, collect_rows(outdated), collect_rows(new_rows.to(schema)), transaction)


def find_highest_sequences(
    rows: DataFrame,  # Rows
    keys: list[str],  # Columns that say which rows belong together
    sequence_by: Any,  # SQL or Column
) -> DataFrame:  # The keys, each once, and `__highest`
    "Find the highest sequence of each key."
    highest = F.max(as_column(rows, sequence_by)).alias(_HIGHEST)
    return rows.groupBy(*map(exact_column, keys)).agg(highest)


def _rows_at(
    highest: DataFrame,  # Keys and `__highest`
    rows: DataFrame,  # Rows with their sequence
    keys: list[str],  # Columns that say which rows belong together
) -> DataFrame:  # The rows that have the sequence, all of them
    "Keep of each key the rows of one sequence."
    newest = is_same_key(keys) & (F.col(f"old.{_SEQUENCE}") == F.col(f"new.{_HIGHEST}"))
    return rows.alias("old").join(highest.alias("new"), newest, "left_semi")


def is_same_key(
    keys: list[str],  # Columns of both sides
) -> Column:  # True where `old` and `new` have the same values in them, NULL being one
    "Compare the keys of two rows."

    def same(key: str) -> Column:
        name = quote_for_spark(key)
        return F.col(f"old.{name}").eqNullSafe(F.col(f"new.{name}"))

    return reduce(and_, map(same, keys))


def _checked_sequence(
    rows: DataFrame,  # New rows
    sequence_by: Any,  # SQL or Column
) -> Column:  # The sequence; evaluating it fails on a row that has none
    "Compute the sequence of rows."
    sequence = as_column(rows, sequence_by)
    label = str(sequence_by).removeprefix("Column<'").removesuffix("'>")
    row = F.left(F.to_json(F.struct(*map(exact_column, rows.columns))), F.lit(500))
    message = F.concat(F.lit(f"{NULL_SEQUENCE} sequence_by `{label}` is NULL in the row "), row)
    return F.when(sequence.isNull(), F.raise_error(F.when(sequence.isNull(), message))).otherwise(sequence)
