"""The line of the user's source that an error is about."""

import json
import re
from pathlib import Path

from cdc_local.errors import Location, PipelineError

_WIDEST_LINE = 200  # Letters of a line that are shown


def describe_place(
    error: PipelineError,  # With a location, or without one
) -> str:  # Lines of text; empty where the source cannot be read
    "Show the line that an error is about, what is wrong in it, and whose query it belongs to."
    place, lines = error.location, []
    text = read_line(place) if place is not None else None
    if place is not None and text is not None:
        begin, end = place.columns or (len(text) - len(text.lstrip()), len(text))
        number = f"{place.line:>5} | "
        lines += [number + text[:_WIDEST_LINE], " " * (len(number) - 2) + "| " + _underline(text, begin, end)]
    if error.query and lines:
        where = f" ({error.query_location})" if error.query_location not in (None, place) else ""
        lines.append(f"  in the query of {error.query}{where}")
    return "\n".join(lines)


def _underline(
    text: str,  # A line
    begin: int,  # First letter that is marked
    end: int,  # First letter after it
) -> str:
    "Write marks that stand below a part of a line, whose tabs stay tabs."
    space = "".join("\t" if letter == "\t" else " " for letter in text[:begin])
    return space + "^" * max(min(end, _WIDEST_LINE) - begin, 1)


def read_line(
    place: Location,  # A line of a file, or of a notebook's cell
) -> str | None:  # Its text; None where there is none
    "Read a line of source."
    name, _, cell = re.fullmatch(r"(.*?)(?: (cell) (\d+))?", place.file, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
        lines = ("".join(json.loads(text)["cells"][int(cell) - 1]["source"]) if cell else text).split("\n")
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return lines[place.line - 1].rstrip() if 0 < place.line <= len(lines) else None
