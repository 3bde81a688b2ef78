"""What commits have added to a Delta table since a version: the files that a stream of it has yet to read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_local.delta.log import read_actions


class SourceChangedError(Exception):
    "Rows of a streamed table were changed or deleted."


class SourceLostError(Exception):
    "Commits that a stream has not read are gone."


@dataclass(frozen=True)
class NewFiles:
    "Files that commits added."

    actions: tuple[str, ...]  # One JSON text a file, as its commit has it: `{"add": {…}}`
    rows: int | None  # Rows in them; None where a file's statistics do not say


def read_new_files(
    path: Path,  # A Delta table's folder
    since: int,  # The first version to read
    until: int,  # The last
    skip_changes: bool = False,  # `skipChangeCommits`: leave out commits that change or delete rows
) -> NewFiles:  # In the order of the commits
    "Read which files commits added. Raises `SourceChangedError` and `SourceLostError`."
    actions: list[str] = []
    rows: int | None = 0
    for version in range(since, until + 1):
        commit = path / "_delta_log" / f"{version:020d}.json"
        if not commit.exists():
            raise SourceLostError(f"version {version} of {path} is gone from its log")
        added, removes_rows = _split_commit(commit)
        if removes_rows and skip_changes:
            continue
        if removes_rows:
            raise SourceChangedError(f"version {version} of {path} changed or deleted rows")
        for add in added:
            count = _count_rows(add)
            rows = None if rows is None or count is None else rows + count
            actions.append(json.dumps({"add": add}))
    return NewFiles(tuple(actions), rows)


def _split_commit(
    commit: Path,  # A file of the log
) -> tuple[list[dict[str, Any]], bool]:  # Files with new rows; whether rows were changed or deleted
    added, removes_rows = [], False
    for action in read_actions(commit):
        if "add" in action and action["add"]["dataChange"]:
            added.append(action["add"])
        elif "remove" in action and action["remove"]["dataChange"]:
            removes_rows = True
    return added, removes_rows


def _count_rows(add: dict[str, Any]) -> int | None:
    "Rows of a file that are not marked as deleted; None where its statistics do not say."
    stats = json.loads(add.get("stats") or "{}")
    if "numRecords" not in stats:
        return None
    return int(stats["numRecords"]) - int((add.get("deletionVector") or {}).get("cardinality", 0))
