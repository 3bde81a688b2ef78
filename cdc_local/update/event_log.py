"""What an update did, row by row, in a Delta table with the columns that Databricks uses."""

import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timezone
from pathlib import Path

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

LEVELS = ("INFO", "WARN", "ERROR")  # From the least to the most serious


def describe_error(
    error: BaseException | str | None,  # What went wrong
) -> dict | None:  # `{"exceptions": [{"class_name", "message"}, …], "fatal": true}`; None for no error
    "Describe an exception and its causes as the event log does."
    if error is None:
        return None
    exceptions, seen = [], set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = type(error)
        class_name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        exceptions.append(
            {"class_name": "Exception" if isinstance(error, str) else class_name, "message": str(error)}
        )
        error = getattr(error, "__cause__", None)
    return {"exceptions": exceptions, "fatal": True}


def open_log(
    path: Path,  # Folder of the log
):  # The `DeltaTable`, or None before the first flush
    "Open the log's table."
    from deltalake import DeltaTable

    path = Path(path)
    return (
        DeltaTable(str(path))
        if (path / "_delta_log").is_dir() and DeltaTable.is_deltatable(str(path))
        else None
    )


def event_sequence(
    event: dict,  # An event
) -> int:  # Its place in the log
    "The number that orders events."
    return json.loads(event["sequence"])["control_plane_seq_no"]


def event_update(
    event: dict,  # An event
) -> str | None:  # `update_id` of its origin
    "The update that an event belongs to."
    return json.loads(event["origin"]).get("update_id")


def read_events(
    path: Path,  # Folder of the log
    limit: int = None,  # Keep this many of the newest; all by default
    update_id: str = None,  # Only events of this update
    level: str = None,  # Only events of this level or a more serious one: INFO, WARN, ERROR
    event_type: str = None,  # Only events of this type, e.g. `flow_progress`
) -> list[dict]:  # Events as dictionaries of the table's columns, the newest last
    "Read the log without a JVM; no log yet is no events."
    table = open_log(path)
    if table is None:
        return []
    if level is not None and level not in LEVELS:
        raise ValueError(f"level {level!r} is none of {', '.join(LEVELS)}")
    from deltalake import QueryBuilder

    batches = (
        QueryBuilder().register("log", table).execute(f"SELECT {', '.join(COLUMNS)} FROM log").read_all()
    )
    columns = [[value.as_py() for value in batches[name]] for name in COLUMNS]
    wanted = LEVELS[LEVELS.index(level) :] if level else None
    events = [dict(zip(COLUMNS, values)) for values in zip(*columns)]
    events = [
        event
        for event in events
        if (wanted is None or event["level"] in wanted)
        and (event_type is None or event["event_type"] == event_type)
        and (update_id is None or event_update(event) == update_id)
    ]
    events.sort(key=event_sequence)
    return events if limit is None else events[max(len(events) - limit, 0) :]


class EventLog:
    "The events of one update; flows of several threads may record at once."

    def __init__(
        self,
        path: Path,  # Folder of the log's Delta table; made by the first flush
        pipeline_name: str,  # Name of the pipeline
        update_id: str,  # Identifies the update
        listener: Callable[[dict], None] = None,  # Called with each event as it is recorded, in order
    ):
        self.path, self.pipeline_name, self.update_id, self.listener = (
            Path(path),
            pipeline_name,
            update_id,
            listener,
        )
        self._buffer, self._recording, self._flushing = [], threading.RLock(), threading.Lock()
        newest = read_events(self.path, limit=1)
        self._last = event_sequence(newest[0]) if newest else 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.flush()

    def record(
        self,
        event_type: str,  # e.g. `flow_progress`
        message: str,  # One sentence for a reader
        level: str = "INFO",  # INFO, WARN or ERROR
        flow_name: str = None,  # The flow it is about
        dataset_name: str = None,  # The dataset it is about
        details: dict = None,  # Machine-readable facts, `{event_type: {…}}`
        error: BaseException | str | None = None,  # What went wrong
    ) -> dict:  # The event, with the table's columns
        "Add an event; it reaches the disk with the next `flush`."
        if level not in LEVELS:
            raise ValueError(f"level {level!r} is none of {', '.join(LEVELS)}")
        described = describe_error(error)
        with self._recording:
            event = _next_event(
                self, {"flow_name": flow_name, "dataset_name": dataset_name and str(dataset_name)}
            )
            event |= {
                "message": str(message),
                "level": level,
                "maturity_level": "STABLE",
                "error": described and json_column(described),
                "details": json_column(details or {}),
                "event_type": event_type,
            }
            self._buffer.append(event)
            _tell(self, event)
        return event

    def flush(self) -> int:  # How many events were written
        "Append the collected events in one Delta commit; the first one creates the table."
        from deltalake import write_deltalake

        with self._flushing:
            with self._recording:
                pending = list(self._buffer)
            if not pending:
                return 0
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_deltalake(str(self.path), arrow_events(pending), mode="append")
            with self._recording:
                del self._buffer[: len(pending)]
        return len(pending)


def json_column(
    value,  # Any value of plain Python; anything else becomes its text
) -> str:  # JSON
    "Write JSON as the log's text columns hold it."
    return json.dumps(value, ensure_ascii=False, default=str)


def _next_event(
    log: EventLog,  # The log
    origin: dict,  # Names of the flow and dataset, where there are any
) -> dict:  # The columns that every event has
    "Number and date an event; the caller holds the lock."
    now = datetime.now(UTC)
    log._last = max(log._last + 1, int(now.timestamp() * 1_000_000))
    origin = {"pipeline_name": log.pipeline_name, "update_id": log.update_id} | {
        key: value for key, value in origin.items() if value
    }
    return {
        "id": str(uuid.uuid4()),
        "sequence": json_column({"control_plane_seq_no": log._last}),
        "origin": json_column(origin),
        "timestamp": now,
    }


def _tell(
    log: EventLog,  # The log
    event: dict,  # The event just recorded
) -> None:
    "Call the listener; one that fails is not called again, and the update goes on."
    if log.listener is None:
        return
    try:
        log.listener(event)
    except Exception as error:
        log.listener = None
        log.record(
            "user_action", f"The listener of this log failed and was removed: {error}", "WARN", error=error
        )


def arrow_events(
    events: list[dict],  # Events
):  # The same as a `pyarrow.Table`
    "Give the events the column types of the log."
    import pyarrow as pa

    types = {name: pa.timestamp("us", tz="UTC") if name == "timestamp" else pa.string() for name in COLUMNS}
    return pa.Table.from_pylist(events, schema=pa.schema(list(types.items())))
