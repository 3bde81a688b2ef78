"""Values of YAML files that know the line where each stands, so that an error can name it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from cdc_local.errors import Location, UsageError

ValuePath = tuple[str | int, ...]  # Keys and list positions: ("resources", "jobs", "daily", "tasks", 0)

_ENTRY_KEYS = {  # List -> the key that names its entries
    "tasks": "task_key",
    "environments": "environment_key",
    "parameters": "name",
    "job_clusters": "job_cluster_key",
}


class BundleError(UsageError):
    "Something in a bundle that Databricks would refuse: where, what, what to do."


@dataclass(frozen=True)
class LocatedValues:
    "Values of one or several YAML files, and the line where each stands."

    values: Any  # Dicts, lists, strings, numbers, booleans, None
    locations: Mapping[ValuePath, Location] = field(default_factory=dict)  # Of each value, by its path

    def part(
        self,
        *path: str | int,  # Keys and list positions from the root of these values
    ) -> LocatedValues:  # Its values are None where there is no such part
        "Take the part at a path."
        values = self.values
        for key in path:
            values = _child(values, key)
        below = {
            position[len(path) :]: location
            for position, location in self.locations.items()
            if position[: len(path)] == path
        }
        return LocatedValues(values, below)

    def location(
        self,
        *path: str | int,  # Keys and list positions from the root of these values
    ) -> Location:
        "Find where a value stands, or the nearest thing around it."
        around = (path[:length] for length in range(len(path), -1, -1))
        return next(
            (self.locations[part] for part in around if part in self.locations),
            Location("databricks.yml"),
        )

    def overlay(
        self,
        later: LocatedValues,  # What decides where both have a value
        key: str | int = "",  # Key of the two: some lists are put together by the names of their entries
    ) -> LocatedValues:
        "Lay later values over these: mappings are put together, other values replaced."
        if isinstance(self.values, dict) and isinstance(later.values, dict):
            return merge_parts(self._overlaid_entries(later), self.location())
        if isinstance(self.values, list) and isinstance(later.values, list) and key in _ENTRY_KEYS:
            return self._overlay_entries_by_name(later, _ENTRY_KEYS[str(key)])
        return later

    def _overlaid_entries(
        self,
        later: LocatedValues,  # A mapping, as these values are
    ) -> dict[str | int, LocatedValues]:  # Key -> part
        "Lay each entry of a mapping over the one of the same key."
        parts = {}
        for key in dict.fromkeys([*self.values, *later.values]):
            if key not in later.values:
                parts[key] = self.part(key)
            elif key not in self.values:
                parts[key] = later.part(key)
            else:
                parts[key] = self.part(key).overlay(later.part(key), key)
        return parts

    def _overlay_entries_by_name(
        self,
        later: LocatedValues,  # A list, as these values are
        key: str,  # What names the entries
    ) -> LocatedValues:
        "Lay each entry of a list over the one of the same name."
        earlier_entries, later_entries = self._entries_by_name(key), later._entries_by_name(key)
        merged = []
        for name in dict.fromkeys([*earlier_entries, *later_entries]):
            if name in earlier_entries and name in later_entries:
                merged.append(earlier_entries[name].overlay(later_entries[name]))
            else:
                merged.append(later_entries.get(name) or earlier_entries[name])
        together = merge_parts(dict(enumerate(merged)), self.location())
        return LocatedValues(list(together.values.values()), together.locations)

    def _entries_by_name(
        self,
        key: str,  # What names the entries
    ) -> dict[Any, LocatedValues]:  # One that is no mapping has a name of its own
        "List the entries of a list by their names."
        entries = {}
        for position, value in enumerate(self.values):
            name = value.get(key) if isinstance(value, dict) else ("", position)
            entries[name] = self.part(position)
        return entries


def _child(
    values: Any,  # A mapping, a list, or anything else
    key: str | int,  # A key or a position
) -> Any:  # None where there is none
    "Take one entry of a mapping or a list."
    if isinstance(values, dict):
        return values.get(key)
    if isinstance(values, list) and isinstance(key, int) and key < len(values):
        return values[key]
    return None


def merge_parts(
    parts: Mapping[Any, LocatedValues],  # Key -> part
    location: Location | None = None,  # Where the mapping stands
) -> LocatedValues:  # A mapping of them
    "Put parts below their keys."
    locations: dict[ValuePath, Location] = {} if location is None else {(): location}
    for key, part in parts.items():
        locations |= {(key, *path): found for path, found in part.locations.items()}
    return LocatedValues({key: part.values for key, part in parts.items()}, locations)


def read_yaml(
    path: Path,  # The file
    shown: str | None = None,  # What locations call it; its path by default
    keeps_dates: bool = False,  # Days and moments stay what they are; they become text by default
) -> LocatedValues:
    "Read a YAML file; `BundleError` at the line for one that is broken or gives a key twice."
    file, node = shown or str(path), _parse_yaml(path)
    if not node:
        return LocatedValues({}, {(): Location(file, 1)})
    locations: dict[ValuePath, Location] = {}
    values = _plain_values(node, file, locations, keeps_dates)
    return LocatedValues(values, locations)


def _parse_yaml(
    path: Path,  # The file
) -> Any:  # Values of ruamel.yaml, which know their lines
    "Parse a YAML file; raises what `read_yaml` raises."
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    try:
        return YAML(typ="rt").load(path.read_text())
    except FileNotFoundError:
        raise BundleError("there is no such file", Location(str(path))) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BundleError(
            f"{error.problem or error.context}".splitlines()[0],
            Location(str(path), mark.line + 1 if mark else 0),
            "mend the YAML",
        ) from None
    except UnicodeDecodeError as error:
        raise BundleError(f"it is no text: {error}", Location(str(path))) from None


def _plain_values(
    node: Any,  # What ruamel.yaml read, or a part of it
    file: str,  # The file, for locations
    locations: dict[ValuePath, Location],  # Gets the location of each value
    keeps_dates: bool,  # Whether days and moments stay what they are
    path: ValuePath = (),  # Path of the part
) -> Any:  # Dicts, lists, strings, numbers, booleans, None
    "Turn what was read into plain values, and note where each stands."
    if not isinstance(node, (Mapping, list)):
        return _plain_date(node) if keeps_dates and isinstance(node, date) else _plain_scalar(node)
    lines: Any = node.lc  # type: ignore[union-attr]  # of ruamel.yaml, which has no types for it
    locations.setdefault(path, Location(file, (lines.line or 0) + 1))
    for key, line in _entry_lines(node, lines):
        locations[*path, key] = Location(file, line + 1)
        if isinstance(node, Mapping) and not isinstance(key, str):
            raise BundleError(f"the key {key!r} is no text", locations[*path, key], "put it in quotes")
    entries = node.items() if isinstance(node, Mapping) else enumerate(node)
    plain = {key: _plain_values(value, file, locations, keeps_dates, (*path, key)) for key, value in entries}
    return plain if isinstance(node, Mapping) else list(plain.values())


def _entry_lines(
    node: Mapping[Any, Any] | list[Any],  # What ruamel.yaml read
    lines: Any,  # Its lines, as ruamel.yaml has them
) -> Iterable[tuple[Any, int]]:  # Key or position, and its line, counted from 0
    "Find the line of each entry."
    if isinstance(node, list):
        return [(position, lines.item(position)[0]) for position in range(len(node))]
    known = lines.data or {}  # which does not know what `<<` brings
    return [(key, lines.key(key)[0] if key in known else lines.line) for key in node]


def _plain_date(
    value: date,  # A day, or a moment of ruamel.yaml, which may be a subclass of datetime
) -> date:  # A plain one
    "Turn a day or a moment into a plain value."
    if not isinstance(value, datetime):
        return value
    return datetime.combine(value.date(), value.timetz())


def _plain_scalar(
    value: Any,  # A scalar of ruamel.yaml, which may be a subclass of int, float or str
) -> Any:  # None, or a plain bool, int, float or str
    "Turn a scalar into a plain value; other kinds, as dates, into text."
    if value is None or isinstance(value, bool):
        return value
    return next((kind(value) for kind in (int, float, str) if isinstance(value, kind)), str(value))
