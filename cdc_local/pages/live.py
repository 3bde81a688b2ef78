"""What changes while a page is open: server-sent events, each with the part of the page that is new.

The server looks at the sizes of two kinds of files, twice a second; a browser asks once.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import StreamingResponse

from cdc_local.errors import PipelineError
from cdc_local.pages.event_cache import EventCache
from cdc_local.pages.page import PageCall, Site
from cdc_local.pages.rendering import render_text

_PAUSE = 0.5  # Seconds between two looks

_QUIET = 30  # Looks without news after which a line says that the connection is alive


@dataclass(frozen=True)
class LivePart:
    "A part of a page as it is now."

    html: str  # What is in it
    is_last: bool = False  # Whether nothing more will change


def follow(
    site: Site,  # What there is to show
    draw: Callable[[], LivePart],  # Called after each change
) -> StreamingResponse:
    "Send a part of a page now and after each change, until it is the last one."
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    changes = _send_changes(site.cache, draw, site.stopping)
    return StreamingResponse(changes, media_type="text/event-stream", headers=headers)


def follow_list(
    call: PageCall,  # Asks for a list that always may grow
    template: str,  # Its template
    describe: Callable[[PageCall], dict[str, Any]],  # Gives what the template shows
) -> StreamingResponse:
    "Send a list now and after each change."
    return follow(call.site, lambda: LivePart(render_text(template, **describe(call))))


async def _send_changes(
    cache: EventCache,  # The event log
    draw: Callable[[], LivePart],  # Called after each change
    stopping: threading.Event,  # Set when the server ends
) -> AsyncIterator[str]:
    seen, quiet, sent = object(), 0, ""
    while not stopping.is_set():
        signature = await asyncio.to_thread(cache.signature)
        quiet += 1
        if signature != seen:
            seen = signature
            try:
                part = await asyncio.to_thread(draw)
            except PipelineError:
                seen = object()  # half-written: the next look finds it whole, or the page says what is wrong
                part = LivePart(sent)
            if part.html != sent:
                sent, quiet = part.html, 0
                yield _format_event("part", part.html)
            if part.is_last:
                yield _format_event("end", "")
                return
        if quiet >= _QUIET:
            quiet = 0
            yield ": still here\n\n"
        await asyncio.sleep(_PAUSE)


def _format_event(name: str, text: str) -> str:
    "Write a server-sent event."
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {name}\n{lines}\n"
