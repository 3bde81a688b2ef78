"""From which version on a table's commits and files must stay, since a flow has yet to read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdc_local.delta.retention import UnreadVersion
from cdc_local.delta.stream_progress import list_batches
from cdc_local.storage import Storage
from cdc_local.update.progress import FILE_NAME, Progress, reads_changes

# A restarted stream of Spark reads the log of its newest batch again, from where the one before it ended,
# and that of its first batch from the version before
BATCHES_READ_AGAIN = 2


def find_unread_versions(
    storage: Storage,  # Flows and their progress; nobody else writes to it
) -> dict[str, UnreadVersion]:  # Id of a table that flows stream -> the oldest version that one needs
    """Find what the flows of a storage need of the tables that they stream.

    Raises what reading damaged progress raises: then nothing may be removed.
    """
    oldest: dict[str, UnreadVersion] = {}
    for folder in sorted((storage.root / "checkpoints").glob("*/*/*/*")):
        for table, version in (*_read_positions(folder / FILE_NAME), *_read_offsets(folder / "checkpoint")):
            if table not in oldest or version < oldest[table].version:
                oldest[table] = UnreadVersion(version, folder.name)
    return oldest


def _read_positions(
    log: Path,  # Progress of a flow, there or not
) -> Iterator[tuple[str, int]]:  # Id of a Delta table, and a version that the flow goes on from
    "Read where a flow goes on, and what the batch reads that it has planned."
    if not log.exists():
        return
    progress = Progress.read(log, "")
    for source, position in progress.positions.items():
        if "table" in position:
            yield position["table"], _with_removed_files(source, position["next"])
    for source, read in (progress.planned or {}).items():
        if "table" in read:  # a first batch reads the rows of its last version
            first = read["to"] if read["from"] is None else _with_removed_files(source, read["from"])
            yield read["table"], first


def _with_removed_files(
    source: str,  # As a log names it
    version: int,  # The flow goes on with it
) -> int:  # The oldest version that must stay
    "A change feed shows the rows that a commit removed: they are in the files of the version before."
    return max(0, version - 1) if reads_changes(source) else version


def _read_offsets(
    checkpoint: Path,  # Of a stream of Spark that is not running; there or not
) -> Iterator[tuple[str, int]]:  # Id of a Delta table, and a version that the stream goes on from
    "Read where the newest batches of a stream begin and end."
    for batch in list_batches(checkpoint, "offsets")[-BATCHES_READ_AGAIN:]:
        # the first line is the format's version, the second has the batch's settings
        for line in (checkpoint / "offsets" / str(batch)).read_text().splitlines()[2:]:
            offset: Any = json.loads(line) if line.startswith("{") else None
            if isinstance(offset, dict) and "reservoirId" in offset:
                yield str(offset["reservoirId"]), max(0, int(offset["reservoirVersion"]) - 1)
