"""How far a stream has read, from its checkpoint: whether it has anything to do, and where it may begin."""

import json
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from cdc_local.delta.log import find_local_table, has_only_grown, read_table_version
from cdc_local.engines.spark.catalyst import leaf_nodes


def choose_starting_options(
    path: Path,  # A Delta table's folder, to be streamed
    checkpoint: Path,  # Of the stream; it need not exist
    options: dict[str, str] | None,  # What the author gave the reader
) -> dict[str, str] | None:  # What to give it
    """Let a stream that begins read commits where they are all that there is to read.

    The commits of a table that has only grown are its rows: no Spark job has to find them.
    """
    if options or list_batches(checkpoint, "offsets") or not has_only_grown(path):
        return options
    return {"startingVersion": "0"}


def list_batches(
    checkpoint: Path,  # Of a stream that is not running
    folder: str,  # 'offsets', the planned ones, or 'commits', the finished ones
) -> list[int]:  # Their numbers, rising
    "List the batches that a checkpoint knows."
    return sorted(int(path.name) for path in (checkpoint / folder).glob("*") if path.name.isdigit())


def has_unfinished_batch(
    checkpoint: Path,  # Of a stream that is not running
) -> bool:
    "Whether an earlier update planned a batch and never finished it."
    return list_batches(checkpoint, "offsets")[-1:] != list_batches(checkpoint, "commits")[-1:]


def read_offsets(
    checkpoint: Path,  # Of a stream that is not running
) -> list[Any]:  # One a source, in the plan's order; empty before the first batch
    "Read how far the sources were read: what Spark wrote for the newest batch."
    newest = list_batches(checkpoint, "offsets")[-1:]
    if not newest:
        return []
    # The first line is the format's version, the second has the batch's settings
    lines = (checkpoint / "offsets" / str(newest[0])).read_text().splitlines()[2:]
    return [json.loads(line) if line.startswith("{") else line for line in lines]


def find_streamed_table(
    leaf: Any,  # A streaming leaf of a plan
) -> Path | None:  # Folder of the Delta table of this machine that it streams; None for any other source
    "Find the table that a stream reads."
    if leaf.nodeName() != "StreamingRelation" or leaf.dataSource().className() != "delta":
        return None
    path = leaf.dataSource().options().get("path")
    return find_local_table(path.get()) if path.isDefined() else None


def has_caught_up(
    frame: DataFrame,  # A stream, not started
    checkpoint: Path,  # Its checkpoint
) -> bool:  # False also where it is not certain
    """Whether a stream would find no new row.

    All its sources are Delta tables, read up to their newest version; it keeps no state and left no batch.
    """
    if has_unfinished_batch(checkpoint) or (checkpoint / "state").exists():
        return False
    sources = [leaf for leaf in leaf_nodes(frame) if leaf.isStreaming()]
    offsets = read_offsets(checkpoint)
    if len(sources) != len(offsets) or not sources:
        return False
    return all(_is_read_to_end(*pair) for pair in zip(sources, offsets, strict=True))


def _is_read_to_end(
    source: Any,  # A streaming leaf of a plan
    offset: Any,  # How far it was read
) -> bool:
    "Whether a source is a Delta table of this machine that was read up to its newest version."
    path = find_streamed_table(source)
    if path is None or not isinstance(offset, dict) or "reservoirId" not in offset:
        return False
    identity, version = read_table_version(path)
    # After its newest version, and at no file of the next
    past_newest = offset["reservoirVersion"] > version and offset["index"] == -1
    return bool(offset["reservoirId"] == identity and past_newest)


def delete_unwritten_offsets(
    checkpoint: Path,  # Of a stream that is not running; perhaps not there yet
) -> None:
    "Delete offsets that a process did not finish writing before it died."
    for path in (checkpoint / "offsets").glob(".*.tmp*"):
        path.unlink()
