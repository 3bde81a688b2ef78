"""`cdc repair`: rebuild chosen keys of an AUTO CDC target."""

from typing import TYPE_CHECKING, Annotated

import typer

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import (
    CATALOG,
    SCHEMA,
    STORAGE,
    CatalogOption,
    ConfOption,
    DebugOption,
    DryRunOption,
    Lines,
    LinesOption,
    MasterOption,
    MemoryOption,
    ParamOption,
    RootPathOption,
    SchemaOption,
    StorageOption,
    examples,
    open_storage,
    read_conf,
    read_parameters,
)

if TYPE_CHECKING:
    from cdc_local.operations.repair_rows import RepairResult

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "cdc repair customers_history transformations --where \"id IN ('7', '42')\" --dry-run  "
        "# what would change",
        "cdc repair customers_history transformations --where \"id = '7'\"",
        'cdc repair customers transformations --since 2026-01-03 --until "2026-01-04 12:00:00"  '
        "# keys with an event in that time",
    )
)
@guarded
def repair(
    table: Annotated[str, typer.Argument(help="A target of AUTO CDC.")],
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="The source files of the pipeline, as for `cdc run`.")
    ],
    where: Annotated[
        str | None,
        typer.Option(
            "--where", metavar="SQL", help="Keys for which this holds, in Spark SQL on the key columns."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="SEQUENCE", help="Keys that have an event of this sequence or a later one."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="SEQUENCE", help="… of this sequence or an earlier one.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Even if stored events are not in the source any more: they are lost."),
    ] = False,
    dry_run: DryRunOption = False,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    conf: ConfOption = None,
    param: ParamOption = None,
    master: MasterOption = None,
    memory: MemoryOption = None,
    root_path: RootPathOption = None,
    layout: LinesOption = Lines.table,
    debug: DebugOption = False,
) -> None:
    """Rebuild chosen keys of an AUTO CDC target from all of their source, in one commit,
    without a full refresh."""
    configuration, parameters = read_conf(conf, catalog, schema), read_parameters(param)
    opened = open_storage(storage)
    from cdc_local.operations.repair import KeyChoice, repair_table
    from cdc_local.update.endings import explain_endings
    from cdc_local.update.request import UpdateRequest

    request = UpdateRequest(
        sources=tuple(paths),
        storage=storage,
        catalog=catalog,
        schema=schema,
        configuration=configuration,
        parameters=parameters,
        dry_run=dry_run,
        master=master,
        root_path=root_path,
    )
    with explain_endings(opened):
        result = repair_table(request, table, KeyChoice(where, since, until), force)
    print_repair(result, dry_run, layout)


def print_repair(
    result: "RepairResult",  # What a repair did, or would do
    dry_run: bool,  # Whether nothing was written
    layout: Lines,  # table or json
) -> None:
    "Say what a repair changed."
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import format_number, make_console, plain_table, rows_table

    status = "unchanged"
    if result.changed:
        status = "would change" if dry_run else "repaired"
    if layout is Lines.json:
        values = {"table": result.table, "status": status, **result.counts, "warnings": list(result.warnings)}
        return typer.echo(format_json(values))
    for text in result.warnings:
        typer.echo(f"warning: {text}", err=True)
    console = make_console()
    headings = ("Table", "Status", ">Keys", ">Rows before", ">Rows after", ">Stored rows out", ">in")
    line = (result.table, status, *map(format_number, result.counts.values()))
    console.print(plain_table("", headings, [line]))
    if result.changes.values:
        console.print(rows_table(result.changes, console.width, "Rows that go (-) and come (+)"))
    elif not result.changed:
        typer.echo("The rows of these keys are as their source says: nothing was written.")
