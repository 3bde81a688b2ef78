"""Templates, and how they write numbers, times and values."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from starlette.responses import HTMLResponse

from cdc_local.delta.rows import format_cell, format_count
from cdc_local.reports.tables import format_number
from cdc_utils import __version__

ROOM = Path(__file__).parent
LONGEST_CELL = 200  # Characters of a value that a table shows


def render(
    name: str,  # A template
    status: int = 200,  # Of the answer
    **values: Any,  # What it shows
) -> HTMLResponse:
    "Answer with a page of `values`."
    return HTMLResponse(render_text(name, **values), status)


def render_text(
    name: str,  # A template
    **values: Any,  # What it shows
) -> str:  # HTML; every value in it is escaped
    "Fill in a template with `values`."
    return environment().get_template(name).render(**values)


@cache
def environment() -> Environment:
    "Load the templates once."
    loaded = Environment(
        loader=FileSystemLoader([ROOM / "templates", ROOM / "static"]),
        autoescape=lambda name: name is None or not name.endswith((".md", ".css")),
        undefined=ChainableUndefined,  # the log of another version may say less
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "number": format_number,
        "count": format_count,
        "seconds": format_seconds,
        "moment": format_moment,
        "cell": format_short_cell,
        "part": quote_part,
        "table": short_name,
        "query": urlencode,
        "md": escape_markdown,
    }
    loaded.filters.update(filters)
    loaded.globals["version"] = __version__
    return loaded


def format_seconds(
    seconds: float | None,  # How long something took
) -> str:
    "Write a duration: 0.42 s, 12.3 s, 4 min 5 s, 2 h 10 min."
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def format_moment(
    moment: datetime | None,  # When something happened
) -> str:  # In UTC
    "Write a moment to the second."
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def format_short_cell(
    value: Any,  # A value of a row
    longest: int = LONGEST_CELL,  # Characters to show
) -> str:
    "Write a value for a table; of a long one its beginning and its length."
    if isinstance(value, (bytes, bytearray)):
        return f"{bytes(value[:24]).hex(' ')}{' …' if len(value) > 24 else ''} ({len(value):,} bytes)"
    text = format_cell(value)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"


def escape_markdown(
    text: object,  # A name, or a sentence
) -> str:  # On one line
    "Write a text for Markdown as it is: no mark-up, no HTML, no cell of a table ends in it."
    escaped = re.sub(r"([\\`*_\[\]<>#|!&])", r"\\\1", str(text))
    return " ".join(escaped.split())


def quote_part(
    text: object,  # Becomes one part of a path
) -> str:
    "Quote a part of an address."
    return quote(str(text), safe="")


def short_name(
    name: object,  # Of a table, a view or a flow
) -> str:  # Without catalog and schema
    "Write a table's own name."
    return str(name).rsplit(".", 1)[-1]
