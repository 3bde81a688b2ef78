"""The rows of a key leave every table of a storage, hidden ones and quarantine included, and no stream notices."""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable as Files
from deltalake.exceptions import DeltaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from cdc_local.delta.log import read_table_version
from cdc_local.delta.stream_progress import has_unfinished_batch, read_offsets
from cdc_local.errors import PipelineError, UsageError
from cdc_local.operations.replay import source_path
from cdc_local.source.user_errors import describe_exception
from cdc_local.storage import Storage, TableName, is_table, lock_storage, read_json, write_json
from cdc_local.update.event_log import EventLog
from cdc_utils.bronze import SOURCE_FILE


def condition_on(
    rows: DataFrame,  # A table
    where: str,  # SQL
) -> Column | str:  # The condition; or the name of the column that the table lacks
    "Read a condition as a table understands it; `UsageError` for one that is no SQL, or names no column at all."
    empty = rows.sparkSession.createDataFrame(
        [], rows.schema
    )  # a selection would find the columns that it left out
    try:
        empty.where(where)
    except AnalysisException as wrong:
        if str(wrong.getCondition()).startswith("UNRESOLVED_COLUMN"):
            return wrong.getMessageParameters()["objectName"].replace("`", "")
        raise UsageError(f"--where {where!r}: {describe_exception(wrong)}") from None
    except PySparkException as wrong:
        raise UsageError(f"--where {where!r}: {describe_exception(wrong)}") from None
    try:
        rows.sparkSession.sql("SELECT 0 AS __nothing").where(where)
    except AnalysisException:
        return F.coalesce(F.expr(where), F.lit(False))
    raise UsageError(
        f"--where {where!r} names no column, so it means all rows or none",
        hint="write a condition on keys, as \"id = '7'\"",
    )


def check_whole_keys(
    name: TableName,  # An AUTO CDC target, or another table
    rows: DataFrame,  # Its rows, hidden ones included
    keys: list[str],  # Its keys; none for another table
    where: str,  # SQL
) -> None:
    "`UsageError` if a condition could choose some of a key's events."
    if keys and isinstance(condition_on(rows.select(*keys), where), str):
        raise UsageError(
            f"--where {where!r}: {name} is an AUTO CDC target, whose keys go whole",
            hint=f"write a condition on its keys: {', '.join(keys)}",
        )


def changed_rows(
    path: Path,  # A Delta table's folder
    since: int,  # A version
) -> bool:  # Whether that version or a later one changed rows; also where its log is gone
    "Tell commits with new rows from those that only move them."
    for version in range(since, read_table_version(path)[1] + 1):
        commit = path / "_delta_log" / f"{version:020}.json"
        if not commit.exists():
            return True
        actions = [json.loads(line) for line in commit.read_text().splitlines()]
        if any(action.get(kind, {}).get("dataChange") for action in actions for kind in ("add", "remove")):
            return True
    return False


def streams_behind(
    storage: Storage,  # Where tables and checkpoints lie
) -> list[str]:  # Flows whose stream has not read a table to its end
    "Find the streams that an update must bring up to date first."
    tables, late = (
        {
            read_table_version(storage.table_path(name))[0]: storage.table_path(name)
            for name in storage.tables()
        },
        [],
    )
    for checkpoint in sorted((storage.root / "checkpoints").glob("*/*/*/*/checkpoint")):
        read = [
            place
            for place in read_offsets(checkpoint)
            if isinstance(place, dict) and place.get("reservoirId") in tables
        ]
        unread = [
            place
            for place in read
            if place["index"] != -1 or changed_rows(tables[place["reservoirId"]], place["reservoirVersion"])
        ]
        if unread or (read and has_unfinished_batch(checkpoint)):
            late.append(checkpoint.parent.name)
    return late


def rewrite_without(
    spark: SparkSession,  # The session
    path: Path,  # A Delta table's folder
    condition: Column,  # True for a row that goes
) -> None:
    "Write a table anew without some of its rows. Source: Delta Lake's documentation, `dataChange`."
    rest = spark.read.format("delta").load(str(path)).where(~condition)
    rest.write.format("delta").mode("overwrite").option("dataChange", "false").save(str(path))


