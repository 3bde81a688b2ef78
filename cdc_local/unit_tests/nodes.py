"""Values of a test file that know where they stand, and say what is wrong with them."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_local.bundles.located_values import LocatedValues, ValuePath, read_yaml
from cdc_local.errors import Location, UsageError
from cdc_local.source.user_errors import display_path


class UnitTestError(UsageError):
    "A mistake in a unit test itself: where, what, what to write instead."


@dataclass(frozen=True)
class Node:
    "A value of a test file, and where it stands."

    document: LocatedValues  # The whole file
    path: ValuePath  # Keys and list positions that lead to the value
    value: Any  # Dicts, lists, strings, numbers, booleans, dates, None

    @property
    def location(self) -> Location:
        "The line of the value."
        return self.document.location(*self.path)

    @property
    def key(self) -> str:
        "The key, or the position, that the value has in what holds it."
        return str(self.path[-1]) if self.path else "the file"

    def child(
        self,
        key: str | int,  # A key or a position that is there
    ) -> "Node":
        "Take one entry of a mapping or a list."
        return Node(self.document, (*self.path, key), self.value[key])

    def error(
        self,
        message: str,  # What is wrong
        hint: str = "",  # What to write instead
    ) -> UnitTestError:
        "Describe a mistake at this line."
        return UnitTestError(message, self.location, hint)

    def mapping(
        self,
        what: str,  # What the mapping describes, as `a test`
        allowed: Collection[str],  # Keys that it may have
        required: Collection[str] = (),  # Keys that it must have
    ) -> dict[str, "Node"]:  # Key -> entry
        "Read a mapping; `UnitTestError` for a key that is unknown or missing."
        if not isinstance(self.value, dict):
            raise self.error(f"{what} is {self.value!r}", f"write keys: {', '.join(allowed)}")
        for key in self.value:
            if key not in allowed:
                raise self.child(key).error(f"{what} has no key {key!r}", suggest(key, allowed))
        for key in required:
            if self.value.get(key) is None:
                raise self.error(f"{what} has no {key!r}", f"its keys are {', '.join(allowed)}")
        return {key: self.child(key) for key in self.value if self.value[key] is not None}

    def entries(self) -> list["Node"]:
        "Read a list; `UnitTestError` for anything else."
        if not isinstance(self.value, list):
            raise self.error(f"{self.key!r} is {self.value!r}", "write a list: one entry a line, after `- `")
        return [self.child(position) for position in range(len(self.value))]

    def text(self) -> str:
        "Read a text; `UnitTestError` for anything else."
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.error(f"{self.key!r} is {self.value!r}", "write a text")
        return self.value

    def texts(self) -> tuple[str, ...]:
        "Read one text or a list of them."
        return (
            tuple(entry.text() for entry in self.entries())
            if isinstance(self.value, list)
            else (self.text(),)
        )

    def pairs(self) -> dict[str, str]:
        "Read a mapping of names to values of any plain kind, as texts; true is `true`."
        if not isinstance(self.value, dict):
            raise self.error(f"{self.key!r} is {self.value!r}", "write name: value, one a line")
        texts = {key: str(value) for key, value in self.value.items()}
        return texts | {key: text.lower() for key, text in texts.items() if isinstance(self.value[key], bool)}

    def count(self) -> int:
        "Read a number of rows; `UnitTestError` for anything else."
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise self.error(f"{self.key!r} is {self.value!r}", "write a number of rows, 0 or more")
        return self.value

    def choice(
        self,
        allowed: Collection[str],  # What it may be
    ) -> str:
        "Read one of a few words."
        if self.value not in allowed:
            raise self.error(f"{self.key!r} is {self.value!r}", f"write one of: {', '.join(allowed)}")
        return str(self.value)


def read_document(
    path: Path,  # A test file
) -> Node:  # All of it
    "Read a YAML file; `UsageError` at the line of one that is broken or gives a key twice."
    document = read_yaml(path, display_path(str(path)), keeps_dates=True)
    return Node(document, (), document.values)


def suggest(
    wanted: str,  # What was written
    known: Iterable[str],  # What there is
) -> str:  # A hint
    "Name the nearest of what there is, and all of it."
    known = list(known)
    near = difflib.get_close_matches(wanted, known, 1)
    return (f"did you mean {near[0]}? " if near else "") + f"there is {', '.join(known) or 'none'}"
