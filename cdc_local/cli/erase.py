"""`cdc erase`: take the rows of a key out of every table."""

from typing import TYPE_CHECKING, Annotated

import typer

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import (
    STORAGE,
    DebugOption,
    DryRunOption,
    Lines,
    LinesOption,
    MemoryOption,
    StorageOption,
    examples,
    open_storage,
)

if TYPE_CHECKING:
    from cdc_local.operations.erase import EraseResult, TableMatches

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "cdc erase --where \"id = '7'\" --dry-run  # rows of each table that would go",
        "cdc erase --where \"id = '7'\" --yes",
        "cdc erase --where \"_corrupt_record LIKE '%Smith%'\"  # records that could not be parsed",
    )
)
@guarded
def erase(
    where: Annotated[
        str,
        typer.Option(
            "--where",
            metavar="SQL",
            help="Rows for which this holds, in Spark SQL; of an AUTO CDC target, on its keys.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRunOption = False,
    storage: StorageOption = STORAGE,
    memory: MemoryOption = None,
    layout: LinesOption = Lines.table,
    debug: DebugOption = False,
) -> None:
    """Take the rows of a key out of every table for good: hidden ones, quarantine and old files included.
    The next update goes on."""
    opened = open_storage(storage)
    from cdc_local.engines.spark.session import start_spark
    from cdc_local.operations.erase import erase_rows
    from cdc_local.storage import check_writable
    from cdc_local.update.endings import explain_endings

    check_writable(opened.root)  # also for a dry run: Spark's log lies there
    with explain_endings(opened):
        spark = start_spark(log=opened.spark_log_path)
        if not (yes or dry_run) and (rows := erase_rows(spark, opened, where, dry_run=True).rows):
            typer.confirm(f"Erase {rows:,} rows for good?", abort=True, err=True)
        print_erasure(erase_rows(spark, opened, where, dry_run), dry_run, layout)


def print_erasure(
    result: "EraseResult",  # What an erasure did, or would do
    dry_run: bool,  # Whether nothing was written
    layout: Lines,  # table or json
) -> None:
    "Say what went, and which files still hold it."
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import format_number, make_console, plain_table

    if layout is Lines.json:
        for match in result.tables:
            values = {"table": match.table, "status": _erasure_status(match, dry_run), "rows": match.rows}
            typer.echo(format_json(values))
        return
    lines = [
        (match.table, _erasure_status(match, dry_run), format_number(match.rows)) for match in result.tables
    ]
    make_console().print(plain_table("", ("Table", "Status", ">Rows"), lines))
    if not result.files:
        return
    typer.echo(
        "They came from these files, which stay as they are; "
        "a full refresh of the table that reads them would bring the rows back:"
    )
    for file in result.files:
        typer.echo(f"  {file}")


def _erasure_status(
    match: "TableMatches",  # What became of one table
    dry_run: bool,  # Whether nothing was written
) -> str:
    "Say in a few words what became of a table."
    if match.missing:
        return f"no column {match.missing}"
    if not match.rows:
        return "no such row"
    return "would be erased" if dry_run else "erased"
