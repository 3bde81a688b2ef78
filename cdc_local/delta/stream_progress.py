"""How far a stream of Spark has read, from its checkpoint."""

import json
from pathlib import Path
from typing import Any


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


def delete_unwritten_offsets(
    checkpoint: Path,  # Of a stream that is not running; perhaps not there yet
) -> None:
    "Delete offsets that a process did not finish writing before it died."
    for path in (checkpoint / "offsets").glob(".*.tmp*"):
        path.unlink()
