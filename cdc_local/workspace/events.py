"""The events of a pipeline, as the API lists them."""

import json
import re
from datetime import UTC, datetime, timezone

from cdc_local.update.event_log import read_events
from cdc_local.workspace.definitions import get_pipeline
from cdc_local.workspace.files import CallError
from cdc_local.workspace.state import State

FILTER = re.compile(
    r"\s*(update_id|level|event_type|timestamp|id)\s*(=|>=|<=|>|<|in)\s*(?:'([^']*)'|\(((?:\s*'[^']*'\s*,?)+)\))\s*",
    re.I,
)  # One condition

COMPARE = {
    "=": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "in": lambda a, b: a in b,
}


def read_moment(
    text: str,  # A time in ISO form
) -> datetime:
    "Read a time, in UTC where it names no zone; `CallError` for one that is none."
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise CallError(
            "INVALID_PARAMETER_VALUE", f"{text!r} in a filter is no time; write e.g. 2026-01-31T12:00:00.000Z"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def read_filter(
    text: str,  # e.g. `update_id = '7' AND level in ('ERROR', 'WARN')`
) -> list[tuple]:  # Field, comparison, value
    "Read the filter of an events call; `CallError` for one that is not known here."
    found = []
    for part in re.split(r"\s+and\s+", text.strip(), flags=re.I) if text.strip() else ():
        condition = FILTER.fullmatch(part)
        if not condition:
            raise CallError(
                "INVALID_PARAMETER_VALUE",
                f"filter {part!r} is not known here; write e.g. update_id = '…' AND level in ('ERROR') AND timestamp > '…'",
            )
        field, sign, value, values = condition.groups()
        value = re.findall(r"'([^']*)'", values) if values else value
        if (sign.lower() == "in") != isinstance(value, list):
            raise CallError("INVALID_PARAMETER_VALUE", f"filter {part!r} compares with {sign}")
        if field.lower() == "timestamp":
            value = read_moment(value)
        found.append((field.lower(), COMPARE[sign.lower()], value))
    return found


def event_view(
    event: dict,  # An event of the log
    pipeline_id: str,  # The pipeline
) -> dict:  # As the API answers
    "An event of the log, as the API shows it."
    parsed = {
        name: json.loads(event[name])
        for name in ("sequence", "origin", "details", "error")
        if event.get(name)
    }
    parsed["origin"] = {"pipeline_id": pipeline_id} | parsed["origin"]
    stamp = event["timestamp"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return (
        {name: event[name] for name in ("id", "message", "level", "maturity_level", "event_type")}
        | parsed
        | {"timestamp": stamp}
    )


def list_events(
    state: State,  # Where updates are remembered
    pipeline_id: str,  # The pipeline
    filter: str = "",  # As for `read_filter`
    order_by: str = "",  # `timestamp asc`; the newest first by default
    max_results: int = 25,  # At most 250
    page_token: str = "",  # What the page before said
) -> dict:  # A page, as the API answers
    "Events of a pipeline's updates, from the event log."
    get_pipeline(state, pipeline_id)
    conditions, rising = read_filter(filter), order_by.strip().lower().endswith(" asc")
    mine = {each["update_id"] for each in state.all("updates") if each["pipeline_id"] == pipeline_id}
    events = read_events(state.storage.event_log_path)

    def known(event, view):
        return {**event, "update_id": view["origin"].get("update_id")}

    def number(view):
        return view["sequence"]["control_plane_seq_no"]

    pairs = [(known(event, view), view) for event in events for view in [event_view(event, pipeline_id)]]
    found = [
        view
        for event, view in pairs
        if event["update_id"] in mine
        and all(holds(event[field], value) for field, holds, value in conditions)
    ]
    found.sort(key=number, reverse=not rising)
    if page_token and not page_token.isdecimal():
        raise CallError(
            "INVALID_PARAMETER_VALUE", f"page_token {page_token!r} is none that this workspace gave"
        )
    if page_token:
        found = [
            view
            for view in found
            if (number(view) > int(page_token)) == rising and number(view) != int(page_token)
        ]
    page = found[: min(max_results, 250)]
    return {"events": page} | ({"next_page_token": str(number(page[-1]))} if len(found) > len(page) else {})
