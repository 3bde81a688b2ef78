"""`cdc events`: the event log of a storage."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import (
    STORAGE,
    DebugOption,
    Lines,
    LinesOption,
    StorageOption,
    examples,
    open_storage,
)
from cdc_local.errors import UsageError

commands = typer.Typer()


class Level(StrEnum):
    "The least serious level shown; each is more serious than the one before it."

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


@commands.command(
    epilog=examples(
        "cdc events  # of the newest update",
        "cdc events --level WARN --all",
        "cdc events --type flow_progress --format json",
    )
)
@guarded
def events(
    update_id: Annotated[
        str | None, typer.Option("--update-id", help="Events of this update; the newest one by default.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Events of all updates.")] = False,
    level: Annotated[Level, typer.Option("--level", help="This level and more serious ones.")] = Level.INFO,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Events of this type, e.g. flow_progress.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=0, help="At most this many, the newest ones.")
    ] = None,
    layout: LinesOption = Lines.table,
    storage: StorageOption = STORAGE,
    debug: DebugOption = False,
) -> None:
    "Show the event log: what each update did, its row counts, expectations and errors. Starts no Spark."
    levels = list(Level)[list(Level).index(level) :]
    found = [
        event
        for event in _read_update_events(open_storage(storage).event_log_path, update_id, everything)
        if event["level"] in levels and event_type in (None, event["event_type"])
    ]
    if limit is not None:
        found = found[max(len(found) - limit, 0) :]
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.events import events_table
    from cdc_local.reports.tables import make_console

    if layout is Lines.json:
        for event in found:
            typer.echo(format_json(event))
    elif found:
        make_console().print(events_table(found))
    else:
        typer.echo("no events")


def _read_update_events(
    path: Path,  # Folder of the log
    update_id: str | None,  # The update asked for; the newest by default
    everything: bool,  # All updates
) -> list[dict[str, Any]]:  # Events, the newest last
    "Read the events of one update or of all; `UsageError` for an update that the log does not know."
    from cdc_local.update.event_log import event_update, read_events

    found = read_events(path)
    if everything or not found:
        return found
    wanted = update_id or event_update(found[-1])
    chosen = [event for event in found if event_update(event) == wanted]
    if chosen:
        return chosen
    known = [update for update in dict.fromkeys(map(event_update, found)) if update]
    raise UsageError(f"no update {wanted!r} in the event log", hint=f"the newest are {', '.join(known[-5:])}")
