"""`cdc maintain`: tables get fewer files and a shorter log, and lose what nobody needs any more."""

import uuid
from collections.abc import Sequence
from contextlib import ExitStack

from cdc_local.errors import UsageError
from cdc_local.storage import Storage, TableName, lock_storage
from cdc_local.update.event_log import EventLog
from cdc_local.update.maintenance import (
    EVENT_LOG,
    TableMaintenance,
    list_maintained_paths,
    maintain_tables,
    record_maintenance,
)
from cdc_local.update.unread_versions import find_unread_versions


def maintain_storage(
    storage: Storage,  # Tables, flows and the event log
    tables: Sequence[TableName] = (),  # Those to maintain; all of them, and the event log, by default
    retain_hours: float | None = None,  # Keep what is younger; by default what each table says
    dry_run: bool = False,  # Find out, write nothing
) -> list[TableMaintenance]:  # What became of each table, or would
    "Maintain tables of a storage; `UsageError` for a table that there is not and for a negative time."
    if retain_hours is not None and retain_hours < 0:
        raise UsageError(f"--retain is {retain_hours:g}", hint="give hours, 0 or more")
    with ExitStack() as stack:
        stack.enter_context(lock_storage(storage.check()))  # an update moves how far flows have read
        paths = list_maintained_paths(storage)
        for name in map(str, tables):
            if name not in paths:
                known = ", ".join(table for table in paths if table != EVENT_LOG)
                raise UsageError(f"no table {name} in {storage.root}", hint=f"there is {known or 'none'}")
        if tables:
            paths = {str(name): paths[str(name)] for name in tables}
        retain_seconds = None if retain_hours is None else retain_hours * 3600
        unread = find_unread_versions(storage)
        done = list(maintain_tables(paths, unread, retain_seconds, dry_run=dry_run))
        if not dry_run:
            log = stack.enter_context(EventLog(storage.event_log_path, "maintain", str(uuid.uuid4())))
            for table in done:
                record_maintenance(log, table)
    return done
