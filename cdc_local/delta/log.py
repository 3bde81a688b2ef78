"""The log of a Delta table, read without Spark: version, columns, whether the table has only grown."""

import json
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql.types import StructType

from cdc_local.storage import is_table

MOST_COMMITS = 100  # Of a log that are read one by one

# What a commit of new rows may contain, and what that of a new table without rows may
GROWING_ACTIONS = frozenset({"add", "commitInfo", "txn"})
CREATING_ACTIONS = frozenset({"protocol", "metaData", "domainMetadata", "commitInfo"})


def find_local_table(
    location: str,  # Where Spark says that a Delta table lies
) -> Path | None:  # Its folder; None for a table that is not on this machine's disk
    "Find a table whose version can be read without Spark."
    folder = Path(location.removeprefix("file:"))
    return folder if folder.is_absolute() and is_table(folder) else None


def read_table_version(
    path: Path,  # A Delta table's folder
) -> tuple[str, int]:  # Its id, and its version
    "Read which table lies in a folder, and how often it was written."
    table = DeltaTable(str(path))
    return str(table.metadata().id), table.version()


def read_schema(
    table: DeltaTable,  # The table
) -> StructType:  # Its columns as declared, NOT NULL included
    "Read a table's columns as Spark has them."
    return StructType.fromJson(json.loads(table.schema().to_json()))


def read_nullable_schema(
    table: DeltaTable,  # The table
) -> StructType:  # Its columns, all of them nullable
    "Read a table's columns as those of any rows: Spark would refuse a NULL struct whose fields are NOT NULL."
    return read_schema(table).toNullable()


def list_all_commits(
    path: Path,  # A Delta table's folder
) -> list[
    Path
]:  # The files from version 0 on; none where one is missing, or they are more than `MOST_COMMITS`
    "List the commits of a table, if all of them are there."
    files = sorted((path / "_delta_log").glob("*.json"))
    names = [f"{version:020d}.json" for version in range(len(files))]
    return files if len(files) <= MOST_COMMITS and [file.name for file in files] == names else []


def read_actions(
    commit: Path,  # A file of the log
) -> list[dict[str, Any]]:  # One dictionary an action: its kind, and its content
    "Read the actions of a commit."
    return [json.loads(line) for line in commit.read_bytes().splitlines() if line]


def has_only_grown(
    path: Path,  # A Delta table's folder
) -> bool:  # Whether the rows of all its commits are the rows that it has now
    "Whether a table was created without rows, and has only been appended to since, with the same columns."
    commits = list_all_commits(path)
    for version, commit in enumerate(commits):
        allowed = GROWING_ACTIONS if version else CREATING_ACTIONS
        for action in read_actions(commit):
            kind, content = next(iter(action.items()))
            if kind not in allowed or not _only_adds_rows(kind, content):
                return False
    return bool(commits)


def _only_adds_rows(
    kind: str,  # Of an action in a commit
    content: dict[str, Any],  # What the action says
) -> bool:
    "Whether an action moves no rows to another file, marks none as deleted and renames no column."
    if kind == "add":
        return bool(content["dataChange"]) and not content.get("deletionVector")
    return kind != "metaData" or "delta.columnMapping.mode" not in content["configuration"]
