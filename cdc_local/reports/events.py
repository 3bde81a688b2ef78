"""Events of the event log as text: what each says, and a table of them."""

import json
from collections.abc import Iterable
from typing import Any

from rich.table import Table

from cdc_local.delta.rows import format_cell
from cdc_local.reports.tables import format_number, plain_table


def event_text(
    event: dict[str, Any],  # An event, as the log has it
) -> str:  # Its message, its numbers, its error
    "Write what an event says, in one text."
    progress = json.loads(event["details"] or "{}").get("flow_progress") or {}
    numbers = [
        f"{name.removeprefix('num_').replace('_', ' ')} {format_number(rows)}"
        for name, rows in (progress.get("metrics") or {}).items()
        if rows is not None
    ]
    numbers += _quality_numbers(progress.get("data_quality") or {})
    errors = [
        exception["message"]
        for exception in json.loads(event["error"] or "{}").get("exceptions") or ()
        if exception["message"] not in event["message"]
    ]
    return "\n".join(filter(None, [event["message"], ", ".join(numbers), *errors[:1]]))


def _quality_numbers(
    quality: dict[str, Any],  # `data_quality` of an event
) -> list[str]:
    "Write how many rows were dropped, and how many failed each expectation."
    numbers = []
    if quality.get("dropped_records"):
        numbers.append(f"dropped {format_number(quality['dropped_records'])}")
    for expectation in quality.get("expectations") or ():
        if expectation.get("failed_records"):
            numbers.append(f"{expectation['name']} failed {format_number(expectation['failed_records'])}")
    return numbers


def events_table(
    events: Iterable[dict[str, Any]],  # Events of the log, oldest first
) -> Table:  # One line an event; times are UTC
    "Make a table of events."
    rows = (
        (format_cell(event["timestamp"])[:19], event["level"], event["event_type"], event_text(event))
        for event in events
    )
    return plain_table("", ("Time (UTC)", "Level", "Event", "Message"), rows)
