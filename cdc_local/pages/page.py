"""What a page is given, and what a function that answers one looks like."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.responses import Response

from cdc_local.errors import UsageError
from cdc_local.pages.event_cache import EventCache
from cdc_local.storage import Storage


class PageNotFoundError(UsageError):
    "Something that is asked for is not in the storage."


@dataclass
class Site:
    "What all pages show."

    storage: Storage  # Tables, and the event log
    stopping: threading.Event  # Set when the server ends
    cache: EventCache = field(init=False)  # The event log in memory

    def __post_init__(self) -> None:
        self.cache = EventCache(self.storage)


@dataclass(frozen=True)
class PageCall:
    "A page that is asked for."

    site: Site  # What there is to show
    values: Mapping[str, str]  # Parts of the path, and the query, by name
    path: str  # What was asked for

    def text(
        self,
        name: str,  # Which value
        default: str = "",  # Where it is missing
    ) -> str:
        "Read a value of the address."
        return self.values.get(name, default)

    def number(
        self,
        name: str,  # Which value
        default: int = 0,  # Where it is missing, or is no number
        most: int = 10**9,  # A larger one becomes this
    ) -> int:
        "Read a number that is not negative."
        text = self.values.get(name, "")
        return min(int(text), most) if text.isascii() and text.isdecimal() else default


Page = Callable[[PageCall], Response]  # Answers; raises `PageNotFoundError` or `PipelineError`
