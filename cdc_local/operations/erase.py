"""`cdc erase`: the rows of a key leave every table of a storage, hidden ones and quarantine included.

A table is written anew without them, in a commit with `dataChange = false`: streams that read the table
pass over it.
"""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable
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
from cdc_local.update import progress
from cdc_local.update.event_log import EventLog
from cdc_local.update.progress import Progress
from cdc_utils.bronze import SOURCE_FILE


@dataclass(frozen=True)
class TableMatches:
    "What became of one table."

    table: str  # Its name
    rows: int  # Rows that went, or would go, hidden ones included
    missing: str = ""  # A column of the condition that the table lacks: it was left alone


@dataclass(frozen=True)
class EraseResult:
    "What an erasure did, or would do."

    tables: list[TableMatches]  # Every table of the storage, by name
    files: list[Path]  # Files that the rows came from; they stay

    @property
    def rows(self) -> int:
        "Rows of all tables."
        return sum(match.rows for match in self.tables)


class MissingColumnError(Exception):
    "A condition names a column that the table lacks."

    def __init__(
        self,
        column: str,  # Its name
    ) -> None:
        super().__init__(column)
        self.column = column


def erase_rows(
    spark: SparkSession,  # The session
    storage: Storage,  # Tables, checkpoints and the event log
    where: str,  # SQL: rows for which this holds go
    dry_run: bool = False,  # Count, write nothing
) -> EraseResult:
    """Take rows out of every table; `UsageError` while a stream has not read them, and for a condition that
    concerns no table. Called again, it finishes what was interrupted."""
    if dry_run:
        matches, files = _find_matches(spark, storage.check(), where)
        return EraseResult(list(matches.values()), files)
    unfinished = storage.state_path / "erase.json"  # names the table whose old files may still be there
    with lock_storage(storage.check()), EventLog(storage.event_log_path, "erase", str(uuid.uuid4())) as log:
        matches, files = _find_matches(spark, storage, where)
        matching = {storage.table_path(name): match for name, match in matches.items() if match.rows}
        if matching and (behind := streams_behind(storage)):
            raise UsageError(
                f"{behind[0]} has not read all of its source yet", hint="run an update first, then erase"
            )
        left = read_json(unfinished)
        if left and is_table(storage.root / left):
            delete_old_files(storage.root / left)
        for path, match in matching.items():
            write_json(unfinished, path.relative_to(storage.root))
            condition = read_condition(spark.read.format("delta").load(str(path)), where)
            rewrite_without(spark, path, condition)
            delete_old_files(path)
            log.record(
                "user_action",
                f"{match.rows} rows of {match.table} were erased.",
                dataset_name=match.table,
                details={"user_action": {"action": "ERASE", "rows": match.rows}},
            )
        unfinished.unlink(missing_ok=True)
    return EraseResult(list(matches.values()), files)


# --- which rows ---------------------------------------------------------------------------------------------


def read_condition(
    rows: DataFrame,  # A table
    where: str,  # SQL
) -> Column:  # True for a row that goes; an unknown answer is no
    """Read a condition as a table understands it; `MissingColumnError` for a column that the table lacks,
    `UsageError` for one that is no SQL, or names no column at all."""
    spark = rows.sparkSession
    empty = spark.createDataFrame([], rows.schema)  # a selection would find the columns that it left out
    try:
        empty.where(where)
    except PySparkException as wrong:
        if isinstance(wrong, AnalysisException) and str(wrong.getCondition()).startswith("UNRESOLVED_COLUMN"):
            parameters = wrong.getMessageParameters() or {}
            raise MissingColumnError(parameters["objectName"].replace("`", "")) from None
        raise UsageError(f"--where {where!r}: {describe_exception(wrong)}") from None
    try:
        spark.sql("SELECT 0 AS __nothing").where(where)
    except AnalysisException:
        return F.coalesce(F.expr(where), F.lit(False))
    raise UsageError(
        f"--where {where!r} names no column, so it means all rows or none",
        hint="write a condition on keys, as \"id = '7'\"",
    )


def check_keys_only(
    name: TableName,  # An AUTO CDC target, or another table
    rows: DataFrame,  # Its rows, hidden ones included
    keys: list[str],  # Its keys; none for another table
    where: str,  # SQL
) -> None:
    "`UsageError` if a condition could choose some of a key's events and leave the others."
    if not keys:
        return
    try:
        read_condition(rows.select(*keys), where)
    except MissingColumnError:
        raise UsageError(
            f"--where {where!r}: {name} is an AUTO CDC target, whose keys go whole",
            hint=f"write a condition on its keys: {', '.join(keys)}",
        ) from None


