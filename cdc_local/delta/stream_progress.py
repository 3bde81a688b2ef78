"""An update starts only the flows that have something to do: a stream with new rows, a materialized view whose inputs or query changed."""

import json
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from cdc_local.delta.log import delta_version, local_table, only_grew
from cdc_local.engines.spark.catalyst import leaf_nodes


def starting_options(
    path: Path,  # A Delta table's folder, to be streamed
    checkpoint: Path,  # Of the stream; it need not exist
    options: dict[str, str] | None,  # What the author gave the reader
) -> dict[str, str] | None:  # What to give it
    "Let a stream that begins read commits where they are all that there is to read."
    if options or checkpoint_batches(checkpoint, "offsets") or not only_grew(path):
        return options
    return {"startingVersion": "0"}


def checkpoint_batches(
    checkpoint: Path,  # Of a stream that is not running
    folder: str,  # `offsets`, the planned ones, or `commits`, the finished ones
) -> list[int]:  # Their numbers, rising
    "The batches that a checkpoint knows."
    return sorted(int(path.name) for path in (checkpoint / folder).glob("*") if path.name.isdigit())


def planned_batch(
    checkpoint: Path,  # Of a stream that is not running
) -> bool:  # Whether it planned a batch and never finished it
    "Find a batch that an earlier update left behind."
    return checkpoint_batches(checkpoint, "offsets")[-1:] != checkpoint_batches(checkpoint, "commits")[-1:]


def read_offsets(
    checkpoint: Path,  # Of a stream that is not running
) -> list[Any]:  # One a source, in the plan's order; empty before the first batch
    "How far the sources were read: what Spark wrote for the newest batch."
    newest = checkpoint_batches(checkpoint, "offsets")[-1:]
    if not newest:
        return []
    lines = (
        (checkpoint / "offsets" / str(newest[0])).read_text().splitlines()[2:]
    )  # after the format's version and the batch's settings
    return [json.loads(line) if line.startswith("{") else line for line in lines]


def streamed_table(
    leaf: Any,  # A streaming leaf of a plan
) -> Path | None:  # Folder of the Delta table of this machine that it streams; None for any other source
    "Tell which table a stream reads."
    if leaf.nodeName() != "StreamingRelation" or leaf.dataSource().className() != "delta":
        return None
    path = leaf.dataSource().options().get("path")
    return local_table(path.get()) if path.isDefined() else None


def has_caught_up(
    frame: DataFrame,  # A stream, not started
    checkpoint: Path,  # Its checkpoint
) -> bool:  # False also where it is not certain
    "Tell that a stream would find no new row: all its sources are Delta tables, read up to their newest version; it keeps no state and left no batch behind."
    if planned_batch(checkpoint) or (checkpoint / "state").exists():
        return False
    sources, places = [leaf for leaf in leaf_nodes(frame) if leaf.isStreaming()], read_offsets(checkpoint)
    if len(sources) != len(places) or not sources:
        return False
    for source, place in zip(sources, places):
        path = streamed_table(source)
        if path is None or not isinstance(place, dict) or "reservoirId" not in place:
            return False
        identity, version = delta_version(path)
        if place["reservoirId"] != identity or place["reservoirVersion"] <= version or place["index"] != -1:
            return False
    return True


def clear_unwritten_offsets(
    checkpoint: Path,  # Of a stream that is not running; perhaps not there yet
) -> None:
    "Delete offsets that a process did not finish writing before it died."
    for path in (checkpoint / "offsets").glob(".*.tmp*"):
        path.unlink()
