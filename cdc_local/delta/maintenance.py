"""A Delta table stays small: few files of a good size, a short log, no files that nobody needs.

`plan_maintenance` says what a table needs, as data; `maintain_table` does it. delta-rs rewrites files and
writes checkpoints, in commits with `dataChange = false`: streams pass over them. What may go is decided in
`retention.py`. The caller keeps other writers away with `lock_storage`.
"""

import json
import math
import os
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pyarrow
from deltalake import DeltaTable
from pyspark.sql.types import DataType, StructType

from cdc_local.delta.checksum import write_checksum
from cdc_local.delta.choice import choose_compaction, choose_maintenance, has_exact_equality
from cdc_local.delta.files import can_read_files
from cdc_local.delta.log import read_nullable_schema
from cdc_local.delta.retention import (
    Commit,
    KeptHistory,
    UnreadVersion,
    find_kept_history,
    list_removed_files,
    read_commits,
)

LEAST_FILE_BYTES, MOST_FILE_BYTES = 2**16, 2**27  # Files are compacted to a size between these
FILES_OF_TABLE = 32  # A table is to have about so many files, if these are between the two sizes
MOST_EXTRA_FILES = 8  # Small files that a folder may have besides
LEAST_CLUSTERED_BYTES = 2**18  # A smaller table is written anew as a whole, whatever a merge touches
MERGES_OF_CLUSTERING = 2  # So many commits must have replaced files of it before
COMMITS_OF_CHECKPOINT = 5  # Commits before a checkpoint that make one worth its file
MOST_COMMITS_TO_READ = 50  # Commits after the newest checkpoint that a reader may have to read
KEPT_CHECKSUMS = 3  # Newest versions that keep the checksum beside their commit
ORPHAN_SECONDS = 3600.0  # A file that no commit names belongs to a killed writer when it is so old

TARGET_SIZE = "delta.targetFileSize"  # Of Databricks; delta-rs keeps to it when it merges


@dataclass(frozen=True)
class DiskFile:
    "A file in a table's folder."

    bytes: int  # Its size
    time: float  # When it was written, in seconds since 1970


@dataclass(frozen=True)
class Usage:
    "What a table takes up on the disk, its log included."

    files: int  # Number of files
    bytes: int  # Their size

    @classmethod
    def of(
        cls,
        *folders: dict[str, DiskFile],  # Files of the table, and of its log
    ) -> "Usage":
        "Sum up the files of a table."
        return cls(sum(map(len, folders)), sum(file.bytes for files in folders for file in files.values()))


@dataclass(frozen=True)
class Rewrite:
    "How a table's files are to be written anew."

    target_bytes: int  # Size of a file
    files: int  # Files that are there for it
    keys: tuple[str, ...] = ()  # Columns to order rows by; none where small files are only put together


@dataclass(frozen=True)
class TablePlan:
    "What a table needs."

    path: Path  # Its folder
    version: int  # Its newest version
    usage: Usage  # What it takes up before
    live_bytes: int = 0  # Of the files that hold its rows
    reason: str = ""  # Why it is left alone, in words
    rewrite: Rewrite | None = None  # Files to write anew
    checkpoints: tuple[int, ...] = ()  # Versions whose state is to be written into one file of the log
    old_log: tuple[Path, ...] = ()  # Log entries to remove, the oldest first
    old_files: tuple[Path, ...] = ()  # Data files to remove
    flow: str = ""  # The flow that has yet to read what else would go

    @property
    def is_empty(self) -> bool:
        "Whether there is nothing to do."
        return not (self.rewrite or self.checkpoints or self.old_log or self.old_files)


