"""An update as it runs: a live table in a terminal, plain lines in a pipe, JSON for a program.

All are drawn from events of the event log alone. What an update did in the end is drawn from its result.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cdc_local.delta.rows import format_count, format_json
from cdc_local.reports.events import event_text
from cdc_local.reports.tables import STATUS_STYLES, format_number, plain_table
from cdc_utils.results import ENDED_FLOW_STATUSES, ExpectationCount, FlowResult, UpdateResult

_STARTED_STATUSES = ("PLANNING", "STARTING", "RUNNING", *ENDED_FLOW_STATUSES)

# State of an update -> what it does before its flows run
_STEPS = {
    "INITIALIZING": "Analysing",
    "SETTING_UP_TABLES": "Setting up tables",
}

_ROW_METRICS = ("num_output_rows", "num_upserted_rows", "num_deleted_rows")


@dataclass
class FlowState:
    "What the events so far say of one flow."

    name: str  # The flow
    dataset: str = ""  # What it fills
    status: str = "QUEUED"  # Its newest status
    metrics: dict[str, int] = field(default_factory=dict)  # Rows so far, by metric
    read: int | None = None  # Rows read so far
    dropped: int = 0  # Rows that an expectation dropped
    started: datetime | None = None  # When it left the queue
    ended: datetime | None = None  # When it ended

    def add(
        self,
        event: dict[str, Any],  # A `flow_progress` event
    ) -> None:
        "Take in an event: rows are of one micro-batch and are added up, `num_input_rows` is a total already."
        progress = json.loads(event["details"]).get("flow_progress") or {}
        metrics = progress.get("metrics") or {}
        self.status = progress.get("status") or self.status
        if self.started is None and self.status in _STARTED_STATUSES:
            self.started = event["timestamp"]
        if self.ended is None and self.has_ended():
            self.ended = event["timestamp"]
        for metric in _ROW_METRICS:
            if metrics.get(metric) is not None:
                self.metrics[metric] = self.metrics.get(metric, 0) + metrics[metric]
        self.read = metrics.get("num_input_rows", self.read)
        self.dropped += (progress.get("data_quality") or {}).get("dropped_records") or 0

    def has_ended(self) -> bool:
        "Whether it does nothing more."
        return self.status in ENDED_FLOW_STATUSES

    def rows(self) -> int | None:  # None where no event gave a number
        "How many rows it wrote, or merged."
        if "num_output_rows" in self.metrics:
            return self.metrics["num_output_rows"]
        merged = [self.metrics[metric] for metric in _ROW_METRICS[1:] if metric in self.metrics]
        return sum(merged) if merged else None

    def seconds(
        self,
        now: datetime,  # Clock for a flow that still runs
    ) -> float | None:  # None for one that has not begun
        "How long it ran."
        if self.started is None:
            return None
        return max(((self.ended or now) - self.started).total_seconds(), 0)


class UpdateProgress:
    "Shows an update while it runs; give `show_event` to whatever sends its events."

    def __init__(
        self,
        console: Console,  # Where to show it
        style: str = "auto",  # `live`, `lines`, `json`, `quiet`; `auto` is live in a terminal, else lines
    ) -> None:
        self.console = console
        self.style = ("live" if console.is_terminal else "lines") if style == "auto" else style
        self.flows: dict[str, FlowState] = {}
        self._live: Live | None = None
        self._step = Spinner("dots", "Starting", style="cyan")
        self._files = ""  # How many source files there are
        self._began: datetime | None = None  # When the first event came
        self._newest: datetime | None = None  # When the newest one came

    def __enter__(self) -> Self:
        if self.style == "live":
            self._live = Live(
                console=self.console, refresh_per_second=8, transient=True, get_renderable=self.render
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def seconds(self) -> float | None:  # None where no event came
        "How long the update took, by its events."
        if self._began is None or self._newest is None:
            return None
        return (self._newest - self._began).total_seconds()

    def render(self) -> RenderableType:
        "What a terminal shows now: the step that the update is at, or a table of its flows."
        return self.table() if self.flows else self._step

    def table(self) -> Table:
        "Make a table of the flows as they are now."
        return flows_table(self.flows.values(), datetime.now(UTC))

    def show_event(
        self,
        event: dict[str, Any],  # An event, as the log has it
    ) -> None:
        "Show what an event changes."
        if self.style == "json":
            print(format_json(event), file=self.console.file, flush=True)
            return
        self._began, self._newest = self._began or event["timestamp"], event["timestamp"]
        details = json.loads(event["details"] or "{}")
        self._note_step(details)
        flow = json.loads(event["origin"]).get("flow_name")
        status_before = self.flows[flow].status if flow in self.flows else "QUEUED"
        if event["event_type"] == "flow_progress" and flow:
            self._add_to_flow(flow, event)
        if self.style == "lines":
            self._print_line(event, self.flows.get(flow), status_before)
        elif self.style == "live":
            self._print_warning(event, details)

    def _note_step(
        self,
        details: dict[str, Any],  # Of an event
    ) -> None:
        "Note what the update does while no flow runs."
        if files := (details.get("create_update") or {}).get("source_files"):
            self._files = f" {format_count(files, 'source file')}"
        update = details.get("update_progress") or {}
        if update.get("engine"):
            self._step.update(text=f"Starting {update['engine'].capitalize()}")
        elif step := _STEPS.get(update.get("state", "")):
            self._step.update(text=step + (self._files if step == "Analysing" else ""))

    def _add_to_flow(
        self,
        flow: str,  # Name of the flow
        event: dict[str, Any],  # A `flow_progress` event
    ) -> None:
        "Add an event to what is known of its flow."
        dataset = json.loads(event["origin"]).get("dataset_name") or ""
        self.flows.setdefault(flow, FlowState(flow, dataset)).add(event)

    def _print_line(
        self,
        event: dict[str, Any],  # The event
        state: FlowState | None,  # Its flow, if it has one
        status_before: str,  # The flow's status before this event
    ) -> None:
        """Print a line for the update's steps, for warnings and errors, and where a flow begins or ends. What
        failed is printed at the end."""
        if event["event_type"] == "update_progress":
            line = event["message"]
        elif event["level"] != "INFO" and not (state and state.status == "FAILED"):
            line = f"{event['level']}: {event_text(event)}"
        elif event["event_type"] == "create_update":
            line = event["message"]
        elif state is None or state.status == status_before:
            return
        elif state.status == "RUNNING" or state.has_ended():
            line = _flow_line(state, event["timestamp"])
        else:
            return
        print(line.rstrip(), file=self.console.file, flush=True)

    def _print_warning(
        self,
        event: dict[str, Any],  # The event
        details: dict[str, Any],  # Its details
    ) -> None:
        """Print above the live table a warning, or why Spark runs the update; what failed is printed at the
        end."""
        names_engine = "engine" in (details.get("update_progress") or {})
        is_failure = event["level"] == "ERROR" and event["event_type"] in ("update_progress", "flow_progress")
        if names_engine or event["level"] != "INFO" and not is_failure:
            self.console.print(Text(event_text(event), STATUS_STYLES.get(event["level"], "")))


def _flow_line(
    state: FlowState,  # A flow that began or ended
    now: datetime,  # When
) -> str:
    "Write a line for a flow: name and status, and what it did once it has ended."
    rows, numbers = state.rows(), []
    if rows is not None:
        numbers.append(format_count(rows, "row"))
    if state.dropped:
        numbers.append(f"{format_number(state.dropped)} dropped")
    if state.status != "SKIPPED":
        numbers.append(f"{format_number(state.seconds(now), 1)} s")
    what_it_did = ", ".join(numbers) if state.has_ended() else ""
    return f"{flow_label(state.name, state.dataset):<32} {state.status:<10} {what_it_did}"


def flow_label(
    name: str,  # Name of a flow
    dataset: str,  # Full name of what it fills
) -> str:  # Its own name; of a flow that has none, its table's without catalog and schema
    "Choose what to call a flow."
    return name.rsplit(".", 1)[-1] if name == str(dataset) else name


def flows_table(
    states: Iterable[FlowState],  # Flows, in the order to show
    now: datetime,  # Clock for those that run
) -> Table:  # One line a flow
    "Make a table of the flows of an update that runs."
    states = list(states)
    merges = any(metric in state.metrics for state in states for metric in _ROW_METRICS[1:])
    reads = any(state.read is not None for state in states)
    columns = [
        "Flow",
        "Status",
        *([">Read"] if reads else []),
        ">Rows",
        *([">Upserted", ">Deleted"] if merges else []),
        ">Dropped",
        ">Seconds",
    ]
    return plain_table("", columns, [_flow_cells(state, reads, merges, now) for state in states])


def _flow_cells(
    state: FlowState,  # A flow
    reads: bool,  # Whether there is a column for rows read
    merges: bool,  # Whether there are columns for rows upserted and deleted
    now: datetime,  # Clock for a flow that runs
) -> list[str]:
    "Write the line of a flow; what was merged is not shown twice."
    written = state.metrics.get("num_output_rows") if merges else state.rows()
    merged = [format_number(state.metrics.get(metric)) for metric in _ROW_METRICS[1:]] if merges else []
    return [
        flow_label(state.name, state.dataset),
        state.status,
        *([format_number(state.read)] if reads else []),
        format_number(written),
        *merged,
        format_number(state.dropped or None),
        format_number(state.seconds(now), 1),
    ]


def result_table(
    flows: Iterable[FlowResult],  # Flows of an update that has ended
) -> Table:  # One line a flow
    "Make a table of what each flow did."
    columns = ("Flow", "Status", ">Rows", ">Upserted", ">Deleted", ">Dropped", ">Seconds")
    rows = [
        (
            flow_label(flow.name, flow.dataset),
            flow.status,
            *(format_number(getattr(flow, metric)) for metric in _ROW_METRICS),
            format_number(flow.dropped_records or None),
            format_number(flow.seconds, 1),
        )
        for flow in flows
    ]
    return plain_table("", columns, rows)


def summarize_result(
    result: UpdateResult,  # What an update did
    seconds: float | None,  # How long it took, where that is known
) -> str:  # Its id and state; of one that completed the rows and tables that it wrote
    "Write the last line of an update."
    line = f"Update {result.update_id} is {result.state}"
    if result.state == "COMPLETED" and result.flows:
        rows = count_written(result.flows)
        written = f"{format_count(sum(rows.values()), 'row')} into {format_count(len(rows), 'table')}"
        line += f": {written if rows else 'nothing new'}"
    return line + (f", {format_number(seconds, 1)} s." if seconds is not None else ".")


def count_written(
    flows: Iterable[FlowResult],  # Flows of an update
) -> dict[str, int]:  # Table -> rows that it took, upserted or deleted; only those that took some
    "Count the rows that flows brought."
    rows: dict[str, int] = {}
    for flow in flows:
        merged = (flow.num_upserted_rows or 0) + (flow.num_deleted_rows or 0)
        table = str(flow.dataset).rsplit(".", 1)[-1]
        rows[table] = rows.get(table, 0) + (flow.num_output_rows or merged)
    return {table: count for table, count in rows.items() if count}


def expectations_table(
    counts: Iterable[ExpectationCount],  # Expectations of an update
) -> Table:  # One line an expectation
    "Make a table of how many rows passed and failed each expectation."
    rows = [
        (
            str(count.dataset).rsplit(".", 1)[-1],
            count.name,
            format_number(count.passed_records),
            format_number(count.failed_records),
        )
        for count in counts
    ]
    return plain_table("Expectations", ("Dataset", "Expectation", ">Passed", ">Failed"), rows)
