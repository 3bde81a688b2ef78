"""The change feed of a Delta table: which files hold the rows that a commit added, changed and removed.

A table that sets `delta.enableChangeDataFeed` records its feed: what a commit updates lies in files of its
own (`cdc`), and a commit without such adds or removes whole files. The feed of an AUTO CDC target is found
otherwise, in `auto_cdc/visible_changes.py`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deltalake import DeltaTable
from pyspark.sql.types import LongType, StringType, StructField, StructType, TimestampType

from cdc_local.delta.log import read_actions
from cdc_local.delta.new_files import SourceLostError
from cdc_local.delta.table_options import read_commit_times
from cdc_local.engines.commit_files import CommitFiles
from cdc_local.errors import PipelineError

CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP = "_change_type", "_commit_version", "_commit_timestamp"

# What a feed has beside the table's own columns
CHANGE_COLUMNS = StructType(
    [
        StructField(CHANGE_TYPE, StringType()),
        StructField(COMMIT_VERSION, LongType()),
        StructField(COMMIT_TIMESTAMP, TimestampType()),
    ]
)

FEED_PROPERTY = "delta.enableChangeDataFeed"


def list_changed_files(
    path: Path,  # A Delta table's folder
    first: int,  # A version
    last: int,  # A version
) -> list[CommitFiles]:  # One a commit that changes rows
    "List which files commits added and removed; `SourceLostError` where the log is gone."
    times, commits = read_commit_times(path), []
    for version in range(first, last + 1):
        if version not in times:
            raise SourceLostError(f"version {version} of {path} is gone from its log")
        found: dict[str, list[str]] = {"add": [], "remove": [], "cdc": []}
        for action in read_actions(path / "_delta_log" / f"{version:020d}.json"):
            for kind, content in action.items():
                if kind in found and (content.get("dataChange") or kind == "cdc"):
                    found[kind].append(_as_add(content))
        if any(found.values()):
            added, removed, recorded = (tuple(found[kind]) for kind in ("add", "remove", "cdc"))
            commits.append(CommitFiles(version, times[version], added, removed, recorded))
    return commits


def check_files(
    path: Path,  # A Delta table's folder
    actions: Iterable[str],  # Files that commits tell of, as `CommitFiles` has them
) -> None:
    "`SourceLostError` where a file is gone that holds changes."
    for action in actions:
        name = unquote(json.loads(action)["add"]["path"])
        if not (path / name).exists():
            raise SourceLostError(f"the file {name} of {path}, which a commit tells of, is gone")


def _as_add(
    content: Mapping[str, Any],  # Of an `add`, a `remove` or a `cdc`
) -> str:  # What makes a reader read the file
    names = ("path", "partitionValues", "size", "deletionVector", "stats")
    known = {name: content[name] for name in names if content.get(name) is not None}
    completed = {"partitionValues": {}, "size": 0, "modificationTime": 0, "dataChange": True}
    return json.dumps({"add": completed | known})


def records_changes(
    properties: Mapping[str, str],  # Of a table
) -> bool:
    "Whether a table's properties ask for a change feed."
    return str(properties.get(FEED_PROPERTY, "")).lower() == "true"


def check_feed_is_recorded(
    path: Path,  # A Delta table's folder
    first: int,  # A version
    last: int,  # A version
) -> None:
    "`PipelineError` where a commit was made without recording a feed."
    for version in range(first, last + 1):
        commit = path / "_delta_log" / f"{version:020d}.json"
        if version > first and not (commit.exists() and _defines_table(commit)):
            continue
        if not records_changes(DeltaTable(str(path), version=version).metadata().configuration):
            raise describe_missing_feed(path.name, version)


def _defines_table(
    commit: Path,  # A file of the log
) -> bool:
    return any("metaData" in action for action in read_actions(commit))


def describe_missing_feed(
    table: str,  # Its name
    version: int | None = None,  # A version that was written without one
) -> PipelineError:
    "Describe a table whose changes nobody recorded."
    where = "" if version is None else f" at version {version}"
    return PipelineError(
        f"{table} records no change feed{where}",
        hint=f"AUTO CDC's targets have one; declare another table with the property {FEED_PROPERTY} = true "
        "and fill it anew",
    )
