"""`cdc replay`: take mended rows of a quarantine back in."""

from pathlib import Path
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
    read_names,
)

if TYPE_CHECKING:
    from cdc_local.operations.replay import Landing, ReplayResult

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "cdc show customers_cdc_quarantine --all --format json > mended.json  "
        "# then mend the rows in an editor",
        "cdc replay customers_cdc_quarantine mended.json --dry-run",
        "cdc replay customers_cdc_quarantine mended.json --skip-unchanged  # only the rows you touched",
        "cdc replay customers_cdc_quarantine mended.json --to /Volumes/main/default/raw_data/customers",
    )
)
@guarded
def replay(
    table: Annotated[
        str, typer.Argument(metavar="QUARANTINE_TABLE", help="The table that the rows were set aside in.")
    ],
    mended: Annotated[
        list[Path], typer.Argument(metavar="MENDED_FILE…", help="Its rows as JSON lines, mended.")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DIR",
            help="Folder to land in; by default the one that the rows' source_file names.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop", metavar="C,…", help="More columns that the pipeline added and that must not land."
        ),
    ] = None,
    skip_unchanged: Annotated[
        bool, typer.Option("--skip-unchanged", help="Leave out rows that are as they are in quarantine.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Land rows that are as they are in quarantine, too.")
    ] = False,
    dry_run: DryRunOption = False,
    layout: LinesOption = Lines.table,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    debug: DebugOption = False,
) -> None:
    """Take mended rows of a quarantine back in: they land as a new file of the raw volume,
    for the next update to read and judge. Starts no Spark."""
    opened = open_storage(storage)
    from cdc_local.operations.replay import replay_rows

    name, columns = opened.find_table(table, catalog, schema), read_names(drop)
    result = replay_rows(opened, name, mended, to, columns, skip_unchanged, force, dry_run)
    _print_replay(result, dry_run, layout)


def _print_replay(
    result: "ReplayResult",  # What a replay did, or would do
    dry_run: bool,  # Whether nothing was written
    layout: Lines,  # table or json
) -> None:
    "Say what landed, and what to do next."
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import format_number, make_console, plain_table

    if layout is Lines.json:
        for landing in result.landings:
            values = {
                "mended": landing.mended,
                "status": _landing_status(landing, dry_run),
                "rows": landing.rows,
                "landed_before": landing.landed_before,
                "unchanged": landing.unchanged,
                "path": landing.path and str(landing.path),
            }
            typer.echo(format_json(values))
        return
    lines = [
        (
            landing.mended,
            _landing_status(landing, dry_run),
            format_number(landing.rows),
            format_number(landing.landed_before),
            format_number(landing.unchanged),
            landing.path.name if landing.path else "",
        )
        for landing in result.landings
    ]
    headings = ("Mended file", "Status", ">Rows", ">Landed before", ">Unchanged", "New file")
    make_console().print(plain_table("", headings, lines))
    if result.still_rescued:
        typer.echo(
            f"{result.still_rescued} rows still hold _rescued_data or _corrupt_record, which do not land: "
            "what they say must be in the columns."
        )
    if any(landing.path for landing in result.landings):
        typer.echo(
            f"{'Would land' if dry_run else 'Landed'} in {result.folder}; the next update reads it. "
            "On Databricks copy the file into the same folder of the volume (databricks fs cp)."
        )


def _landing_status(
    landing: "Landing",  # What became of one mended file
    dry_run: bool,  # Whether nothing was written
) -> str:
    "Say in a word what became of a mended file."
    if landing.path is None:
        return "landed before" if landing.landed_before else "nothing to land"
    return "would land" if dry_run else "landed"
