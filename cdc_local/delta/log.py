"""The log of a Delta table, read without Spark: version, columns, actions of a commit."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from deltalake import DeltaTable
from pyspark.sql.types import StructType

from cdc_local.storage import is_table

MOST_COMMITS = 100  # Of a log that are read one by one

# What a commit may contain that only moves rows to other files
MOVING_ACTIONS = frozenset({"add", "remove", "commitInfo", "txn"})


def find_local_table(
    location: str,  # Where Spark says that a Delta table lies
) -> Path | None:  # Its folder; None for a table that is not on this machine's disk
    "Find a table whose version can be read without Spark."
    folder = Path(location.removeprefix("file:"))
    return folder if folder.is_absolute() and is_table(folder) else None


def find_table_folder(
    table: DeltaTable,  # A table of this machine
) -> Path:  # Its folder
    "Find where a table lies."
    return Path(unquote(urlparse(table.table_uri).path))


def read_table_version(
    path: Path,  # A Delta table's folder
) -> tuple[str, int]:  # Its id, and its version
    "Read which table lies in a folder, and how often it was written."
    table = DeltaTable(str(path))
    return str(table.metadata().id), table.version()


def read_change_version(
    path: Path,  # A Delta table's folder
    version: int | None = None,  # Look no further than this; the newest by default
) -> tuple[str, int]:  # Its id, and the newest version that changed its rows or what it is
    "Pass over commits that only moved rows to other files, as maintenance makes them."
    identity, newest = read_table_version(path)
    version = newest if version is None else version
    while (commit := path / "_delta_log" / f"{version:020}.json").exists() and _only_moves_rows(commit):
        version -= 1
    return identity, version


def _only_moves_rows(
    commit: Path,  # A file of the log
) -> bool:
    "Whether a commit changes neither rows nor the definition of its table."
    return all(
        kind in MOVING_ACTIONS and not content.get("dataChange")
        for action in read_actions(commit)
        for kind, content in action.items()
    )


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


def read_actions(
    commit: Path,  # A file of the log
) -> list[dict[str, Any]]:  # One dictionary an action: its kind, and its content
    "Read the actions of a commit."
    return [json.loads(line) for line in commit.read_bytes().splitlines() if line]