def plan_maintenance(
    path: Path,  # A Delta table's folder
    unread: dict[str, UnreadVersion] | None = None,  # What flows need, as `find_unread_versions` says
    retain_seconds: float | None = None,  # Keep what is younger; by default what the table says
    most_bytes: int | None = None,  # Rewrite no more than that; no limit by default
    now: float | None = None,  # In seconds since 1970; the clock by default
) -> TablePlan:
    "Find out what a table needs; raises what delta-rs raises for a table that can't be read."
    now = time.time() if now is None else now
    table, disk = DeltaTable(str(path)), list_disk_files(path)
    log = list_disk_files(path / "_delta_log")
    usage = Usage.of(disk, log)
    if (choice := choose_maintenance(table)).reason:
        return TablePlan(path, table.version(), usage, reason=choice.reason)
    live = _list_live_files(table)
    live_bytes, commits = sum(live.values()), read_commits(path / "_delta_log")
    if not commits:
        return TablePlan(path, table.version(), usage, live_bytes, "its log has no commit, only a checkpoint")
    properties = table.metadata().configuration
    behind = (unread or {}).get(str(table.metadata().id))
    kept = find_kept_history(commits, properties, live_bytes, now, behind, retain_seconds)
    checkpoints, log_start = _plan_checkpoints(table.version(), commits[0].version, log, kept.log_from)
    later = list_removed_files(commits, kept.files_from + 1)
    earlier = list_removed_files(commits, 0, kept.files_from)
    old_files = [
        path / name
        for name, file in sorted(disk.items())
        if name not in live and name not in later and (name in earlier or file.time < now - ORPHAN_SECONDS)
    ]
    return TablePlan(
        path,
        table.version(),
        usage,
        live_bytes,
        rewrite=_plan_rewrite(table, path, live, commits, most_bytes),
        checkpoints=checkpoints,
        old_log=tuple(
            path / "_delta_log" / name for name in _list_older_entries(log, log_start, table.version())
        ),
        old_files=tuple(old_files),
        flow=kept.flow if _waits_for_flow(kept, disk, live) else "",
    )


def maintain_table(
    plan: TablePlan,  # What `plan_maintenance` found; nobody has written to the table since
) -> None:
    "Do what a plan says; killed in the middle, it leaves a table that a later plan goes on with."
    if plan.rewrite is not None:
        rewrite_files(plan.path, plan.rewrite)
    for version in plan.checkpoints:
        DeltaTable(str(plan.path), version=version).create_checkpoint()
    for file in (*plan.old_log, *plan.old_files):
        file.unlink(missing_ok=True)


def rewrite_files(
    path: Path,  # A Delta table's folder
    rewrite: Rewrite,  # How
) -> None:
    "Write the files of a table anew, in a commit that changes no row."
    table = DeltaTable(str(path))
    if not rewrite.keys:
        table.optimize.compact(target_size=rewrite.target_bytes)
        write_checksum(table)
        return
    if table.metadata().configuration.get(TARGET_SIZE) != str(rewrite.target_bytes):
        table.alter.set_table_properties({TARGET_SIZE: str(rewrite.target_bytes)})
        write_checksum(table)
    table.optimize.z_order(list(rewrite.keys), target_size=rewrite.target_bytes)
    write_checksum(table)


def measure_usage(
    path: Path,  # A Delta table's folder
) -> Usage:
    "Measure what a table takes up."
    return Usage.of(list_disk_files(path), list_disk_files(path / "_delta_log"))


def list_disk_files(
    folder: Path,  # A table's folder, or its log
) -> dict[str, DiskFile]:  # Path in the folder -> file; folders that begin with `_` are left out
    "List the files of a table that are on the disk."
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith("_")]
        for name in names:
            file = Path(parent, name)
            status = file.stat()
            found[file.relative_to(folder).as_posix()] = DiskFile(status.st_size, status.st_mtime)
    return found


def _list_live_files(table: DeltaTable) -> dict[str, int]:
    "Path in the table's folder -> bytes, of the files that hold its rows."
    actions = pyarrow.table(table.get_add_actions())
    names = map(unquote, actions["path"].to_pylist())
    return dict(zip(names, actions["size_bytes"].to_pylist(), strict=True))


def _waits_for_flow(kept: KeptHistory, disk: dict[str, DiskFile], live: dict[str, int]) -> bool:
    "Whether a flow is the reason why a table has more files that it does not need than it has others."
    return bool(kept.flow) and len(disk) > 2 * len(live) + MOST_EXTRA_FILES


# --- the log ------------------------------------------------------------------------------------------------


def _plan_checkpoints(
    newest: int,  # Version of the table
    oldest: int,  # Version of its oldest commit that is there
    log: dict[str, DiskFile],  # Files of its log
    kept_from: int,  # The oldest version that must stay readable
) -> tuple[tuple[int, ...], int]:  # Checkpoints to write, rising; the version that the log may begin with
    "Choose a checkpoint for the log to begin with, and one for readers where commits are many."
    present = [int(name[:20]) for name in log if re.fullmatch(r"\d{20}\.checkpoint\.parquet", name)]
    start = max((version for version in present if version <= kept_from), default=oldest)
    planned = []
    # an older checkpoint than the newest would be what readers are sent to
    if kept_from - start >= COMMITS_OF_CHECKPOINT and max(present, default=0) <= kept_from:
        start = kept_from
        planned.append(kept_from)
    if newest - max([oldest, *present, *planned]) >= MOST_COMMITS_TO_READ:
        planned.append(newest)
    return tuple(planned), start


