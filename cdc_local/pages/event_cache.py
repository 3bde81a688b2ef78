"""The event log in memory: each file of it is read once, and what an update has not written yet is followed.

A page asks for all updates many times; a log of years is read in full by the first one only.
"""

import json
import threading
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from cdc_local.delta.damage import find_damage
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage
from cdc_local.update.event_log import COLUMNS, Event, event_sequence
from cdc_local.update.unwritten_events import read_unwritten, unwritten_folder


@dataclass(frozen=True)
class LoggedEvent:
    "An event, with objects for its JSON."

    raw: Event  # As the log has it
    number: int  # Its place in the log
    origin: dict[str, Any]  # What it is about
    details: dict[str, Any]  # Machine-readable facts, by its type
    error: dict[str, Any]  # What went wrong; empty where nothing did

    @property
    def event_type(self) -> str:
        "e.g. `flow_progress`."
        return str(self.raw["event_type"])

    @property
    def level(self) -> str:
        "INFO, WARN or ERROR."
        return str(self.raw["level"])

    @property
    def message(self) -> str:
        "One sentence for a reader."
        return str(self.raw["message"])

    @property
    def timestamp(self) -> datetime:
        "When it was recorded."
        moment: datetime = self.raw["timestamp"]
        return moment

    def facts(
        self,
        name: str,  # e.g. `flow_progress`
    ) -> dict[str, Any]:  # Empty where it has none
        "One object of its details."
        found = self.details.get(name)
        return found if isinstance(found, dict) else {}


@dataclass
class LoggedUpdate:
    "The events of one update, or of another command that writes to the log."

    update_id: str  # Identifies it
    events: list[LoggedEvent] = field(default_factory=list)  # The oldest first
    was_killed: bool = False  # Its process has ended without writing its events


class EventCache:
    "The updates of a storage; several threads may ask at once."

    def __init__(
        self,
        storage: Storage,  # Has the log
    ) -> None:
        self.path = storage.event_log_path
        self._reading = threading.Lock()
        self._table_id = ""  # Another one: the log was begun anew
        self._files: set[str] = set()  # Those that were read
        self._written: dict[
            str, LoggedEvent
        ] = {}  # By their id, so that a compacted file brings nothing twice
        self._seen: Hashable = None  # What `signature` was
        self._updates: dict[str, LoggedUpdate] = {}

    def signature(self) -> Hashable:  # Another value once there is something new
        "Look whether the log has grown, without reading it."
        log = self.path / "_delta_log"
        commits = log.stat().st_mtime_ns if log.is_dir() else None
        return commits, tuple(_stat_files(unwritten_folder(self.path)))

    def updates(self) -> dict[str, LoggedUpdate]:  # By their ids, the newest first
        "Read what is new; `PipelineError` where the log is damaged."
        with self._reading:
            signature = self.signature()
            if signature != self._seen:
                self._read_table()
                self._updates = self._group()
                self._seen = signature
            return self._updates

    def _read_table(self) -> None:
        "Read the files of the table that are new."
        table = _open_log(self.path)
        table_id = str(table.metadata().id) if table else ""
        if table_id != self._table_id:
            self._table_id, self._files, self._written = table_id, set(), {}
        files = set(table.file_uris()) if table else set()
        for event in _read_files(self.path, sorted(files - self._files)):
            self._written.setdefault(event.raw["id"], event)
        self._files = files

    def _group(self) -> dict[str, LoggedUpdate]:
        "Sort all events into their updates."
        found: dict[str, LoggedUpdate] = {}
        for event in self._written.values():
            update_id = event.origin.get("update_id") or ""
            found.setdefault(update_id, LoggedUpdate(update_id)).events.append(event)
        for unwritten in read_unwritten(self.path):
            for event in map(_parse_event, unwritten.events):
                update_id = event.origin.get("update_id") or ""
                update = found.setdefault(update_id, LoggedUpdate(update_id))
                if event.raw["id"] not in self._written:
                    update.events.append(event)
                    update.was_killed = not unwritten.is_alive
        for update in found.values():
            update.events.sort(key=lambda event: event.number)
        newest_first = sorted(found.values(), key=lambda update: -update.events[0].number)
        return {update.update_id: update for update in newest_first}


def _stat_files(
    folder: Path,  # Of events that are not in the table
) -> Iterable[tuple[str, int]]:  # Name and size of each
    for path in sorted(folder.glob("*.jsonl")):
        try:
            yield path.name, path.stat().st_size
        except FileNotFoundError:  # it has reached the table meanwhile
            continue


def _open_log(
    path: Path,  # Folder of the log
) -> DeltaTable | None:  # None before the first update
    "Open the log; `PipelineError` says what is damaged."
    if not any((path / "_delta_log").glob("[0-9]*")):
        return None
    try:
        return DeltaTable(str(path))
    except DeltaError as error:
        raise find_damage([path]) or PipelineError(f"the event log cannot be read: {error}") from error


def _read_files(
    path: Path,  # Folder of the log
    files: list[str],  # Files of its table
) -> Iterable[LoggedEvent]:
    "Read the events of files."
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        try:
            rows = pq.read_table(file, columns=list(COLUMNS)).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise find_damage([path]) or PipelineError(
                f"{file} cannot be read: {str(error).splitlines()[0]}",
                hint="an update may have replaced it just now: load the page again",
            ) from error
        yield from map(_parse_event, rows)


def _parse_event(
    event: Event,  # As the log has it
) -> LoggedEvent:
    parsed = {name: _parse_object(event[name]) for name in ("origin", "details", "error")}
    return LoggedEvent(event, event_sequence(event), **parsed)


def _parse_object(
    text: str | None,  # JSON
) -> dict[str, Any]:  # Empty for what is no object
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
