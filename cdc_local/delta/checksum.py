"""A commit that Spark did not write gets the checksum file that Spark writes beside its own: who reads the table next needs fewer jobs to find out what it is."""

import json
import os
from pathlib import Path
from urllib.parse import unquote, urlparse
from uuid import uuid4

DEFINED_BY = {
    "metaData": "metadata",
    "protocol": "protocol",
}  # Actions that say what a table is, and their names in a checksum


def carried_definition(
    checksum: Path,  # File of a version's checksum; it need not exist
) -> dict:  # The 'metadata' and 'protocol' in it
    "Read what a checksum carries on; one by an old Delta Lake has neither, and one that a crash cut short counts for none, as it does for Delta Lake."
    try:
        content = json.loads(checksum.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {name: content[name] for name in DEFINED_BY.values() if content.get(name)}


MOST_COMMITS = 100  # That are looked through for what a table is


def find_definition(
    log: Path,  # The `_delta_log` of a table
    version: int,  # Of the table
) -> dict | None:  # 'metadata' and 'protocol'; None where the last `MOST_COMMITS` do not say them
    "Find columns, properties and features of a version of a table, as its log spells them."
    found = {}
    for number in range(version, max(-1, version - MOST_COMMITS), -1):
        commit = log / f"{number:020}.json"
        if not commit.exists():
            return None  # Delta Lake deletes old commits once a checkpoint of the log has their sum
        for action in map(json.loads, filter(None, commit.read_bytes().splitlines())):
            found = {name: action[kind] for kind, name in DEFINED_BY.items() if kind in action} | found
        found = carried_definition(log / f"{number - 1:020}.crc") | found
        if len(found) == len(DEFINED_BY):
            return found
    return None


def version_checksum(
    table,  # A `deltalake.DeltaTable` without deletion vectors
    found: dict,  # Its `definition`
) -> dict:  # What the protocol requires in a checksum
    "Sum up the files of a table."
    import pyarrow

    sizes = pyarrow.table(table.get_add_actions())["size_bytes"].to_pylist()
    return {"tableSizeBytes": sum(sizes), "numFiles": len(sizes), "numMetadata": 1, "numProtocol": 1, **found}


def write_checksum(
    table,  # A `deltalake.DeltaTable` without deletion vectors, in the version that was committed
) -> None:
    "Write the checksum of a version beside its commit; not where there is one, or where the log does not say what the table is."
    log = Path(unquote(urlparse(table.table_uri).path), "_delta_log")
    checksum = log / f"{table.version():020}.crc"
    found = None if checksum.exists() else find_definition(log, table.version())
    if found is None:
        return
    part = log / f".{checksum.name}.{uuid4()}.tmp"
    part.write_text(json.dumps(version_checksum(table, found)) + "\n", encoding="utf-8")
    os.replace(part, checksum)
