"Events as an update records them, and what a pipe receives."

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def start():
    "When the first event happened."
    return START


@pytest.fixture
def flow_event():
    "Make an event of a flow."

    def make(flow, status, second, rows=None, dropped=None, read=None, **changes):
        progress = {"status": status, "metrics": {} if rows is None else {"num_output_rows": rows}}
        if read is not None:
            progress["metrics"]["num_input_rows"] = read
        if dropped is not None:
            progress["data_quality"] = {"dropped_records": dropped, "expectations": []}
        return {
            "event_type": "flow_progress",
            "origin": json.dumps({"flow_name": flow, "dataset_name": f"main.default.{flow}"}),
            "timestamp": START + timedelta(seconds=second),
            "level": "INFO",
            "message": f"Flow '{flow}' is {status}.",
            "error": None,
            "details": json.dumps({"flow_progress": progress}),
            **changes,
        }

    return make


@pytest.fixture
def failed(flow_event):
    "The event of a flow that failed."
    error = json.dumps({"exceptions": [{"class_name": "E", "message": "no column idd"}]})
    return flow_event("customers", "FAILED", 7, level="ERROR", error=error)


@pytest.fixture
def story(flow_event, failed, start):
    "Events of two flows, in their order."
    events = [
        flow_event("customers_cdc_clean", *rest)
        for rest in (
            ("QUEUED", 0),
            ("STARTING", 1),
            ("RUNNING", 2, 12_000, 240),
            ("RUNNING", 5, 7_500, 160),
            ("COMPLETED", 6),
        )
    ]
    return [*events, failed | {"timestamp": start}]


@pytest.fixture
def printed():
    "Print a table as a pipe receives it; its lines."

    def lines(table, width=100):
        file = io.StringIO()
        console = Console(
            file=file, width=width, force_terminal=False, no_color=True, highlight=False, force_jupyter=False
        )
        console.print(table)
        return [line.rstrip() for line in file.getvalue().splitlines()]

    return lines