def delete_old_files(
    path: Path,  # A Delta table's folder
) -> None:
    "Delete the files that a table no longer has, or that a killed writer left, however young; `PipelineError` where that can't be done. Source: Delta Lake's documentation, VACUUM."
    try:
        Files(str(path)).vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    except DeltaError as error:
        raise PipelineError(
            f"{path} has lost the rows, but its old files could not be deleted: {error}",
            hint="VACUUM it with Spark",
        ) from error


@dataclass(frozen=True)
class TableMatches:
    "What became of one table."

    table: str  # Its name
    rows: int  # Rows that went, or would go, hidden ones included
    missing: str = ""  # A column of the condition that the table lacks: it was left alone


@dataclass(frozen=True)
class Erased:
    "What an erasure did, or would do."

    tables: list[TableMatches]  # Every table of the storage, by name
    files: list[Path]  # Files that the rows came from; they stay

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.tables)


def count_matches(
    spark: SparkSession,  # The session
    storage: Storage,  # Where tables lie
    name: TableName,  # One of them
    where: str,  # SQL
) -> tuple[TableMatches, set[str]]:  # What it holds; the addresses of the files that it came from
    "Count the rows that a condition chooses."
    path = storage.table_path(name)
    rows, properties = spark.read.format("delta").load(str(path)), Files(str(path)).metadata().configuration
    condition = condition_on(rows, where)
    if isinstance(condition, str):
        return TableMatches(str(name), 0, condition), set()
    check_whole_keys(
        name, rows, json.loads(properties.get("cdc.declaration") or "{}").get("keys") or [], where
    )
    origin = F.collect_set(SOURCE_FILE) if SOURCE_FILE in rows.columns else F.array().cast("array<string>")
    count, files = rows.where(condition).agg(F.count("*"), origin).first()
    return TableMatches(str(name), count), set(files)


def find_matches(
    spark: SparkSession,  # The session
    storage: Storage,  # Where tables lie
    where: str,  # SQL
) -> tuple[dict[TableName, TableMatches], list[Path]]:  # Every table; files that the rows came from
    "Look at all tables; `UsageError` for a condition that fits none."
    found = {name: count_matches(spark, storage, name, where) for name in storage.tables()}
    missing = sorted({each.missing for each, _ in found.values()})
    if all(missing):
        raise UsageError(
            f"--where {where!r}: no table of {storage.root} has a column {' or '.join(missing) or 'at all'}"
        )
    files = {source_path(storage, address) for _, addresses in found.values() for address in addresses}
    return {name: each for name, (each, _) in found.items()}, sorted(file for file in files if file.exists())


def erase_rows(
    spark: SparkSession,  # The session
    storage: Storage,  # Tables, checkpoints and the event log
    where: str,  # SQL: rows for which this holds go
    dry_run: bool = False,  # Count, write nothing
) -> Erased:
    "Take rows out of every table; `UsageError` while a stream has not read them, and for a condition that fits no table. Called again, it finishes what was interrupted."
    if dry_run:
        found, files = find_matches(spark, storage.check(), where)
        return Erased(list(found.values()), files)
    unfinished = storage.state_path / "erase.json"  # names the table whose old files may still be there
    with lock_storage(storage.check()), EventLog(storage.event_log_path, "erase", str(uuid.uuid4())) as log:
        found, files = find_matches(spark, storage, where)
        going = {storage.table_path(name): each for name, each in found.items() if each.rows}
        if going and (late := streams_behind(storage)):
            raise UsageError(
                f"{late[0]} has not read all of its source yet", hint="run an update first, then erase"
            )
        left = read_json(unfinished)
        if left and is_table(storage.root / left):
            delete_old_files(storage.root / left)
        for path, looked in going.items():
            write_json(unfinished, path.relative_to(storage.root))
            rewrite_without(spark, path, condition_on(spark.read.format("delta").load(str(path)), where))
            delete_old_files(path)
            log.record(
                "user_action",
                f"{looked.rows} rows of {looked.table} were erased.",
                dataset_name=looked.table,
                details={"user_action": {"action": "ERASE", "rows": looked.rows}},
            )
        unfinished.unlink(missing_ok=True)
    return Erased(list(found.values()), files)
