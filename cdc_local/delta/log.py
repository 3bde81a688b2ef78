"""A stream that begins finds the rows of a Delta table in its commits, where nothing was ever taken away from them: no Spark job is needed to find them."""

import json
from pathlib import Path

from cdc_local.storage import is_table


def local_table(
    location: str,  # Where Spark says that a Delta table lies
) -> Path | None:  # Its folder; None for a table that is not on this machine's disk
    "Find a table whose version can be read without Spark."
    folder = Path(location.removeprefix("file:"))
    return folder if folder.is_absolute() and is_table(folder) else None


def delta_version(
    path: Path,  # A Delta table's folder
) -> tuple[str, int]:  # Its id, and its version
    "Which table lies in a folder, and how often it was written."
    from deltalake import DeltaTable

    table = DeltaTable(str(path))
    return table.metadata().id, table.version()


MOST_COMMITS = 100  # Of a log that is looked through here


def read_complete_log(
    path: Path,  # A Delta table's folder
) -> list[
    Path
]:  # The files of its commits, from version 0 on; none where one is missing, or they are more than `MOST_COMMITS`
    "Find all commits of a table."
    files = sorted((path / "_delta_log").glob("*.json"))
    wanted = [f"{version:020d}.json" for version in range(len(files))]
    return files if len(files) <= MOST_COMMITS and [file.name for file in files] == wanted else []


GROWING_ACTIONS = frozenset({"add", "commitInfo", "txn"})  # What the commit of new rows may hold

CREATING_ACTIONS = frozenset(
    {"protocol", "metaData", "domainMetadata", "commitInfo"}
)  # And that of a new table, which has no rows yet


def adds_rows(
    kind: str,  # Of an action in a commit
    action: dict,  # Its content
) -> bool:  # Whether all that it does is to add rows
    "Tell actions of a commit apart; a file that moves rows is none of a stream's business, and renamed columns are Delta's."
    if kind == "add":
        return action["dataChange"] and not action.get("deletionVector")
    return kind != "metaData" or "delta.columnMapping.mode" not in action["configuration"]


def only_grew(
    path: Path,  # A Delta table's folder
) -> bool:  # Whether the rows of all its commits are the rows that it has now
    "Tell that a table was created without rows, and has only been appended to since, with the same columns."
    files = read_complete_log(path)
    for version, file in enumerate(files):
        for line in filter(None, file.read_text(encoding="utf-8").split("\n")):
            kind, action = next(iter(json.loads(line).items()))
            if kind not in (GROWING_ACTIONS if version else CREATING_ACTIONS) or not adds_rows(kind, action):
                return False
    return bool(files)
