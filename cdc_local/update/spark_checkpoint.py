"""Checkpoints that Spark's streams left: where a flow goes on that is read batch by batch now."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cdc_local.delta.log import read_table_version
from cdc_local.delta.stream_progress import list_batches
from cdc_local.storage import read_json, strip_scheme
from cdc_local.update.progress import Position


def read_positions(
    checkpoint: Path,  # Of a stream that is not running
    sources: dict[str, str],  # Each source that the flow reads, as a progress log names it -> its path
    has_batch: Callable[
        [tuple[str, int]], bool
    ],  # Whether the target has a batch: the stream's id, its number
) -> tuple[dict[str, Position], int, str] | None:  # Positions, newest batch in the target, id of the stream
    "Translate a checkpoint; None where it does not say for certain how far each source was read."
    stream = str(read_json(checkpoint / "metadata")["id"])
    planned = list_batches(checkpoint, "offsets")[-1:]
    finished = list_batches(checkpoint, "commits")[-1:]
    newest = planned if planned and has_batch((stream, planned[0])) else finished
    if not newest:
        return {}, -1, stream
    lines = (checkpoint / "offsets" / str(newest[0])).read_text().splitlines()[2:]
    offsets = [json.loads(line) for line in lines if line.startswith("{")]
    if len(offsets) != len(lines) or len(offsets) != len(sources):
        return None
    positions: dict[str, Position] = {}
    for number, offset in enumerate(offsets):
        found = _find_source(checkpoint, number, offset, sources)
        if found is None or found[0] in positions:
            return None
        positions[found[0]] = found[1]
    return positions, newest[0], stream


def _find_source(
    checkpoint: Path,  # Of a stream
    number: int,  # Of one of its sources
    offset: dict[str, Any],  # How far it was read
    sources: dict[str, str],  # Sources of the flow
) -> tuple[str, Position] | None:  # The source, and how far it was read
    if "reservoirId" in offset:
        for source, path in sources.items():
            if source.startswith("table ") and read_table_version(Path(path))[0] == offset["reservoirId"]:
                return _table_position(source, offset)
        return None
    if "logOffset" not in offset:
        return None
    files = _logged_files(checkpoint / "sources" / str(number), offset["logOffset"])
    if files is None:
        return None
    for source, folder in sources.items():
        if source.startswith("files ") and all(file.startswith(folder.rstrip("/") + "/") for file in files):
            names = {os.path.relpath(file, folder): status for file, status in files.items()}
            return source, {"files": names}
    return None


def _table_position(source: str, offset: dict[str, Any]) -> tuple[str, Position] | None:
    "The next version to read; None in the middle of a version, or of what the table held at first."
    if offset["index"] == -1:
        return source, {"table": offset["reservoirId"], "next": offset["reservoirVersion"]}
    return None


def _logged_files(
    log: Path,  # Spark's log of the files that a source has taken
    newest: int,  # The last batch that counts
) -> dict[str, list[int]] | None:  # Path -> modified (ns since 1970), bytes; None where a file lies elsewhere
    compact = [int(path.stem) for path in log.glob("*.compact") if int(path.stem) <= newest]
    first = max(compact, default=-1)
    names = [f"{first}.compact"] if compact else []
    names += [str(number) for number in list_batches(log, ".") if first < number <= newest]
    files: dict[str, list[int]] = {}
    for name in names:
        for line in (log / name).read_text().splitlines()[1:]:
            entry = json.loads(line)
            path = Path(unquote(strip_scheme(entry["path"])))
            if not path.is_absolute():
                return None
            size = path.stat().st_size if path.exists() else -1
            files[str(path)] = [entry["timestamp"] * 1_000_000, size]
    return files
