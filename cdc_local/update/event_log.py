"""What an update did, row by row, in a Delta table with the columns that Databricks uses."""

import json
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from deltalake import DeltaTable, QueryBuilder, write_deltalake

from cdc_local.storage import check_free_space
from cdc_local.update.unwritten_events import UnwrittenEvents

if TYPE_CHECKING:
    import pyarrow as pa

Event = dict[str, Any]  # A row of the log, with its columns

COLUMNS = (
    "id",
    "sequence",
    "origin",
    "timestamp",
    "message",
    "level",
    "maturity_level",
    "error",
    "details",
    "event_type",
)

_LEVELS = ("INFO", "WARN", "ERROR")  # From the least to the most serious


def describe_error(
    error: BaseException | str | None,  # What went wrong
) -> dict[str, Any] | None:  # `{"exceptions": [{"class_name", "message"}, …], "fatal": True}`
    "Describe an exception and its causes as the event log does."
    if error is None:
        return None
    if isinstance(error, str):
        return {"exceptions": [{"class_name": "Exception", "message": error}], "fatal": True}
    exceptions: list[dict[str, str]] = []
    described: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in described:
        described.add(id(cause))
        kind = type(cause)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        exceptions.append({"class_name": f"{module}{kind.__qualname__}", "message": str(cause)})
        cause = cause.__cause__
    return {"exceptions": exceptions, "fatal": True}


def _open_log(
    path: Path,  # Folder of the log
) -> DeltaTable | None:  # None before the first flush
    "Open the log's table."
    if (path / "_delta_log").is_dir() and DeltaTable.is_deltatable(str(path)):
        return DeltaTable(str(path))
    return None


def event_sequence(
    event: Event,  # An event
) -> int:  # Its place in the log
    "The number that orders events."
    return int(json.loads(event["sequence"])["control_plane_seq_no"])


def event_update(
    event: Event,  # An event
) -> str | None:  # `update_id` of its origin
    "The update that an event belongs to."
    update_id: str | None = json.loads(event["origin"]).get("update_id")
    return update_id


def _check_level(
    level: str,  # INFO, WARN or ERROR
) -> None:
    "Refuse a level that there is not; `ValueError`."
    if level not in _LEVELS:
        raise ValueError(f"level {level!r} is none of {', '.join(_LEVELS)}")


def read_events(
    path: Path,  # Folder of the log
    limit: int | None = None,  # Keep this many of the newest; all by default
    update_id: str | None = None,  # Only events of this update
    level: str | None = None,  # Only events of this level or a more serious one: INFO, WARN, ERROR
    event_type: str | None = None,  # Only events of this type, e.g. `flow_progress`
) -> list[Event]:  # The newest last
    "Read the log without a JVM; no log yet is no events; `ValueError` for an unknown level."
    table = _open_log(Path(path))
    if table is None:
        return []
    if level is not None:
        _check_level(level)
    query = f"SELECT {', '.join(COLUMNS)} FROM log"
    batches: Any = QueryBuilder().register("log", table).execute(query).read_all()
    columns = [[value.as_py() for value in batches[name]] for name in COLUMNS]
    wanted = _LEVELS[_LEVELS.index(level) :] if level is not None else _LEVELS
    events = [
        event
        for event in (dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns, strict=True))
        if event["level"] in wanted
        and (event_type is None or event["event_type"] == event_type)
        and (update_id is None or event_update(event) == update_id)
    ]
    events.sort(key=event_sequence)
    return events if limit is None else events[max(len(events) - limit, 0) :]


def read_last_sequence(
    path: Path,  # Folder of the log
) -> int:  # The greatest number of an event; 0 where there is no log yet
    "Read how far the log is, without its events."
    table = _open_log(Path(path))
    if table is None:
        return 0
    batches: Any = QueryBuilder().register("log", table).execute("SELECT sequence FROM log").read_all()
    numbers = (json.loads(value.as_py())["control_plane_seq_no"] for value in batches["sequence"])
    return max(map(int, numbers), default=0)


