"""*Updates*, *One update* and *One dataset of it*: what ran, what runs, and what came of it."""

from datetime import datetime
from typing import Any

from starlette.responses import Response

from cdc_local.pages.event_cache import EventCache, LoggedUpdate
from cdc_local.pages.flow_drawing import draw_flows
from cdc_local.pages.live import LivePart, follow, follow_list
from cdc_local.pages.page import Page, PageCall, PageNotFoundError
from cdc_local.pages.rendering import render, render_text
from cdc_local.pages.summaries import UpdateSummary, now, numbered_rules, summarize_update
from cdc_local.reports.events import event_text

_UPDATES_A_PAGE = 50

_EVENTS_OF_A_DATASET = 200


def find_update(
    cache: EventCache,  # The event log
    update_id: str,  # In full, its first letters, or `newest`
) -> LoggedUpdate:
    "Find an update; `PageNotFoundError` where there is none, or several."
    updates = cache.updates()
    if update_id in updates:
        return updates[update_id]
    found = [update for known, update in updates.items() if known.startswith(update_id)]
    if update_id == "newest":
        found = [one for one in updates.values() if summarize_update(one).is_update][:1]
    if len(found) == 1:
        return found[0]
    newest = ", ".join(known[:8] for known in list(updates)[:5])
    raise PageNotFoundError(
        f"The event log knows {len(found) or 'no'} update{'s' if len(found) > 1 else ''} {update_id[:80]!r}.",
        hint=f"the newest are {newest}" if newest else "nothing has run yet: `cdc run` or `cdc demo`",
    )


def show_updates(call: PageCall) -> Response:
    "List the updates, the newest first."
    return render("updates.html", site=call.site, **_list_updates(call))


def follow_updates(call: PageCall) -> Response:
    "Send the list after each change."
    return follow_list(call, "_updates.html", _list_updates)


def _list_updates(call: PageCall) -> dict[str, Any]:
    updates = list(call.site.cache.updates().values())
    first = call.number("from")
    shown = [summarize_update(update) for update in updates[first : first + _UPDATES_A_PAGE]]
    return {
        "updates": shown,
        "first": first,
        "total": len(updates),
        "next": first + _UPDATES_A_PAGE if len(updates) > first + _UPDATES_A_PAGE else None,
        "previous": max(first - _UPDATES_A_PAGE, 0) if first else None,
        "longest": max((one.seconds(now()) for one in shown), default=0),
        "now": now(),
    }


def show_update(call: PageCall) -> Response:
    "Show one update: its graph, its flows, its rules, its problems."
    summary = summarize_update(find_update(call.site.cache, call.text("update_id")))
    return render("update.html", site=call.site, **describe_update(summary, now()))


def follow_update(call: PageCall) -> Response:
    "Send the changing part of an update after each change, until it has ended."
    update_id = call.text("update_id")

    def draw() -> LivePart:
        summary = summarize_update(find_update(call.site.cache, update_id))
        return LivePart(
            render_text("_update.html", **describe_update(summary, now())), not summary.is_running
        )

    return follow(call.site, draw)


def describe_update(
    summary: UpdateSummary,  # An update
    at: datetime,  # Clock for what runs
    links: bool = True,  # Whether there are pages to lead to; not in a report
) -> dict[str, Any]:  # Values of the templates
    "Put together what the page of an update shows."
    return {
        "update": summary,
        "drawing": draw_flows(summary.datasets),
        "problems": [(event, event_text(event.raw)) for event in summary.problems],
        "has_errors": any(event.level == "ERROR" for event in summary.problems),
        "now": at,
        "links": links,
    }


def show_dataset(call: PageCall) -> Response:
    "Show what an update has to do with one dataset: rules, columns, definition, events."
    update = find_update(call.site.cache, call.text("update"))
    summary, name = summarize_update(update), call.text("name")
    if name not in summary.datasets:
        known = ", ".join(sorted(summary.datasets)[:20])
        raise PageNotFoundError(
            f"Update {summary.update_id[:8]} has no dataset {name[:200]!r}.", hint=f"it has {known}"
        )
    events = [event for event in update.events if event.origin.get("dataset_name") == name]
    dataset = summary.datasets[name]
    readers = sorted(one.name for one in summary.datasets.values() if name in one.inputs)
    return render(
        "dataset.html",
        site=call.site,
        update=summary,
        dataset=dataset,
        rules=list(numbered_rules(dataset)),
        readers=readers,
        events=[(event, event_text(event.raw)) for event in events[-_EVENTS_OF_A_DATASET:]],
        now=now(),
    )


PAGES: dict[str, Page] = {
    "/": show_updates,
    "/live/updates": follow_updates,
    "/updates/{update_id:path}": show_update,
    "/live/updates/{update_id:path}": follow_update,
    "/dataset": show_dataset,
}
