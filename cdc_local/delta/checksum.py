"""A commit of delta-rs gets the checksum file that Spark writes beside its own commits.

Who reads the table next needs fewer jobs to find out what it is.
"""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow
from deltalake import DeltaTable

from cdc_local.delta.log import MOST_COMMITS, find_table_folder, read_actions

# Actions that define a table, and their names in a checksum
DEFINING_ACTIONS = {"metaData": "metadata", "protocol": "protocol"}


def read_definition(
    checksum: Path,  # A version's checksum; it need not exist
) -> dict[str, Any]:  # The 'metadata' and 'protocol' in it
    """Read what a checksum says of its table's definition.

    An old Delta Lake wrote none; a checksum that a crash cut short counts for none, as for Delta Lake.
    """
    try:
        content = json.loads(checksum.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {name: content[name] for name in DEFINING_ACTIONS.values() if content.get(name)}


def find_definition(
    log: Path,  # The `_delta_log` of a table
    version: int,  # Of the table
) -> dict[str, Any] | None:  # 'metadata' and 'protocol'; None where the last `MOST_COMMITS` do not say them
    "Find columns, properties and features of a version of a table, as its log spells them."
    found: dict[str, Any] = {}
    for number in range(version, max(-1, version - MOST_COMMITS), -1):
        commit = log / f"{number:020}.json"
        if not commit.exists():
            return None  # Delta Lake deletes old commits once a checkpoint of the log has their sum
        for action in read_actions(commit):
            defined = {name: action[kind] for kind, name in DEFINING_ACTIONS.items() if kind in action}
            found = defined | found
        found = read_definition(log / f"{number - 1:020}.crc") | found
        if len(found) == len(DEFINING_ACTIONS):
            return found
    return None


def summarize_version(
    table: DeltaTable,  # A table without deletion vectors
    definition: dict[str, Any],  # Its 'metadata' and 'protocol'
) -> dict[str, Any]:  # What the protocol requires in a checksum
    "Sum up the files of a table."
    sizes = pyarrow.table(table.get_add_actions())["size_bytes"].to_pylist()
    counts = {"tableSizeBytes": sum(sizes), "numFiles": len(sizes), "numMetadata": 1, "numProtocol": 1}
    return counts | definition


def write_checksum(
    table: DeltaTable,  # A table without deletion vectors, in the version that was committed
) -> None:
    "Write a version's checksum beside its commit, unless it is there, or the log does not define the table."
    log = find_table_folder(table) / "_delta_log"
    checksum = log / f"{table.version():020}.crc"
    definition = None if checksum.exists() else find_definition(log, table.version())
    if definition is None:
        return
    part = log / f".{checksum.name}.{uuid4()}.tmp"
    part.write_text(json.dumps(summarize_version(table, definition)) + "\n", encoding="utf-8")
    part.replace(checksum)
