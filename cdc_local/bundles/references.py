"""Fills in the references of a bundle: `${var.day}`, `${bundle.target}`, `${resources.jobs.daily.name}`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdc_local.bundles.field_types import scalar_text
from cdc_local.bundles.located_values import BundleError, LocatedValues, ValuePath
from cdc_local.errors import Location

_REFERENCE = re.compile(r"\$\{([a-zA-Z][\w-]*(?:\.[\w-]+|\[\d+\])*)\}")

_DEPLOYED_FIELDS = ("id", "url", "name", "storage_location", "full_name")  # That a deployment may give


@dataclass(frozen=True)
class References:
    "What the references of one bundle stand for."

    settings: LocatedValues  # The bundle for its target
    known: Mapping[str, Any]  # `bundle`, `workspace`, `var`
    open: tuple[str, ...] = ()  # References that are being filled in, the outermost first

    def fill_settings(self) -> LocatedValues:
        "Fill in the whole bundle; an error names the line of its reference."
        values = {key: value for key, value in self.settings.values.items() if key != "variables"}
        return LocatedValues(self._fill_part(values, ()), self.settings.locations)

    def _fill_part(
        self,
        value: Any,  # A part of the bundle
        path: ValuePath,  # Where it is in the bundle
    ) -> Any:
        "Fill in each value of a part, with its own location in case it is wrong."
        if isinstance(value, dict):
            return {key: self._fill_part(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._fill_part(item, (*path, position)) for position, item in enumerate(value)]
        return self.fill(value, self.settings.location(*path))

    def fill(
        self,
        value: Any,  # A value, with or without references
        location: Location,  # Where it stands
    ) -> Any:  # A text that is one reference becomes what it names: number, list, mapping
        "Fill in the references of a value; `BundleError` for one to nothing, and for a circle."
        if isinstance(value, dict):
            return {key: self.fill(item, location) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, location) for item in value]
        if not isinstance(value, str):
            return value
        reference = _REFERENCE.fullmatch(value)
        if reference:
            return self._look_up(reference[1], location)
        return _REFERENCE.sub(lambda part: scalar_text(self._look_up(part[1], location)), value)

    def _look_up(
        self,
        name: str,  # A reference, without `${` and `}`
        location: Location,  # Where it stands
    ) -> Any:  # What it names, filled in; the reference itself where only a deployment knows
        "Look a reference up; raises what `fill` raises."
        if name in self.open:
            raise BundleError(f"${{{name}}} refers to itself", location, " -> ".join([*self.open, name]))
        parts = re.findall(r"[\w-]+", name)
        if parts[0] == "resources":
            return self._look_up_resource(name, parts, location)
        if parts[:1] == ["variables"] and parts[2:] == ["value"]:
            parts = ["var", parts[1]]
        found = self.known if parts[0] in self.known else self.settings.values
        for part in parts:
            found = _entry(found, part)
            if found is None:
                raise BundleError(f"${{{name}}} refers to nothing", location, self._hint(parts))
        return self._inside(name).fill(found, location)

    def _look_up_resource(
        self,
        name: str,  # The reference
        parts: list[str],  # Its parts: `resources`, kind, key, field …
        location: Location,  # Where it stands
    ) -> Any:
        "Look up a field of a resource; `BundleError` where there is no such resource or field."
        found = self.settings.values.get("resources") or {}
        for part in parts[1:3]:
            found = (found or {}).get(part)
        if found is None or len(parts) < 4:
            raise BundleError(
                f"${{{name}}} refers to no resource of this bundle",
                location,
                "write ${resources.<kind>.<key>.<field>}",
            )
        for part in parts[3:]:
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            return self._inside(name).fill(found, location)
        if parts[3] in _DEPLOYED_FIELDS:
            return f"${{{name}}}"
        raise BundleError(f"${{{name}}}: the resource has no field {parts[3]}", location)

    def _inside(
        self,
        name: str,  # A reference that is being filled in
    ) -> "References":
        "The same references, which refuse to come back to this one."
        return References(self.settings, self.known, (*self.open, name))

    def _hint(
        self,
        parts: list[str],  # A reference to nothing
    ) -> str:
        "List what could have been meant."
        if parts[0] == "var":
            return f"variables are {', '.join(self.known['var'])}"
        return f"there are {', '.join([*self.known, 'resources'])}"


def _entry(
    values: Any,  # A mapping, a list, or anything else
    part: str,  # A key, or a position in digits
) -> Any:  # None where there is none
    "Take one entry that a part of a reference names."
    if isinstance(values, Mapping):
        return values.get(part)
    if isinstance(values, list) and part.isdigit() and int(part) < len(values):
        return values[int(part)]
    return None
