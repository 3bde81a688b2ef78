"""`cdc maintain`: keep the tables of a storage small."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import (
    CATALOG,
    SCHEMA,
    STORAGE,
    CatalogOption,
    DebugOption,
    DryRunOption,
    Lines,
    LinesOption,
    SchemaOption,
    StorageOption,
    examples,
    open_storage,
)

if TYPE_CHECKING:
    from cdc_local.update.maintenance import TableMaintenance

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "cdc maintain --dry-run  # what each table needs",
        "cdc maintain",
        "cdc maintain customers_history --retain 24  # keep the versions of one day, and no older ones",
        "cdc maintain --retain 0  # keep what readers at work and flows need, and no more",
    )
)
@guarded
def maintain(
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE]…", help="Tables; all, and the event log, by default."),
    ] = None,
    retain: Annotated[
        float | None,
        typer.Option(
            "--retain",
            metavar="HOURS",
            help="Keep the versions of so many hours. By default what a table's properties say, else the "
            "newest versions. What a flow has yet to read, and what was removed half a minute ago, stays.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    layout: LinesOption = Lines.table,
    debug: DebugOption = False,
) -> None:
    """Compact small files, checkpoint logs, remove old files and old log entries. An update does the same
    for the tables that need it."""
    opened = open_storage(storage)
    from cdc_local.errors import PipelineError
    from cdc_local.operations.maintain import maintain_storage

    names = [opened.find_table(text, catalog, schema) for text in tables or ()]
    done = maintain_storage(opened, names, retain, dry_run)
    print_maintenance(done, dry_run, layout)
    if failed := [table for table in done if table.error]:
        raise PipelineError(f"{failed[0].table} was not maintained: {failed[0].error}")


def print_maintenance(
    done: "Sequence[TableMaintenance]",  # What became of each table, or would
    dry_run: bool,  # Whether nothing was written
    layout: Lines,  # table or json
) -> None:
    "Say what was done for each table."
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import format_number, make_console, plain_table
    from cdc_local.update.maintenance import describe_plan, summarize_maintenance

    if layout is Lines.json:
        for table in done:
            status = _maintenance_status(table, dry_run)
            values = {"table": table.table, "status": status, **summarize_maintenance(table)}
            notes = {"reason": table.plan and table.plan.reason, "flow": table.plan and table.plan.flow}
            typer.echo(format_json(values | {name: text or None for name, text in notes.items()}))
        return
    lines = [
        (
            table.table,
            _maintenance_status(table, dry_run),
            *map(format_number, _before_and_after(table)),
            describe_plan(table.plan),
        )
        for table in done
    ]
    headings = ("Table", "Status", ">Files", ">after", ">KB", ">after", "What")
    make_console().print(plain_table("", headings, lines))
    for table in done:
        if table.plan is not None and table.plan.flow:
            typer.echo(
                f"{table.table} keeps old files that the flow {table.plan.flow} has yet to read: "
                "run an update of its pipeline"
            )
        if table.plan is not None and table.plan.reason:
            typer.echo(f"{table.table} was left alone: {table.plan.reason}")


def _before_and_after(
    table: "TableMaintenance",  # What became of one table
) -> tuple[int | None, ...]:  # Files before, after; kilobytes before, after
    "The figures of the table that is printed; None where nothing was done."
    usages = (None if table.plan is None else table.plan.usage, table.after)
    files = [None if usage is None else usage.files for usage in usages]
    kilobytes = [None if usage is None else round(usage.bytes / 1000) for usage in usages]
    return (*files, *kilobytes)


def _maintenance_status(
    table: "TableMaintenance",  # What became of one table
    dry_run: bool,  # Whether nothing was written
) -> str:
    "Say in a word what became of a table."
    if table.error:
        return "failed"
    if table.plan is not None and table.plan.reason:
        return "left alone"
    if table.is_idle:
        return "nothing to do"
    return "would be maintained" if dry_run else "maintained"
