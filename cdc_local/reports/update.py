"""An update as it runs: a live table in a terminal, plain lines in a pipe, JSON for a program."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc_local.delta.reader import Rows, cell_text, json_text

PIPE_WIDTH = 100  # Columns of text where no terminal tells its width


def make_console(
    file=None,  # Where to write; standard output by default
) -> Console:  # A console with colours for a terminal, without for anything else
    "A console for this output."
    file = sys.stdout if file is None else file
    terminal = file.isatty()
    width = None if terminal or os.environ.get("COLUMNS") else PIPE_WIDTH
    return Console(
        file=file,
        width=width,
        force_terminal=terminal,
        no_color=None if terminal else True,
        highlight=False,
        soft_wrap=False,
        force_jupyter=False,
    )


ENDED_STATUSES = (
    "COMPLETED",
    "SKIPPED",
    "FAILED",
    "STOPPED",
    "EXCLUDED",
)  # Statuses after which nothing more happens

METRICS = ("num_output_rows", "num_upserted_rows", "num_deleted_rows")


@dataclass
class FlowState:
    "What the events have told of one flow."

    name: str  # The flow
    dataset: str = ""  # What it fills
    status: str = "QUEUED"  # Its newest status
    metrics: dict[str, int] = field(default_factory=dict)  # Rows so far, by metric
    read: int = None  # Rows read so far
    dropped: int = 0  # Rows that an expectation dropped
    started: datetime = None  # When it left the queue
    ended: datetime = None  # When it ended

    def rows(self) -> int | None:  # Rows written; None where nothing was said
        "Rows that came out, or that were merged."
        told = [self.metrics.get(metric) for metric in METRICS]
        return (
            told[0]
            if told[0] is not None
            else None
            if told[1:] == [None, None]
            else sum(filter(None, told[1:]))
        )

    def seconds(self, now: datetime) -> float | None:
        "How long it ran, up to now if it still runs."
        return None if self.started is None else max(((self.ended or now) - self.started).total_seconds(), 0)


def update_flow(
    state: FlowState,  # What is known; changed in place
    event: dict,  # A `flow_progress` event
) -> None:
    "Add what an event tells."
    progress = json.loads(event["details"]).get("flow_progress") or {}
    status = progress.get("status") or state.status
    if state.started is None and status in ("PLANNING", "STARTING", "RUNNING", *ENDED_STATUSES):
        state.started = event["timestamp"]
    if status in ENDED_STATUSES and state.ended is None:
        state.ended = event["timestamp"]
    state.status = status
    for metric, rows in (progress.get("metrics") or {}).items():
        if metric in METRICS and rows is not None:
            state.metrics[metric] = state.metrics.get(metric, 0) + rows
    state.read = (progress.get("metrics") or {}).get("num_input_rows", state.read)
    state.dropped += (progress.get("data_quality") or {}).get("dropped_records") or 0


STATUS_STYLES = {
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "STARTING": "cyan",
    "PLANNING": "cyan",
    "FAILED": "bold red",
    "STOPPED": "yellow",
    "CANCELED": "yellow",
    "SKIPPED": "dim",
    "EXCLUDED": "dim",
    "QUEUED": "dim",
    "ERROR": "bold red",
    "WARN": "yellow",
}


def plain_table(
    title: str = "",  # Shown above, where there is one
    columns: Iterable[str] = (),  # Headings; one that starts with `>` is right-aligned
    rows: Iterable = (),  # One sequence of texts a row
) -> Table:  # A rich table that folds long texts: nothing is cut off
    "A table in the one style of this program."
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        min_width=len(title) or None,
    )
    for heading in columns:
        table.add_column(
            Text(heading.lstrip(">")), justify="right" if heading.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(
            *(
                cell if isinstance(cell, Text) else Text(str(cell), STATUS_STYLES.get(str(cell), ""))
                for cell in row
            )
        )
    return table


def format_number(
    value: int | float | None,  # A count, or seconds
    decimals: int = 0,  # Digits after the point
) -> str:  # Empty for None
    "Write a number for the eye."
    return "" if value is None else f"{value:,.{decimals}f}"


def flow_label(
    name: str,  # Name of a flow
    dataset: str,  # Full name of what it fills
) -> str:  # What to call it
    "Call a flow by its own name, or by its table's."
    return name.rsplit(".", 1)[-1] if name == str(dataset) else name


def flows_table(
    states: Iterable[FlowState],  # Flows, in the order to show
    now: datetime,  # Clock for those that run
) -> Table:  # One line per flow
    "The flows of an update."
    states = list(states)
    merges = any(state.metrics.get(metric) is not None for state in states for metric in METRICS[1:])
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

    def line(state):
        merged = [format_number(state.metrics.get(metric)) for metric in METRICS[1:]] if merges else []
        written = state.metrics.get("num_output_rows") if merges else state.rows()
        return (
            flow_label(state.name, state.dataset),
            state.status,
            *([format_number(state.read)] if reads else []),
            format_number(written),
            *merged,
            format_number(state.dropped or None),
            format_number(state.seconds(now), 1),
        )

    return plain_table("", columns, map(line, states))


def expectations_table(
    counts: Iterable,  # Objects with `dataset`, `name`, `passed_records`, `failed_records`
) -> Table:  # One line per expectation
    "What each expectation passed and failed."
    lines = [
        (
            str(count.dataset).rsplit(".", 1)[-1],
            count.name,
            format_number(count.passed_records),
            format_number(count.failed_records),
        )
        for count in counts
    ]
    return plain_table("Expectations", ("Dataset", "Expectation", ">Passed", ">Failed"), lines)


NARROWEST = 12  # Columns of text that a value wants at least, if it has them


def has_room(
    rows: Rows,  # Rows of a table
    width: int,  # Columns of the console
) -> bool:  # Whether a table of them can be read
    "Is there room for every column?"

    def wanted(place, name):
        return max([len(name), *(min(len(cell_text(row[place])), NARROWEST) for row in rows.values)])

    return sum(wanted(place, name) + 2 for place, name in enumerate(rows.columns)) <= width


def rows_table(
    rows: Rows,  # Rows of a table
    width: int,  # Columns of the console
    title: str = "",  # Shown above
) -> Table:  # One line per row, or one per value where the rows are too wide
    "Rows for the eye."

    def cell(value):
        return Text(cell_text(value), "dim" if value is None else "")

    if has_room(rows, width):
        numeric = [
            any(
                isinstance(row[place], (int, float)) and not isinstance(row[place], bool)
                for row in rows.values
            )
            for place in range(len(rows.columns))
        ]
        return plain_table(
            title,
            [(">" if right else "") + name for name, right in zip(rows.columns, numeric)],
            ([cell(value) for value in row] for row in rows.values),
        )
    table = plain_table(title, ("Row", "Column", "Value"))
    for place, row in enumerate(rows.values, 1):
        for column, (name, value) in enumerate(zip(rows.columns, row)):
            table.add_row(
                "" if column else str(place), Text(name), cell(value), end_section=column == len(row) - 1
            )
    return table


def event_note(
    event: dict,  # An event
) -> str:  # Its message, with its numbers and its error
    "What an event says, in one text."
    progress = json.loads(event["details"] or "{}").get("flow_progress") or {}
    told = [
        f"{name.removeprefix('num_').replace('_', ' ')} {format_number(rows)}"
        for name, rows in (progress.get("metrics") or {}).items()
        if rows is not None
    ]
    quality = progress.get("data_quality") or {}
    if quality.get("dropped_records"):
        told.append(f"dropped {format_number(quality['dropped_records'])}")
    failed = [
        f"{found['name']} failed {format_number(found['failed_records'])}"
        for found in quality.get("expectations") or ()
        if found.get("failed_records")
    ]
    errors = [
        found["message"]
        for found in json.loads(event["error"] or "{}").get("exceptions") or ()
        if found["message"] not in event["message"]
    ]
    return "\n".join(filter(None, [event["message"], ", ".join(told + failed), *errors[:1]]))


def events_table(
    events: Iterable[dict],  # Events of the log, oldest first
) -> Table:  # One line per event
    "The event log for the eye; times are UTC."

    def line(event):
        return cell_text(event["timestamp"])[:19], event["level"], event["event_type"], event_note(event)

    return plain_table("", ("Time (UTC)", "Level", "Event", "Message"), map(line, events))


def event_json(
    event: dict,  # An event
) -> str:  # One JSON object: the log's columns, those that hold JSON as text
    "An event for a program."
    return json_text(event)


class Progress:
    "A listener of the event log that shows an update while it runs."

    def __init__(
        self,
        console: Console,  # Where to show it
        style: str = "auto",  # `live`, `lines`, `json`, `quiet`; `auto` is live in a terminal, else lines
    ):
        self.console = console
        self.style = ("live" if console.is_terminal else "lines") if style == "auto" else style
        self.flows, self._live = {}, None

    def __enter__(self):
        if self.style == "live":
            from rich.live import Live

            self._live = Live(
                console=self.console, refresh_per_second=4, transient=True, get_renderable=self.table
            )
            self._live.start()
        return self

    def __exit__(self, *_):
        if self._live:
            self._live.stop()

    def table(self) -> Table:  # The flows as they are now
        "The live table."
        from datetime import timezone

        return flows_table(self.flows.values(), datetime.now(UTC))

    def __call__(
        self,
        event: dict,  # An event, as the log records it
    ) -> None:
        "Take an event, and show what changed."
        if self.style == "json":
            return print(event_json(event), file=self.console.file, flush=True)
        origin = json.loads(event["origin"])
        flow, before = origin.get("flow_name"), None
        if event["event_type"] == "flow_progress" and flow:
            state = self.flows.setdefault(flow, FlowState(flow, origin.get("dataset_name") or ""))
            before = state.status
            update_flow(state, event)
        if self.style == "lines":
            _print_line(self, event, self.flows.get(flow), before)
        elif (
            self.style == "live"
            and event["level"] != "INFO"
            and not (event["event_type"] == "update_progress" and event["error"])
        ):
            self.console.print(Text(event_note(event), STATUS_STYLES.get(event["level"], "")))


def _print_line(
    progress: Progress,  # Where to show it
    event: dict,  # The event
    state: FlowState | None,  # Its flow, if it has one
    before: str | None,  # The flow's status before this event
) -> None:
    "Print what is news."
    if event["event_type"] == "update_progress":
        text = event["message"]  # its error is told at the end
    elif event["level"] != "INFO":
        text = f"{event['level']}: {event_note(event)}"
    elif event["event_type"] == "create_update":
        text = event["message"]
    elif state is None or state.status == before or state.status not in ("RUNNING", *ENDED_STATUSES):
        return
    else:
        rows = state.rows()
        told = [f"{format_number(rows)} rows"] if rows is not None else []
        told += [f"{format_number(state.dropped)} dropped"] if state.dropped else []
        told += (
            [f"{format_number(state.seconds(event['timestamp']), 1)} s"]
            if state.status in ENDED_STATUSES and state.status != "SKIPPED"
            else []
        )
        text = f"{flow_label(state.name, state.dataset):<32} {state.status:<10} {', '.join(told) if state.status in ENDED_STATUSES else ''}"
    print(text.rstrip(), file=progress.console.file, flush=True)


def result_table(
    flows: Iterable,  # Objects with `name`, `dataset`, `status`, the three metrics, `dropped_records` and `seconds`
) -> Table:  # One line per flow
    "The flows of a finished update."
    columns = ("Flow", "Status", ">Rows", ">Upserted", ">Deleted", ">Dropped", ">Seconds")

    def line(flow):
        return (
            flow_label(flow.name, flow.dataset),
            flow.status,
            *(format_number(getattr(flow, metric)) for metric in METRICS),
            format_number(flow.dropped_records or None),
            format_number(flow.seconds, 1),
        )

    return plain_table("", columns, map(line, flows))