class EventLog:
    "The events of one update; flows of several threads may record at once."

    def __init__(
        self,
        path: Path,  # Folder of the log's Delta table; made by the first flush
        pipeline_name: str,  # Name of the pipeline
        update_id: str,  # Identifies the update
        listener: Callable[[Event], None] | None = None,  # Called with each event as it is recorded, in order
    ) -> None:
        self.path = Path(path)
        self.pipeline_name = pipeline_name
        self.update_id = update_id
        self.listener = listener
        self._buffer: list[Event] = []
        self._recording, self._flushing = threading.RLock(), threading.Lock()
        self._last = read_last_sequence(self.path)
        self._unwritten: UnwrittenEvents | None = None  # Once the log is to be written

    def __enter__(self) -> Self:
        self._unwritten = UnwrittenEvents(self.path, self.update_id)
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def record(
        self,
        event_type: str,  # e.g. `flow_progress`
        message: str,  # One sentence for a reader
        level: str = "INFO",  # INFO, WARN or ERROR
        flow_name: str | None = None,  # The flow it is about
        dataset_name: str | None = None,  # The dataset it is about
        details: dict[str, Any] | None = None,  # Machine-readable facts, `{event_type: {…}}`
        error: BaseException | str | None = None,  # What went wrong
    ) -> Event:  # The event, with the table's columns
        "Add an event; it reaches the disk with the next `flush`. `ValueError` for an unknown level."
        _check_level(level)
        described = describe_error(error)
        with self._recording:
            event = self._number_event(flow_name, dataset_name) | {
                "message": str(message),
                "level": level,
                "maturity_level": "STABLE",
                "error": _json_column(described) if described is not None else None,
                "details": _json_column(details or {}),
                "event_type": event_type,
            }
            self._buffer.append(event)
            if self._unwritten is not None:
                self._unwritten.add(event)
            self._call_listener(event)
        return event

    def flush(self) -> int:  # How many events were written
        "Append the collected events in one commit, the first creates the table; `PipelineError`: disk full."
        with self._flushing:
            with self._recording:
                pending = list(self._buffer)
            if not pending:
                return 0
            self.path.parent.mkdir(parents=True, exist_ok=True)
            rows = _arrow_events(pending)
            check_free_space(self.path, rows.nbytes)
            write_deltalake(str(self.path), rows, mode="append")
            with self._recording:
                del self._buffer[: len(pending)]
                self._forget_written()
        return len(pending)

    def _forget_written(self) -> None:
        "Keep for those who follow only what is not in the table; the caller holds the lock."
        if self._unwritten is not None:
            self._unwritten.clear()
            for event in self._buffer:
                self._unwritten.add(event)

    def _number_event(
        self,
        flow_name: str | None,  # The flow it is about
        dataset_name: str | None,  # The dataset it is about
    ) -> Event:  # The columns that every event has
        "Number and date an event; the caller holds the lock."
        now = datetime.now(UTC)
        # the log's order, also where the clock was set back: the time, or one more than the newest number
        self._last = max(self._last + 1, int(now.timestamp() * 1_000_000))
        origin = {"pipeline_name": self.pipeline_name, "update_id": self.update_id}
        if flow_name:
            origin["flow_name"] = flow_name
        if dataset_name:
            origin["dataset_name"] = str(dataset_name)
        return {
            "id": str(uuid.uuid4()),
            "sequence": _json_column({"control_plane_seq_no": self._last}),
            "origin": _json_column(origin),
            "timestamp": now,
        }

    def _call_listener(
        self,
        event: Event,  # The event just recorded
    ) -> None:
        "Call the listener; one that fails is not called again, and the update goes on."
        if self.listener is None:
            return
        try:
            self.listener(event)
        except Exception as error:
            self.listener = None
            message = f"The listener of this log failed and was removed: {error}"
            self.record("user_action", message, "WARN", error=error)


def _json_column(
    value: Any,  # Any value of plain Python; anything else becomes its text
) -> str:  # JSON
    "Write JSON as the log's text columns have it."
    return json.dumps(value, ensure_ascii=False, default=str)


def _arrow_events(
    events: Sequence[Event],  # Events
) -> "pa.Table":
    "Give the events the column types of the log."
    import pyarrow as pa

    types = {name: pa.timestamp("us", tz="UTC") if name == "timestamp" else pa.string() for name in COLUMNS}
    return pa.Table.from_pylist(list(events), schema=pa.schema(list(types.items())))