def _list_older_entries(
    log: dict[str, DiskFile],  # Files of a log
    start: int,  # The version that it may begin with
    newest: int,  # Version of the table
) -> list[str]:
    "List what is older than that, the oldest first; a checksum helps with the newest versions only."
    versions = {
        name: int(found[1]) for name in log if (found := re.fullmatch(r"\.?(\d{20})\..+", name)) is not None
    }
    old = [name for name, version in versions.items() if version < start]
    checksums = [
        name
        for name, version in versions.items()
        if start <= version <= newest - KEPT_CHECKSUMS and name.endswith(".crc")
    ]
    if len(checksums) >= COMMITS_OF_CHECKPOINT:
        old += checksums
    return sorted(old, key=lambda name: versions[name])


# --- the data files -----------------------------------------------------------------------------------------


def _plan_rewrite(
    table: DeltaTable,
    path: Path,  # Its folder
    live: dict[str, int],  # Its files, and their bytes
    commits: list[Commit],  # Of its log
    most_bytes: int | None,  # Rewrite no more than that
) -> Rewrite | None:
    "Choose how to write files anew: an AUTO CDC target in order of its keys, any table in fewer files."
    target_bytes = choose_file_size(sum(live.values()))
    rewrite = None
    is_merged = sum(bool(commit.removed) for commit in commits) >= MERGES_OF_CLUSTERING
    if is_merged and _is_clustering_due(table, live, target_bytes) and (keys := _list_keys(table)):
        rewrite = Rewrite(target_bytes, len(live), keys)
        rewritten = list(live.values())
    elif _is_compaction_due(live, target_bytes):
        rewritten = [size for size in live.values() if size < target_bytes]
        rewrite = Rewrite(target_bytes, len(rewritten))
    if rewrite is None or (most_bytes is not None and sum(rewritten) > most_bytes):
        return None
    if choose_compaction(table).reason or not can_read_files([path / name for name in live]):
        return None
    return rewrite


def choose_file_size(
    live_bytes: int,  # Of all files of a table
) -> int:  # Bytes, a power of two
    "Choose the size of a table's files: some tens of files, so that a merge of few rows rewrites little."
    size: int = 2 ** math.ceil(math.log2(max(live_bytes, 1) / FILES_OF_TABLE))
    return min(max(size, LEAST_FILE_BYTES), MOST_FILE_BYTES)


def _is_compaction_due(live: dict[str, int], target_bytes: int) -> bool:
    "Whether a folder has many more files than its bytes ask for."
    sizes = defaultdict(list)
    for name, size in live.items():
        sizes[PurePosixPath(name).parent].append(size)
    return any(
        len(found) > 2 * math.ceil(sum(found) / target_bytes) + MOST_EXTRA_FILES for found in sizes.values()
    )


def _is_clustering_due(table: DeltaTable, live: dict[str, int], target_bytes: int) -> bool:
    "Whether a merge into a table would rewrite much more than the rows it is about."
    if sum(live.values()) < LEAST_CLUSTERED_BYTES or table.metadata().partition_columns:
        return False
    declared = int(table.metadata().configuration.get(TARGET_SIZE, target_bytes))
    return max(live.values()) > 4 * target_bytes or target_bytes >= 4 * declared


def _list_keys(table: DeltaTable) -> tuple[str, ...]:
    "The keys of an AUTO CDC target, if rows can be ordered by them."
    declaration = json.loads(table.metadata().configuration.get("cdc.declaration") or "{}")
    types = {field.name: field.dataType for field in read_nullable_schema(table)}
    keys = tuple(declaration.get("keys") or ())
    return keys if all(key in types and _can_order(key, types[key]) for key in keys) else ()


def _can_order(name: str, kind: DataType) -> bool:
    "Whether delta-rs can order rows by a column."
    is_plain = re.fullmatch(r"\w+", name) is not None and not isinstance(kind, StructType)
    return is_plain and has_exact_equality(kind)
