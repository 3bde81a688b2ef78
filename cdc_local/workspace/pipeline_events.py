"""Events of a pipeline's updates, filtered and listed as the API does."""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cdc_local.update.event_log import read_events
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.pipeline_definitions import get_pipeline, list_pipeline_updates
from cdc_local.workspace.state import State

_CONDITION = re.compile(
    r"\s*(update_id|level|event_type|timestamp|id)\s*(=|>=|<=|>|<|in)\s*"
    r"(?:'([^']*)'|\(((?:\s*'[^']*'\s*,?)+)\))\s*",
    re.I,
)

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda value, other: bool(value == other),
    ">": lambda value, other: bool(value > other),
    "<": lambda value, other: bool(value < other),
    ">=": lambda value, other: bool(value >= other),
    "<=": lambda value, other: bool(value <= other),
    "in": lambda value, other: value in other,
}

_LARGEST_PAGE = 250  # Events

_STATE = re.compile(  # Of an update, in a message
    "CREATED|QUEUED|WAITING_FOR_RESOURCES|INITIALIZING|RESETTING|SETTING_UP_TABLES|RUNNING|STOPPING|COMPLETED"
    "|FAILED|CANCELED"
)


class _Condition(NamedTuple):
    "One condition of a filter."

    field: str  # Of an event, e.g. `level`
    compare: Callable[[Any, Any], bool]  # Called with the event's value, and with `value`
    value: Any  # A text, a list of texts, or a `datetime`


def _read_filter(
    text: str,  # e.g. `update_id = '7' AND level in ('ERROR', 'WARN')`
) -> list[_Condition]:  # All must be met
    "Read the filter of an events call; `CallError` for one that is not known here."
    if not text.strip():
        return []
    return [_read_condition(part) for part in re.split(r"\s+and\s+", text.strip(), flags=re.I)]


def _read_condition(text: str) -> _Condition:
    "Read one condition of a filter."
    match = _CONDITION.fullmatch(text)
    if not match:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"filter {text!r} is not known here; write e.g. update_id = '…' AND level in ('ERROR')"
            " AND timestamp > '…'",
        )
    field, sign, value, values = match.groups()
    value = re.findall(r"'([^']*)'", values) if values else value
    if (sign.lower() == "in") != isinstance(value, list):
        raise CallError("INVALID_PARAMETER_VALUE", f"filter {text!r} compares with {sign}")
    if field.lower() == "timestamp":
        value = _read_time(value)
    return _Condition(field.lower(), _COMPARISONS[sign.lower()], value)


def _read_time(
    text: Any,  # A time in ISO form; what comes of `in` is none
) -> datetime:  # In UTC where it names no zone
    "Read a time; `CallError` for one that is none."
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise CallError(
            "INVALID_PARAMETER_VALUE", f"{text!r} in a filter is no time; write e.g. 2026-01-31T12:00:00.000Z"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _is_ascending(
    order_by: str,  # `timestamp asc`, `timestamp desc`, or nothing
) -> bool:
    "Read the order of an events call: the newest first, unless `asc` is asked for; `CallError` for another."
    match = re.fullmatch(r"timestamp(?:\s+(asc|desc))?|", order_by.strip(), re.I)
    if not match:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"order_by {order_by!r} is not known here; write timestamp asc or timestamp desc",
        )
    return (match[1] or "desc").lower() == "asc"


class _Listing(NamedTuple):
    "A list of events, and where its next page begins: what a token has, which a client may send alone."

    filter: str  # As for `_read_filter`
    ascending: bool  # Whether the oldest event comes first
    last: int | None  # Number of the last event of the page before; None for the first page

    def token(self) -> str:  # Letters, digits, `-`, `_` and `=`
        "Write it as a page token."
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode()


def _read_token(
    token: str,  # What `_Listing.token` wrote
) -> _Listing:
    "Read a page token; `CallError` for one that is none."
    try:
        filter, ascending, last = json.loads(base64.urlsafe_b64decode(token.encode()))
        return _Listing(str(filter), bool(ascending), int(last))
    except (ValueError, TypeError):
        raise CallError(
            "INVALID_PARAMETER_VALUE", f"page_token {token!r} is none that this workspace gave"
        ) from None


def _describe_event(
    event: dict[str, Any],  # An event of the log
    pipeline_id: str,  # The pipeline
) -> dict[str, Any]:  # As the API answers
    "Describe an event of the log as the API shows it."
    view = {name: event[name] for name in ("id", "message", "level", "maturity_level", "event_type")}
    json_columns = ("sequence", "origin", "details", "error")
    view |= {name: json.loads(event[name]) for name in json_columns if event.get(name)}
    view["origin"] = {"pipeline_id": pipeline_id} | view["origin"]
    if event["event_type"] == "update_progress":
        view["message"] = _name_state(view)
    view["timestamp"] = event["timestamp"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return view


def _name_state(
    view: dict[str, Any],  # An `update_progress` event
) -> str:  # Its message
    "Say which state an update was in, where the message does not: the CLI looks for it in each."
    message: str = view["message"]
    if _STATE.search(message):
        return message
    state = view.get("details", {}).get("update_progress", {}).get("state", "INITIALIZING")
    return f"Update {view['origin'].get('update_id', '')[:8]} is {state}: {message}"


def list_events(
    state: State,  # The notes of updates
    pipeline_id: str,  # The pipeline
    filter: str = "",  # As for `_read_filter`
    order_by: str = "",  # `timestamp asc`; the newest first by default
    max_results: int = 25,  # At most `_LARGEST_PAGE`
    page_token: str = "",  # What the page before said; it has the filter and the order already
) -> dict[str, Any]:  # A page, as the API answers
    "List the events of a pipeline's updates; `CallError` for a filter or token that is not known."
    get_pipeline(state, pipeline_id)
    first = _Listing(filter, _is_ascending(order_by), None)
    listing = _read_token(page_token) if page_token else first
    conditions = _read_filter(listing.filter)
    update_ids = {update["update_id"] for update in list_pipeline_updates(state, pipeline_id)}
    views = [
        view
        for event in read_events(state.storage.event_log_path)
        for view in [_describe_event(event, pipeline_id)]
        if view["origin"].get("update_id") in update_ids and _meets(event, view, conditions)
    ]
    views.sort(key=_event_number, reverse=not listing.ascending)
    if listing.last is not None:
        views = [view for view in views if _follows(_event_number(view), listing.last, listing.ascending)]
    page = views[: min(max_results, _LARGEST_PAGE)]
    if len(views) > len(page):
        return {"events": page, "next_page_token": listing._replace(last=_event_number(page[-1])).token()}
    return {"events": page}


def _follows(number: int, last: int, ascending: bool) -> bool:
    "Whether an event comes after another one in a list."
    return number > last if ascending else number < last


def _meets(event: dict[str, Any], view: dict[str, Any], conditions: list[_Condition]) -> bool:
    "Whether an event meets every condition."
    values = event | {"update_id": view["origin"].get("update_id")}
    return all(condition.compare(values[condition.field], condition.value) for condition in conditions)


def _event_number(view: dict[str, Any]) -> int:
    "The number of an event, which orders events and marks where a page ends."
    return int(view["sequence"]["control_plane_seq_no"])
