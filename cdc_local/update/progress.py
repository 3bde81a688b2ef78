"""How far a flow has read: a log of our own, one file a flow, written around each batch's commit.

A line plans a batch: which versions of which tables, which files of which folders. The batch is written to
the flow's target with the batch's number as its transaction. A second line says that it is done. A process
that dies between the two leaves a planned batch; the next update asks the target whether it has it. The log
belongs to no engine. Paths inside the storage are relative to it, so a storage that is moved goes on.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdc_local.errors import PipelineError

FILE_NAME = "progress.jsonl"

_FORMAT = 1  # Of the log's lines
_MOST_LINES = 400  # Of a log; a longer one is written anew as one state

# How far a source was read: {"table": its id, "next": version} or {"files": {name: [modified, bytes]}}
Position = dict[str, Any]
# What a batch reads of a source: {"table": its id, "from": version or None, "to": version}, or {"files": …}
Slice = dict[str, Any]


_CHANGES = " (changes)"  # Ends the name of a source whose change feed is read


def table_source(
    path: str,  # Of a Delta table, relative to the storage where it lies in it
    reads_changes: bool = False,  # Whether its change feed is read
) -> str:
    "Name a table among a flow's sources."
    return f"table {path}{_CHANGES if reads_changes else ''}"


def path_of_table(
    source: str,  # As a log names it
) -> str | None:  # The path of a table; None for another source
    "Find which table a source is."
    return source[6:].removesuffix(_CHANGES) if source.startswith("table ") else None


def reads_changes(
    source: str,  # As a log names it
) -> bool:
    "Whether a source is the change feed of a table."
    return path_of_table(source) is not None and source.endswith(_CHANGES)


@dataclass
class Progress:
    "How far a flow has read its sources."

    path: Path  # The log
    stream: str  # Names the flow in its target's commits
    batch: int = -1  # The newest batch that is done
    positions: dict[str, Position] = field(default_factory=dict)  # Source -> how far it was read
    planned: dict[str, Slice] | None = None  # The batch after it, where it was planned
    target: list[Any] | None = None  # Id and version of the target's table after the newest batch
    lines: int = 0  # Of the log

    @classmethod
    def read(
        cls,
        path: Path,  # The log, there or not
        stream: str,  # Names the flow in its target's commits, where the log is new
    ) -> "Progress":
        "Read a log; a line that a dying process did not finish was never acted on, and is cut off."
        progress = cls(path, stream)
        if not path.exists():
            return progress
        content = path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if len(complete) < len(content):
            with path.open("r+b") as log:
                log.truncate(len(complete))
        for number, line in enumerate(complete.splitlines(), 1):
            try:
                progress._take_in(json.loads(line))
            except (ValueError, KeyError, TypeError) as wrong:
                raise PipelineError(
                    f"{path}, line {number}: not what an update wrote ({wrong})",
                    hint=f"put a copy back, or: cdc run … --full-refresh {path.parent.parent.name}",
                ) from None
        return progress

    @property
    def is_new(self) -> bool:
        "Whether no batch was ever planned."
        return self.lines == 0

    @property
    def transaction(self) -> tuple[str, int]:
        "What the commit of the planned batch carries: the flow's name in its target, the batch's number."
        return self.stream, self.batch + 1

    def plan(
        self,
        slices: dict[str, Slice],  # What the next batch reads
    ) -> None:
        "Note durably what the next batch reads."
        self._append({"batch": self.batch + 1, "read": slices})

    def finish(
        self,
        target: tuple[str, int] | None = None,  # Id and version of the target's table now; None for a sink
    ) -> None:
        "Note durably that the planned batch is in its target."
        self._append({"done": self.batch + 1, "target": target and list(target)})
        if self.lines > _MOST_LINES:
            self.write_state()

    def write_state(self) -> None:
        "Write the log anew, as one state."
        state = {
            "state": _FORMAT,
            "stream": self.stream,
            "batch": self.batch,
            "positions": self.positions,
            "target": self.target,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{FILE_NAME}.tmp")
        with unfinished.open("w") as log:
            log.write(json.dumps(state) + "\n")
            _flush(log)
        unfinished.replace(self.path)
        self.lines = 1

    def _append(self, line: dict[str, Any]) -> None:
        if self.is_new:
            self.write_state()
        with self.path.open("a") as log:
            log.write(json.dumps(line) + "\n")
            _flush(log)
        self._take_in(line)

    def _take_in(self, line: dict[str, Any]) -> None:
        self.lines += 1
        if "state" in line:
            if line["state"] != _FORMAT:
                raise ValueError(f"format {line['state']}, this version reads {_FORMAT}")
            self.stream, self.batch = line["stream"], line["batch"]
            self.positions, self.target = line["positions"], line["target"]
        elif "batch" in line:
            self.planned = line["read"]
        else:
            for source, read in (self.planned or {}).items():
                self.positions[source] = advance(self.positions.get(source), read)
            self.batch, self.planned, self.target = line["done"], None, line["target"]


def advance(
    position: Position | None,  # How far a source was read; None where it was not
    read: Slice,  # What was read since
) -> Position:
    "Move a position past what was read."
    if "files" in read:
        return {"files": {**(position or {"files": {}})["files"], **read["files"]}}
    return {"table": read["table"], "next": read["to"] + 1}


def _flush(log: Any) -> None:
    log.flush()
    os.fsync(log.fileno())
