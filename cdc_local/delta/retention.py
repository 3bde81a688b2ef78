"""Which versions of a Delta table must stay readable: for readers, for flows, for time travel.

A table that sets `delta.deletedFileRetentionDuration` or `delta.logRetentionDuration` is kept as it says.
Any other keeps its newest versions, as many as a budget allows and none older than a week.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from cdc_local.delta.log import read_actions
from cdc_local.errors import UsageError

READER_SECONDS = 30.0  # What a reader may have found in the log stays for so long, whatever else is said
MOST_SECONDS = 7 * 86400.0  # Delta's own retention of removed files
MOST_VERSIONS = 10  # Versions that a table without properties of its own keeps
REMOVED_SHARE = 2  # Its removed files may have so many times the bytes of its live files
LEAST_REMOVED_BYTES = 2**16  # They may have so many bytes in any case

FILE_RETENTION = "delta.deletedFileRetentionDuration"
LOG_RETENTION = "delta.logRetentionDuration"
LOG_CLEANUP = "delta.enableExpiredLogCleanup"

_UNIT_SECONDS = {
    "microsecond": 1e-6,
    "millisecond": 1e-3,
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
    "week": 604800.0,
}


@dataclass(frozen=True)
class Commit:
    "A commit of a table's log."

    version: int  # The version that it made
    time: float  # When it was written, in seconds since 1970
    removed: dict[str, int]  # Path in the table's folder -> bytes, of each file that it removed


@dataclass(frozen=True)
class UnreadVersion:
    "Where a flow goes on reading a table."

    version: int  # Its commits, and the files that they added, are needed from here on
    flow: str  # Name of the flow's folder


@dataclass(frozen=True)
class KeptHistory:
    "What of a table's history must stay."

    files_from: int  # Files of this version and of all later ones
    log_from: int  # Log entries with which this version and all later ones can be read
    flow: str = ""  # The flow that has yet to read what else would go


def read_commits(
    log: Path,  # The `_delta_log` of a table
) -> list[Commit]:  # The oldest first; no version is missing between them
    "Read the commits of a log that are there without a gap, up to the newest."
    files = {int(path.stem): path for path in log.glob("*.json") if re.fullmatch(r"\d{20}", path.stem)}
    commits = []
    version = max(files, default=-1)
    while version in files:
        removed = {}
        for action in read_actions(files[version]):
            if "remove" in action:
                removed[unquote(action["remove"]["path"])] = int(action["remove"].get("size") or 0)
        commits.append(Commit(version, files[version].stat().st_mtime, removed))
        version -= 1
    return commits[::-1]


def parse_interval(
    text: str,  # As a table property has it, e.g. `interval 7 days`
    name: str,  # The property, for the message
) -> float:  # Seconds
    "Read a duration; `UsageError` for one that Delta does not know."
    words = text.strip().lower().removeprefix("interval").split()
    pairs = list(zip(words[::2], words[1::2], strict=False))
    units = [unit.removesuffix("s") for _, unit in pairs]
    are_numbers = all(re.fullmatch(r"\d+(\.\d+)?", number) for number, _ in pairs)
    if not pairs or len(words) % 2 or not are_numbers or not set(units) <= _UNIT_SECONDS.keys():
        raise UsageError(f"{name} is {text!r}", hint="write a duration as `interval 7 days`")
    return sum(float(number) * _UNIT_SECONDS[unit] for (number, _), unit in zip(pairs, units, strict=True))


def find_kept_history(
    commits: Sequence[Commit],  # Of the table, as `read_commits` gives them; at least one
    properties: dict[str, str],  # Of the table
    live_bytes: int,  # Of the files that hold its rows
    now: float,  # In seconds since 1970
    unread: UnreadVersion | None = None,  # Where the flow that is farthest behind goes on
    retain_seconds: float | None = None,  # Keep what is younger, whatever the properties say
) -> KeptHistory:
    "Find the oldest versions that must stay; `UsageError` for a property that it can't read."
    files_from = _find_oldest_time_travel(commits, properties, live_bytes, now, retain_seconds)
    log_from = files_from
    if retain_seconds is None and LOG_RETENTION in properties:
        seconds = parse_interval(properties[LOG_RETENTION], LOG_RETENTION)
        log_from = min(log_from, _find_oldest_within(commits, now, seconds))
    for_readers = _find_oldest_within(commits, now, READER_SECONDS)
    kept = KeptHistory(min(files_from, for_readers), min(log_from, for_readers))
    if unread is not None and unread.version < kept.files_from:
        kept = KeptHistory(unread.version, min(unread.version, kept.log_from), unread.flow)
    if properties.get(LOG_CLEANUP, "true").lower() == "false":
        kept = KeptHistory(kept.files_from, 0, kept.flow)
    return kept


def _find_oldest_time_travel(
    commits: Sequence[Commit],
    properties: dict[str, str],
    live_bytes: int,
    now: float,
    retain_seconds: float | None,
) -> int:
    "The oldest version whose files stay for time travel."
    if retain_seconds is not None:
        return _find_oldest_within(commits, now, retain_seconds)
    if FILE_RETENTION in properties:
        return _find_oldest_within(commits, now, parse_interval(properties[FILE_RETENTION], FILE_RETENTION))
    budget = max(REMOVED_SHARE * live_bytes, LEAST_REMOVED_BYTES)
    return max(_find_oldest_within(commits, now, MOST_SECONDS), _find_oldest_within_budget(commits, budget))


def _find_oldest_within(
    commits: Sequence[Commit],  # The oldest first
    now: float,  # In seconds since 1970
    seconds: float,  # How long ago a version may have been the newest
) -> int:
    "The oldest version that was the newest one at some moment of the last seconds."
    for commit, next_commit in zip(commits, commits[1:], strict=False):
        if next_commit.time >= now - seconds:
            return commit.version
    return commits[-1].version


def _find_oldest_within_budget(
    commits: Sequence[Commit],  # The oldest first
    most_bytes: int,  # Of removed files that stay
) -> int:
    "The oldest version that stays if neither versions nor removed files may be too many."
    oldest, removed_bytes = commits[-1].version, 0
    for commit in reversed(commits[1:]):
        removed_bytes += sum(commit.removed.values())
        if removed_bytes > most_bytes or commits[-1].version - oldest + 1 >= MOST_VERSIONS:
            break
        oldest = commit.version - 1
    return oldest


def list_removed_files(
    commits: Iterable[Commit],  # Of the table
    first: int,  # A version
    last: int | None = None,  # A version; the newest by default
) -> set[str]:  # Paths in the table's folder
    "List the files that the commits from one version to another removed."
    return {
        path
        for commit in commits
        if commit.version >= first and (last is None or commit.version <= last)
        for path in commit.removed
    }