def _find_matches(
    spark: SparkSession,  # The session
    storage: Storage,  # Where tables lie
    where: str,  # SQL
) -> tuple[dict[TableName, TableMatches], list[Path]]:  # Every table; files that the rows came from
    "Look at all tables; `UsageError` for a condition of which every table lacks a column."
    matches, addresses = {}, set()
    for name in storage.tables():
        matches[name], found = count_matches(spark, storage, name, where)
        addresses |= found
    missing = sorted({match.missing for match in matches.values()})
    if all(missing):
        raise UsageError(
            f"--where {where!r}: no table of {storage.root} has a column {' or '.join(missing) or 'at all'}"
        )
    files = {source_path(storage, address) for address in addresses}
    return matches, sorted(file for file in files if file.exists())


def count_matches(
    spark: SparkSession,  # The session
    storage: Storage,  # Where tables lie
    name: TableName,  # One of them
    where: str,  # SQL
) -> tuple[TableMatches, set[str]]:  # How many rows; the addresses of the files that they came from
    """Count the rows of a table that a condition chooses; `UsageError` for one on an AUTO CDC target's other
    columns."""
    path = storage.table_path(name)
    rows, properties = (
        spark.read.format("delta").load(str(path)),
        DeltaTable(str(path)).metadata().configuration,
    )
    try:
        condition = read_condition(rows, where)
    except MissingColumnError as missing:
        return TableMatches(str(name), 0, missing.column), set()
    declaration = json.loads(properties.get("cdc.declaration") or "{}")
    check_keys_only(name, rows, declaration.get("keys") or [], where)
    origin = F.collect_set(SOURCE_FILE) if SOURCE_FILE in rows.columns else F.array().cast("array<string>")
    [(count, files)] = rows.where(condition).agg(F.count("*"), origin).collect()
    return TableMatches(str(name), count), set(files)


# --- streams that have not read the rows yet ----------------------------------------------------------------


def streams_behind(
    storage: Storage,  # Where tables and checkpoints lie
) -> list[str]:  # Flows whose stream has not read a table to its end
    "Find the streams that an update must bring up to date first."
    paths = {
        read_table_version(storage.table_path(name))[0]: storage.table_path(name) for name in storage.tables()
    }
    behind = []
    for log in sorted((storage.root / "checkpoints").glob(f"*/*/*/*/{progress.FILE_NAME}")):
        if _has_unread_rows(Progress.read(log, ""), storage):
            behind.append(log.parent.name)
    for checkpoint in sorted((storage.root / "checkpoints").glob("*/*/*/*/checkpoint")):
        offsets = [
            offset
            for offset in read_offsets(checkpoint)
            if isinstance(offset, dict) and offset.get("reservoirId") in paths
        ]
        unread = any(
            offset["index"] != -1 or has_row_changes(paths[offset["reservoirId"]], offset["reservoirVersion"])
            for offset in offsets
        )
        if unread or (offsets and has_unfinished_batch(checkpoint)):
            behind.append(checkpoint.parent.name)
    return sorted(behind)


def _has_unread_rows(
    read: Progress,  # How far a flow has read
    storage: Storage,  # Where the tables lie
) -> bool:
    "Whether a flow has yet to read rows of a table, or to end a batch."
    tables = {
        table: position
        for source, position in read.positions.items()
        if (table := progress.path_of_table(source)) is not None
    }
    return read.planned is not None or any(
        is_table(storage.root / table) and has_row_changes(storage.root / table, position["next"])
        for table, position in tables.items()
    )


def has_row_changes(
    path: Path,  # A Delta table's folder
    since: int,  # A version
) -> bool:  # Whether that version or a later one changed rows; also where its log is gone
    "Tell commits with new rows from those that only move them."
    for version in range(since, read_table_version(path)[1] + 1):
        commit = path / "_delta_log" / f"{version:020}.json"
        if not commit.exists() or _changes_rows(commit.read_text().splitlines()):
            return True
    return False


def _changes_rows(
    actions: Iterable[str],  # Lines of a commit
) -> bool:
    "Whether an action of a commit changes rows."
    return any(
        action.get(kind, {}).get("dataChange")
        for action in map(json.loads, actions)
        for kind in ("add", "remove")
    )


# --- the rows go --------------------------------------------------------------------------------------------


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
    """Delete the files that a table no longer has, or that a killed writer left, however young;
    `PipelineError` where that can't be done. Source: Delta Lake's documentation, VACUUM."""
    try:
        DeltaTable(str(path)).vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    except DeltaError as error:
        raise PipelineError(
            f"{path} has lost the rows, but its old files could not be deleted: {error}",
            hint="VACUUM it with Spark",
        ) from error
