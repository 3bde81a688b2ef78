"""An update keeps the tables of its storage small where they have become due; `cdc maintain` does on demand.

The caller has locked the storage: nobody else writes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_local.delta.maintenance import (
    TablePlan,
    Usage,
    list_disk_files,
    maintain_table,
    measure_usage,
    plan_maintenance,
)
from cdc_local.delta.retention import LEAST_REMOVED_BYTES, REMOVED_SHARE, UnreadVersion
from cdc_local.storage import Storage, read_json, write_json
from cdc_local.update.event_log import EventLog
from cdc_local.update.unread_versions import find_unread_versions

EVENT_LOG = "event_log"  # What the event log is called among the tables
DUE_COMMITS = 10  # A table is looked at after so many commits
MOST_REWRITTEN_BYTES = 2**26  # What an update rewrites of one table at most


@dataclass(frozen=True)
class TableMaintenance:
    "What became of one table."

    table: str  # Its name
    plan: TablePlan | None  # What it needed; None where that could not be found out
    after: Usage | None = None  # What it takes up now; None where nothing was done
    error: str = ""  # Why it failed

    @property
    def is_idle(self) -> bool:
        "Whether there was nothing to do."
        return not self.error and (self.plan is None or self.plan.is_empty)


def list_maintained_paths(
    storage: Storage,  # Where tables lie
) -> dict[str, Path]:  # Name -> folder, of each table; the event log last
    "List what is kept small."
    paths = {str(name): storage.table_path(name) for name in storage.tables()}
    if (storage.event_log_path / "_delta_log").is_dir():
        paths[EVENT_LOG] = storage.event_log_path
    return paths


def maintain_due_tables(
    storage: Storage,  # Of an update whose flows have ended
    log: EventLog,  # Takes the events
) -> None:
    "Do an update's share of maintenance; a failure is recorded as a warning, and the update goes on."
    try:
        notes = _read_notes(storage)
        due = {
            name: path
            for name, path in list_maintained_paths(storage).items()
            if _is_due(path, notes.get(name))
        }
        if not due:
            return
        unread = find_unread_versions(storage)
    except Exception as error:
        log.record("maintenance_progress", f"The storage was not maintained: {error}", "WARN", error=error)
        return
    for done in maintain_tables(due, unread, most_bytes=MOST_REWRITTEN_BYTES):
        record_maintenance(log, done)
        if done.plan is not None and not done.error:
            notes[done.table] = {"version": done.plan.version, "bytes": done.plan.live_bytes}
    write_json(_notes_path(storage), notes)


def maintain_tables(
    paths: Mapping[str, Path],  # Name -> folder, of each table
    unread: dict[str, UnreadVersion],  # What flows need, as `find_unread_versions` says
    retain_seconds: float | None = None,  # Keep what is younger; by default what each table says
    most_bytes: int | None = None,  # Rewrite no more than that of a table; no limit by default
    dry_run: bool = False,  # Plan only
) -> Iterator[TableMaintenance]:
    "Plan and do what tables need, one after the other; one that fails keeps none of the others from it."
    for name, path in paths.items():
        plan = None
        try:
            plan = plan_maintenance(path, unread, retain_seconds, most_bytes)
            if dry_run or plan.is_empty:
                yield TableMaintenance(name, plan)
                continue
            maintain_table(plan)
            yield TableMaintenance(name, plan, measure_usage(path))
        except Exception as error:
            yield TableMaintenance(name, plan, error=str(error) or type(error).__name__)


def record_maintenance(
    log: EventLog,  # Takes the event
    done: TableMaintenance,  # What became of a table
) -> None:
    "Record in the event log what was done for a table; nothing where there was nothing to do."
    if done.error:
        message = f"{done.table} was not maintained: {done.error}"
        log.record("maintenance_progress", message, "WARN", dataset_name=done.table, error=done.error)
    elif done.after is not None:
        log.record(
            "maintenance_progress",
            f"{done.table} was maintained: {describe_plan(done.plan)}.",
            dataset_name=done.table,
            details={"maintenance_progress": summarize_maintenance(done)},
        )


def describe_plan(
    plan: TablePlan | None,  # What a table needs
) -> str:  # For a reader, e.g. `41 files rewritten, 120 old files and 60 log entries removed`
    "Say in a few words what maintenance does for a table."
    if plan is None:
        return ""
    parts = []
    if plan.rewrite is not None:
        parts.append(f"{plan.rewrite.files} files rewritten")
    if plan.checkpoints:
        parts.append("log checkpointed")
    removed = [(len(plan.old_files), "old files"), (len(plan.old_log), "log entries")]
    if any(count for count, _ in removed):
        parts.append(" and ".join(f"{count} {what}" for count, what in removed if count) + " removed")
    return ", ".join(parts)


def summarize_maintenance(
    done: TableMaintenance,  # What became of a table
) -> dict[str, Any]:  # Counts before and after; those after are None where nothing was done
    "The figures of a table's maintenance."
    plan, after = done.plan, done.after
    return {
        "files_before": plan and plan.usage.files,
        "files_after": after and after.files,
        "bytes_before": plan and plan.usage.bytes,
        "bytes_after": after and after.bytes,
        "rewritten_files": plan.rewrite.files if plan and plan.rewrite else 0,
        "removed_files": len(plan.old_files) if plan else 0,
        "removed_log_entries": len(plan.old_log) if plan else 0,
    }


# --- when a table is due ------------------------------------------------------------------------------------


def _notes_path(storage: Storage) -> Path:
    "Where it is noted how each table was when it was last looked at."
    return storage.state_path / "maintenance.json"


def _read_notes(storage: Storage) -> dict[str, Any]:
    "Read how tables were; a storage that was never maintained has no notes."
    return dict(read_json(_notes_path(storage)) or {})


def _is_due(
    path: Path,  # A table's folder
    note: dict[str, int] | None,  # How it was
) -> bool:
    "Whether many commits, or many bytes of removed files, have come to a table; found without its log."
    versions = [int(file.stem) for file in (path / "_delta_log").glob("*.json") if file.stem.isdigit()]
    newest, noted = max(versions, default=0), note or {"version": 0, "bytes": 0}
    if not 0 <= newest - noted["version"] < DUE_COMMITS:
        return True
    live_bytes = noted["bytes"]
    on_disk = sum(file.bytes for file in list_disk_files(path).values())
    return on_disk - live_bytes > max(REMOVED_SHARE * live_bytes, LEAST_REMOVED_BYTES)
