"""`cdc show`, `cdc events` and `cdc feed`: a look at a storage, and a feed to fill one."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cdc_local.cli.app import app
from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import (
    CATALOG,
    SCHEMA,
    STORAGE,
    CatalogOption,
    DebugOption,
    Format,
    Level,
    Lines,
    LinesOption,
    QuietOption,
    SchemaOption,
    StorageOption,
    examples,
    read_names,
)
from cdc_local.errors import UsageError


def open_storage(
    storage: Path,  # As typed
):  # A `Storage` that is there and can be read
    "Open a storage folder for reading; `UsageError` where there is none."
    from cdc_local.storage import Storage

    if not storage.is_dir():
        raise UsageError(
            f"no storage folder {storage}",
            hint="`cdc demo` or `cdc run` makes one; --storage DIR names another",
        )
    return Storage(storage).check()


def show_all_tables(
    storage,  # A `Storage`
    layout: Format,  # How to print
) -> None:
    "Print every table with its number of rows."
    from cdc_local.delta.reader import count_rows_of_tables
    from cdc_local.delta.rows import Rows
    from cdc_local.reports.tables import make_console, rows_table

    rows = Rows(
        ("table", "rows"), [(str(name), count) for name, count in count_rows_of_tables(storage).items()]
    )
    if layout is Format.table and not rows.values:
        return typer.echo(f"no tables in {storage.root} yet: `cdc run` or `cdc demo` makes them")
    if layout is not Format.table:
        return print_rows(rows, layout)
    console = make_console()
    console.print(rows_table(rows, console.width))


def print_rows(
    rows,  # `Rows`
    layout: Format,  # json or csv
) -> None:
    "Print rows for a program."
    for line in rows.json_lines() if layout is Format.json else rows.csv_lines():
        typer.echo(line)


def describe_rest(
    storage,  # A `Storage`
    name,  # A `TableName`
    where: str | None,  # Condition of the rows shown
    shown: int,  # How many are shown
    limit: int | None,  # How many may be shown
) -> str:  # A last line for the table
    "Say how many rows there are in all."
    if limit is None or shown < limit:
        return f"{shown:,} row{'' if shown == 1 else 's'}"
    from cdc_local.delta.reader import count_rows

    return f"{shown:,} of {count_rows(storage, name, where):,} rows; --limit N or --all shows more"


@app.command(
    epilog=examples(
        "cdc show  # all tables and their rows",
        "cdc show customers --limit 5",
        "cdc show customers --columns id,email",
        """cdc show customers_history --where "id = '42'" """,
        "cdc show customers --all --format json  # one JSON object per row",
    )
)
@guarded
def show(
    table: Annotated[
        str | None,
        typer.Argument(help="A table: name, schema.name or catalog.schema.name. Without it: all tables."),
    ] = None,
    layout: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = Format.table,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most this many rows.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All rows, whatever --limit says.")] = False,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="Only rows for which this holds, in DuckDB's SQL."),
    ] = None,
    columns: Annotated[
        list[str], typer.Option("--columns", metavar="C,…", help="Only these columns, in this order.")
    ] = [],
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    debug: DebugOption = False,
):
    "Show the rows of a table, or all tables with their numbers of rows. Starts no Spark."
    opened = open_storage(storage)
    if table is None:
        return show_all_tables(opened, layout)
    from cdc_local.delta.reader import read_rows
    from cdc_local.storage import TableName

    name, limit = TableName.parse(table, catalog, schema), None if everything else limit
    rows = read_rows(opened, name, read_names(columns) or None, where, limit)
    if layout is not Format.table:
        return print_rows(rows, layout)
    from cdc_local.reports.tables import make_console, rows_table

    console = make_console()
    console.print(rows_table(rows, console.width))
    typer.echo(describe_rest(opened, name, where, len(rows.values), limit))


@app.command(
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
):
    "Show the event log: what each update did, its row counts, expectations and errors. Starts no Spark."
    from cdc_local.update.event_log import read_events

    found = read_update_events(open_storage(storage).event_log_path, update_id, everything, read_events)
    found = [
        event
        for event in found
        if event["level"] in list(Level.__members__)[list(Level).index(level) :]
        and event_type in (None, event["event_type"])
    ]
    found = found if limit is None else found[max(len(found) - limit, 0) :]
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


def read_update_events(
    path: Path,  # Folder of the log
    update_id: str | None,  # The update asked for
    everything: bool,  # All updates
    read_events: Callable,  # Reads the log
) -> list[dict]:  # Events, the newest last
    "The events of one update or of all; `UsageError` for an update that the log does not know."
    from cdc_local.update.event_log import event_update

    found = read_events(path)
    if everything or not found:
        return found
    wanted = update_id or event_update(found[-1])
    chosen = [event for event in found if event_update(event) == wanted]
    if chosen:
        return chosen
    known = list(dict.fromkeys(map(event_update, found)))
    raise UsageError(f"no update {wanted!r} in the event log", hint=f"the newest are {', '.join(known[-5:])}")


@app.command(
    epilog=examples(
        "cdc feed raw  # 20,000 changes of 5,000 customers",
        "cdc feed raw --day 2  # the next day of the same customers",
        "cdc feed /Volumes/main/default/raw_data/customers --rows 100000  # into the volume below --storage",
    )
)
@guarded
def feed(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Where to write; a /Volumes path lies below --storage.")
    ],
    rows: Annotated[int, typer.Option(help="Changes of the day.")] = 20_000,
    keys: Annotated[int | None, typer.Option(help="Customers; a quarter of the rows by default.")] = None,
    seed: Annotated[int, typer.Option(help="The same number gives the same bytes.")] = 42,
    files: Annotated[int, typer.Option(help="Files of the day.")] = 10,
    day: Annotated[int, typer.Option(help="Day, counted from 1.")] = 1,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    storage: StorageOption = STORAGE,
    debug: DebugOption = False,
):
    "Write a mock feed of customer changes with the faults of real ones, as JSON lines. The same options give the same bytes."
    from dataclasses import asdict

    from cdc_local.storage import Storage, localize
    from cdc_utils.feed import write_feed

    place = localize(Storage(storage), folder)
    told = asdict(write_feed(Path(place), rows=rows, keys=keys, seed=seed, files=files, day=day))
    if quiet:
        return
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import format_number, make_console, plain_table

    if layout is Lines.json:
        return typer.echo(format_json(told))
    make_console().print(
        plain_table(
            "",
            ("In the feed", ">"),
            [(name.replace("_", " "), format_number(count)) for name, count in told.items()],
        )
    )
    typer.echo(f"written to {place}")
