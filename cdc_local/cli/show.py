"""`cdc show`: the rows of a table, or all tables of a storage."""

from typing import TYPE_CHECKING, Annotated

import typer

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import (
    CATALOG,
    SCHEMA,
    STORAGE,
    CatalogOption,
    DebugOption,
    Format,
    SchemaOption,
    StorageOption,
    examples,
    open_storage,
    read_names,
)

if TYPE_CHECKING:
    from cdc_local.delta.rows import Rows
    from cdc_local.storage import Storage, TableName

commands = typer.Typer()


@commands.command(
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
        list[str] | None,
        typer.Option("--columns", metavar="C,…", help="Only these columns, in this order."),
    ] = None,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    debug: DebugOption = False,
) -> None:
    "Show the rows of a table, or all tables with their numbers of rows. Starts no Spark."
    opened = open_storage(storage)
    if table is None:
        return _show_all_tables(opened, layout)
    from cdc_local.delta.reader import read_rows

    name, most = opened.find_table(table, catalog, schema), None if everything else limit
    rows = read_rows(opened, name, read_names(columns) or None, where, most)
    if layout is not Format.table:
        return _print_rows(rows, layout)
    from cdc_local.reports.tables import make_console, rows_table

    console = make_console()
    console.print(rows_table(rows, console.width))
    typer.echo(_describe_count(opened, name, where, len(rows.values), most))


def _show_all_tables(
    storage: "Storage",  # Where they lie
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
        return _print_rows(rows, layout)
    console = make_console()
    console.print(rows_table(rows, console.width))


def _print_rows(
    rows: "Rows",  # Of a table
    layout: Format,  # json or csv
) -> None:
    "Print rows for a program."
    for line in rows.json_lines() if layout is Format.json else rows.csv_lines():
        typer.echo(line)


def _describe_count(
    storage: "Storage",  # Where the table lies
    name: "TableName",  # The table
    where: str | None,  # Condition of the rows shown
    shown: int,  # How many are shown
    limit: int | None,  # How many may be shown
) -> str:  # A last line for the table
    "Say how many rows there are in all."
    if limit is None or shown < limit:
        return f"{shown:,} row{'' if shown == 1 else 's'}"
    from cdc_local.delta.reader import count_rows

    return f"{shown:,} of {count_rows(storage, name, where):,} rows; --limit N or --all shows more"
