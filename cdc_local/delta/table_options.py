"""What the options of a table's reader ask for, and which versions of a table these are.

A commit's time is that of its file in the log, as for Delta Lake.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from deltalake import DeltaTable

from cdc_local.errors import PipelineError

LATEST = "latest"  # A `startingVersion`: what comes from now on

# Options that are obeyed on every engine; another one is left to the engine's own reader
_KNOWN = frozenset(
    {
        "readchangefeed",
        "readchangedata",
        "skipchangecommits",
        "startingversion",
        "startingtimestamp",
        "endingversion",
        "endingtimestamp",
    }
)


@dataclass(frozen=True)
class TableOptions:
    "The options of a table's reader, whose names have no case."

    given: Mapping[str, str]  # Name in lower case -> value

    @classmethod
    def of(
        cls,
        options: Mapping[str, Any] | None,  # As the author wrote them
    ) -> "TableOptions":
        "Read options; `PipelineError` for two that exclude each other."
        given = {name.lower(): str(value) for name, value in (options or {}).items()}
        for bound in ("starting", "ending"):
            if {f"{bound}version", f"{bound}timestamp"} <= given.keys():
                raise PipelineError(
                    f"{bound}Version and {bound}Timestamp are both given", hint="leave one of them out"
                )
        return cls(given)

    @property
    def reads_changes(self) -> bool:
        "Whether the change feed is asked for."
        return "true" in (self._flag("readchangefeed"), self._flag("readchangedata"))

    @property
    def skips_changes(self) -> bool:
        "Whether a stream is to pass over commits that change or delete rows."
        return self._flag("skipchangecommits") == "true"

    @property
    def is_known(self) -> bool:
        "Whether no option is the engine's own."
        return self.given.keys() <= _KNOWN

    def _flag(self, name: str) -> str:
        return self.given.get(name, "").lower()

    def find_start(
        self,
        path: Path,  # A Delta table's folder
        zone: str,  # Of moments that name none
    ) -> int | None:  # The first version to read; None where nothing is said of it
        "Find where a stream or a feed begins; `PipelineError` behind the table's end."
        newest = DeltaTable(str(path)).version()
        if "startingtimestamp" in self.given:
            moment = _read_moment(self.given["startingtimestamp"], "startingTimestamp", zone)
            later = [version for version, time in read_commit_times(path).items() if time >= moment]
            if later:
                return min(later)
            raise _behind_the_end(path, "startingTimestamp", self.given["startingtimestamp"])
        text = self.given.get("startingversion")
        if text is None:
            return None
        if text.lower() == LATEST:
            return newest + 1
        return _check_version(path, text, "startingVersion", newest)

    def find_as_of(
        self,
        path: Path,  # A Delta table's folder
        zone: str,  # Of moments that name none
    ) -> int | None:  # The version to read; None for the newest
        "Find which version a batch reads; `PipelineError` for one that the table does not have."
        if {"versionasof", "timestampasof"} <= self.given.keys():
            raise PipelineError("versionAsOf and timestampAsOf are both given", hint="leave one of them out")
        if "versionasof" in self.given:
            newest = DeltaTable(str(path)).version()
            return _check_version(path, self.given["versionasof"], "versionAsOf", newest)
        if "timestampasof" in self.given:
            return _last_version_at(path, "timestampAsOf", self.given["timestampasof"], zone)
        return None

    def find_range(
        self,
        path: Path,  # A Delta table's folder
        zone: str,  # Of moments that name none
    ) -> tuple[int, int]:  # The first version and the last
        "Find which versions a batch reads of a change feed; `PipelineError` where they are not in the table."
        newest = DeltaTable(str(path)).version()
        start = self.find_start(path, zone)
        if start is None or start > newest:
            raise PipelineError(
                f"the change feed of {path.name} is read as a batch, without a version to begin with",
                hint="set the option startingVersion or startingTimestamp, or read it with spark.readStream",
            )
        end = newest
        if "endingtimestamp" in self.given:
            end = _last_version_at(path, "endingTimestamp", self.given["endingtimestamp"], zone)
        elif "endingversion" in self.given:
            end = _check_version(path, self.given["endingversion"], "endingVersion", newest)
        if start > end:
            raise PipelineError(
                f"the change feed of {path.name} is read from version {start} to version {end}",
                hint="let it end where it begins, or later",
            )
        return start, end


def read_commit_times(
    path: Path,  # A Delta table's folder
) -> dict[int, int]:  # Version -> milliseconds since 1970, each later than the one before
    "Read when the commits were made that the log has."
    files = sorted(
        file for file in (path / "_delta_log").glob("*.json") if re.fullmatch(r"\d{20}", file.stem)
    )
    times: dict[int, int] = {}
    newest = -1
    for file in files:
        newest = max(file.stat().st_mtime_ns // 1_000_000, newest + 1)
        times[int(file.stem)] = newest
    return times


def _check_version(path: Path, text: str, name: str, newest: int) -> int:
    "Read a version that the table has."
    if not text.isdigit():
        raise PipelineError(f"{name} is {text!r}", hint="write the number of a version")
    if int(text) > newest:
        raise PipelineError(
            f"{name} is {text}, and {path.name} is at version {newest}", hint="name a version that there is"
        )
    return int(text)


def _last_version_at(path: Path, name: str, text: str, zone: str) -> int:
    "The version that was the newest one at a moment."
    moment, times = _read_moment(text, name, zone), read_commit_times(path)
    if moment > max(times.values()):
        raise _behind_the_end(path, name, text)
    if moment < min(times.values()):
        raise PipelineError(
            f"{name} is {text}, earlier than the oldest commit of {path.name}", hint="name a later moment"
        )
    return max(version for version, time in times.items() if time <= moment)


def _read_moment(text: str, name: str, zone: str) -> int:
    "Read a moment as milliseconds since 1970."
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise PipelineError(f"{name} is {text!r}", hint="write it as '2026-01-31 23:59:59'") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return round(moment.timestamp() * 1000)


def _behind_the_end(path: Path, name: str, text: str) -> PipelineError:
    return PipelineError(
        f"{name} is {text}, later than the newest commit of {path.name}", hint="name an earlier moment"
    )
