"""*Event log*: what happened, filtered by level, flow and update."""

from typing import Any

from starlette.responses import Response

from cdc_local.pages.event_cache import LoggedEvent
from cdc_local.pages.live import follow_list
from cdc_local.pages.page import Page, PageCall, PageNotFoundError
from cdc_local.pages.rendering import render
from cdc_local.pages.update_pages import find_update
from cdc_local.reports.events import event_text

_EVENTS_A_PAGE = 100

_LEVELS = ("INFO", "WARN", "ERROR")  # Each is more serious than the one before it


def show_events(call: PageCall) -> Response:
    "List events, the newest first."
    return render("events.html", site=call.site, **_list_events(call))


def follow_events(call: PageCall) -> Response:
    "Send the list after each change."
    return follow_list(call, "_events.html", _list_events)


def _list_events(call: PageCall) -> dict[str, Any]:
    "Choose the events that the address asks for."
    updates, update_id = call.site.cache.updates(), call.text("update")
    chosen = [find_update(call.site.cache, update_id)] if update_id else list(updates.values())
    events = sorted((event for update in chosen for event in update.events), key=lambda event: -event.number)
    flows = sorted({event.origin["flow_name"] for event in events if event.origin.get("flow_name")})
    level, flow = call.text("level", "INFO"), call.text("flow")
    if level not in _LEVELS:
        raise PageNotFoundError(f"Level {level[:20]!r} is none of {', '.join(_LEVELS)}.")
    found = [event for event in events if _is_wanted(event, level, flow)]
    first = call.number("from")
    wanted = {"level": level if level != "INFO" else "", "flow": flow, "update": update_id}
    return {
        "events": [(event, event_text(event.raw)) for event in found[first : first + _EVENTS_A_PAGE]],
        "total": len(found),
        "first": first,
        "size": _EVENTS_A_PAGE,
        "wanted": {name: value for name, value in wanted.items() if value},
        "levels": _LEVELS,
        "flows": flows,
        "updates": list(updates)[:200],
    }


def _is_wanted(event: LoggedEvent, level: str, flow: str) -> bool:
    is_serious = event.level not in _LEVELS or _LEVELS.index(event.level) >= _LEVELS.index(level)
    return is_serious and flow in ("", event.origin.get("flow_name"))


PAGES: dict[str, Page] = {"/events": show_events, "/live/events": follow_events}
