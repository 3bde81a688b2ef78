"""Updates that go on, a line each."""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from cdc_local.delta.rows import format_count
from cdc_local.reports.tables import format_number
from cdc_local.reports.update import UpdateProgress, count_written
from cdc_local.storage import StorageInUseError
from cdc_local.update.watch import WatchedUpdate
from cdc_utils.results import FlowResult, UpdateResult

_MOST_NAMES = 3  # Files that a line names


class WatchProgress:
    "Shows updates that go on: a line for each, its errors on standard error."

    def __init__(
        self,
        console: Console,  # Where to show them
        errors: Console,  # Where to show errors
        style: str = "auto",  # `json`: events, `quiet`: errors, `auto`: lines, and in a terminal what runs
        on_result: Callable[[UpdateResult], None] | None = None,  # Called with what each update did
    ) -> None:
        self.console = console
        self.errors = errors
        self.style = style
        self.on_result = on_result
        self._progress: UpdateProgress | None = None
        self._warnings: set[str] = set()  # Those that were shown
        self._watched = ""  # The sentence that was shown last

    def begin(self) -> None:
        "Show that an update begins, in a terminal."
        style = "live" if self.style == "auto" and self.console.is_terminal else "quiet"
        self._progress = UpdateProgress(self.console, "json" if self.style == "json" else style)
        self._progress.__enter__()

    def show_event(
        self,
        event: dict[str, Any],  # An event, as the log has it
    ) -> None:
        "Show what an event changes; warnings and errors have their place at the end."
        if self._progress is not None:
            self._progress.show_event(event if self.style == "json" else event | {"level": "INFO"})

    def wait_for_storage(
        self,
        error: StorageInUseError,  # Says who has locked it
    ) -> None:
        "Say what an update waits for."
        self._print_error(f"{error.message}; this update begins when that one has ended")

    def end(
        self,
        update: WatchedUpdate,  # What it did
    ) -> None:
        "Print the line of an update, its errors, its new warnings, and what the next one waits for."
        self.close()
        if self.on_result is not None and update.result is not None:
            self.on_result(update.result)
        if self.style == "auto":
            self._print(update_line(update, datetime.now()))
            for warning in update.result.warnings if update.result else ():
                if warning not in self._warnings:
                    self._print(f"WARN: {warning}")
                    self._warnings.add(warning)
        if error := update_error(update):
            self._print_error(f"error: {error}")
        was_stopped = update.result is not None and update.result.state == "CANCELED"
        watched = watched_line(update)
        if self.style == "auto" and not was_stopped and watched != self._watched:
            self._print(watched)
            self._watched = watched

    def close(self) -> None:
        "Show no longer what runs."
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None

    def _print(self, line: str) -> None:
        print(line, file=self.console.file, flush=True)

    def _print_error(self, line: str) -> None:
        print(line, file=self.errors.file, flush=True)


def update_line(
    update: WatchedUpdate,  # An update that ended
    now: datetime,  # When
) -> str:  # Time, what had changed, state, rows, seconds
    "Write the line of an update."
    state = update.result.state if update.result is not None else "FAILED"
    parts = [state]
    if update.result is not None and state == "COMPLETED":
        parts.append("nothing written" if update.is_dry_run else _describe_rows(update.result.flows))
    seconds = format_number(update.seconds, 1)
    cause = describe_files(update.changed) or "start"
    return f"{now:%H:%M:%S} {cause}: {', '.join(parts)}, {seconds} s"


def describe_files(
    files: Iterable[Path],  # Files that changed
) -> str:  # The first names, and how many more; of a table its name
    "Name files."
    names = list(dict.fromkeys(_file_name(file) for file in files))
    more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return ", ".join(names[:_MOST_NAMES] + more)


def _file_name(
    file: Path,  # A file, or a commit of a table
) -> str:
    "Name a file, or the table of a commit."
    return file.parent.parent.name if file.parent.name == "_delta_log" else file.name


def _describe_rows(
    flows: Iterable[FlowResult],  # Flows of an update
) -> str:  # Rows of each table that was written
    "Say how many rows flows brought to which tables."
    written = count_written(flows)
    if not written:
        return "no new rows"
    *tables, last = written.items()
    rows = format_count(last[1], "row")
    return ", ".join([*(f"{table} {format_number(count)}" for table, count in tables), f"{last[0]} {rows}"])


def update_error(
    update: WatchedUpdate,  # An update that ended
) -> str | None:  # Why it failed; None where it did not
    "Say why an update failed."
    if update.result is None:
        return str(update.error)
    if update.result.state != "FAILED":
        return None
    return update.result.error or "; ".join(flow.error for flow in update.result.flows if flow.error)


def watched_line(
    update: WatchedUpdate,  # An update that ended
) -> str:
    "Say what the next update waits for."
    names = sorted(part.describe() for part in update.watched)
    return f"Watching {', '.join(name for name in names if name)}. Ctrl-C ends."
